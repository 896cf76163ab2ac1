/** What is said of why no HELLO is answered, while that lasts. */

import type { Endpoint } from "../../../ffi/endpoint.ts";
import { WayError } from "../../../ffi/udp.ts";
import { formatIp } from "../../base/ip.ts";
import type { Silence } from "../protocol.ts";

const WHYS: Readonly<Record<number, Silence["why"]>> = {
  [WayError.refused]: "refused",
  [WayError.unreachable]: "unreachable",
  [WayError.prohibited]: "prohibited",
};

export class SilenceWatch {
  /** The last word. */
  said: Silence | undefined;
  /** Is called when there is another. */
  changed: () => void = () => {};

  /** ICMP says of a packet to one of the server's addresses that it did not get there. */
  icmp(error: number, peer: Endpoint, teller: Endpoint): void {
    const why = WHYS[error];
    if (why !== undefined) this.#set(why, peer, teller);
  }

  /** This machine's own network does not take packets to it. */
  noWay(peer: Endpoint): void {
    this.#set("no-way", peer, peer);
  }

  /** The server's name is not found yet. */
  noName(): void {
    if (this.said?.why === "no-name") return;
    this.said = { why: "no-name", peer: "", by: "" };
    this.changed();
  }

  /** It is this machine that has no network, and nobody far away. */
  get isOurs(): boolean {
    return this.said?.why === "no-way" || this.said?.why === "no-name";
  }

  #set(why: Silence["why"], { ip }: Endpoint, teller: Endpoint): void {
    const [peer, by] = [formatIp(ip), formatIp(teller.ip)];
    const { said } = this;
    if (said?.why === why && said.peer === peer && said.by === by) return;
    this.said = { why, peer, by };
    this.changed();
  }
}

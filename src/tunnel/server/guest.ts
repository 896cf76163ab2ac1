/** A session of the server, and whose it is. */

import type { UserAccount } from "../../proxy/users.ts";
import { Peer } from "../peer.ts";
import type { TunnelUser } from "./users.ts";

export class Guest extends Peer {
  user: TunnelUser | undefined;
  /** Since when it has its place in the table. */
  enteredAt = 0;
  /** When its first packet opened, as the log was told. */
  cameAt: number | undefined;
  /** What the client's line takes, bytes a second; 0: not stated. */
  takeRate = 0;
  /** Its place in the table of sources, and in the cache of handshakes. */
  source = -1;
  handshake = -1;
  /** 0-RTT frames that wait for the first DATA. */
  early: Uint8Array | undefined;

  /** Whose it is from now on. */
  setUser(user: TunnelUser): void {
    const account: UserAccount = user.account;
    this.user = user;
    this.session.shareGroup = user.group;
    this.account = account;
    this.limit();
  }

  /** Has the session keep to the limits of its user. */
  limit(): void {
    const { up, down, packets } = this.user!;
    this.sendLimit = down.unlimited ? undefined : down;
    this.receiveLimit = packets.unlimited ? undefined : packets;
    this.session.limitReading(up.unlimited ? undefined : up);
  }
}

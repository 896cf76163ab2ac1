/** Where sessions' clients are: paths opened, left and given up, and the kernel's marks. */

import type { Route } from "../../../ffi/endpoint.ts";
import { chooseController } from "../../reliability/congestion/choose.ts";
import type { CongestionController } from "../../reliability/congestion/controller.ts";
import { PMTU_BASE } from "../../reliability/params.ts";
import type { PathTokens } from "../../crypto/path_tokens.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import type { UdpCarrier } from "../../transport/udp.ts";
import { lower } from "./handshakes.ts";
import { SessionMarks } from "./session_marks.ts";

export interface GuestPathsOptions {
  /** What the server's line sends, bytes a second; 0: not stated. */
  readonly upRate: number;
  readonly windowPackets: number;
  readonly random: () => number;
  /** Challenges of ACCEPTs. */
  readonly tokens: PathTokens;
}

export class GuestPaths {
  readonly #pump: PacketPump<Guest>;
  readonly #options: GuestPathsOptions;
  #marks: SessionMarks | undefined;

  constructor(pump: PacketPump<Guest>, options: GuestPathsOptions) {
    this.#pump = pump;
    this.#options = options;
  }

  /** Notes what is new of sessions' addresses, for a socket of this port. */
  mark(port: number): void {
    this.#marks = new SessionMarks(port);
  }

  /** `udp`: whose AF_XDP has sent what the kernel has not seen. */
  takeMarks(udp: Pick<UdpCarrier, "eachSent">): Uint8Array<ArrayBuffer> | undefined {
    const marks = this.#marks;
    if (marks === undefined) return undefined;
    udp.eachSent((route, packets, bytes) => marks.sent(route, packets, bytes));
    return marks.take();
  }

  /** A path to where a packet of so many bytes came from; its index, or -1. */
  open(guest: Guest, route: Route, heardBytes: number): number {
    const path = this.#pump.addPath(guest, route, false, this.#controller);
    if (path >= 0) guest.session.pathState(path)!.receivedBytes = heardBytes;
    return path;
  }

  /** The same for a session that may have as many as it may. */
  openAnother(guest: Guest, route: Route): number {
    const path = this.open(guest, route, 0);
    return path >= 0 || !this.#dropOldest(guest) ? path : this.open(guest, route, 0);
  }

  /** The client has said what its line takes. */
  rechoose(guest: Guest): void {
    this.#pump.rechoose(guest, this.#controller);
  }

  /** One function for all sessions. */
  readonly #controller = ({ user, takeRate }: Guest): CongestionController =>
    chooseController({
      sendRate: lower(this.#options.upRate, user?.downRate ?? 0),
      takeRate,
      floorPackets: this.#options.windowPackets,
      packetBytes: PMTU_BASE,
      random: this.#options.random,
    });

  /** Makes room for another path: of those that carry no data the one unheard of for longest. */
  #dropOldest(guest: Guest): boolean {
    const { session, routes, heardAt } = guest;
    let oldest = -1;
    for (let i = 0; i < routes.length; i++) {
      if (i === session.activePath || session.pathState(i) === undefined) continue;
      if (oldest < 0 || heardAt[i]! < heardAt[oldest]!) oldest = i;
    }
    if (oldest < 0) return false;
    this.#remove(guest, oldest);
    return true;
  }

  #remove(guest: Guest, path: number): void {
    const route = guest.routes[path];
    if (route !== undefined) this.#markClosed(route);
    this.#pump.removePath(guest, path);
  }

  /** Whether it answers the challenge of an ACCEPT that was sent to where a path leads. */
  proves({ routes, localId }: Guest, path: number, high: number, low: number): boolean {
    const route = routes[path];
    if (route === undefined) return false;
    const { tokens } = this.#options;
    const { current } = this.#pump.clock.tskd;
    for (let window = current; window >= current - 1; window--) {
      tokens.make(localId, route, window);
      if (tokens.high === high && tokens.low === low) return true;
    }
    return false;
  }

  wipe(): void {
    this.#options.tokens.wipe();
  }

  /** Its first packet has opened. */
  confirm(guest: Guest): void {
    this.#markActive(guest);
  }

  /** After each turn: data may go another way now. */
  follow(guest: Guest): void {
    const { session, routes } = guest;
    const { activePath } = session;
    if (activePath === guest.lastActive) return;
    const [left, taken] = [routes[guest.lastActive], routes[activePath]];
    // The client's address is another one: what was under way to the old one is sent again. By
    // another carrier the client has moved by its own will, and may come back.
    if (left !== undefined && taken !== undefined && this.#isOneCarrier(left, taken)) {
      this.#remove(guest, guest.lastActive);
    }
    guest.lastActive = activePath;
    if (guest.isConfirmed) this.#markActive(guest);
  }

  #isOneCarrier(one: Route, other: Route): boolean {
    return this.#pump.carrierOf(one) === this.#pump.carrierOf(other);
  }

  /** The session is over. */
  leave(guest: Guest): void {
    for (const route of guest.routes) if (route !== undefined) this.#markClosed(route);
  }

  #markActive({ routes, session }: Guest): void {
    const route = routes[session.activePath];
    if (route !== undefined && this.#isMarked(route)) this.#marks?.opened(route);
  }

  #markClosed(route: Route): void {
    if (this.#isMarked(route)) this.#marks?.closed(route);
  }

  /** The kernel's table has what comes by UDP. */
  #isMarked(route: Route): boolean {
    return this.#marks !== undefined && this.#pump.carrierOf(route)?.kind === "udp";
  }
}

/**
 * The client's end of the tunnel: one session at a time, made when the application asks for one
 * and usable at once. What it says first travels in the HELLO (0-RTT).
 *
 *     idle ──wake──> connecting ──ACCEPT──> open ──closed, RESET, silence──> lost
 *                        │  no ACCEPT, from any server, after all tries        ↑
 *                        └─────────────────────────────────────────────────────┘
 *     lost: the next session() begins anew, after a pause that grows with each failure
 */

import { type Endpoint, endpoint, type Route, routeTo } from "../../../ffi/endpoint.ts";
import type { Native } from "../../../ffi/native.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { BYTES_A_KBIT } from "../../base/units.ts";
import { OpenResult } from "../../crypto/handshake.ts";
import { openReset, ResetOpened } from "../../crypto/reset.ts";
import { Tskd } from "../../crypto/tskd.ts";
import { namedUser, soleUser, type User } from "../../crypto/users.ts";
import { chooseController } from "../../reliability/congestion/choose.ts";
import type { CongestionController } from "../../reliability/congestion/controller.ts";
import { FrameRecords } from "../../reliability/frame_records.ts";
import { INITIAL_RTT_MS, PMTU_BASE } from "../../reliability/params.ts";
import { PathMtu } from "../../reliability/pmtu.ts";
import { Budget } from "../../session/byte_ring.ts";
import { Session } from "../../session/session.ts";
import { CloseCode } from "../../wire/frames.ts";
import { PacketKind } from "../../wire/packet.ts";
import { ClientHandshake } from "../../crypto/client_handshake.ts";
import { helloFramesThatFit } from "../../crypto/hello.ts";
import { LateController } from "../late_controller.ts";
import { type Loop, NOT_ARMED, type Task, type Timer } from "../../loop/loop.ts";
import { PacketPump, type PathOwner } from "../packet_pump.ts";
import { RandomNumbers } from "../random_numbers.ts";
import { type KeyLimits, Peer } from "../peer.ts";
import * as tunnel from "../tunnel.ts";
import type { ClientStart } from "../protocol.ts";

/** idle: nobody has asked for a session yet. */
export type ClientState = "idle" | "connecting" | "open" | "lost";

export interface ClientTuning extends tunnel.TunnelTuning {
  /** How long each HELLO has to be answered in turn; the last one has that long once more. */
  readonly helloRetryMs?: readonly number[];
  /** Pauses before the second, third … attempt to connect. */
  readonly backoffMs?: readonly number[];
}

/** What a client's tunnel went through. */
export class ClientCounters {
  hellos = 0;
  accepts = 0;
  /** Believed, and not. */
  resets = 0;
  resetsRefused = 0;
  /** Attempts that no server answered. */
  failures = 0;
}

const HELLO_RETRY_MS: readonly number[] = [1000, 2000, 4000];
const BACKOFF_MS: readonly number[] = [1000, 2000, 4000, 8000, 16_000, 30_000];
/** The session, and ones that are closing. */
const SESSIONS_MAX = 8;
/** Until ACCEPT tells the server's. */
const IDLE_MS = 60_000;
/**
 * How long the HELLO of a session whose streams have no data yet waits for some: what a program
 * says right behind its connection arrives a round trip earlier with it.
 */
const EARLY_WAIT_MS = 3;
/** One packet that asks for an answer: it shows the server that its ACCEPT arrived. */
const PROBES = 1;

/** The session that is being connected, or is. */
interface Connection {
  readonly link: Peer;
  readonly handshake: ClientHandshake;
  readonly options: tunnel.PeerOptions;
  readonly controller: LateController;
  /** HELLOs sent, and when the first of them. */
  tries: number;
  firstHelloAt: number;
  /** Of the packet whose frames the HELLO carries; -1: none. */
  earlyNumber: number;
  resetToken: Uint8Array;
}

export class ClientTunnel implements PathOwner, Timer, Task {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  isPosted = false;
  readonly counters: ClientCounters = new ClientCounters();
  readonly path: PacketPump;
  /** Of all streams of this worker. */
  readonly budget: Budget;
  /** The server's clock minus ours, in ms, as the last ACCEPT showed. */
  clockOffsetMs = 0;
  readonly #loop: Loop;
  readonly #start: ClientStart;
  readonly #tuning: ClientTuning;
  readonly #events: tunnel.TunnelEvents;
  readonly #random: RandomNumbers;
  readonly #user: User;
  #routes: readonly Route[];
  readonly #records = new FrameRecords();
  readonly #keyLimits: KeyLimits;
  readonly #reset = new ResetOpened();
  #state: ClientState = "idle";
  #connection: Connection | undefined;
  /** Of the servers: the one to try next. */
  #server = 0;
  /** Attempts in a row that failed, and when the next one may begin. */
  #failures = 0;
  #notBefore = -Infinity;
  #isClosed = false;

  constructor(
    loop: Loop,
    start: ClientStart,
    libs: { readonly native: Native },
    events: tunnel.TunnelEvents,
    tuning: ClientTuning = {},
  ) {
    this.#loop = loop;
    this.#start = start;
    this.#tuning = tuning;
    this.#events = events;
    this.#keyLimits = tunnel.keyLimits(tuning);
    this.budget = new Budget(tuning.bufferBytes ?? tunnel.BUFFER_BYTES_MAX);
    const primitives = new NativePrimitives(libs.native);
    this.#random = new RandomNumbers(primitives);
    this.#user = start.user === ""
      ? soleUser(start.psk)
      : namedUser(primitives, start.user, start.userKey);
    this.#routes = start.servers.map((server) => routeTo(server));
    const clock = tuning.unixMs ?? Date.now;
    this.path = new PacketPump(loop, this, {
      primitives,
      budget: this.budget,
      tskd: new Tskd(primitives, start.psk),
      sessionsMax: SESSIONS_MAX,
      unixMs: () => clock() + this.clockOffsetMs,
    });
  }

  /** Opens the socket. Nothing is sent before somebody asks for a session. */
  start(): void {
    this.path.open({ local: this.#local(), packetInfo: false });
  }

  /** Says CLOSE, wipes all keys and closes the socket. */
  stop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.disarm(this);
    for (const link of this.path.links.all()) {
      if (!link.isActive) continue;
      link.session.close(this.path.now, CloseCode.done);
      this.path.touch(link);
    }
    if (this.path.isOpen) this.path.drain();
    this.path.close();
    this.#user.key.fill(0);
  }

  /**
   * Where the server is from now on, best first: for the next HELLO, also of a session that is
   * being connected. One that is open stays where it is.
   */
  setServers(servers: readonly Endpoint[]): void {
    const next = this.#routes[this.#server];
    this.#routes = servers.map((server) => routeTo(server));
    this.#server = next === undefined ? 0 : this.#serverOf(next);
  }

  get state(): ClientState {
    return this.#state;
  }

  /** A new socket, with a new port: the session lives on from there. */
  rebind(): void {
    this.path.open({ local: this.#local(), packetInfo: false });
    const connection = this.#connection;
    if (connection === undefined || !connection.link.isActive) return;
    // The server learns the new address from the next packet, so that there has to be one.
    connection.link.session.recovery.path(connection.link.session.activePath)!.probes = PROBES;
    this.path.touch(connection.link);
  }

  /**
   * The session, a new one where there is none: to be used at once. It is connected when it is
   * woken; what was said by then travels in the HELLO.
   */
  session(): Session {
    const present = this.#connection?.link.session;
    if (present !== undefined && present.isOpen) return present;
    return this.#connect();
  }

  /** To be called after the application wrote, finished, reset, answered or resumed. */
  wake(session: Session): void {
    const connection = this.#connection;
    if (connection === undefined || connection.link.session !== session) {
      const link = this.path.linkOf(session);
      if (link !== undefined) this.path.touch(link);
    } else if (connection.link.isActive) this.path.touch(connection.link);
    else if (connection.tries === 0) this.#loop.post(this);
  }

  #local(): Endpoint {
    // :: takes both families; where there is no IPv6, the socket falls back by itself.
    return endpoint(new Uint8Array(16), 0);
  }

  // ---- connecting ----

  #connect(): Session {
    const { path } = this;
    const now = this.#loop.now;
    // One that was closed before it was connected.
    const before = this.#connection?.link;
    if (before?.isActive === false) path.release(before);
    const options = new tunnel.PeerOptions({
      ...{ isClient: true, events: this.#events, budget: this.budget, records: this.#records },
      ...{ random: this.#random.unit, maxRetries: this.#start.maxRetries, idleMs: IDLE_MS },
      keepAliveMs: tunnel.KEEP_ALIVE_MS,
    });
    const session = new Session(now, options);
    const controller = new LateController(() => this.#controller(0));
    session.addPath(true, controller, new PathMtu());
    const { upRate, downRate } = this.#start;
    if (upRate > 0 || downRate > 0) {
      session.sayRates(Math.floor(upRate / BYTES_A_KBIT), Math.floor(downRate / BYTES_A_KBIT));
    }
    let clientSession = this.#random.nonZero();
    while (path.links.find(clientSession) !== undefined) clientSession = this.#random.nonZero();
    const handshake = new ClientHandshake(path.primitives, path.tskd, this.#user, clientSession);
    const link = new Peer(session, clientSession, path, this.#keyLimits);
    link.routes[0] = this.#routes[this.#server]!;
    this.#makeRoom();
    path.add(link);
    this.#connection = {
      ...{ link, handshake, options, controller, tries: 0, firstHelloAt: 0, earlyNumber: -1 },
      resetToken: new Uint8Array(0),
    };
    this.#state = "connecting";
    return session;
  }

  /** Sessions that are only closing do not keep a new one out. */
  #makeRoom(): void {
    if (!this.path.links.isFull) return;
    for (const link of this.path.links.all()) this.path.release(link);
  }

  #controller(takeRate: number): CongestionController {
    return chooseController({
      sendRate: this.#start.upRate,
      takeRate,
      floorPackets: this.#start.windowPackets,
      packetBytes: PMTU_BASE,
      random: this.#random.unit,
    });
  }

  /** The session was woken for the first time. */
  runTask(now: number): void {
    const connection = this.#connection;
    if (connection === undefined || connection.tries > 0 || this.#isClosed) return;
    if (now < this.#notBefore) this.#loop.arm(this, this.#notBefore);
    else if (!this.#awaitsData(connection)) this.#sendHello(connection, now);
    else if (this.heapIndex === NOT_ARMED) this.#loop.arm(this, now + EARLY_WAIT_MS);
  }

  #awaitsData({ link: { session } }: Connection): boolean {
    return session.streamCount > 0 && !session.hasStreamBytes;
  }

  /** A HELLO was not answered, or the pause before the next attempt is over. */
  fire(now: number): void {
    const connection = this.#connection;
    if (connection === undefined || connection.link.isActive) return;
    const tries = Math.max(this.#retries.length + 1, this.#routes.length);
    if (connection.tries >= tries) return this.#fail(connection, now);
    this.#sendHello(connection, now);
  }

  get #retries(): readonly number[] {
    return this.#tuning.helloRetryMs ?? HELLO_RETRY_MS;
  }

  #sendHello(connection: Connection, now: number): void {
    const { path } = this;
    const { control } = path;
    path.tick();
    if (connection.tries === 0) this.#buildEarly(connection, now);
    const wait = this.#retries[Math.min(connection.tries, this.#retries.length - 1)]!;
    connection.tries++;
    // Each is tried on its own: a server's address that this machine can't reach costs no time.
    for (let i = 0; i < this.#routes.length; i++) {
      const route = this.#routes[this.#server]!;
      const length = connection.handshake.hello(path.unixMs, control.arena, control.at, PMTU_BASE);
      control.add(route, length);
      this.counters.hellos++;
      this.#server = (this.#server + 1) % this.#routes.length;
      if (path.sendControl() === 1) break;
    }
    this.#loop.arm(this, now + wait);
  }

  /** What the session has to say so far, as the frames of the HELLO. */
  #buildEarly(connection: Connection, now: number): void {
    const { session } = connection.link;
    const room = new Uint8Array(helloFramesThatFit(PMTU_BASE));
    const length = session.build(now, room, 0, room.length);
    connection.firstHelloAt = now;
    connection.handshake.frames = room.subarray(0, length);
    if (length > 0) connection.earlyNumber = session.builtNumber;
  }

  #fail(connection: Connection, now: number): void {
    this.counters.failures++;
    this.#pause(now);
    this.path.now = now;
    this.path.release(connection.link);
  }

  /** The next attempt waits longer than the one before. */
  #pause(now: number): void {
    const pauses = this.#tuning.backoffMs ?? BACKOFF_MS;
    this.#notBefore = now + (pauses[Math.min(this.#failures, pauses.length - 1)] ?? 0);
    this.#failures++;
  }

  // ---- what the path says ----

  handshake(kind: number, i: number): void {
    if (kind === PacketKind.accept) this.#onAccept(i);
    else if (kind === PacketKind.reset) this.#onReset(i);
    else this.path.received.junk++;
  }

  #onAccept(i: number): void {
    const { inbox, headers, tskd } = this.path;
    const connection = this.#connection;
    // One that came twice, or late.
    if (connection === undefined || connection.link.isActive) return;
    if (headers.session(i) !== connection.handshake.clientSession) return;
    const window = tskd.maskWindows[headers.window(i)]!;
    if (!connection.handshake.open(inbox.arena, inbox.offset(i), inbox.length(i), window)) {
      this.path.received.forged++;
      return;
    }
    this.#opened(connection, this.path.routeOf(i));
  }

  #opened(connection: Connection, route: Route): void {
    const { path } = this;
    const { link, handshake, options } = connection;
    const { accept } = handshake;
    const now = path.now;
    const keys = handshake.agree(now, path.table);
    if (keys === undefined) return;
    this.#loop.disarm(this);
    this.counters.accepts++;
    this.#failures = 0;
    this.#notBefore = -Infinity;
    this.#state = "open";
    this.#server = this.#serverOf(route);
    const isClear = connection.tries === 1;
    // Half the way back. After a retry nobody knows which HELLO was answered.
    const halfway = isClear ? (now - connection.firstHelloAt) / 2 : 0;
    this.clockOffsetMs += accept.timeMs + halfway - path.unixMs;
    path.tick();
    connection.resetToken = accept.resetToken.slice();
    options.idleMs = Math.max(1, accept.idleS) * 1000;
    link.routes[0] = route;
    link.packetBytesMax = accept.maxDatagram;
    link.session.packetBytesMax = Math.min(link.session.packetBytesMax, accept.maxDatagram);
    const takeRate = accept.downKbps * BYTES_A_KBIT;
    connection.controller.replace(() => this.#controller(takeRate));
    link.activate(now, accept.serverSession, keys.sendKeys, keys.receiveKeys);
    this.#settleEarly(connection, now, isClear);
    if (accept.framesBytes > 0) {
      link.session.receiveEarly(now, path.inbox.arena, accept.framesAt, accept.framesBytes);
    }
    this.#events.sessionOpened(link.session, this.#start.user);
    path.touch(link);
  }

  /** ACCEPT proves that the HELLO's frames arrived, and how long the way is. */
  #settleEarly(connection: Connection, now: number, isClear: boolean): void {
    const { session } = connection.link;
    const way = session.recovery.path(0)!;
    if (connection.earlyNumber >= 0) {
      const { earlyNumber } = connection;
      session.recovery.onAck(now, Float64Array.of(earlyNumber, earlyNumber), 1, 0);
    } else if (isClear) way.rtt.update(now, now - connection.firstHelloAt, 0);
    if (!isClear) {
      // The time since the first HELLO is no round trip; the next packet shows a true one.
      way.rtt.sampled = false;
      way.rtt.smoothed = INITIAL_RTT_MS;
      way.rtt.variance = INITIAL_RTT_MS / 2;
    }
    way.probes = PROBES;
  }

  #serverOf(route: Route): number {
    const index = this.#routes.findIndex((one) => one.every((word, i) => word === route[i]));
    return Math.max(0, index);
  }

  #onReset(i: number): void {
    const { path } = this;
    const { inbox, headers, tskd, primitives } = path;
    const connection = this.#connection;
    const window = tskd.maskWindows[headers.window(i)]!;
    const at = inbox.offset(i);
    const length = inbox.length(i);
    const result = openReset(primitives, tskd, inbox.arena, at, length, window, this.#reset);
    if (result !== OpenResult.ok) {
      path.received.forged++;
      return;
    }
    const isBelieved = connection !== undefined && connection.link.isActive &&
      this.#reset.isFor(connection.link.peerId, connection.resetToken) &&
      connection.link.sentLately(path.now, this.#reset.number);
    if (!isBelieved) {
      this.counters.resetsRefused++;
      return;
    }
    this.counters.resets++;
    path.release(connection.link);
  }

  /** The server may answer from another of its addresses: it is the same path. */
  newRoute(link: Peer): number {
    return link.session.activePath;
  }

  confirmed(): void {
    // The server is known by its ACCEPT.
  }

  ownDue(): void {
    // Only the server gives links a time of its own.
  }

  stranger(): void {
    // A session of ours that is over; the server will notice.
  }

  flushed(): void {
    // Nothing here depends on what was sent.
  }

  released(link: Peer): void {
    const connection = this.#connection;
    if (connection === undefined || connection.link !== link) return;
    connection.handshake.wipe();
    connection.resetToken.fill(0);
    this.#connection = undefined;
    this.#state = "lost";
    this.#loop.disarm(this);
  }
}

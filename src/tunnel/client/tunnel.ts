/**
 * The client's end of the tunnel: one session at a time, made when the application asks for one
 * and usable at once. What it says first travels in the HELLO (0-RTT).
 *
 *     idle ──wake──> connecting ──ACCEPT──> open ──closed, RESET, silence──> lost
 *                        │  no ACCEPT, from any server, after all tries        ↑
 *                        └─────────────────────────────────────────────────────┘
 *     lost: the next session() begins anew, after a pause that grows with each failure
 */

import { cipherMachine } from "../../../ffi/aead.ts";
import {
  carrierOf,
  type Endpoint,
  endpoint,
  readEndpoint,
  type Route,
} from "../../../ffi/endpoint.ts";
import { toServer } from "../../../ffi/mask.ts";
import type { Native } from "../../../ffi/native.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { BYTES_A_KBIT } from "../../base/units.ts";
import { OpenResult } from "../../crypto/handshake.ts";
import type { Primitives } from "../../crypto/primitives.ts";
import { openReset, ResetOpened } from "../../crypto/reset.ts";
import { Tskd } from "../../crypto/tskd.ts";
import { namedUser, soleUser, type User } from "../../crypto/users.ts";
import { chooseController } from "../../reliability/congestion/choose.ts";
import type { CongestionController } from "../../reliability/congestion/controller.ts";
import { FrameRecords } from "../../reliability/frame_records.ts";
import { INITIAL_RTT_MS, PMTU_BASE } from "../../reliability/params.ts";
import { Budget } from "../../session/byte_ring.ts";
import { Session } from "../../session/session.ts";
import { CloseCode } from "../../wire/frames.ts";
import { PacketKind } from "../../wire/packet.ts";
import { offerOf } from "../../crypto/ciphers.ts";
import { ClientHandshake } from "../../crypto/client_handshake.ts";
import { helloFramesThatFit } from "../../crypto/hello.ts";
import { type Loop, NOT_ARMED, type Task, type Timer } from "../../loop/loop.ts";
import { UdpCarrier } from "../../transport/udp.ts";
import type { Arrival } from "../arrival.ts";
import { PacketPump, type PumpOwner } from "../packet_pump.ts";
import { Peer, SentSeconds } from "../peer.ts";
import type { KeyLimits } from "../peer_keys.ts";
import type { ClientStart } from "../protocol.ts";
import { RandomNumbers } from "../random_numbers.ts";
import * as tunnel from "../tunnel.ts";
import { HelloRoutes } from "./hello_routes.ts";
import { Pauses } from "./pauses.ts";
import type { SilenceWatch } from "./silence.ts";

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
  /** Attempts that a server answered with why there is no session. */
  refusals = 0;
}

/** Where nothing could be sent. */
const NO_WAY_WAIT_MS = 1000;
const HELLO_RETRY_MS: readonly number[] = [1000, 2000, 4000];
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
  readonly peer: Peer;
  readonly handshake: ClientHandshake;
  readonly options: tunnel.PeerOptions;
  /** What the server's line takes, bytes a second; 0: not stated. */
  takeRate: number;
  /** HELLOs sent, and when the first of them. */
  tries: number;
  firstHelloAt: number;
  /** Of the packet whose frames the HELLO carries; -1: none. */
  earlyNumber: number;
  resetToken: Uint8Array;
}

export class ClientTunnel implements PumpOwner<Peer>, Timer, Task {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  isPosted = false;
  readonly counters: ClientCounters = new ClientCounters();
  readonly pump: PacketPump<Peer>;
  /** The carrier that there always is. */
  readonly udp: UdpCarrier;
  /** Of all streams of this worker. */
  readonly budget: Budget;
  /** The server's clock minus ours, in ms, as the last ACCEPT showed. */
  clockOffsetMs = 0;
  /** How the last session ended. */
  closeCode: number = CloseCode.done;
  readonly #loop: Loop;
  readonly #start: ClientStart;
  readonly #tuning: ClientTuning;
  readonly #events: tunnel.TunnelEvents;
  readonly #primitives: Primitives;
  readonly #random: RandomNumbers;
  readonly #user: User;
  /** Ciphers for sessions: see crypto/ciphers.ts. */
  readonly #offered: number;
  readonly #routes: HelloRoutes;
  readonly #records = new FrameRecords();
  readonly #keyLimits: KeyLimits;
  readonly #reset = new ResetOpened();
  #state: ClientState = "idle";
  #connection: Connection | undefined;
  readonly #pauses: Pauses;
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
    const primitives = this.#primitives = new NativePrimitives(libs.native);
    this.#random = new RandomNumbers(primitives);
    this.#user = start.user === ""
      ? soleUser(start.psk)
      : namedUser(primitives, start.user, start.userKey);
    this.#offered = offerOf(cipherMachine(libs.native), start.cipher);
    this.#routes = new HelloRoutes(start.servers);
    this.#pauses = new Pauses(tuning.backoffMs);
    const clock = tuning.unixMs ?? Date.now;
    this.pump = new PacketPump<Peer>(loop, this, {
      primitives,
      sends: toServer,
      budget: this.budget,
      records: this.#records,
      tskd: new Tskd(primitives, start.psk),
      sessionsMax: SESSIONS_MAX,
      unixMs: () => clock() + this.clockOffsetMs,
    });
    this.udp = new UdpCarrier(loop, this.pump, {
      mtu: tunnel.DATAGRAM_SIZES,
      // It is a hint and no more: the attempt goes on, and an open session does not care.
      onError: (error, peer, teller) => {
        const isAsked = this.#state === "connecting" && this.#routes.isServer(peer);
        if (isAsked) this.silence.icmp(error, peer, teller);
      },
    });
  }

  /** Opens the socket. Nothing is sent before somebody asks for a session. */
  start(): void {
    this.#openUdp();
    this.pump.addCarrier(this.udp);
  }

  #openUdp(): void {
    // :: takes both families; where there is no IPv6, the socket falls back by itself.
    this.udp.open({ local: endpoint(new Uint8Array(16), 0), packetInfo: false });
  }

  /** Says CLOSE, wipes all keys and closes the socket. */
  stop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.disarm(this);
    const { pump } = this;
    for (const peer of pump.peers.all()) {
      if (!peer.isActive) continue;
      peer.session.close(pump.now, CloseCode.done);
      pump.wake(peer);
    }
    pump.drain();
    pump.close();
    this.#user.key.fill(0);
  }

  /**
   * Where the server is from now on, best first: for the next HELLO, also of a session that is
   * being connected. One that is open stays where it is.
   */
  setServers(servers: readonly Endpoint[]): void {
    const isWaiting = this.#routes.count === 0 && (this.#connection?.tries ?? 0) > 0;
    this.#routes.setServers(servers);
    // Nothing could be sent so far.
    if (isWaiting && this.heapIndex !== NOT_ARMED) this.#loop.arm(this, this.#loop.now);
  }

  /** Why nobody answers, as far as somebody says so. */
  get silence(): SilenceWatch {
    return this.#routes.silence;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** A new socket, with a new port: the session lives on from there. */
  rebind(): void {
    this.#openUdp();
    const peer = this.#connection?.peer;
    if (peer === undefined || !peer.isActive) return;
    // The server learns the new address from the next packet, so that there has to be one.
    const way = peer.session.recovery.path(peer.session.activePath);
    if (way !== undefined) way.probes = PROBES;
    this.pump.wake(peer);
  }

  /**
   * The session, a new one where there is none: to be used at once. It is connected when it is
   * woken; what was said by then travels in the HELLO.
   */
  session(): Session {
    const present = this.#connection?.peer.session;
    if (present !== undefined && present.isOpen) return present;
    return this.#connect();
  }

  /** To be called after the application wrote, finished, reset, answered or resumed. */
  wake(session: Session): void {
    const connection = this.#connection;
    if (connection === undefined || connection.peer.session !== session) {
      const peer = this.pump.peerOf(session);
      if (peer !== undefined) this.pump.wake(peer);
    } else if (connection.peer.isActive) this.pump.wake(connection.peer);
    else if (connection.tries === 0) this.#loop.post(this);
  }

  // ---- paths, for who chooses between carriers ----

  /** HELLOs may also go by a route of another carrier, which the pump has. */
  addRoute(route: Route): void {
    this.#routes.add(route);
  }

  removeRoute(route: Route): void {
    this.#routes.remove(route);
  }

  /**
   * Opens a path of the session beside those that there are: its index, or -1. Data stays where it
   * is; `pathProven` tells when the server has answered by the new one.
   */
  openPath(route: Route): number {
    const connection = this.#connection;
    if (connection === undefined || !connection.peer.isActive) return -1;
    const { peer } = connection;
    const { session } = peer;
    const path = this.#addPath(connection, route, false);
    if (path < 0) return path;
    // Without a word from us the server would follow the newest packet, wherever it came by.
    session.activate(session.activePath);
    session.challenge(this.#loop.now, path);
    this.pump.wake(peer);
    return path;
  }

  /** Data goes by this path from now on. */
  moveTo(path: number): void {
    const peer = this.#connection?.peer;
    if (peer === undefined) return;
    peer.session.activate(path);
    this.pump.wake(peer);
  }

  /** Gives a path up that carries no data. */
  closePath(path: number): void {
    const peer = this.#connection?.peer;
    if (peer !== undefined) this.pump.removePath(peer, path);
  }

  // ---- connecting ----

  #connect(): Session {
    const { pump } = this;
    this.silence.said = undefined;
    const now = this.#loop.now;
    // One that was closed before it was connected.
    const before = this.#connection?.peer;
    if (before?.isActive === false) pump.release(before);
    const options = new tunnel.PeerOptions({
      ...{ isClient: true, events: this.#events, budget: this.budget, records: this.#records },
      ...{ random: this.#random.unit, maxRetries: this.#start.maxRetries, idleMs: IDLE_MS },
      keepAliveMs: tunnel.KEEP_ALIVE_MS,
    });
    const session = new Session(now, options);
    let clientSession = this.#random.nonZero48();
    while (pump.peers.find(clientSession) !== undefined) clientSession = this.#random.nonZero48();
    const { tskd } = pump.clock;
    const handshake = new ClientHandshake(
      this.#primitives,
      tskd,
      this.#user,
      clientSession,
      this.#offered,
    );
    const peer = new Peer(session, clientSession, pump, this.#keyLimits);
    peer.sentSeconds = new SentSeconds();
    this.#makeRoom();
    pump.add(peer);
    const connection = this.#connection = {
      ...{ peer, handshake, options, takeRate: 0, tries: 0, firstHelloAt: 0, earlyNumber: -1 },
      resetToken: new Uint8Array(0),
    };
    this.#addPath(connection, this.#routes.next, true);
    const { upRate, downRate } = this.#start;
    if (upRate > 0 || downRate > 0) {
      session.sayRates(Math.floor(upRate / BYTES_A_KBIT), Math.floor(downRate / BYTES_A_KBIT));
    }
    this.#state = "connecting";
    return session;
  }

  #addPath(connection: Connection, route: Route, isProven: boolean): number {
    return this.pump.addPath(connection.peer, route, isProven, () => this.#controller(connection));
  }

  /** Sessions that are only closing do not keep a new one out. */
  #makeRoom(): void {
    if (!this.pump.peers.isFull) return;
    for (const peer of this.pump.peers.all()) this.pump.release(peer);
  }

  #controller({ takeRate }: Connection): CongestionController {
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
    if (now < this.#pauses.notBefore) this.#loop.arm(this, this.#pauses.notBefore);
    else if (!this.#awaitsData(connection)) this.#sendHello(connection, now);
    else if (this.heapIndex === NOT_ARMED) this.#loop.arm(this, now + EARLY_WAIT_MS);
  }

  #awaitsData({ peer: { session } }: Connection): boolean {
    return session.streamCount > 0 && !session.hasStreamBytes;
  }

  /** A HELLO was not answered, or the pause before the next attempt is over. */
  fire(now: number): void {
    const connection = this.#connection;
    if (connection === undefined || connection.peer.isActive) return;
    const tries = Math.max(this.#retries.length + 1, this.#routes.count);
    if (connection.tries >= tries) return this.#fail(connection, now);
    this.#sendHello(connection, now);
  }

  get #retries(): readonly number[] {
    return this.#tuning.helloRetryMs ?? HELLO_RETRY_MS;
  }

  #sendHello(connection: Connection, now: number): void {
    const { control, clock } = this.pump;
    clock.tick();
    if (connection.tries === 0) this.#buildEarly(connection, now);
    const wait = this.#retries[Math.min(connection.tries, this.#retries.length - 1)]!;
    connection.tries++;
    let isSent = false;
    let tried = this.#routes.next;
    // Each is tried on its own: a server's address that this machine can't reach costs no time.
    for (let i = 0; i < this.#routes.count && !isSent; i++) {
      const at = control.begin();
      const length = connection.handshake.hello(clock.unixMs, control.arena, at, PMTU_BASE);
      tried = this.#routes.next;
      control.add(tried, length);
      this.counters.hellos++;
      this.#routes.advance();
      isSent = control.send() === 1;
    }
    if (this.#routes.count === 0) this.silence.noName();
    else if (!isSent) this.silence.noWay(readEndpoint(tried, 0));
    this.#loop.arm(this, now + (isSent ? wait : Math.min(wait, NO_WAY_WAIT_MS)));
  }

  /** What the session has to say so far, as the frames of the HELLO. */
  #buildEarly(connection: Connection, now: number): void {
    const { session } = connection.peer;
    const room = new Uint8Array(helloFramesThatFit(PMTU_BASE));
    const length = session.build(now, room, 0, room.length);
    connection.firstHelloAt = now;
    connection.handshake.frames = room.subarray(0, length);
    if (length > 0) connection.earlyNumber = session.builtNumber;
  }

  #fail(connection: Connection, now: number): void {
    this.counters.failures++;
    // Whose network is not up keeps nobody busy by asking.
    if (!this.silence.isOurs) this.#pauses.begin(now);
    this.pump.clock.now = now;
    this.pump.release(connection.peer);
  }

  // ---- what the pump says ----

  handshake(arrival: Arrival): void {
    if (arrival.kind === PacketKind.accept) this.#onAccept(arrival);
    else this.#onReset(arrival);
  }

  #onAccept(arrival: Arrival): void {
    const connection = this.#connection;
    // One that came twice, or late.
    if (connection === undefined || connection.peer.isActive) return;
    if (arrival.session !== connection.handshake.clientSession) return;
    const { arena, at, length, window } = arrival;
    if (!connection.handshake.open(arena, at, length, window)) {
      this.pump.received.forged++;
      return;
    }
    if (connection.handshake.isRefused) this.#refused(connection, arrival);
    else this.#opened(connection, arrival);
  }

  /** The server knows us and lets us in no more: the session ends with what its CLOSE says. */
  #refused(connection: Connection, { arena }: Arrival): void {
    const { peer, handshake: { accept } } = connection;
    const { now } = this.pump;
    this.counters.refusals++;
    this.#pauses.refused(now);
    peer.session.receiveEarly(now, arena, accept.framesAt, accept.framesBytes);
    this.pump.release(peer);
  }

  #opened(connection: Connection, arrival: Arrival): void {
    const { pump } = this;
    const { peer, handshake, options } = connection;
    const { accept } = handshake;
    const { now } = pump;
    const keys = handshake.agree(pump.table);
    if (keys === undefined) return;
    this.#loop.disarm(this);
    this.counters.accepts++;
    this.#pauses.end();
    this.silence.said = undefined;
    this.#state = "open";
    const { route } = arrival;
    this.#routes.prefer(route);
    const isClear = connection.tries === 1;
    // Half the way back. After a retry nobody knows which HELLO was answered.
    const halfway = isClear ? (now - connection.firstHelloAt) / 2 : 0;
    this.clockOffsetMs += accept.timeMs + halfway - pump.clock.unixMs;
    pump.clock.tick();
    connection.resetToken = accept.resetToken.slice();
    options.idleMs = Math.max(1, accept.idleS) * 1000;
    peer.packetBytesMax = accept.maxDatagram;
    peer.session.packetBytesMax = Math.min(peer.session.packetBytesMax, accept.maxDatagram);
    connection.takeRate = accept.downKbps * BYTES_A_KBIT;
    pump.rechoose(peer, () => this.#controller(connection));
    peer.activate(now, accept.serverSession, keys.sendKeys, keys.receiveKeys);
    this.#settleEarly(connection, now, isClear);
    // What the HELLO asked for has arrived and will not be done: nobody may ask for it again.
    if (handshake.isNotRun) return pump.release(peer);
    this.#takePath(connection, route);
    if (accept.framesBytes > 0) {
      peer.session.receiveEarly(now, arrival.arena, accept.framesAt, accept.framesBytes);
    }
    this.#events.sessionOpened(peer.session, this.#start.user);
    pump.wake(peer);
  }

  /** ACCEPT proves that the HELLO's frames arrived, and how long the way is. */
  #settleEarly(connection: Connection, now: number, isClear: boolean): void {
    const { session } = connection.peer;
    const { earlyNumber } = connection;
    const way = session.recovery.path(0);
    if (way === undefined) return;
    if (earlyNumber >= 0) {
      session.recovery.onAck(now, Float64Array.of(earlyNumber, earlyNumber), 1, 0);
    } else if (isClear) way.rtt.update(now, now - connection.firstHelloAt, 0);
    if (isClear) return;
    // The time since the first HELLO is no round trip; the next packet shows a true one.
    way.rtt.sampled = false;
    way.rtt.smoothed = INITIAL_RTT_MS;
    way.rtt.variance = INITIAL_RTT_MS / 2;
  }

  /** The session goes by the route that the ACCEPT came by. */
  #takePath(connection: Connection, route: Route): void {
    const { peer } = connection;
    const { session } = peer;
    const [first] = peer.routes;
    if (first !== undefined && carrierOf(first) === carrierOf(route)) {
      this.pump.setRoute(peer, 0, route);
    } else {
      // It was another carrier's HELLO that was answered.
      session.activate(this.#addPath(connection, route, true));
      if (first !== undefined) this.pump.removePath(peer, 0);
    }
    const way = session.recovery.path(session.activePath);
    if (way !== undefined) way.probes = PROBES;
  }

  #onReset(arrival: Arrival): void {
    const { pump } = this;
    const connection = this.#connection;
    const { arena, at, length, window } = arrival;
    const { tskd } = pump.clock;
    const result = openReset(this.#primitives, tskd, arena, at, length, window, this.#reset);
    if (result !== OpenResult.ok) {
      pump.received.forged++;
      return;
    }
    const isBelieved = connection !== undefined && connection.peer.isActive &&
      this.#reset.isFor(connection.peer.peerId, connection.resetToken) &&
      connection.peer.sentLately(pump.now, this.#reset.number);
    if (!isBelieved) {
      this.counters.resetsRefused++;
      return;
    }
    this.counters.resets++;
    pump.release(connection.peer);
  }

  /**
   * The server may answer from another of its addresses: it is the same path, by the same carrier.
   */
  newRoute({ routes, session }: Peer, { carrier }: Arrival): number {
    const isIts = (route: Route | undefined) =>
      route !== undefined && carrierOf(route) === carrier.id;
    const { activePath } = session;
    return isIts(routes[activePath]) ? activePath : routes.findIndex(isIts);
  }

  pathGone(peer: Peer): void {
    // A session that is being connected takes the path that the ACCEPT comes by.
    if (peer.isActive && peer.session.activePath < 0) this.pump.release(peer);
  }

  confirmed(): void {
    // The server is known by its ACCEPT.
  }

  ownDue(): void {
    // Only the server gives peers a time of its own.
  }

  stranger(): void {
    // A session of ours that is over; the server will notice.
  }

  flushed(): void {
    // Nothing here depends on what was sent.
  }

  released(peer: Peer): void {
    const connection = this.#connection;
    if (connection === undefined || connection.peer !== peer) return;
    this.closeCode = peer.session.closeCode;
    connection.handshake.wipe();
    connection.resetToken.fill(0);
    this.#connection = undefined;
    this.#state = "lost";
    this.#loop.disarm(this);
  }
}

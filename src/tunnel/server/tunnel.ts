/**
 * The server's end of the tunnel: HELLOs become sessions, and what it has no session for gets a
 * RESET at most. Whoever does not authenticate gets no answer, and nothing is allocated for them.
 */

import type { Route } from "../../../ffi/endpoint.ts";
import type { Native } from "../../../ffi/native.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { BYTES_A_KBIT } from "../../base/units.ts";
import { HelloVerdict } from "../../crypto/hello_gate.ts";
import { ReplayFilter } from "../../crypto/replay_filter.ts";
import { buildReset, ResetReason } from "../../crypto/reset.ts";
import { Tskd } from "../../crypto/tskd.ts";
import type { UserAccount } from "../../proxy/users.ts";
import { chooseController } from "../../reliability/congestion/choose.ts";
import type { CongestionController } from "../../reliability/congestion/controller.ts";
import { FrameRecords } from "../../reliability/frame_records.ts";
import { PMTU_BASE } from "../../reliability/params.ts";
import { PathMtu } from "../../reliability/pmtu.ts";
import { TokenBucket } from "../../reliability/token_bucket.ts";
import { Budget } from "../../session/byte_ring.ts";
import { Session, type SessionOptions } from "../../session/session.ts";
import { CloseCode } from "../../wire/frames.ts";
import { RESETS_A_SECOND_MAX, UNPROVEN_PATH_FACTOR } from "../../wire/limits.ts";
import { PacketKind, SALT_AT } from "../../wire/packet.ts";
import { LateController } from "../late_controller.ts";
import type { Loop } from "../../loop/loop.ts";
import { PacketPump, type PathOwner } from "../packet_pump.ts";
import { RandomNumbers } from "../random_numbers.ts";
import { PACKET_ROOM } from "../send_batch.ts";
import { lower, ServerHandshakes } from "./handshakes.ts";
import { type KeyLimits, Peer } from "../peer.ts";
import { SessionMarks } from "./session_marks.ts";
import { SharedSalts } from "./shared_salts.ts";
import { ResetLimit, SourceTable } from "./sources.ts";
import * as tunnel from "../tunnel.ts";
import { type TunnelUser, TunnelUsers } from "./users.ts";
import type { ServerStart, UserSpec } from "../protocol.ts";
import { ownerMask, ownerOf, sessionIdOf } from "../../wire/session_id.ts";

/** Named maxima of a server, smaller in tests; each is counted when it is hit. */
export interface ServerTuning extends tunnel.TunnelTuning {
  /** Of the clean stop before; good for one start. */
  readonly replayRecord?: Uint8Array;
  /** What all workers of a server have of sharedSaltsMemory(); none where there is one worker. */
  readonly sharedSalts?: SharedArrayBuffer;
  readonly sessionsPerSource?: number;
  readonly handshakesPerSecond?: number;
  /** Bytes of 0-RTT frames held back, of all sessions. */
  readonly heldBytes?: number;
  /** A session whose client never sends DATA is dropped after this. */
  readonly confirmMs?: number;
}

/** How often a maximum was hit, and what else is worth a number. */
export class ServerCounters {
  handshakes = 0;
  /** HELLOs of a handshake that was answered before. */
  repeated = 0;
  resets = 0;
  sessionsRefused = 0;
  /** By sessions a source. */
  sourcesRefused = 0;
  /** By handshakes a second. */
  rateRefused = 0;
  /** By bytes of 0-RTT frames held back. */
  heldRefused = 0;
  /** Another worker has had this very HELLO. */
  sharedRefused = 0;
  /** Of users who have expired, or used up their traffic. */
  usersRefused = 0;
  /** No place in the cache of handshakes, or a public key of small order. */
  keysRefused = 0;
  neverConfirmed = 0;

  /** HELLOs that limits refused. */
  get refusals(): number {
    return this.sessionsRefused + this.sourcesRefused + this.rateRefused + this.heldRefused +
      this.usersRefused + this.keysRefused;
  }
}

const SESSIONS_PER_SOURCE = 1024;
const HANDSHAKES_PER_SECOND = 20_000;
const HELD_BYTES_MAX = 16 << 20;
const CONFIRM_MS = 15_000;
const RESET_INTERVAL_MS = 1000 / RESETS_A_SECOND_MAX;

/** A session of the server. */
class Guest extends Peer {
  user: TunnelUser | undefined;
  /** Its place in the table of sources, and in the cache of handshakes. */
  source = -1;
  handshake = -1;
  /** 0-RTT frames that wait for the first DATA. */
  early: Uint8Array | undefined;
}

export class ServerTunnel implements PathOwner {
  readonly counters: ServerCounters = new ServerCounters();
  readonly path: PacketPump;
  /** Of all streams of this worker. */
  readonly budget: Budget;
  readonly #loop: Loop;
  readonly #start: ServerStart;
  readonly #tuning: ServerTuning;
  readonly #events: tunnel.TunnelEvents;
  readonly #random: RandomNumbers;
  readonly #users: TunnelUsers;
  readonly #filter: ReplayFilter;
  readonly #salts: SharedSalts | undefined;
  readonly #handshakes: ServerHandshakes;
  readonly #sources: SourceTable;
  readonly #resetLimit: ResetLimit;
  readonly #handshakeRate: TokenBucket;
  readonly #records = new FrameRecords();
  readonly #keyLimits: KeyLimits;
  /** Of all sessions: one object, since each would keep its own. */
  readonly #sessionOptions: SessionOptions;
  /** The lowest bits of a session id say which worker's it is. */
  readonly #ownerMask: number;
  #marks: SessionMarks | undefined;
  #heldBytes = 0;
  #isClosed = false;

  constructor(
    loop: Loop,
    start: ServerStart,
    libs: { readonly native: Native },
    events: tunnel.TunnelEvents,
    tuning: ServerTuning = {},
  ) {
    this.#loop = loop;
    this.#start = start;
    this.#tuning = tuning;
    this.#events = events;
    this.#ownerMask = ownerMask(start.workers);
    this.#keyLimits = tunnel.keyLimits(tuning);
    this.budget = new Budget(tuning.bufferBytes ?? tunnel.BUFFER_BYTES_MAX);
    const primitives = new NativePrimitives(libs.native);
    this.#random = new RandomNumbers(primitives);
    const word = () => this.#random.u32();
    this.#filter = new ReplayFilter(primitives, loop.now);
    if (tuning.replayRecord !== undefined) this.#filter.restore(tuning.replayRecord);
    const { sharedSalts } = tuning;
    this.#salts = sharedSalts === undefined ? undefined : new SharedSalts(sharedSalts);
    const tskd = new Tskd(primitives, start.psk, this.#filter.oldest);
    const { unixMs = Date.now } = tuning;
    this.#users = new TunnelUsers({
      ...{ loop, primitives, psk: start.psk, accounts: start.accounts, thread: start.index },
      ...{ unixMs, denied: (user) => this.#deny(user) },
    });
    this.#users.set(start.users);
    const { sessionsMax, serverSecret, idleMs, upRate, downRate, maxRetries } = start;
    this.#sessionOptions = {
      ...{ isClient: false, events, budget: this.budget, records: this.#records },
      ...{ random: this.#random.unit, maxRetries, idleMs, keepAliveMs: Infinity },
      onRates: this.#onRates,
    };
    this.path = new PacketPump(loop, this, {
      primitives,
      budget: this.budget,
      tskd,
      sessionsMax,
      unixMs,
    });
    this.#handshakes = new ServerHandshakes({
      ...{ primitives, tskd, users: this.#users, filter: this.#filter },
      ...{ sessionsMax, secret: serverSecret, idleMs, upRate, downRate },
    });
    const perSource = tuning.sessionsPerSource ?? SESSIONS_PER_SOURCE;
    this.#sources = new SourceTable(sessionsMax, perSource, word);
    this.#resetLimit = new ResetLimit(RESET_INTERVAL_MS, word);
    this.#handshakeRate = new TokenBucket(tuning.handshakesPerSecond ?? HANDSHAKES_PER_SECOND);
  }

  /** Binds the port; from then on the loop serves. */
  start(): void {
    this.path.open({ local: this.#start.listen, reusePort: true });
    if (this.#start.marks) this.#marks = new SessionMarks(this.port);
  }

  /** Says CLOSE to all, wipes all keys and lets go of the port. */
  stop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const link of this.path.links.all()) {
      link.session.close(this.path.now, CloseCode.done);
      this.path.touch(link);
    }
    if (this.path.isOpen) this.path.drain();
    this.path.close();
    this.#users.wipe();
    this.#handshakes.wipe();
  }

  get port(): number {
    return this.path.socket.local.port;
  }

  /** The descriptor of its socket, for programs that are put on it. */
  get socket(): number {
    return this.path.socket.fd;
  }

  /** What is new of sessions' addresses, for the kernel's table. */
  takeMarks(): Uint8Array<ArrayBuffer> | undefined {
    return this.#marks?.take();
  }

  /** HELLOs that were said before, here or to another worker. */
  get replays(): number {
    const { exact, bloom } = this.#filter.counts;
    return exact + bloom + this.counters.sharedRefused;
  }

  /** Bits of UdpFlag that the socket has. */
  get features(): number {
    return this.path.socket.features;
  }

  /** Of a clean stop, for `replayRecord` of the next start. Call it when no HELLO can come. */
  saveReplayRecord(): Uint8Array<ArrayBuffer> {
    return this.#filter.save();
  }

  /** To be called after the application wrote, finished, reset, answered or resumed. */
  wake(session: Session): void {
    const link = this.path.linkOf(session);
    if (link !== undefined) this.path.touch(link);
  }

  /** The users from now on; the sessions of those that are gone, or have a new key, are closed. */
  setUsers(specs: readonly UserSpec[]): void {
    this.#users.set(specs);
    for (const link of this.path.links.all()) limit(link as Guest);
  }

  /** What a user has used, and may use. */
  accountOf(user: string): UserAccount | undefined {
    return this.#users.named(user)?.account;
  }

  #deny(user: TunnelUser): void {
    for (const link of this.path.links.all()) {
      if ((link as Guest).user !== user || !link.session.isOpen) continue;
      link.session.close(this.#loop.now, CloseCode.denied);
      this.path.touch(link);
    }
  }

  // ---- handshakes ----

  handshake(kind: number, i: number): void {
    const { path, counters } = this;
    if (kind !== PacketKind.hello) {
      path.received.junk++;
      return;
    }
    if (!this.#handshakeRate.take(path.now, 1)) {
      counters.rateRefused++;
      return;
    }
    this.#handshakes.gate.advance();
    const { inbox, headers, tskd } = path;
    const verdict = this.#handshakes.receive(
      inbox.arena,
      inbox.offset(i),
      inbox.length(i),
      tskd.maskWindows[headers.window(i)]!,
      path.unixMs,
      path.now,
    );
    if (verdict === HelloVerdict.drop) return;
    if (verdict === HelloVerdict.repeated) {
      counters.repeated++;
      this.#sendAccept(this.#handshakes.gate.slot, path.routeOf(i), inbox.length(i));
      return;
    }
    const saltAt = inbox.offset(i) + SALT_AT;
    if (this.#salts?.claim(this.#handshakes.hello.window, inbox.arena, saltAt) === false) {
      counters.sharedRefused++;
      return;
    }
    const route = path.routeOf(i);
    const source = this.#admit(route, verdict === HelloVerdict.held);
    if (source >= 0) this.#open(i, route, source, verdict === HelloVerdict.held);
  }

  /** Whether there is room for another session: its place in the table of sources, or -1. */
  #admit(route: Route, isHeld: boolean): number {
    const { counters } = this;
    const { account } = this.#users.of(this.#handshakes.hello.user!);
    if (account.admitSession(this.path.unixMs) !== "ok") {
      counters.usersRefused++;
      return -1;
    }
    if (this.path.links.isFull) {
      counters.sessionsRefused++;
      return -1;
    }
    const heldBytes = isHeld ? this.#heldBytes + this.#handshakes.hello.framesBytes : 0;
    if (heldBytes > (this.#tuning.heldBytes ?? HELD_BYTES_MAX)) {
      counters.heldRefused++;
      return -1;
    }
    const source = this.#sources.enter(route);
    if (source < 0) counters.sourcesRefused++;
    return source;
  }

  #open(i: number, route: Route, source: number, isHeld: boolean): void {
    const { path, counters } = this;
    const { hello } = this.#handshakes;
    const localId = this.#newId();
    const keys = this.#handshakes.agree(path.now, localId, path.table);
    if (keys === undefined) {
      counters.keysRefused++;
      this.#sources.leave(source);
      return;
    }
    counters.handshakes++;
    const user = this.#users.of(hello.user!);
    const link = this.#makeLink(localId, user);
    link.activate(path.now, hello.clientSession, keys.sendKeys, keys.receiveKeys);
    link.source = source;
    link.handshake = keys.handshake;
    this.#users.entered(user);
    path.add(link);
    this.#openPath(link, route, path.now, path.inbox.length(i));
    this.#sendAccept(keys.handshake, route, path.inbox.length(i), link);
    link.ownDueAt = path.now + (this.#tuning.confirmMs ?? CONFIRM_MS);
    this.#events.sessionOpened(link.session, hello.user!.name);
    this.#takeEarly(link, isHeld);
    path.touch(link);
  }

  #makeLink(localId: number, user: TunnelUser): Guest {
    const session = new Session(this.path.now, this.#sessionOptions);
    const link = new Guest(session, localId, this.path, this.#keyLimits);
    link.user = user;
    link.account = user.account;
    limit(link);
    return link;
  }

  /** A path to where a packet came from; its index, or -1. */
  #openPath(link: Peer, route: Route, now: number, heardBytes: number): number {
    const { session } = link;
    const controller = new LateController(() => this.#controller(link as Guest));
    const index = session.addPath(false, controller, new PathMtu());
    if (index < 0) return index;
    link.routes[index] = route;
    link.heardAt[index] = now;
    session.pathState(index)!.receivedBytes = heardBytes;
    return index;
  }

  /** The client said what its line takes: from now on data goes at the rate that both state. */
  readonly #onRates = (session: Session, _upKbps: number, downKbps: number): void => {
    const link = this.path.linkOf(session);
    if (link === undefined) return;
    link.takeRate = downKbps * BYTES_A_KBIT;
    for (let index = 0; index < link.routes.length; index++) {
      const controller = session.recovery.path(index)?.controller;
      if (controller instanceof LateController) {
        controller.replace(() => this.#controller(link as Guest));
      }
    }
  };

  #controller({ user, takeRate }: Guest): CongestionController {
    return chooseController({
      sendRate: lower(this.#start.upRate, user?.downRate ?? 0),
      takeRate,
      floorPackets: this.#start.windowPackets,
      packetBytes: PMTU_BASE,
      random: this.#random.unit,
    });
  }

  #sendAccept(handshake: number, route: Route, helloBytes: number, link?: Peer): void {
    const { path } = this;
    const { control } = path;
    if (control.isFull) path.sendControl();
    // An address that has not proved that it is there gets no flood from us.
    const room = Math.min(PACKET_ROOM, UNPROVEN_PATH_FACTOR * helloBytes);
    const length = this.#handshakes.answer(handshake, path.unixMs, control.arena, control.at, room);
    if (length === 0) return;
    control.add(route, length);
    if (link !== undefined) link.session.pathState(0)!.sentBytes += length;
  }

  #takeEarly(link: Guest, isHeld: boolean): void {
    const { framesAt, framesBytes } = this.#handshakes.hello;
    const { arena } = this.path.inbox;
    if (framesBytes === 0) return;
    if (!isHeld) {
      link.session.receiveEarly(this.path.now, arena, framesAt, framesBytes);
      return;
    }
    link.early = arena.slice(framesAt, framesAt + framesBytes);
    this.#heldBytes += framesBytes;
  }

  /** Random, not in use, not 0, and with this worker's index in its lowest bits. */
  #newId(): number {
    for (;;) {
      const id = sessionIdOf(this.#random.u32(), this.#start.index, this.#ownerMask);
      if (id !== 0 && this.path.links.find(id) === undefined) return id;
    }
  }

  // ---- what the path says ----

  confirmed(link: Peer, now: number): void {
    const guest = link as Guest;
    const { session, early } = guest;
    link.ownDueAt = Infinity;
    // Only who got the ACCEPT has the keys: the address is where the client is.
    const first = session.pathState(session.activePath);
    if (first !== undefined && link.heardAt[first.index] === now) first.isProven = true;
    this.#markOpened(link);
    if (early === undefined) return;
    guest.early = undefined;
    this.#heldBytes -= early.length;
    session.receiveEarly(now, early, 0, early.length);
  }

  newRoute(link: Peer, i: number, now: number): number {
    const route = this.path.routeOf(i);
    const index = this.#openPath(link, route, now, 0);
    if (index >= 0 || !this.#dropOldestPath(link)) return index;
    return this.#openPath(link, route, now, 0);
  }

  /** Makes room for another path: of those that carry no data the one unheard of for longest. */
  #dropOldestPath(link: Peer): boolean {
    const { session, routes, heardAt } = link;
    let oldest = -1;
    for (let i = 0; i < routes.length; i++) {
      if (i === session.activePath || session.pathState(i) === undefined) continue;
      if (oldest < 0 || heardAt[i]! < heardAt[oldest]!) oldest = i;
    }
    if (oldest < 0) return false;
    this.#removePath(link, oldest);
    return true;
  }

  #markOpened(link: Peer): void {
    const route = link.routes[link.session.activePath];
    if (route !== undefined) this.#marks?.opened(route);
  }

  #removePath(link: Peer, index: number): void {
    const route = link.routes[index];
    if (route !== undefined) this.#marks?.closed(route);
    link.session.removePath(index);
    link.routes[index] = undefined;
  }

  flushed(link: Peer): void {
    const { session } = link;
    const { activePath } = session;
    if (activePath !== link.lastActive) {
      const before = link.lastActive;
      link.lastActive = activePath;
      // The client has moved: what was under way to its old address is sent again to the new one.
      if (session.pathState(before) !== undefined) this.#removePath(link, before);
      if (link.isConfirmed) this.#markOpened(link);
    }
  }

  ownDue(link: Peer): void {
    if (link.isConfirmed) return;
    this.counters.neverConfirmed++;
    this.path.release(link);
  }

  released(link: Peer, now: number): void {
    const guest = link as Guest;
    for (const route of link.routes) if (route !== undefined) this.#marks?.closed(route);
    this.#heldBytes -= guest.early?.length ?? 0;
    this.#users.left(guest.user!);
    this.#sources.leave(guest.source);
    this.#handshakes.cache.release(guest.handshake, now);
  }

  stranger(session: number, number: number, i: number): void {
    const { path } = this;
    if (!this.#isOurs(session)) return;
    const route = path.routeOf(i);
    if (!this.#resetLimit.admits(route, path.now)) return;
    const { control } = path;
    if (control.isFull) path.sendControl();
    const fields = {
      timeMs: path.unixMs,
      session,
      number,
      token: this.#handshakes.token(session),
      reason: ResetReason.unknownSession,
    };
    const length = buildReset(path.primitives, path.tskd, fields, control.arena, control.at);
    if (length === 0) return;
    control.add(route, length);
    this.counters.resets++;
  }

  /** Another worker may have the session; one that no worker can have anybody may answer. */
  #isOurs(session: number): boolean {
    const owner = ownerOf(session, this.#ownerMask);
    return owner === this.#start.index || owner >= this.#start.workers;
  }
}

/** Has a session keep to the limits of its user. */
function limit(link: Guest): void {
  const { up, down, packets } = link.user!;
  link.sendLimit = down.unlimited ? undefined : down;
  link.receiveLimit = packets.unlimited ? undefined : packets;
  link.session.limitReading(up.unlimited ? undefined : up);
}

/**
 * The server's end of the tunnel: HELLOs become sessions, and what it has no session for gets a
 * RESET at most. Whoever does not authenticate gets no answer, and nothing is allocated for them.
 */

import { cipherMachine } from "../../../ffi/aead.ts";
import { type Route, routeWords } from "../../../ffi/endpoint.ts";
import { bootMs } from "../../../ffi/loop.ts";
import { toClient } from "../../../ffi/mask.ts";
import type { Native } from "../../../ffi/native.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { BYTES_A_KBIT } from "../../base/units.ts";
import { type Cipher, NO_CIPHER, offerOf } from "../../crypto/ciphers.ts";
import { HelloVerdict } from "../../crypto/hello_gate.ts";
import { PathTokens } from "../../crypto/path_tokens.ts";
import type { Primitives } from "../../crypto/primitives.ts";
import { ReplayMemory, replayMemory, RestingMemory } from "../../crypto/replay_memory.ts";
import { buildReset, ResetReason } from "../../crypto/reset.ts";
import { ClockReader } from "../../crypto/server_clock.ts";
import { SessionIds } from "../../crypto/session_ids.ts";
import { Tskd } from "../../crypto/tskd.ts";
import type { Loop } from "../../loop/loop.ts";
import type { UserAccount } from "../../proxy/users.ts";
import { FrameRecords } from "../../reliability/frame_records.ts";
import { Budget } from "../../session/byte_ring.ts";
import type { SessionPath } from "../../session/paths.ts";
import { Session, type SessionOptions } from "../../session/session.ts";
import { UdpCarrier } from "../../transport/udp.ts";
import { CloseCode } from "../../wire/frames.ts";
import { RESETS_A_SECOND_MAX, UNPROVEN_PATH_FACTOR } from "../../wire/limits.ts";
import { SALT_AT } from "../../wire/packet.ts";
import { ownerMask, ownerOf } from "../../wire/session_id.ts";
import type { Arrival } from "../arrival.ts";
import { CONTROL_ROOM } from "../control_batch.ts";
import { PacketPump, type PumpOwner } from "../packet_pump.ts";
import type { KeyLimits } from "../peer_keys.ts";
import type { ServerStart, UserSpec } from "../protocol.ts";
import { RandomNumbers } from "../random_numbers.ts";
import * as tunnel from "../tunnel.ts";
import { Admission } from "./admission.ts";
import { EndedSessions } from "./ended_sessions.ts";
import { GiveWay } from "./give_way.ts";
import { Guest } from "./guest.ts";
import { GuestPaths } from "./guest_paths.ts";
import { ServerHandshakes } from "./handshakes.ts";
import { ResetLimit } from "./sources.ts";
import { Strays } from "./strays.ts";
import { ServerCounters, type ServerTuning } from "./tuning.ts";
import { type TunnelUser, TunnelUsers } from "./users.ts";

export { ServerCounters, type ServerTuning };

const CONFIRM_MS = 15_000;
const RESET_INTERVAL_MS = 1000 / RESETS_A_SECOND_MAX;

export class ServerTunnel implements PumpOwner<Guest> {
  readonly counters: ServerCounters = new ServerCounters();
  readonly pump: PacketPump<Guest>;
  /** The carrier that there always is. */
  readonly udp: UdpCarrier;
  /** Of all streams of this worker. */
  readonly budget: Budget;
  readonly #loop: Loop;
  readonly #start: ServerStart;
  readonly #tuning: ServerTuning;
  readonly #events: tunnel.TunnelEvents;
  readonly #primitives: Primitives;
  readonly #random: RandomNumbers;
  readonly #ids: SessionIds;
  readonly #users: TunnelUsers;
  readonly #replays: ReplayMemory;
  readonly #ended = new EndedSessions();
  readonly #handshakes: ServerHandshakes;
  readonly #admission: Admission;
  readonly #paths: GuestPaths;
  readonly #giveWay: GiveWay;
  readonly #resetLimit: ResetLimit;
  /** Between workers; none where there is one. */
  readonly strays: Strays | undefined;
  readonly #keyLimits: KeyLimits;
  /** Of all sessions: one object, since each would keep its own. */
  readonly #sessionOptions: SessionOptions;
  /** The lowest bits of a session id say which worker's it is. */
  readonly #ownerMask: number;
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
    const budget = this.budget = new Budget(tuning.bufferBytes ?? tunnel.BUFFER_BYTES_MAX);
    const primitives = this.#primitives = new NativePrimitives(libs.native);
    this.#random = new RandomNumbers(primitives);
    const word = () => this.#random.u32();
    const shared = start.replay ?? blindMemory(libs.native, word);
    const memory = this.#replays = new ReplayMemory(shared, start.index);
    const tskd = new Tskd(primitives, start.psk, start.before?.oldestWindow);
    const { unixMs, beginnings } = this.#clockOf(libs.native);
    const users = this.#users = new TunnelUsers({
      ...{ loop, primitives, psk: start.psk, accounts: start.accounts, thread: start.index },
      ...{ unixMs, denied: (user) => this.#deny(user) },
    });
    users.set(start.users);
    const { sessionsMax, serverSecret, idleMs, upRate, downRate, windowPackets } = start;
    const { generation, index, workers, cipher } = start;
    const ids = this.#ids = new SessionIds(primitives, {
      ...{ secret: serverSecret, generation, worker: index, workers },
    });
    const tokens = new PathTokens(primitives, serverSecret);
    this.#sessionOptions = this.#optionsOfSessions();
    this.pump = new PacketPump<Guest>(loop, this, {
      ...{ primitives, sends: toClient, budget, tskd, sessionsMax, unixMs, beginnings },
      records: this.#sessionOptions.records,
    });
    this.udp = new UdpCarrier(loop, this.pump, { mtu: tunnel.DATAGRAM_SIZES });
    const ways = { upRate, windowPackets, random: this.#random.unit, tokens };
    this.#paths = new GuestPaths(this.pump, ways);
    this.#handshakes = new ServerHandshakes({
      ...{ primitives, tskd, users, memory, ids, tokens, sessionsMax, idleMs, upRate, downRate },
      ciphers: offerOf(cipherMachine(libs.native), cipher),
    });
    const giveWay = this.#giveWay = new GiveWay(this.pump);
    const makeRoom = (user: TunnelUser) => giveWay.makeRoom(user);
    this.#admission = new Admission(this.pump.peers, this.counters, tuning, word, makeRoom);
    this.#resetLimit = new ResetLimit(RESET_INTERVAL_MS, word);
    this.strays = Strays.between(loop, this.pump, tuning.neighbours);
    const { ended } = start.before ?? {};
    if (ended !== undefined) this.#ended.restore(ended, loop.now, (id) => this.#isOwn(id));
  }

  /** The time that windows follow, and how often it has begun anew. */
  #clockOf(native: Native): { unixMs: () => number; beginnings: () => number } {
    const { unixMs = Date.now } = this.#tuning;
    const { clock } = this.#start;
    if (clock === undefined) return { unixMs, beginnings: () => 0 };
    const reader = new ClockReader(clock, () => bootMs(native));
    return { unixMs: () => reader.unixMs(), beginnings: () => reader.beginnings };
  }

  #optionsOfSessions(): SessionOptions {
    const { maxRetries, idleMs } = this.#start;
    return {
      isClient: false,
      events: this.#events,
      budget: this.budget,
      records: new FrameRecords(),
      random: this.#random.unit,
      maxRetries,
      idleMs,
      keepAliveMs: Infinity,
      provesPath: (session, path, high, low) => {
        const guest = this.pump.peerOf(session);
        return guest !== undefined && this.#paths.proves(guest, path, high, low);
      },
      // The client said what its line takes: from now on data goes at the rate that both state.
      onRates: (session, _upKbps, downKbps) => {
        const guest = this.pump.peerOf(session);
        if (guest === undefined) return;
        guest.takeRate = downKbps * BYTES_A_KBIT;
        this.#paths.rechoose(guest);
      },
    };
  }

  /** Binds the port; from then on the loop serves. */
  start(): void {
    this.udp.open({ local: this.#start.listen, reusePort: true });
    this.pump.addCarrier(this.udp);
    if (this.#start.marks) this.#paths.mark(this.port);
  }

  /** Says CLOSE to all, wipes all keys and lets go of the port. */
  stop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { pump } = this;
    for (const guest of pump.peers.all()) {
      guest.session.close(pump.now, CloseCode.done);
      pump.wake(guest);
    }
    pump.drain();
    pump.close();
    this.#users.wipe();
    this.#ids.wipe();
    this.#paths.wipe();
  }

  get port(): number {
    return this.udp.local.port;
  }

  /** The descriptor of its socket, for programs that are put on it. */
  get socket(): number {
    return this.udp.fd;
  }

  /** What is new of sessions' addresses, for the kernel's table. */
  takeMarks(): Uint8Array<ArrayBuffer> | undefined {
    return this.#paths.takeMarks(this.udp);
  }

  /** HELLOs that did not open, by why. */
  get unopened(): Readonly<Record<string, number>> {
    return this.#handshakes.gate.dropped;
  }

  /** HELLOs that were said before, here or to another worker. */
  get replays(): number {
    return this.#replays.counts.replays;
  }

  /** Sessions that showed no life when their user came again. */
  get gaveWay(): number {
    return this.#giveWay.count + this.#giveWay.displaced;
  }

  /** Bits of UdpFlag that the socket has. */
  get features(): number {
    return this.udp.features;
  }

  /** The sessions that have ended, for the next start. After `stop`, all have. */
  endedSessions(): Uint8Array<ArrayBuffer> {
    return this.#ended.save(this.pump.now);
  }

  /** To be called after the application wrote, finished, reset, answered or resumed. */
  wake(session: Session): void {
    const guest = this.pump.peerOf(session);
    if (guest !== undefined) this.pump.wake(guest);
  }

  /** The users from now on; the sessions of those that are gone, or have a new key, are closed. */
  setUsers(specs: readonly UserSpec[]): void {
    this.#users.set(specs);
    for (const guest of this.pump.peers.all()) guest.limit();
  }

  /** What a user has used, and may use. */
  accountOf(user: string): UserAccount | undefined {
    return this.#users.named(user)?.account;
  }

  #deny(user: TunnelUser): void {
    for (const guest of this.pump.peers.all()) {
      if (guest.user !== user || !guest.session.isOpen) continue;
      const code = user.refusal(this.pump.clock.unixMs) || CloseCode.denied;
      guest.session.close(this.#loop.now, code);
      this.pump.wake(guest);
    }
  }

  // ---- handshakes ----

  handshake(arrival: Arrival): void {
    const { pump, counters } = this;
    const { clock } = pump;
    const { arena, at, length } = arrival;
    if (!this.#admission.takes(clock.now, arena, at + SALT_AT)) return;
    const { window } = arrival;
    const verdict = this.#handshakes.receive(arena, at, length, window, clock, clock.now);
    this.#tuning.guests?.lookedAt(this.#handshakes.hello, arrival, counters);
    if (verdict === HelloVerdict.drop) return;
    const { route } = arrival;
    if (verdict === HelloVerdict.another) return this.#handOver(arrival);
    if (verdict === HelloVerdict.repeated) {
      return this.#acceptAgain(this.#handshakes.gate.slot, route, length);
    }
    const { hello } = this.#handshakes;
    const heldBytes = verdict === HelloVerdict.held ? hello.framesBytes : 0;
    const user = this.#users.of(hello.user!);
    const source = this.#admission.admit(route, user, clock.unixMs, heldBytes);
    const cipher = this.#handshakes.choose();
    if (source >= 0 && cipher !== NO_CIPHER) {
      return this.#open(arrival, route, source, user, cipher, verdict);
    }
    // Nothing of it has run: when it comes again it is as if it came first.
    this.#handshakes.gate.forget();
    if (source < 0) return this.#refuseOrWait(user, route, length);
    counters.ciphersRefused++;
    this.#admission.leave(source);
    this.#refuse(user, CloseCode.noCommonCipher, route, length);
  }

  #open(
    arrival: Arrival,
    route: Route,
    source: number,
    user: TunnelUser,
    cipher: Cipher,
    verdict: HelloVerdict,
  ): void {
    const { pump, counters } = this;
    const { now } = pump;
    const { hello } = this.#handshakes;
    const localId = this.#newId();
    const isNotRun = verdict === HelloVerdict.notRun;
    const keys = this.#handshakes.agree(localId, cipher, isNotRun, pump.table);
    if (keys === undefined) {
      counters.keysRefused++;
      this.#handshakes.gate.forget();
      this.#admission.leave(source);
      return;
    }
    counters.handshakes++;
    if (isNotRun) counters.notRun++;
    const session = new Session(now, this.#sessionOptions);
    const guest = new Guest(session, localId, pump, this.#keyLimits);
    guest.setUser(user);
    guest.activate(now, hello.clientSession, keys.sendKeys, keys.receiveKeys);
    guest.source = source;
    guest.handshake = keys.handshake;
    guest.enteredAt = now;
    this.#users.entered(user);
    this.#giveWay.entered(guest);
    pump.add(guest);
    this.#paths.open(guest, route, arrival.length);
    this.#sendAccept(keys.handshake, route, arrival.length, guest.session.pathState(0));
    guest.ownDueAt = now + (this.#tuning.confirmMs ?? CONFIRM_MS);
    this.#events.sessionOpened(session, hello.user!.name);
    if (!isNotRun) this.#takeEarly(guest, arrival.arena, verdict === HelloVerdict.held);
    pump.wake(guest);
  }

  /** Another worker has the handshake: it answers once more, to here, and nothing is run again. */
  #handOver({ carrier, route, length }: Arrival): void {
    const { owner } = this.#handshakes.gate;
    this.counters.handedOver++;
    // A connection goes there itself, and its client's next HELLO by it.
    if (carrier.strayed !== undefined) return carrier.strayed(route, owner);
    this.#tuning.neighbours?.tell(owner, this.#handshakes.handOver(route, length));
  }

  /** Another worker has handed over a HELLO of a handshake that is this one's. */
  takeHandedOver(message: Uint8Array): void {
    const { pump } = this;
    if (!pump.isOpen || !this.#admission.takesHandedOver(pump.now)) return;
    pump.clock.read();
    const route: Route = new Uint32Array(routeWords);
    const helloBytes = this.#handshakes.receiveHandedOver(message, route);
    if (helloBytes === 0) return;
    this.#acceptAgain(this.#handshakes.gate.slot, route, helloBytes);
    pump.control.send();
  }

  /** Another worker has handed over packets for sessions of this one. */
  takeStrays(message: Uint8Array<ArrayBuffer>): void {
    this.strays?.take(message, this.udp);
  }

  /** A HELLO was repeated; it may come from where its session has a path, or not. */
  #acceptAgain(handshake: number, route: Route, helloBytes: number): void {
    this.counters.repeated++;
    const guest = this.pump.peers.find(this.#handshakes.cache.serverSession(handshake));
    const path = guest?.session.pathState(guest.pathBy(route));
    if (path !== undefined) path.receivedBytes += helloBytes;
    this.#sendAccept(handshake, route, helloBytes, path);
  }

  /** An address that has not proved that it is there gets no flood from us. */
  #sendAccept(handshake: number, route: Route, helloBytes: number, path?: SessionPath): void {
    const { control, clock } = this.pump;
    const at = control.begin();
    const allowed = path?.allowance ?? UNPROVEN_PATH_FACTOR * helloBytes;
    const room = Math.min(CONTROL_ROOM, allowed);
    const { unixMs } = clock;
    const length = this.#handshakes.answer(handshake, route, unixMs, control.arena, at, room);
    if (length === 0) return;
    control.add(route, length);
    if (path !== undefined) path.sentBytes += length;
  }

  /** A user with as many sessions as they may have gets one if an old one shows no life. */
  #refuseOrWait(user: TunnelUser, route: Route, helloBytes: number): void {
    const { refusal } = this.#admission;
    this.#handshakes.gate.forget();
    if (refusal === CloseCode.tooManySessions && user.isCrowded) {
      if (this.#giveWay.isDue(user)) {
        return this.#askAll(user);
      }
      if (!this.#giveWay.isRefused(user)) return;
    }
    this.#refuse(user, refusal, route, helloBytes);
  }

  /** Another worker has found this user at their maximum. */
  crowded(name: string, silentMs?: number): void {
    const user = this.#users.named(name);
    if (user !== undefined) this.#giveWay.ask(user, silentMs);
  }

  /**
   * A user has as many connections as they may: a client that was killed may hold some of them,
   * whose session shows no life. Whether it is asked now, here and by the other workers.
   */
  outOfConnections(name: string, silentMs: number): boolean {
    const user = this.#users.named(name);
    if (user === undefined || !this.#giveWay.isDue(user)) return false;
    this.#askAll(user, silentMs);
    return true;
  }

  #askAll(user: TunnelUser, silentMs?: number): void {
    this.#giveWay.ask(user, silentMs);
    this.#tuning.crowded?.(user.user.name, silentMs);
  }

  /** Says why there is no session, to a user who has proved their key. */
  #refuse(user: TunnelUser, code: CloseCode, route: Route, helloBytes: number): void {
    // Where the server is full it is not the user's limit: that is told by who counts it.
    const isTheirs = code !== CloseCode.tooManySessions || user.isCrowded;
    if (isTheirs) this.#tuning.guests?.limited(user.user.name, code, route);
    this.#handshakes.gate.forget();
    const { control, clock } = this.pump;
    const at = control.begin();
    const room = Math.min(CONTROL_ROOM, UNPROVEN_PATH_FACTOR * helloBytes);
    const length = this.#handshakes.refuse(code, clock.unixMs, control.arena, at, room);
    if (length > 0) control.add(route, length);
  }

  #takeEarly(guest: Guest, arena: Uint8Array<ArrayBuffer>, isHeld: boolean): void {
    const { framesAt, framesBytes } = this.#handshakes.hello;
    if (framesBytes === 0) return;
    if (!isHeld) {
      guest.session.receiveEarly(this.pump.now, arena, framesAt, framesBytes);
      return;
    }
    guest.early = arena.slice(framesAt, framesAt + framesBytes);
    this.#admission.hold(framesBytes);
  }

  #newId(): number {
    for (;;) {
      const id = this.#ids.next();
      if (this.pump.peers.find(id) === undefined) return id;
    }
  }

  // ---- what the pump says ----

  confirmed(guest: Guest, now: number): void {
    const { session, early } = guest;
    guest.ownDueAt = Infinity;
    this.#giveWay.shown(guest);
    this.#tuning.guests?.came(guest, this.udp.kind);
    this.#handshakes.cache.settle(guest.handshake);
    this.#paths.confirm(guest);
    if (early === undefined) return;
    guest.early = undefined;
    this.#admission.hold(-early.length);
    const mayRun = this.#handshakes.gate.mayRunLate(guest.handshake, this.pump.clock.bootMs);
    if (mayRun) session.receiveEarly(now, early, 0, early.length);
    // Another worker has, in a session that is not this one: the client begins anew.
    else session.close(now, CloseCode.internal);
  }

  newRoute(guest: Guest, arrival: Arrival): number {
    return this.#paths.openAnother(guest, arrival.route);
  }

  flushed(guest: Guest): void {
    this.#paths.follow(guest);
  }

  ownDue(guest: Guest, now: number): void {
    if (this.#giveWay.due(guest, now)) return;
    if (guest.isConfirmed) return;
    this.counters.neverConfirmed++;
    this.pump.release(guest);
  }

  pathGone(): void {
    // The client may come by another; if it does not, its session ends in its time.
  }

  released(guest: Guest, now: number): void {
    this.#giveWay.forget(guest);
    this.#paths.leave(guest);
    this.#admission.hold(-(guest.early?.length ?? 0));
    this.#users.left(guest.user!);
    this.#admission.leave(guest.source);
    this.#handshakes.cache.release(guest.handshake, now);
    this.#ended.remember(guest.localId, this.pump.highestOf(guest), now);
  }

  stranger(arrival: Arrival): void {
    const { control, clock } = this.pump;
    const { session, number, carrier } = arrival;
    if (!this.#isOwn(session)) {
      const owner = ownerOf(session, this.#ownerMask);
      // A connection goes there itself; where the kernel steers datagrams, none comes here.
      if (carrier.strayed === undefined) return this.strays?.give(owner, arrival);
      return carrier.strayed(arrival.route, owner);
    }
    const { route } = arrival;
    if (!this.#ids.isOurs(session) || !this.#ended.mayReset(session, number, clock.now)) return;
    if (!this.#resetLimit.admits(route, clock.now)) return;
    const fields = {
      timeMs: clock.unixMs,
      session,
      number,
      token: this.#ids.token(session),
      reason: ResetReason.unknownSession,
    };
    const at = control.begin();
    const length = buildReset(this.#primitives, clock.tskd, fields, control.arena, at);
    if (length === 0) return;
    control.add(route, length);
    this.#ended.answered(session, number, clock.now);
    this.counters.resets++;
  }

  /** Another worker may have the session; one that no worker can have anybody may answer. */
  #isOwn(session: number): boolean {
    const owner = ownerOf(session, this.#ownerMask);
    return owner === this.#start.index || owner >= this.#start.workers;
  }
}

/** A worker's own, which can tell nothing at first. */
function blindMemory(native: Native, random: () => number): SharedArrayBuffer {
  const memory = replayMemory(random);
  new RestingMemory(memory).startOver(bootMs(native));
  return memory;
}

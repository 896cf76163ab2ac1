/**
 * A session: streams and datagrams over any number of paths, for client and server alike.
 *
 * Pure: it is given opened plaintext and the time, and writes plaintext to be sealed; sockets,
 * keys and clocks are the driver's. `receive` and `build` take apart and put together packets in
 * the driver's memory and allocate nothing for each.
 *
 *     receive → StreamInput → Streams → events        build ← StreamOutput ← Streams ← write, …
 */

import { SENT_SLOTS_MIN } from "../reliability/params.ts";
import { PacketKind as SentKind, Recovery, type RecoverySink } from "../reliability/recovery.ts";
import type { FrameRecords } from "../reliability/frame_records.ts";
import type { CongestionController } from "../reliability/congestion/controller.ts";
import type { Path } from "../reliability/path.ts";
import type { PathMtu } from "../reliability/pmtu.ts";
import { ACK_LIST_LENGTH, ReceivedNumbers } from "../reliability/received.ts";
import type { TokenBucket } from "../reliability/token_bucket.ts";
import { NO_NUMBER, type NumberCell } from "../base/number_field.ts";
import { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import {
  AckRanges,
  CloseCode,
  FrameReader,
  FRAMES_BAD,
  FRAMES_END,
  FrameType,
  isAckEliciting,
  RstCode,
} from "../wire/frames.ts";
import { ACK_RANGES_MAX, DATA_OVERHEAD } from "../wire/limits.ts";
import type { Budget } from "./budget.ts";
import { Limit, SessionCounters } from "./counters.ts";
import { DatagramQueue } from "./datagram_queue.ts";
import * as limits from "./limits.ts";
import { NO_PATH, type SessionPath, SessionPaths } from "./paths.ts";
import { StreamInput } from "./stream_input.ts";
import { SCRAP_BYTES, StreamOutput } from "./stream_output.ts";
import { type StreamEvents, Streams } from "./streams.ts";

export { SessionCounters };

/**
 * What a session tells its driver. Called from receive() and onTimeout(): they may open, write,
 * finish and reset streams, but not build(), nor remove a path.
 */
export interface SessionEvents extends StreamEvents<Session> {
  datagram(
    session: Session,
    assoc: number,
    bytes: Uint8Array<ArrayBufferLike>,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void;
  assocEnded(session: Session, assoc: number): void;
  pong(session: Session, path: number, high: number, low: number): void;
  pathProven(session: Session, path: number): void;
  /** No answer on a path to so many probes; where there is another, it is active now. */
  pathDied?(session: Session, path: number): void;
  /** The end: by the peer, by close(), by silence. `isLocal`: it was not the peer. */
  closed(session: Session, code: number, isLocal: boolean): void;
}

export interface SessionOptions {
  readonly isClient: boolean;
  readonly events: SessionEvents;
  /** Of all sessions of a worker. */
  readonly budget: Budget;
  readonly records: FrameRecords;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  readonly maxRetries: number;
  /** Nothing received for so long ends the session. */
  readonly idleMs: number;
  /** Our own sign of life, where streams are open; Infinity: none. */
  readonly keepAliveMs: number;
  /** The peer stated its line in kbit/s, 0: not stated. For whoever chooses controllers. */
  readonly onRates?: (session: Session, upKbps: number, downKbps: number) => void;
}

const State = { open: 0, closing: 1, done: 2 } as const;
const TWO_32 = 0x1_0000_0000;
const NO_BYTES = new Uint8Array(0);
/** Of a session whose associations never ended; never added to. */
const NO_ASSOCS: number[] = [];

// One thread, no re-entry (see SessionEvents): these live as long as the module.
const reader = new FrameReader();
const writer = new Writer();
const ackRanges = new AckRanges();
const ackPairs = new Float64Array(Math.max(ACK_LIST_LENGTH, 2 * ACK_RANGES_MAX));

export class Session implements RecoverySink {
  readonly counters: SessionCounters = new SessionCounters();
  readonly recovery: Recovery;
  /** What the driver hangs on the session. */
  tag: unknown;
  /** Of the packet that build() wrote last. */
  builtNumber = 0;
  builtPath = NO_PATH;
  /** It is larger than the path's packets: IP has to be let fragment it. */
  builtIsLarge = false;
  /** Largest packet that the peer takes, and that is sent. */
  packetBytesMax: number = limits.PACKET_BYTES_MAX;
  /** The active path when a packet was built last. */
  #builtActive = NO_PATH;
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #keepAliveMs: number;
  readonly #streams: Streams<Session>;
  readonly #input: StreamInput<Session>;
  readonly #output: StreamOutput<Session>;
  readonly #paths: SessionPaths;
  readonly #datagrams = new DatagramQueue(limits.DATAGRAM_QUEUE_BYTES);
  readonly #received = new ReceivedNumbers();
  /** The first datagram waits for more to come by a path that is not proven. */
  #datagramWaits = false;
  #endedAssocs: number[] = NO_ASSOCS;
  #owesRates = false;
  #upKbps = 0;
  #downKbps = 0;
  #state: number = State.open;
  #closeCode: number = CloseCode.done;
  #owesClose = false;
  #closesLeft = 0;
  #closeAt = Infinity;
  #lastHeard: number;
  #lastSent: number;
  #shrunkAt: number;
  #now = NO_NUMBER;
  /** A path that recovery has just found dead. */
  #died = NO_PATH;
  /** Frame records were spent: when to try again. */
  #retryAt = Infinity;

  constructor(now: number, options: SessionOptions) {
    const { events, budget, records, isClient } = options;
    this.#options = options;
    this.#events = events;
    this.#keepAliveMs = options.keepAliveMs;
    this.recovery = new Recovery(this, records, options);
    this.#paths = new SessionPaths(isClient);
    this.#streams = new Streams<Session>(this, events, this.counters, budget);
    this.#input = new StreamInput(this.#streams, isClient);
    this.#output = new StreamOutput(this.#streams, this.recovery, writer);
    this.#lastHeard = this.#lastSent = this.#shrunkAt = now;
    this.#setNow(now);
  }

  get isOpen(): boolean {
    return this.#state === State.open;
  }

  /** Nothing will be sent or received any more: the driver forgets the session. */
  get isDone(): boolean {
    return this.#state === State.done;
  }

  get streamCount(): number {
    return this.#streams.table.count;
  }

  /** Whether a stream has bytes that wait to be sent. Looks at each: not for every packet. */
  get hasStreamBytes(): boolean {
    return this.#streams.table.hasBytes;
  }

  get closeCode(): number {
    return this.#closeCode;
  }

  /** The path that carries data, or -1. */
  get activePath(): number {
    return this.#paths.active;
  }

  /**
   * Limits what is read of the peer, whatever it is told or claims: data of streams waits, and with
   * it their windows; datagrams are dropped.
   */
  limitReading(limit: TokenBucket | undefined): void {
    this.#streams.readLimit = limit;
  }

  #setNow(now: number): void {
    this.#now = now;
    this.#streams.now = now;
  }

  // ---- paths ----

  /** Adds a path; its index, or -1 when there are too many. The first becomes the active one. */
  addPath(isProven: boolean, controller: CongestionController, pmtu: PathMtu): number {
    const index = this.#paths.freeIndex;
    if (index === NO_PATH || this.#state === State.done) return NO_PATH;
    this.recovery.addPath(index, controller, pmtu);
    this.#paths.add(index, isProven);
    this.#unstall();
    return index;
  }

  removePath(index: number): void {
    if (this.#paths.at(index) === undefined) return;
    const wasActive = index === this.activePath;
    this.recovery.removePath(index);
    this.#paths.remove(index);
    if (wasActive) this.#paths.activate(this.#bestPath(index));
  }

  pathState(index: number): SessionPath | undefined {
    return this.#paths.at(index);
  }

  /** Nothing is to be sent by a path while its carrier takes nothing. */
  holdPath(index: number, isHeld: boolean): void {
    const path = this.#paths.at(index);
    if (path !== undefined) path.isHeld = isHeld;
  }

  /** Asks the peer to prove that it is there. */
  challenge(now: number, index: number): void {
    const { random } = this.#options;
    this.#paths.at(index)?.challenge(now, random() * TWO_32 >>> 0, random() * TWO_32 >>> 0);
  }

  /** The client's choice: data goes this way from now on. */
  activate(index: number): void {
    this.#paths.activate(index);
    this.#unstall();
  }

  /** Measures a path: the PONG comes as an event. The id 0 is the session's own. */
  ping(index: number, high: number, low: number): void {
    this.#paths.at(index)?.ping(high, low);
  }

  /** Where data could go instead of `not`: a proven path rather than another; or NO_PATH. */
  #bestPath(not: number): number {
    let best = NO_PATH;
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined || i === not || this.recovery.path(i)?.dead) continue;
      if (best === NO_PATH || (path.isProven && !this.#paths.at(best)!.isProven)) best = i;
    }
    return best;
  }

  // ---- streams ----

  /**
   * Opens a stream to an address (as on the wire, copied); its id, or -1: there are too many, or
   * this is no client.
   */
  openStream(address: Uint8Array): number {
    return this.#options.isClient ? this.#streams.open(address) : -1;
  }

  /** Answers the client's stream with an OpenedCode; anything but ok also ends it. */
  answer(id: number, code: number, address: Uint8Array): void {
    if (!this.#options.isClient) this.#streams.answer(id, code, address);
  }

  /**
   * Takes bytes to be sent; how many. After less than `length`, `writable` tells of room. Bytes
   * that lie in the budget's memory are copied without garbage.
   */
  write(id: number, bytes: Uint8Array, at: number, length: number): number {
    return this.#streams.write(id, bytes, at, length);
  }

  /** Room that `write` has for a stream now, the budget aside. */
  room(id: number): number {
    const stream = this.#streams.table.get(id);
    return stream === undefined || stream.isReset ? 0 : stream.send.room;
  }

  /** Nothing more will be written. */
  finish(id: number): void {
    this.#streams.finish(id);
  }

  /** Gives a stream up, both ways. */
  reset(id: number, code: number = RstCode.cancelled): void {
    this.#streams.reset(id, code);
  }

  /** The reader can take data again. */
  resume(id: number): void {
    this.#streams.resume(id);
  }

  /**
   * Of a session that is over: whether the peer acknowledged nothing of a stream of ours, so that
   * it may be opened again elsewhere.
   */
  wasUnheard(id: number): boolean {
    return this.#streams.unheard.has(id);
  }

  // ---- datagrams ----

  /**
   * Queues a datagram. False: there is no room, or it is longer than any packet can carry
   * (counted). One that is longer than the path's packets goes alone in a larger one.
   */
  sendDatagram(
    assoc: number,
    address: Uint8Array,
    addressAt: number,
    addressLength: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const size = frames.datagramFrameBytes(assoc, addressLength, length);
    if (!this.isOpen || size > this.packetBytesMax - DATA_OVERHEAD) {
      this.counters.datagramsTooLong++;
      return false;
    }
    const slot = this.#datagrams.reserve(size);
    if (slot < 0) {
      this.counters.datagramsDropped++;
      return false;
    }
    writer.reset(this.#datagrams.memory, slot, slot + size);
    frames.writeDatagram(writer, assoc, address, addressAt, addressLength, bytes, at, length);
    this.#datagrams.commit(size);
    return true;
  }

  endAssoc(assoc: number): void {
    if (this.isOpen) this.#oweAssocEnd(assoc);
  }

  #oweAssocEnd(assoc: number): void {
    if (this.#endedAssocs === NO_ASSOCS) this.#endedAssocs = [];
    this.#endedAssocs.push(assoc);
  }

  /** Tells the peer this side's line in kbit/s, 0: not stated. */
  sayRates(upKbps: number, downKbps: number): void {
    this.#upKbps = upKbps;
    this.#downKbps = downKbps;
    this.#owesRates = this.isOpen;
  }

  /** Room that `build` has to be given for a datagram larger than the path's packets; or 0. */
  get largeBytes(): number {
    if (this.#datagrams.count === 0 || this.#state !== State.open) return 0;
    const length = this.#datagrams.firstLength;
    const path = this.recovery.path(this.activePath);
    return path === undefined || length <= path.packetBytes - DATA_OVERHEAD ? 0 : length;
  }

  /** More may be sent than before: whatever waited is looked at again. */
  #unstall(): void {
    this.#streams.table.isStalled = false;
    this.#datagramWaits = false;
  }

  // ---- the end ----

  /** Ends the session with a word to the peer. */
  close(now: number, code: number = CloseCode.done): void {
    this.#setNow(now);
    this.#fail(code);
  }

  #fail(code: number): void {
    if (this.#state !== State.open) return;
    this.#state = State.closing;
    this.#closeCode = code;
    this.#closesLeft = limits.CLOSE_REPEATS_MAX;
    this.#closeAt = this.#now + limits.CLOSE_DRAIN_MS;
    this.#owesClose = true;
    this.#streams.close();
    this.#events.closed(this, code, true);
  }

  #finishNow(code: number, isLocal: boolean): void {
    const wasOpen = this.#state === State.open;
    this.#state = State.done;
    this.#streams.close();
    this.#datagrams.release();
    this.recovery.close();
    if (!wasOpen) return;
    this.#closeCode = code;
    this.#events.closed(this, code, isLocal);
  }

  // ---- receiving ----

  /**
   * Takes the plaintext of a packet that opened and is not a repetition. False: it broke a rule
   * and the session is closing, or it was a CLOSE.
   */
  receive(
    now: number,
    pathIndex: number,
    number: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    wireBytes: number,
  ): boolean {
    this.#setNow(now);
    const path = this.#paths.at(pathIndex);
    if (path === undefined) return true;
    path.receivedBytes += wireBytes;
    this.counters.packetsReceived++;
    if (this.#state !== State.open) return this.#receiveClosing();
    this.#lastHeard = now;
    // A larger packet may be sent now to one that is not proven.
    if (!path.isProven) this.#unstall();
    if (this.recovery.path(pathIndex)!.dead) this.recovery.revive(pathIndex);
    const isHighest = number > this.#received.largest;
    const eliciting = this.#receiveFrames(path, bytes, at, length);
    if (this.#state !== State.open) return false;
    // A frame found no room: the packet counts as lost, so that the peer says it again.
    if (!this.#input.refused) this.#received.insert(now, number, eliciting);
    if (isHighest) this.#followPeer(now, path);
    return true;
  }

  /** The 0-RTT frames of a HELLO: they have no number and are never acknowledged. */
  receiveEarly(now: number, bytes: Uint8Array, at: number, length: number): boolean {
    this.#setNow(now);
    const path = this.#paths.at(this.activePath);
    if (path === undefined || !this.isOpen) return this.isOpen;
    this.#lastHeard = now;
    this.#receiveFrames(path, bytes, at, length);
    return this.isOpen;
  }

  #receiveClosing(): boolean {
    if (this.#state === State.closing && this.#closesLeft > 0) this.#owesClose = true;
    return false;
  }

  #followPeer(now: number, path: SessionPath): void {
    if (path.isProven) this.#paths.follow(path);
    else if (path.challengesLeft === 0 && path.challengeAt === Infinity) {
      this.challenge(now, path.index);
    }
  }

  /** Whether the packet asks for an acknowledgement. */
  #receiveFrames(path: SessionPath, bytes: Uint8Array, at: number, length: number): boolean {
    let eliciting = false;
    this.#input.refused = false;
    reader.reset(bytes, at, length);
    for (;;) {
      const type = reader.next();
      if (type === FRAMES_END) return eliciting;
      if (type === FRAMES_BAD) {
        this.#fail(reader.error);
        return eliciting;
      }
      if (isAckEliciting(type)) eliciting = true;
      if (type === FrameType.stream) this.#input.onStream(reader);
      else if (type === FrameType.ack) this.#onAck();
      else if (type === FrameType.datagram) this.#onDatagram();
      else if (type !== FrameType.padding) this.#onOther(type, path);
      if (this.#streams.failure !== 0) this.#fail(this.#streams.failure);
      if (this.#state !== State.open) return eliciting;
    }
  }

  #onOther(type: number, path: SessionPath): void {
    if (this.#input.onFrame(type, reader)) return;
    const { echoHigh, echoLow } = reader;
    switch (type) {
      case FrameType.ping:
        if (!path.owePong(echoHigh, echoLow)) this.#input.refused = true;
        return;
      case FrameType.pong:
        if (echoHigh !== 0 || echoLow !== 0) {
          this.#events.pong(this, path.index, echoHigh, echoLow);
        }
        return;
      case FrameType.pathChallenge:
        path.owesResponse = true;
        path.responseHigh = echoHigh;
        path.responseLow = echoLow;
        return;
      case FrameType.pathResponse:
        return this.#onPathResponse();
      case FrameType.pathStatus:
        this.#paths.onStatus(path, reader.sequence, reader.isActive);
        this.#unstall();
        return;
      case FrameType.assocEnd:
        return this.#events.assocEnded(this, reader.assoc);
      case FrameType.close:
        return this.#finishNow(reader.code, false);
      case FrameType.rates:
        this.#options.onRates?.(this, reader.upKbps, reader.downKbps);
    }
  }

  #onPathResponse(): void {
    const proven = this.#paths.onResponse(reader.echoHigh, reader.echoLow);
    if (proven === NO_PATH) return;
    this.#unstall();
    this.#events.pathProven(this, proven);
  }

  #onDatagram(): void {
    const { assoc, bytes, addressAt, addressLength, dataAt, length } = reader;
    const { readLimit } = this.#streams;
    if (readLimit !== undefined && !readLimit.take(this.#now, length)) {
      this.counters.datagramsOverRate++;
      return;
    }
    this.#events.datagram(this, assoc, bytes, addressAt, addressLength, dataAt, length);
  }

  #onAck(): void {
    const { ranges, delayUs } = reader;
    for (let i = 0; i < ranges.count; i++) {
      ackPairs[2 * i] = ranges.smallest(i);
      ackPairs[2 * i + 1] = ranges.largest(i);
    }
    if (!this.recovery.onAck(this.#now, ackPairs, ranges.count, delayUs / 1000)) {
      this.#fail(CloseCode.badFrame);
    }
    this.#output.isShort = false;
  }

  // ---- what recovery says ----

  acked(kind: number, id: number, offset: NumberCell, length: number): void {
    if (kind === FrameType.ack) this.#received.onAckAcked(offset[0]!);
    else if (isOfStream(kind)) this.#streams.acked(kind, id, offset, length);
  }

  lost(kind: number, id: number, offset: NumberCell, length: number): void {
    if (this.#state !== State.open) return;
    if (isOfStream(kind)) this.#streams.lost(kind, id, offset, length);
    else if (kind === FrameType.maxData) this.#streams.owesMaxData = true;
    else if (kind === FrameType.assocEnd) this.#oweAssocEnd(id);
    else if (kind === FrameType.rates) this.#owesRates = true;
    else if (kind === FrameType.pathStatus) this.#paths.statusLost(offset[0]!);
    else if (kind === FrameType.ping) this.#pingLost(id, offset[0]!, length);
  }

  #pingLost(index: number, high: number, low: number): void {
    const path = this.#paths.at(index);
    if (path?.pingHigh === high && path.pingLow === low) path.owesPing = true;
  }

  pathDead(index: number): void {
    this.#died = index;
  }

  // ---- sending ----

  /**
   * Writes the plaintext of the next packet at `at`, at most `room` bytes of it; its length, or 0:
   * nothing may be sent now. `builtNumber` and `builtPath` belong into its header.
   */
  build(now: number, bytes: Uint8Array, at: number, room: number): number {
    this.#setNow(now);
    if (this.#state !== State.open) return this.#buildClose(now, bytes, at, room);
    this.#streams.stampResets(now);
    if (this.#builtActive !== this.activePath) this.#leavePaths();
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined || i === this.activePath) continue;
      const way = this.recovery.path(i)!;
      if (!path.owesNow(now) && way.probes === 0) continue;
      const length = this.#buildOn(now, path, way, bytes, at, room);
      if (length > 0) return length;
    }
    const active = this.#paths.at(this.activePath);
    if (active === undefined) return 0;
    return this.#buildOn(now, active, this.recovery.path(active.index)!, bytes, at, room);
  }

  /** Data goes another way now: what is in flight where nobody answers must not wait there. */
  #leavePaths(): void {
    this.#builtActive = this.activePath;
    for (let i = 0; i < this.#paths.count; i++) {
      const way = this.recovery.path(i);
      if (way === undefined || i === this.activePath) continue;
      if (way.ptoCount > 0 || way.dead) this.recovery.abandon(i);
    }
  }

  /** The same when the probe timer of a path runs out that data has left. */
  #leaveSilent(): void {
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined) continue;
      const { ptoCount } = this.recovery.path(i)!;
      if (ptoCount > path.timeouts && i !== this.activePath) this.recovery.abandon(i);
      path.timeouts = ptoCount;
    }
  }

  #buildOn(
    now: number,
    path: SessionPath,
    way: Path,
    bytes: Uint8Array,
    at: number,
    room: number,
  ): number {
    if (path.isBlocked) return 0;
    const isActive = path.index === this.activePath;
    const maySend = way.canSend(now) && this.recovery.hasRoom();
    const ackDue = isActive && this.#received.ackDue(now);
    if (isActive && maySend && !ackDue && this.#datagrams.count > 0 && !path.owesNow(now)) {
      const large = this.#buildLarge(now, path, way, bytes, at, room);
      if (large > 0) return large;
    }
    const probe = maySend && !ackDue ? this.#mtuProbe(now, path, way, room) : 0;
    const size = path.atMost(probe > 0 ? probe : way.packetBytes);
    const most = Math.min(room, size - DATA_OVERHEAD);
    if (most <= 0) return 0;
    writer.reset(bytes, at, at + most);
    const hasData = isActive && maySend && probe === 0 && this.#hasData();
    const owes = path.owesNow(now);
    const wantsPing = way.probes > 0 || (isActive && this.#pingDue(now));
    const ack = ackDue ||
      (probe === 0 && (hasData || owes || wantsPing) && this.#received.ackWaiting);
    if (ack) this.#writeAck(now);
    const afterAck = writer.at;
    if (owes) this.#writePathFrames(now, path);
    if (hasData) this.#writeData(now, path, way, at);
    if (probe > 0) this.#writeProbe();
    // ACKs alone are never acknowledged: now and then one asks for it, so that ranges can go.
    const asks = wantsPing || (afterAck > at && this.#received.wantsPing());
    if (writer.at === afterAck && asks) frames.writePing(writer, 0, 0);
    const length = writer.at - at;
    const eliciting = writer.at > afterAck;
    if (afterAck > at) this.#received.onAckSent(eliciting);
    if (length > 0) {
      return this.#sent(now, path, length, probe > 0 ? SentKind.mtuProbe : +eliciting);
    }
    if (isActive) {
      if (maySend) way.onAppLimited();
      this.counters.limits.note(now, this.#limit(way, maySend));
    }
    this.recovery.discard();
    return 0;
  }

  /** Why nothing more goes out on the active path now: a Limit. */
  #limit(way: Path, maySend: boolean): number {
    if (!this.#hasData()) return this.#output.limit;
    if (maySend) return Limit.flow;
    return way.windowOpen && this.recovery.hasRoom() ? Limit.pacing : Limit.window;
  }

  /** A packet of one datagram that is larger than the path's packets; its length, or 0. */
  #buildLarge(
    now: number,
    path: SessionPath,
    way: Path,
    bytes: Uint8Array,
    at: number,
    room: number,
  ): number {
    const length = this.#datagrams.firstLength;
    if (length <= way.packetBytes - DATA_OVERHEAD) return 0;
    if (length > this.packetBytesMax - DATA_OVERHEAD) {
      // The peer has said what it takes since it was queued.
      this.counters.datagramsTooLong++;
      this.#datagrams.shift();
      return 0;
    }
    const wireBytes = length + DATA_OVERHEAD;
    if (path.atMost(wireBytes) < wireBytes) this.#datagramWaits = true;
    if (this.#datagramWaits || length > room) return 0;
    writer.reset(bytes, at, at + length);
    writer.copy(this.#datagrams.memory, this.#datagrams.firstAt, length);
    this.#datagrams.shift();
    this.#sent(now, path, length, SentKind.fragmented);
    this.builtIsLarge = true;
    return length;
  }

  #sent(now: number, path: SessionPath, length: number, kind: number): number {
    this.builtIsLarge = false;
    const wireBytes = length + DATA_OVERHEAD;
    this.builtNumber = this.recovery.onSent(now, path.index, wireBytes, kind);
    this.builtPath = path.index;
    path.sentBytes += wireBytes;
    this.#lastSent = now;
    this.counters.packetsBuilt++;
    return length;
  }

  /** The size of a path MTU probe to send now, or 0. Only where data flows: it is for data. */
  #mtuProbe(now: number, path: SessionPath, way: Path, room: number): number {
    if (!path.isProven || way.packetsInFlight === 0 || way.probes > 0) return 0;
    const size = way.pmtu.probe(now);
    return size - DATA_OVERHEAD <= room ? size : 0;
  }

  #writeProbe(): void {
    frames.writePing(writer, 0, 0);
    frames.writePadding(writer, writer.room);
  }

  #hasData(): boolean {
    if (this.#output.isShort) return false;
    return this.#owesRates || (this.#datagrams.count > 0 && !this.#datagramWaits) ||
      this.#endedAssocs.length > 0 || this.#streams.hasWork;
  }

  /** When our own sign of life is due. */
  #pingAt(): number {
    if (this.#streams.table.count === 0) return Infinity;
    return Math.max(this.#lastHeard, this.#lastSent) + this.#keepAliveMs;
  }

  /** As a comparison, since a time that is returned would be garbage in every packet. */
  #pingDue(now: number): boolean {
    return this.#streams.table.count > 0 && now >= this.#lastHeard + this.#keepAliveMs &&
      now >= this.#lastSent + this.#keepAliveMs;
  }

  #writeAck(now: number): void {
    const count = this.#received.fill(ackPairs);
    ackRanges.clear();
    for (let i = 0; i < count; i++) ackRanges.add(ackPairs[2 * i + 1]!, ackPairs[2 * i]!);
    const delayUs = Math.round(this.#received.ackDelay(now) * 1000);
    const fitting = frames.ackRangesThatFit(ackRanges, delayUs, writer.room);
    if (!frames.writeAck(writer, ackRanges, fitting, delayUs)) return;
    // Without a record its ranges are said once more, which harms nobody.
    this.recovery.record(FrameType.ack, 0, ackRanges.largest(0), 0);
  }

  #writePathFrames(now: number, path: SessionPath): void {
    path.writeEchoes(now, writer);
    if (path.owesPing && writer.room >= frames.ECHO_FRAME_BYTES) {
      path.owesPing = false;
      // Without a record it is not repeated when it is lost: then the driver's next one tells.
      this.recovery.record(FrameType.ping, path.index, path.pingHigh, path.pingLow);
      frames.writePing(writer, path.pingHigh, path.pingLow);
    }
    const { sequence } = this.#paths;
    if (!path.owesStatus || writer.room < frames.pathStatusFrameBytes(sequence)) return;
    // Without a record it stays owed, and goes with the next packet as well.
    path.owesStatus = !this.recovery.record(FrameType.pathStatus, 0, sequence, 0);
    frames.writePathStatus(writer, sequence, true);
  }

  #writeRates(): void {
    if (writer.room < frames.pairFrameBytes(this.#upKbps, this.#downKbps)) return;
    if (!this.#output.record(FrameType.rates, 0, 0, 0)) return;
    frames.writeRates(writer, this.#upKbps, this.#downKbps);
    this.#owesRates = false;
  }

  /** Session frames, then datagrams, then streams in turn. `start`: where the packet begins. */
  #writeData(now: number, path: SessionPath, way: Path, start: number): void {
    const before = writer.at;
    if (this.#streams.owesMaxData) this.#output.writeMaxData(now, way.rtt);
    if (this.#owesRates) this.#writeRates();
    while (this.#endedAssocs.length > 0) {
      const assoc = this.#endedAssocs[this.#endedAssocs.length - 1]!;
      if (writer.room < frames.singleFrameBytes(assoc)) break;
      if (!this.#output.record(FrameType.assocEnd, assoc, 0, 0)) break;
      frames.writeAssocEnd(writer, assoc);
      this.#endedAssocs.pop();
    }
    this.#writeDatagrams(path, start);
    if (!this.#streams.table.isStalled) this.#output.writeStreams(now, way.rtt);
    if (this.#output.isShort) this.#retryAt = now + limits.RETRY_MS;
    else if (writer.at === start) this.#streams.table.isStalled = true;
    // So that packets of a burst have one size for GSO.
    const { room } = writer;
    if (writer.at > before && room > 0 && room <= SCRAP_BYTES) frames.writePadding(writer, room);
  }

  #writeDatagrams(path: SessionPath, start: number): void {
    while (this.#datagrams.count > 0) {
      const length = this.#datagrams.firstLength;
      if (length > writer.room) {
        const wireBytes = length + DATA_OVERHEAD;
        if (writer.at === start && path.atMost(wireBytes) < wireBytes) this.#datagramWaits = true;
        return;
      }
      writer.copy(this.#datagrams.memory, this.#datagrams.firstAt, length);
      this.#datagrams.shift();
    }
  }

  #buildClose(now: number, bytes: Uint8Array, at: number, room: number): number {
    const path = this.#paths.at(this.activePath);
    if (!this.#owesClose || this.#state === State.done) return 0;
    this.#owesClose = false;
    this.#closesLeft--;
    if (path === undefined || path.isBlocked) return 0;
    writer.reset(bytes, at, at + room);
    if (!frames.writeClose(writer, this.#closeCode, NO_BYTES)) return 0;
    return this.#sent(now, path, writer.at - at, SentKind.quiet);
  }

  // ---- time ----

  /** When onTimeout() and then build() are to be called at the latest; Infinity: never. */
  nextTimeout(): number {
    if (this.#state === State.closing) return this.#owesClose ? this.#now : this.#closeAt;
    if (this.#state === State.done) return Infinity;
    let next = Math.min(
      this.#lastHeard + this.#options.idleMs,
      this.recovery.nextTimeout(),
      this.#streams.nextTimeout(),
      this.#retryAt,
      this.#shrinkAt(),
    );
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined || path.isBlocked) continue;
      next = Math.min(next, path.nextSend(this.#now));
      const way = this.recovery.path(i)!;
      if (i === this.activePath) next = Math.min(next, this.#nextOnActive(way));
      else if (way.probes > 0) next = Math.min(next, this.#now);
    }
    return next;
  }

  #nextOnActive(way: Path): number {
    const next = Math.min(this.#received.nextTimeout(), this.#pingAt());
    if (way.probes > 0) return Math.min(next, this.#now);
    if (this.#hasData() && this.recovery.hasRoom()) {
      return Math.min(next, way.nextSend(this.#now));
    }
    way.rest();
    return next;
  }

  onTimeout(now: number): void {
    this.#setNow(now);
    if (this.#state === State.closing) {
      if (now >= this.#closeAt) this.#finishNow(this.#closeCode, true);
      return;
    }
    if (this.#state === State.done) return;
    if (now >= this.#lastHeard + this.#options.idleMs) {
      return this.#finishNow(CloseCode.idle, true);
    }
    if (this.#retryAt <= now) {
      this.#retryAt = Infinity;
      this.#output.isShort = false;
    }
    if (this.#shrinkAt() <= now) this.#shrink(now);
    this.recovery.onTimeout(now);
    this.#leaveSilent();
    if (this.#died !== NO_PATH) this.#buryPath();
    this.#streams.onTimeout(now);
    if (this.#streams.failure !== 0) this.#fail(this.#streams.failure);
  }

  /**
   * Data goes another way, if there is one. A client without any has lost its peer; the server
   * waits, since the client may yet come by another path.
   */
  #buryPath(): void {
    const died = this.#died;
    this.#died = NO_PATH;
    if (died === this.activePath) {
      const best = this.#bestPath(died);
      if (best !== NO_PATH) this.activate(best);
      else if (this.#options.isClient) return this.#finishNow(CloseCode.idle, true);
    }
    this.#events.pathDied?.(this, died);
  }

  /** When it counts as idle, where it has anything to give back then. */
  #shrinkAt(): number {
    if (this.recovery.slots <= SENT_SLOTS_MIN && this.#datagrams.memory.length === 0) {
      return Infinity;
    }
    return Math.max(this.#lastHeard, this.#lastSent, this.#shrunkAt) + limits.SHRINK_IDLE_MS;
  }

  /** What could not go yet is asked for again later. */
  #shrink(now: number): void {
    this.#shrunkAt = now;
    this.recovery.shrink(now);
    this.#datagrams.shrink();
  }
}

function isOfStream(kind: number): boolean {
  return kind === FrameType.stream || kind === FrameType.fin || kind === FrameType.open ||
    kind === FrameType.opened || kind === FrameType.rst || kind === FrameType.maxStream;
}

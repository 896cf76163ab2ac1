// Loss recovery of one direction of a session: one space of packet numbers across all paths, each
// path with its own clock, window and losses. Frames are sent again, never packets.

import { type NumberCell, numberCell } from "../base/number_field.ts";
import type { CongestionController } from "./congestion/controller.ts";
import { type FrameRecords, NO_RECORD } from "./frame_records.ts";
import {
  LOST_MEMORY_PTOS,
  PATHS_MAX,
  PROBES_PER_TIMEOUT,
  RECORDS_PER_SESSION_MAX,
  SENT_SLOTS_MAX,
  SKIP_INTERVAL_MAX,
  SKIP_INTERVAL_MIN,
} from "./params.ts";
import { Path } from "./path.ts";
import { PathMtu } from "./pmtu.ts";
import { Flag, NO_DELIVERY, NONE, SentPackets, State } from "./sent.ts";

/**
 * What becomes of frames. A frame may be lost first and acknowledged after (it was only late), and
 * lost twice: `lost` means "send again what is not acknowledged". Nothing here may call back into
 * Recovery.
 */
export interface RecoverySink {
  acked(kind: number, stream: number, offset: NumberCell, length: number): void;
  lost(kind: number, stream: number, offset: NumberCell, length: number): void;
  /** No answer to so many probes in a row: the session moves to another path, or ends. */
  pathDead(path: number): void;
}

export interface RecoveryOptions {
  /** `arq.max_retries`. */
  readonly maxRetries: number;
  /** Numbers from 0 up to 1, to choose which packet numbers are left out. */
  readonly random: () => number;
}

/** Kinds of packets for {@linkcode Recovery.onSent}. */
export const PacketKind = {
  /** Nothing but ACK and PADDING: takes no window, is not missed, needs no answer. */
  quiet: 0,
  eliciting: 1,
  /** A path MTU probe. */
  mtuProbe: 2,
  /** Larger than the path's packets, and cut by IP: says nothing about the path MTU. */
  fragmented: 3,
} as const;

/** Of the frame that the sink hears of. */
const frameOffset = numberCell();

export class Recovery {
  readonly #sink: RecoverySink;
  readonly #records: FrameRecords;
  readonly #maxRetries: number;
  readonly #random: () => number;
  readonly #sent = new SentPackets();
  // Room for one, which is what most sessions have: an empty list would grow to 17.
  readonly #paths: (Path | undefined)[] = [undefined];
  #firstStaged = NO_RECORD;
  #lastStaged = NO_RECORD;
  #recordCount = 0;
  #nextSkip: number;
  #skipInterval = SKIP_INTERVAL_MIN;
  /** Packets given up early because the ring was full. */
  forced = 0;

  /** `records` may be shared with other sessions of the same thread. */
  constructor(sink: RecoverySink, records: FrameRecords, options: RecoveryOptions) {
    this.#sink = sink;
    this.#records = records;
    this.#maxRetries = options.maxRetries;
    this.#random = options.random;
    this.#nextSkip = this.#chooseSkip(0);
  }

  /** The number the next packet has to carry. */
  get nextNumber(): number {
    return this.#sent.next;
  }

  /** Packets that are remembered, and the slots they take. */
  get remembered(): number {
    return this.#sent.size;
  }

  get slots(): number {
    return this.#sent.capacity;
  }

  /** Frame records that it has. */
  get records(): number {
    return this.#recordCount;
  }

  /** Gives half of them back: the oldest packets are given up, and their frames sent again. */
  relieve(): void {
    const left = this.#recordCount / 2;
    while (this.#recordCount > left && this.#sent.size > 0) this.#makeRoom();
  }

  /** Whether a packet that asks for an ACK can be remembered now. */
  hasRoom(): boolean {
    return !this.#sent.full && this.#recordCount < RECORDS_PER_SESSION_MAX;
  }

  addPath(index: number, controller: CongestionController, pmtu: PathMtu = new PathMtu()): Path {
    if (!(index >= 0 && index < PATHS_MAX) || this.#paths[index] !== undefined) {
      throw new RangeError(`Cannot add path ${index} as it is taken or not below ${PATHS_MAX}`);
    }
    const path = new Path(index, controller, pmtu);
    this.#paths[index] = path;
    return path;
  }

  path(index: number): Path | undefined {
    return this.#paths[index];
  }

  /** Gives up a path: what is in flight on it is lost, to be sent elsewhere. */
  removePath(index: number): void {
    const path = this.#paths[index];
    if (path === undefined) return;
    while (path.oldest !== NONE) this.#abandon(path, path.oldest);
    // Another path may get this index: what is remembered must not be taken for its own.
    const sent = this.#sent;
    for (let number = sent.base; number < sent.next; number++) {
      const ownLoss = sent.state(number) === State.lost && sent.path(number) === index;
      if (ownLoss) sent.setState(number, State.abandoned);
    }
    this.#paths[index] = undefined;
  }

  /** What is in flight on a path is given up and sent again; the path stays. */
  abandon(index: number): void {
    const path = this.#paths[index];
    while (path !== undefined && path.oldest !== NONE) this.#abandon(path, path.oldest);
  }

  /** Something came by a path that was dead: it is tried anew. */
  revive(index: number): void {
    const path = this.#paths[index];
    if (path === undefined) return;
    this.abandon(index);
    path.dead = false;
    path.ptoCount = 0;
  }

  /** Notes a frame of the packet being built; false: no room, leave the frame out. */
  record(kind: number, stream: number, offset: number, length: number): boolean {
    const count = this.#recordCount;
    if (count >= RECORDS_PER_SESSION_MAX || !this.#records.admits(count)) return false;
    const record = this.#records.take(kind, stream, offset, length);
    if (record === NO_RECORD) return false;
    if (this.#lastStaged === NO_RECORD) this.#firstStaged = record;
    else this.#records.link(this.#lastStaged, record);
    this.#lastStaged = record;
    this.#recordCount += 1;
    return true;
  }

  /** The same, for offsets that may be large. */
  recordAt(kind: number, stream: number, offset: NumberCell, length: number): boolean {
    if (!this.record(kind, stream, 0, length)) return false;
    this.#records.setOffset(this.#lastStaged, offset);
    return true;
  }

  /** Forgets the frames noted since the last packet: it will not be sent. */
  discard(): void {
    this.#release(this.#firstStaged);
    this.#firstStaged = NO_RECORD;
    this.#lastStaged = NO_RECORD;
  }

  /** The packet `nextNumber` goes out on a path, `bytes` long on the wire. Returns its number. */
  onSent(now: number, index: number, bytes: number, kind: number): number {
    const path = this.#paths[index];
    if (path === undefined) throw new RangeError(`Cannot send on path ${index}: there is none`);
    if (this.#sent.full) this.#makeRoom();
    path.counters.sentPackets += 1;
    path.counters.sentBytes += bytes;
    const number = kind === PacketKind.quiet
      ? this.#noteQuiet(now, index, bytes)
      : this.#sent.push(index, flagsOf(kind), State.inFlight, this.#firstStaged);
    this.#firstStaged = NO_RECORD;
    this.#lastStaged = NO_RECORD;
    if (kind !== PacketKind.quiet) {
      path.onSent(now, this.#sent, number, bytes);
      if (kind === PacketKind.mtuProbe) path.pmtu.onProbeSent();
    }
    if (this.#sent.next >= this.#nextSkip) this.#skip(now, index);
    return number;
  }

  /** A packet that is not missed: remembered only while others are, which need its place. */
  #noteQuiet(now: number, index: number, bytes: number): number {
    const sent = this.#sent;
    if (sent.size === 0) {
      this.#release(this.#firstStaged);
      return sent.pass();
    }
    const number = sent.push(index, 0, State.quiet, this.#firstStaged);
    sent.describe(number, now, bytes, 0, NO_DELIVERY);
    this.#releaseRecords(number);
    this.#advance(now);
    return number;
  }

  /**
   * Takes an ACK: `count` pairs (smallest, largest), largest range first, and the peer's delay in
   * ms. False: it acknowledges what was never sent, or is out of order; the session has to end.
   */
  onAck(now: number, ranges: Float64Array, count: number, ackDelay: number): boolean {
    if (!this.#valid(ranges, count)) return false;
    for (let i = 0; i < this.#paths.length; i++) {
      const path = this.#paths[i];
      path?.sample.reset(path.inFlight);
    }
    const largest = ranges[1]!;
    const timed = largest >= this.#sent.base && this.#isFresh(largest);
    for (let i = 0; i < count; i++) {
      if (!this.#ackRange(now, ranges[2 * i]!, ranges[2 * i + 1]!)) return false;
    }
    if (timed) this.#takeRtt(now, largest, ackDelay);
    for (let i = 0; i < this.#paths.length; i++) {
      const path = this.#paths[i];
      if (path === undefined || path.sample.ackedPackets === 0) continue;
      path.ptoCount = 0;
      path.probes = 0;
      this.#detectLosses(now, path);
      path.controller.setPacketBytes(path.pmtu.size);
      path.finishSample(now);
    }
    this.#advance(now);
    return true;
  }

  /** The earliest loss or probe timer of any path; Infinity when none runs. */
  nextTimeout(): number {
    let next = Infinity;
    for (let i = 0; i < this.#paths.length; i++) {
      const path = this.#paths[i];
      if (path !== undefined) next = Math.min(next, path.nextTimeout());
    }
    return next;
  }

  /** Runs the timers that have ended. Afterwards a path may have probes to send. */
  onTimeout(now: number): void {
    for (let i = 0; i < this.#paths.length; i++) {
      const path = this.#paths[i];
      if (path === undefined || path.nextTimeout() > now) continue;
      if (path.lossTime <= now) {
        path.sample.reset(path.inFlight);
        this.#detectLosses(now, path);
        path.finishSample(now);
      } else if (path.takeProbeTimeout(now)) {
        this.#probe(path);
      }
    }
    this.#advance(now);
  }

  /** Gives memory back while nothing is in flight: for sessions that turn idle. */
  shrink(now: number): void {
    for (let i = 0; i < this.#paths.length; i++) {
      if ((this.#paths[i]?.packetsInFlight ?? 0) > 0) return;
    }
    this.#advance(now);
    this.#sent.shrink();
  }

  /** Ends the session's use of the shared records. */
  close(): void {
    this.discard();
    const sent = this.#sent;
    for (let number = sent.base; number < sent.next; number++) this.#releaseRecords(number);
    for (let i = 0; i < this.#paths.length; i++) this.#paths[i] = undefined;
    sent.base = sent.next;
    sent.shrink();
  }

  #valid(ranges: Float64Array, count: number): boolean {
    if (count < 1 || 2 * count > ranges.length) return false;
    let above = this.#sent.next;
    for (let i = 0; i < count; i++) {
      const smallest = ranges[2 * i]!;
      const largest = ranges[2 * i + 1]!;
      if (!(smallest >= 0 && smallest <= largest && largest < above)) return false;
      above = smallest;
    }
    return true;
  }

  #isFresh(number: number): boolean {
    const state = this.#sent.state(number);
    return state === State.inFlight || state === State.lost || state === State.quiet;
  }

  #ackRange(now: number, smallest: number, largest: number): boolean {
    const sent = this.#sent;
    const low = Math.max(smallest, sent.base);
    let number = largest;
    let first = NONE;
    while (number >= low) {
      const state = sent.state(number);
      if (state === State.acked) {
        number = sent.belowAcked(number);
        continue;
      }
      if (state === State.skipped) return false;
      this.#ackOne(now, number, state);
      sent.setState(number, State.acked);
      sent.setOlder(number, number - 1);
      // Of what is acknowledged nobody asks for the newer one any more: here it links this ACK's.
      sent.setNewer(number, first);
      first = number;
      number -= 1;
    }
    if (largest >= low) sent.belowAcked(largest);
    // From the oldest up: whoever holds a stream's bytes forgets them from the front, no holes.
    while (first !== NONE) {
      this.#settle(first);
      first = sent.newer(first);
    }
    return true;
  }

  #ackOne(now: number, number: number, state: number): void {
    if (state === State.quiet) return;
    const sent = this.#sent;
    const path = this.#paths[sent.path(number)];
    if (state !== State.abandoned && path !== undefined) {
      const sequence = sent.sequence(number);
      if (state === State.inFlight) path.unlink(sent, number);
      if (sequence > path.largestAcked) path.largestAcked = sequence;
      if (state === State.lost) path.onSpuriousLoss(now, sent, number);
      path.onDelivered(now, sent, number);
      const isProbe = (sent.flags(number) & Flag.mtuProbe) !== 0;
      const isCut = (sent.flags(number) & Flag.fragmented) !== 0;
      if (!isCut) path.pmtu.onAcked(now, sent.bytes(number), isProbe, sequence);
    }
  }

  /** Tells of the frames of a packet that has arrived. */
  #settle(number: number): void {
    const records = this.#records;
    let record = this.#sent.records(number);
    this.#sent.clearRecords(number);
    while (record !== NO_RECORD) {
      const next = records.next(record);
      records.copyOffset(record, frameOffset);
      this.#sink.acked(
        records.kind(record),
        records.stream(record),
        frameOffset,
        records.length(record),
      );
      records.release(record);
      this.#recordCount -= 1;
      record = next;
    }
  }

  /** RFC 9002 §5.1: only when the largest is new, and something asked for the ACK. */
  #takeRtt(now: number, largest: number, ackDelay: number): void {
    const path = this.#paths[this.#sent.path(largest)];
    if (path === undefined || path.sample.ackedPackets === 0) return;
    const rtt = now - this.#sent.time(largest);
    path.rtt.update(now, rtt, ackDelay);
    path.sample.rtt = path.rtt.latest;
  }

  #detectLosses(now: number, path: Path): void {
    path.lossTime = Infinity;
    while (path.oldest !== NONE && path.isLost(now, this.#sent, path.oldest)) {
      const number = path.oldest;
      path.unlink(this.#sent, number);
      path.onLost(now, this.#sent, number);
      this.#sent.setState(number, State.lost);
      this.#requeue(number);
    }
  }

  /** Gives the frames of a packet back, once; their records stay in case it is only late. */
  #requeue(number: number): void {
    const sent = this.#sent;
    if ((sent.flags(number) & Flag.requeued) !== 0) return;
    sent.addFlag(number, Flag.requeued);
    const records = this.#records;
    for (let record = sent.records(number); record !== NO_RECORD; record = records.next(record)) {
      records.copyOffset(record, frameOffset);
      this.#sink.lost(
        records.kind(record),
        records.stream(record),
        frameOffset,
        records.length(record),
      );
    }
  }

  /** A probe timeout: the oldest frames go out again, so that probes have something to say. */
  #probe(path: Path): void {
    if (path.ptoCount > this.#maxRetries) {
      path.dead = true;
      path.probes = 0;
      this.#sink.pathDead(path.index);
      return;
    }
    path.probes = PROBES_PER_TIMEOUT;
    let number = path.oldest;
    let left = PROBES_PER_TIMEOUT;
    while (left > 0 && number !== NONE) {
      if ((this.#sent.flags(number) & Flag.requeued) === 0) {
        this.#requeue(number);
        left -= 1;
      }
      number = this.#sent.newer(number);
    }
  }

  #abandon(path: Path, number: number): void {
    path.unlink(this.#sent, number);
    this.#sent.setState(number, State.abandoned);
    this.#requeue(number);
  }

  /** The ring is full: the oldest packet is given up, whatever it waits for. */
  #makeRoom(): void {
    const sent = this.#sent;
    const number = sent.base;
    const path = this.#paths[sent.path(number)];
    this.forced += 1;
    if (sent.state(number) === State.inFlight && path !== undefined) this.#abandon(path, number);
    this.#forgetOldest();
  }

  /** Forgets the oldest packets; lost and skipped ones only when no ACK of them is to come. */
  #advance(now: number): void {
    const sent = this.#sent;
    const crowded = sent.size > SENT_SLOTS_MAX / 2;
    while (sent.base < sent.next) {
      const number = sent.base;
      const state = sent.state(number);
      if (state === State.inFlight) return;
      const settled = state === State.acked || state === State.quiet;
      if (!settled && !crowded) {
        const path = this.#paths[sent.path(number)];
        const memory = path === undefined ? 0 : LOST_MEMORY_PTOS * path.rtt.pto();
        if (now - sent.time(number) < memory) return;
      }
      this.#forgetOldest();
    }
  }

  #forgetOldest(): void {
    this.#releaseRecords(this.#sent.base);
    this.#sent.base += 1;
  }

  #releaseRecords(number: number): void {
    this.#release(this.#sent.records(number));
    this.#sent.clearRecords(number);
  }

  #release(first: number): void {
    let record = first;
    while (record !== NO_RECORD) {
      const next = this.#records.next(record);
      this.#records.release(record);
      this.#recordCount -= 1;
      record = next;
    }
  }

  /** Leaves a number out: who acknowledges it did not wait for packets to arrive. */
  #skip(now: number, index: number): void {
    if (!this.#sent.full) {
      const number = this.#sent.push(index, 0, State.skipped, NO_RECORD);
      this.#sent.describe(number, now, 0, 0, NO_DELIVERY);
    }
    this.#skipInterval = Math.min(SKIP_INTERVAL_MAX, 2 * this.#skipInterval);
    this.#nextSkip = this.#chooseSkip(this.#sent.next);
  }

  #chooseSkip(from: number): number {
    return from + 1 + Math.floor((0.5 + this.#random()) * this.#skipInterval);
  }
}

function flagsOf(kind: number): number {
  if (kind === PacketKind.mtuProbe) return Flag.mtuProbe;
  return kind === PacketKind.fragmented ? Flag.fragmented : 0;
}

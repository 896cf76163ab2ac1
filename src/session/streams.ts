/**
 * The streams of a session and what they share: their life from OPEN to their end, their flow
 * control, and what becomes of their frames. Frames come in by StreamInput and go out by
 * StreamOutput.
 */

import { NO_NUMBER, type NumberCell } from "../base/number_field.ts";
import { ReceiveWindow, SendCredit } from "../reliability/flow.ts";
import type { TokenBucket } from "../reliability/token_bucket.ts";
import { CloseCode, FrameType, OpenedCode, RstCode, StreamKind } from "../wire/frames.ts";
import { SESSION_WINDOW_BYTES } from "../wire/limits.ts";
import type { Budget } from "./budget.ts";
import type { SessionCounters } from "./counters.ts";
import type { Events } from "./events.ts";
import {
  FORGET_RESET_MS,
  READ_AHEAD_MAX,
  READ_AHEAD_WINDOWS,
  READ_STEP_BYTES,
  RESETS_MAX,
  RETRY_MS,
  SESSION_WINDOW_MAX,
} from "./limits.ts";
import { Pending, type Stream } from "./stream.ts";
import { StreamTable } from "./stream_table.ts";

/** Of a session that had no such stream yet; never added to. */
const NO_STREAMS = new Set<Stream>();
const NO_IDS = new Set<number>();
const NONE: Stream[] = [];

export class Streams<Owner> {
  readonly owner: Owner;
  readonly events: Events<Owner>;
  readonly counters: SessionCounters;
  readonly table: StreamTable;
  /** What we may still send, and what the peer may. */
  readonly credit = new SendCredit(SESSION_WINDOW_BYTES);
  readonly window = new ReceiveWindow(SESSION_WINDOW_BYTES, SESSION_WINDOW_MAX);
  owesMaxData = false;
  nextId = 0;
  /** Streams with an OPENED or RST that the peer has not acknowledged. */
  unheardAnswers = 0;
  /** How fast the peer's data is passed on; what is over that waits, and holds up its window. */
  readLimit: TokenBucket | undefined;
  /** Of the present call into the session. */
  now: number = NO_NUMBER;
  /** The session has to close with this CloseCode; 0: it has not. */
  failure = 0;
  /** The session is over: nothing is said to the driver any more. */
  isClosed = false;
  /** When it was closed: our streams of which the peer has acknowledged nothing, not even OPEN. */
  unheard: ReadonlySet<number> = NO_IDS;
  /** Streams that were reset, in the order in which they are forgotten. */
  #resets = NO_STREAMS;
  /** Those of them that still have to be given a time. */
  #unstamped = NONE;
  #forgetAt = Infinity;
  /** Writers that wait though nothing of theirs is in flight: the budget was spent. */
  #starved = NO_STREAMS;
  #retryAt = Infinity;
  /** Streams whose data waits for the rate, who waits longest first; and when to look again. */
  #throttled = NO_STREAMS;
  #throttleAt = Infinity;

  constructor(
    owner: Owner,
    events: Events<Owner>,
    counters: SessionCounters,
    budget: Budget,
  ) {
    this.owner = owner;
    this.events = events;
    this.counters = counters;
    this.table = new StreamTable(budget);
  }

  /** Whether there is anything to write: see StreamOutput. */
  get hasWork(): boolean {
    return this.owesMaxData || (this.table.waiting > 0 && !this.table.isStalled);
  }

  // ---- what the driver asks for

  open(address: Uint8Array): number {
    if (this.isClosed || this.table.isFull) {
      this.counters.streamsRefused++;
      return -1;
    }
    const stream = this.table.add(this.nextId++);
    stream.isTold = true;
    stream.kindOrCode = StreamKind.tcp;
    stream.address = Uint8Array.from(address);
    this.#say(stream, Pending.open);
    return stream.id;
  }

  answer(id: number, code: number, address: Uint8Array): void {
    const stream = this.table.get(id);
    if (stream === undefined || stream.isReset || stream.isAnswered) return;
    this.answerStream(stream, code, address);
  }

  answerStream(stream: Stream, code: number, address: Uint8Array): void {
    stream.isAnswered = true;
    stream.kindOrCode = code;
    stream.address = Uint8Array.from(address);
    this.#say(stream, Pending.opened);
    if (code !== OpenedCode.ok) this.end(stream);
  }

  write(id: number, bytes: Uint8Array, at: number, length: number): number {
    const stream = this.table.get(id);
    if (stream === undefined || stream.isReset || stream.send.finished) return 0;
    const taken = stream.send.write(bytes, at, length);
    if (taken > 0) this.table.wake(stream);
    if (taken === length) return taken;
    stream.writerWaits = true;
    // No acknowledgement will ever tell of room.
    if (stream.send.unacked === 0) this.#starve(stream);
    return taken;
  }

  #starve(stream: Stream): void {
    this.#starved = withStream(this.#starved, stream);
    if (this.isSilent) return;
    this.#retryAt = Math.min(this.#retryAt, this.now + RETRY_MS);
  }

  finish(id: number): void {
    const stream = this.table.get(id);
    if (stream === undefined || stream.isReset) return;
    stream.send.finish();
    this.table.wake(stream);
  }

  reset(id: number, code: number): void {
    const stream = this.table.get(id);
    if (stream === undefined || stream.isReset) return;
    stream.rstCode = code;
    this.end(stream);
    this.#say(stream, Pending.rst);
  }

  resume(id: number): void {
    const stream = this.table.get(id);
    if (stream === undefined || !stream.isPaused) return;
    stream.isPaused = false;
    this.deliverHeld(stream);
  }

  #say(stream: Stream, frame: number): void {
    const owed = stream.owesAnswer;
    stream.owe(frame);
    if (!owed && stream.owesAnswer) this.unheardAnswers++;
    this.table.wake(stream);
  }

  #settle(stream: Stream, frame: number): void {
    const owed = stream.owesAnswer;
    stream.settle(frame);
    if (owed && !stream.owesAnswer) this.unheardAnswers--;
  }

  // ---- reading

  /** Offers the reader what waits for it. */
  deliverHeld(stream: Stream): void {
    const { receive } = stream;
    while (!stream.isReset && !stream.isPaused && receive.readable > 0) {
      const length = receive.contiguous;
      const { memory, index } = receive;
      const taken = this.offer(stream, memory, index, length);
      if (stream.isReset || this.isClosed) return;
      receive.consume(taken);
      this.consume(stream, taken);
      stream.isPaused = taken < length;
    }
    this.tellEnd(stream);
  }

  /** Passes data on, as far as the reader and the rate allow; how much was taken. */
  offer(stream: Stream, bytes: Uint8Array, at: number, length: number): number {
    const { readLimit } = this;
    if (readLimit === undefined) {
      return this.events.data(this.owner, stream.id, bytes, at, length);
    }
    const most = Math.min(length, Math.floor(readLimit.available(this.now)));
    const taken = most > 0 ? this.events.data(this.owner, stream.id, bytes, at, most) : 0;
    readLimit.charge(this.now, taken);
    if (taken === most && most < length && !stream.isReset && !this.isClosed) {
      this.#throttled = withStream(this.#throttled, stream);
      this.#throttleAt = readLimit.next(this.now, READ_STEP_BYTES);
    }
    return taken;
  }

  #readThrottled(now: number): void {
    const { readLimit } = this;
    this.#throttleAt = Infinity;
    // Whoever still has data waiting afterwards is the last in the row.
    for (let turns = this.#throttled.size; turns > 0; turns--) {
      if (readLimit !== undefined && readLimit.available(now) < 1) break;
      const [stream] = this.#throttled;
      this.#throttled.delete(stream!);
      stream!.isPaused = false;
      this.deliverHeld(stream!);
      if (this.isClosed) return;
    }
    if (this.#throttled.size === 0) return;
    this.#throttleAt = readLimit?.next(now, READ_STEP_BYTES) ?? now;
  }

  tellEnd(stream: Stream): void {
    if (stream.isReset || stream.endTold || !stream.isOpen || !stream.receive.isDone) return;
    stream.endTold = true;
    this.events.ended(this.owner, stream.id);
    this.removeIfGone(stream);
  }

  /** Bytes have left us: the windows move on. */
  consume(stream: Stream, bytes: number): void {
    if (bytes === 0) return;
    stream.window.consume(bytes);
    this.window.consume(bytes);
    if (this.window.updateDue) this.owesMaxData = true;
    if (stream.window.updateDue) this.#renewLimit(stream);
  }

  /** Bytes were kept that wait for lost ones before them: the peer must not wait for these too. */
  spanHoles(stream: Stream): void {
    if (!stream.isPaused && stream.window.isSpent) this.#renewLimit(stream);
  }

  #renewLimit(stream: Stream): void {
    if (stream.isReset || stream.receive.final !== Infinity) return;
    if ((stream.pending & Pending.maxStream) !== 0) return;
    stream.pending |= Pending.maxStream;
    this.table.wake(stream);
  }

  // ---- the end of a stream

  /** Both halves are over; what is left to say is the final size, and perhaps RST or OPENED. */
  end(stream: Stream): void {
    stream.isReset = true;
    stream.endTold = true;
    stream.pending &= ~Pending.maxStream;
    if (this.#resets.size >= RESETS_MAX) this.#forgetFirst();
    this.#resets = withStream(this.#resets, stream);
    if (this.#unstamped === NONE) this.#unstamped = [];
    this.#unstamped.push(stream);
    stream.receive.release();
    this.consume(stream, stream.window.held);
    stream.send.abandon();
    this.#starved.delete(stream);
    this.#throttled.delete(stream);
    this.table.wake(stream);
  }

  removeIfGone(stream: Stream): void {
    if (stream.isGone) this.#remove(stream);
  }

  #remove(stream: Stream): void {
    if (this.isClosed || this.table.get(stream.id) !== stream) return;
    stream.release();
    this.#resets.delete(stream);
    this.#starved.delete(stream);
    this.#throttled.delete(stream);
    if (!this.table.remove(stream)) this.failure = CloseCode.overLimit;
    if (stream.isTold) this.events.gone(this.owner, stream.id);
  }

  /** The session is over: all memory goes back. */
  close(): void {
    if (!this.isClosed) this.#noteUnheard();
    this.isClosed = true;
    this.table.clear();
    this.unheardAnswers = 0;
    this.#resets.clear();
    this.#unstamped.length = 0;
    this.#starved.clear();
    this.#throttled.clear();
    this.owesMaxData = false;
    this.#forgetAt = this.#retryAt = this.#throttleAt = Infinity;
  }

  #noteUnheard(): void {
    const unheard = new Set<number>();
    for (const stream of this.table.all()) {
      const { send, unsettled, isAnswered } = stream;
      const isHeard = (unsettled & Pending.open) === 0 || send.unacked < send.end;
      if (!isHeard && !isAnswered) unheard.add(stream.id);
    }
    if (unheard.size > 0) this.unheard = unheard;
  }

  /** Gives back what only a session with streams needs. */
  shrink(): void {
    this.table.shrink();
    if (this.#resets.size === 0) this.#resets = NO_STREAMS;
    if (this.#unstamped.length === 0) this.#unstamped = NONE;
    if (this.#starved.size === 0) this.#starved = NO_STREAMS;
    if (this.#throttled.size === 0) this.#throttled = NO_STREAMS;
  }

  // ---- what recovery says

  acked(kind: number, id: number, offset: NumberCell, length: number): void {
    const stream = this.table.get(id);
    if (stream === undefined) return;
    if (kind === FrameType.stream) {
      stream.send.acked(offset, length);
      if (stream.writerWaits && stream.send.room > 0 && !stream.isReset) this.#tellRoom(stream);
    } else if (kind === FrameType.fin) stream.send.finAcked();
    else if (kind === FrameType.open) this.#settle(stream, Pending.open);
    else if (kind === FrameType.opened) this.#settle(stream, Pending.opened);
    else if (kind === FrameType.rst) this.#settle(stream, Pending.rst);
    this.removeIfGone(stream);
  }

  lost(kind: number, id: number, offset: NumberCell, length: number): void {
    const stream = this.table.get(id);
    if (stream === undefined) return;
    if (kind === FrameType.stream) {
      if (!stream.isReset) stream.send.lost(offset, length);
    } else if (kind === FrameType.fin) stream.send.finLost();
    else if (kind === FrameType.open) stream.oweAgain(Pending.open);
    else if (kind === FrameType.opened) stream.oweAgain(Pending.opened);
    else if (kind === FrameType.rst) stream.oweAgain(Pending.rst);
    else if (!stream.isReset && stream.receive.final === Infinity) {
      stream.pending |= Pending.maxStream;
    }
    if (stream.hasWork) this.table.wake(stream);
  }

  #tellRoom(stream: Stream): void {
    stream.writerWaits = false;
    this.events.writable(this.owner, stream.id);
  }

  // ---- how far ahead of the path is read

  /** The path of data takes so many bytes a round trip. */
  noteWindow(bytes: number): void {
    const { share } = this.table;
    if (share === undefined) return;
    share.readAhead = Math.floor(Math.min(READ_AHEAD_MAX, READ_AHEAD_WINDOWS * bytes));
  }

  get isSilent(): boolean {
    return this.table.share?.isSilent ?? false;
  }

  /** Whether the peer answers no more; when it does again, writers that wait hear of it. */
  setSilent(isSilent: boolean): void {
    const { share } = this.table;
    if (share === undefined || share.isSilent === isSilent) return;
    share.isSilent = isSilent;
    if (isSilent) this.counters.silences++;
    else if (this.#starved.size > 0) this.#retryAt = this.now;
  }

  /** Gives up so many bytes of memory that others need, by the streams that hold most. */
  relieve(bytes: number): void {
    const most = [...this.table.all()].sort((a, b) => b.memoryBytes - a.memoryBytes);
    let left = bytes;
    for (const stream of most) {
      const { id, memoryBytes } = stream;
      if (left <= 0 || memoryBytes === 0 || this.isClosed) return;
      left -= memoryBytes;
      this.counters.streamsCut++;
      this.reset(id, RstCode.internal);
      if (stream.isTold) this.events.wasReset(this.owner, id, RstCode.internal);
    }
  }

  // ---- time

  nextTimeout(): number {
    return Math.min(this.#retryAt, this.#forgetAt, this.#throttleAt);
  }

  /** Gives streams that were reset since the last call their time; true time is known only here. */
  stampResets(now: number): void {
    for (let i = 0; i < this.#unstamped.length; i++) {
      this.#unstamped[i]!.forgetAt = now + FORGET_RESET_MS;
    }
    if (this.#unstamped.length === 0) return;
    this.#forgetAt = Math.min(this.#forgetAt, now + FORGET_RESET_MS);
    this.#unstamped.length = 0;
  }

  onTimeout(now: number): void {
    this.stampResets(now);
    if (this.#forgetAt <= now) this.#forgetResets(now);
    if (this.#throttleAt <= now) this.#readThrottled(now);
    if (this.#retryAt > now) return;
    this.#retryAt = Infinity;
    const starved = [...this.#starved];
    this.#starved.clear();
    for (const stream of starved) {
      if (!stream.isReset && !this.isClosed) this.#tellRoom(stream);
    }
  }

  #forgetResets(now: number): void {
    this.#forgetAt = Infinity;
    for (const stream of this.#resets) {
      if (stream.forgetAt > now) {
        this.#forgetAt = stream.forgetAt;
        return;
      }
      stream.forgetAt = now + FORGET_RESET_MS;
      this.#forgetFirst();
    }
  }

  /** The stream that was reset first is over, or has its turn once more. */
  #forgetFirst(): void {
    const [stream] = this.#resets;
    this.#resets.delete(stream!);
    if (stream!.isSaid) this.#remove(stream!);
    // The peer has to hear of it before: else its half would stay open for ever.
    else this.#resets.add(stream!);
  }
}

function withStream(set: Set<Stream>, stream: Stream): Set<Stream> {
  return (set === NO_STREAMS ? new Set<Stream>() : set).add(stream);
}

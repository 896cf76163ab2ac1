/** The streams of a session: by id, which ids are over, and in turn those with work. */

import type { Budget } from "./budget.ts";
import { Intervals } from "./intervals.ts";
import { CLOSED_RANGES_MAX, IDS_AHEAD_MAX, STREAMS_MAX, UNOPENED_MAX } from "./limits.ts";
import { Share, type ShareGroup } from "./share.ts";
import { Stream } from "./stream.ts";

const QUEUE_MIN = 16;
// Of a session that has had no stream yet; never written to.
const NO_STREAMS = new Map<number, Stream>();
const NO_QUEUE: (Stream | undefined)[] = [];

export class StreamTable {
  readonly #budget: Budget;
  /** Of a session that has had a stream. */
  share: Share | undefined;
  /** Set before the first stream. */
  group: ShareGroup | undefined;
  #byId = NO_STREAMS;
  readonly #closed = new Intervals(CLOSED_RANGES_MAX);
  #queue = NO_QUEUE;
  #head = 0;
  #queued = 0;
  /** The highest id that OPEN has named. */
  #highest = -1;
  /** Streams that no OPEN has made. */
  #unopened = 0;
  /** Nobody in the queue could send anything: no use to ask before something changes. */
  isStalled = false;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  get count(): number {
    return this.#byId.size;
  }

  /** It may have no more, by its own limit or since others have so many. */
  get isFull(): boolean {
    const { size } = this.#byId;
    return size >= STREAMS_MAX || !this.#budget.streams.admits(size, this.group?.streams);
  }

  /** Whether one more may be there before its OPEN. */
  get takesUnopened(): boolean {
    const unopened = this.#unopened;
    return unopened < UNOPENED_MAX && !this.isFull && this.#budget.unopened.admits(unopened);
  }

  /** Whether OPEN may name this id next, or have named it. */
  isInReach(id: number): boolean {
    return id <= this.#highest + IDS_AHEAD_MAX;
  }

  get(id: number): Stream | undefined {
    return this.#byId.get(id);
  }

  all(): Iterable<Stream> {
    return this.#byId.values();
  }

  /** Whether a stream of this id has been here and is over. */
  isClosed(id: number): boolean {
    return this.#closed.covers(id, id + 1);
  }

  /** A stream that its OPEN makes; or that something has come of before. */
  add(id: number, isOpen = true): Stream {
    const stream = new Stream(id, this.#ownShare());
    if (this.#byId === NO_STREAMS) this.#byId = new Map();
    this.#byId.set(id, stream);
    this.#countStreams(1);
    this.#countUnopened(1);
    if (isOpen) this.open(stream);
    return stream;
  }

  #ownShare(): Share {
    return this.share ??= new Share(this.#budget, this.group);
  }

  /** Whether one more OPEN is taken now. */
  takeOpening(now: number): boolean {
    return this.#ownShare().takeOpening(now);
  }

  /** Its OPEN has come. */
  open(stream: Stream): void {
    stream.isOpen = true;
    this.#highest = Math.max(this.#highest, stream.id);
    this.#countUnopened(-1);
  }

  #countStreams(count: number): void {
    this.#budget.streams.used += count;
    if (this.group !== undefined) this.group.streams += count;
  }

  #countUnopened(count: number): void {
    this.#unopened += count;
    this.#budget.unopened.used += count;
  }

  /** False: the closed ids are too scattered to be remembered. */
  remove(stream: Stream): boolean {
    this.#byId.delete(stream.id);
    this.#countStreams(-1);
    if (!stream.isOpen) this.#countUnopened(-1);
    return this.#closed.add(stream.id, stream.id + 1);
  }

  /** The end of the session: no stream is left, and none holds memory. */
  clear(): void {
    for (const stream of this.#byId.values()) stream.release();
    this.#countStreams(-this.#byId.size);
    this.#countUnopened(-this.#unopened);
    this.#byId.clear();
    while (this.#queued > 0) this.dequeue();
  }

  /** Gives back what only a session with streams needs. */
  shrink(): void {
    if (this.#byId.size === 0) this.#byId = NO_STREAMS;
    if (this.#queued > 0) return;
    this.#queue = NO_QUEUE;
    this.#head = 0;
  }

  /** Streams that wait for their turn to send. */
  get waiting(): number {
    return this.#queued;
  }

  /** Whether one of them has bytes to send, and not only its opening. */
  get hasBytes(): boolean {
    for (let i = 0; i < this.#queued; i++) {
      if (this.#queue[(this.#head + i) & (this.#queue.length - 1)]!.send.unacked > 0) return true;
    }
    return false;
  }

  /** Something changed for a stream: it may have something to send. */
  wake(stream: Stream): void {
    this.isStalled = false;
    this.enqueue(stream);
  }

  /** Puts a stream at the end of the queue, unless it is in it. */
  enqueue(stream: Stream): void {
    if (stream.queued) return;
    stream.queued = true;
    if (this.#queued === this.#queue.length) this.#grow();
    this.#queue[(this.#head + this.#queued) & (this.#queue.length - 1)] = stream;
    this.#queued++;
  }

  /** Takes the first out; only while `waiting` is not 0. */
  dequeue(): Stream {
    const stream = this.#queue[this.#head]!;
    this.#queue[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#queue.length - 1);
    this.#queued--;
    stream.queued = false;
    return stream;
  }

  #grow(): void {
    const length = Math.max(QUEUE_MIN, 2 * this.#queue.length);
    const grown: (Stream | undefined)[] = new Array(length).fill(undefined);
    for (let i = 0; i < this.#queued; i++) {
      grown[i] = this.#queue[(this.#head + i) & (this.#queue.length - 1)];
    }
    this.#queue = grown;
    this.#head = 0;
  }
}

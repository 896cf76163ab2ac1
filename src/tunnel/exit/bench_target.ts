/**
 * The targets that a server itself is: a sink and a source of bytes, so that a line can be measured
 * with nothing else on the other side. Each stream is bounded in time and in bytes.
 */

import { Shares } from "../../base/shares.ts";
import { BENCH_COUNT_MS, BENCH_LIMITS, type BenchLimits, BenchPort } from "../../proxy/bench.ts";
import { RstCode } from "../../wire/frames.ts";
import { type Loop, NOT_ARMED, type Task, type Timer } from "../../loop/loop.ts";
import type { ByteEnd } from "../../outbound/byte_end.ts";

/** What a source writes in its turn: other streams have theirs. */
const TURN_BYTES = 256 << 10;
const BLOCK_BYTES = 64 << 10;
const COUNT_BYTES = 8;

/** Who is told that a measurement is over, and on whose account it is. */
export interface BenchOwner {
  readonly asker: object;
  readonly user: string;
  benchClosed(): void;
}

/** All measurements of a worker. */
export class BenchTargets implements Task {
  isPosted = false;
  readonly loop: Loop;
  readonly limits: BenchLimits;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #shares: Shares<object>;
  /** Oldest first. */
  readonly #open = new Set<BenchStream>();
  #ready: BenchStream[] = [];

  constructor(loop: Loop, limits: BenchLimits = BENCH_LIMITS) {
    this.loop = loop;
    this.limits = limits;
    this.#shares = new Shares(limits.streams);
  }

  /**
   * What measures by one stream, once it is joined with it; the oldest of whoever has most makes
   * room for it. Undefined: nobody has more.
   */
  open(owner: BenchOwner, port: number): BenchStream | undefined {
    const { asker, user } = owner;
    if (this.#shares.isFull && !this.#makeRoom(asker, user)) return undefined;
    this.#shares.take(asker, user);
    const stream = new BenchStream(this, owner, port);
    this.#open.add(stream);
    return stream;
  }

  closed(stream: BenchStream): void {
    this.#open.delete(stream);
    this.#shares.give(stream.owner.asker);
  }

  #makeRoom(asker: object, user: string): boolean {
    const payer = this.#shares.payerFor(asker, user);
    if (payer === undefined) return false;
    for (const stream of this.#open) {
      if (stream.owner.asker !== payer) continue;
      stream.giveUp();
      return true;
    }
    return false;
  }

  /** It writes more at the end of the round. */
  writeLater(stream: BenchStream): void {
    this.#ready.push(stream);
    this.loop.post(this);
  }

  runTask(): void {
    const ready = this.#ready;
    this.#ready = [];
    for (const stream of ready) stream.writeTurn(this.#block);
  }

  static isPort(port: number): boolean {
    return Object.values<number>(BenchPort).includes(port);
  }
}

/** One measurement: the end that a stream is joined with instead of a socket. */
export class BenchStream implements ByteEnd, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #shared: BenchTargets;
  readonly owner: BenchOwner;
  #peer: ByteEnd | undefined;
  readonly #isSource: boolean;
  readonly #isCounter: boolean;
  #count = 0;
  #tellAt = 0;
  #left: number;
  #isReady = false;
  #isClosed = false;
  /** The halves that are over: what we say, what the client says. */
  #hasFinished = false;
  #hasEnded = false;

  constructor(shared: BenchTargets, owner: BenchOwner, port: number) {
    this.#shared = shared;
    this.owner = owner;
    this.#isSource = port === BenchPort.source;
    this.#isCounter = port === BenchPort.counter;
    this.#left = shared.limits.bytes;
    this.#arm();
  }

  /** Begins. */
  join(peer: ByteEnd): void {
    this.#peer = peer;
    if (this.#isSource) this.resume();
  }

  /** Data of the client: all is taken, and none kept. */
  write(_bytes: Uint8Array, _at: number, length: number): number {
    if (this.#isClosed) return 0;
    // A source has no use for any, and a sink for so much only.
    if (!this.#isSource) this.#left -= length;
    if (this.#left < 0) this.giveUp();
    else if (this.#isCounter) this.#told(length);
    return length;
  }

  /** Has the client told how much has come. */
  #told(length: number): void {
    this.#count += length;
    const { now } = this.#shared.loop;
    if (now < this.#tellAt || this.#hasFinished || this.#peer!.room() < COUNT_BYTES) return;
    this.#tellAt = now + BENCH_COUNT_MS;
    const count = new Uint8Array(COUNT_BYTES);
    new DataView(count.buffer).setFloat64(0, this.#count);
    this.#peer!.write(count, 0, COUNT_BYTES);
  }

  room(): number {
    return this.#isClosed ? 0 : TURN_BYTES;
  }

  /** The client has said all: so has a sink; a source that is not wanted any more ends, too. */
  finish(): void {
    this.#hasEnded = true;
    this.#finish();
  }

  resume(): void {
    if (!this.#isSource || this.#isReady || this.#isClosed || this.#hasFinished) return;
    this.#isReady = true;
    this.#shared.writeLater(this);
  }

  writeTurn(block: Uint8Array<ArrayBuffer>): void {
    this.#isReady = false;
    if (this.#isClosed || this.#hasFinished) return;
    const peer = this.#peer!;
    let turn = Math.min(TURN_BYTES, this.#left);
    let isFull = false;
    while (turn > 0 && !isFull) {
      const length = Math.min(block.length, turn, peer.room());
      const taken = length > 0 ? peer.write(block, 0, length) : 0;
      isFull = taken === 0 || taken < length;
      turn -= taken;
      this.#left -= taken;
    }
    if (this.#left === 0) this.#finish();
    else if (!isFull) this.resume();
  }

  /** The time is over. */
  fire(): void {
    if (this.#isSource && !this.#hasFinished) this.#finish();
    else this.giveUp();
  }

  /** The stream was reset, or its session is over. */
  reset(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.loop.disarm(this);
    this.#shared.closed(this);
  }

  #arm(): void {
    const { loop, limits } = this.#shared;
    loop.arm(this, loop.now + limits.ms);
  }

  #finish(): void {
    if (this.#isClosed) return;
    if (!this.#hasFinished) {
      this.#hasFinished = true;
      this.#peer!.finish();
      // The client has its own half to end: not for ever.
      this.#arm();
    }
    if (!this.#hasEnded) return;
    this.reset();
    this.owner.benchClosed();
  }

  giveUp(): void {
    this.reset();
    this.#peer!.reset(RstCode.timedOut);
    this.owner.benchClosed();
  }
}

/**
 * The targets that a server itself is: a sink and a source of bytes, so that a line can be measured
 * with nothing else on the other side. Each stream is bounded in time and in bytes.
 */

import { BENCH_LIMITS, type BenchLimits, BenchPort } from "../../proxy/bench.ts";
import { RstCode } from "../../wire/frames.ts";
import { type Loop, NOT_ARMED, type Task, type Timer } from "../../loop/loop.ts";
import type { StreamSession, Waker } from "../../outbound/splice.ts";

/** What a source writes in its turn: other streams have theirs. */
const TURN_BYTES = 256 << 10;
const BLOCK_BYTES = 64 << 10;

/** Who is told that a measurement is over. */
export interface BenchOwner {
  benchClosed(): void;
}

/** All measurements of a worker. */
export class BenchTargets implements Task {
  isPosted = false;
  readonly loop: Loop;
  readonly waker: Waker<StreamSession>;
  readonly limits: BenchLimits;
  readonly #block = new Uint8Array(BLOCK_BYTES);
  #count = 0;
  #ready: BenchStream[] = [];

  constructor(loop: Loop, waker: Waker<StreamSession>, limits: BenchLimits = BENCH_LIMITS) {
    this.loop = loop;
    this.waker = waker;
    this.limits = limits;
  }

  /** Takes over a stream that was answered; undefined: there are too many. */
  open(
    owner: BenchOwner,
    session: StreamSession,
    id: number,
    port: number,
  ): BenchStream | undefined {
    if (this.#count >= this.limits.streams) return undefined;
    this.#count++;
    return new BenchStream(this, owner, session, id, port);
  }

  closed(): void {
    this.#count--;
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
    return port === BenchPort.sink || port === BenchPort.source;
  }
}

/** One measurement. */
export class BenchStream implements Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly #shared: BenchTargets;
  readonly #owner: BenchOwner;
  readonly #session: StreamSession;
  readonly #id: number;
  readonly #isSource: boolean;
  #left: number;
  #isReady = false;
  #isClosed = false;
  /** The halves that are over: what we say, what the client says. */
  #hasFinished = false;
  #hasEnded = false;

  constructor(
    shared: BenchTargets,
    owner: BenchOwner,
    session: StreamSession,
    id: number,
    port: number,
  ) {
    this.#shared = shared;
    this.#owner = owner;
    this.#session = session;
    this.#id = id;
    this.#isSource = port === BenchPort.source;
    this.#left = shared.limits.bytes;
    this.#arm();
    if (this.#isSource) this.writable();
  }

  /** Data of the client: all is taken, and none kept. */
  data(_bytes: Uint8Array, _at: number, length: number): number {
    if (this.#isClosed) return 0;
    // A source has no use for any, and a sink for so much only.
    if (!this.#isSource) this.#left -= length;
    if (this.#left < 0) this.#giveUp();
    return length;
  }

  /** The client has said all: so has a sink; a source that is not wanted any more ends, too. */
  end(): void {
    this.#hasEnded = true;
    this.#finish();
  }

  writable(): void {
    if (!this.#isSource || this.#isReady || this.#isClosed || this.#hasFinished) return;
    this.#isReady = true;
    this.#shared.writeLater(this);
  }

  writeTurn(block: Uint8Array): void {
    this.#isReady = false;
    if (this.#isClosed || this.#hasFinished) return;
    let turn = Math.min(TURN_BYTES, this.#left);
    let isFull = false;
    while (turn > 0 && !isFull) {
      const length = Math.min(block.length, turn);
      const taken = this.#session.write(this.#id, block, 0, length);
      isFull = taken < length;
      turn -= taken;
      this.#left -= taken;
    }
    if (this.#left === 0) this.#finish();
    else if (!isFull) this.writable();
    this.#shared.waker.wake(this.#session);
  }

  /** The time is over. */
  fire(): void {
    if (this.#isSource && !this.#hasFinished) this.#finish();
    else this.#giveUp();
  }

  /** The stream was reset, or its session is over. */
  abort(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.loop.disarm(this);
    this.#shared.closed();
  }

  #arm(): void {
    const { loop, limits } = this.#shared;
    loop.arm(this, loop.now + limits.ms);
  }

  #finish(): void {
    if (this.#isClosed) return;
    if (!this.#hasFinished) {
      this.#hasFinished = true;
      this.#session.finish(this.#id);
      this.#shared.waker.wake(this.#session);
      // The client has its own half to end: not for ever.
      this.#arm();
    }
    if (!this.#hasEnded) return;
    this.abort();
    this.#owner.benchClosed();
  }

  #giveUp(): void {
    this.abort();
    this.#session.reset(this.#id, RstCode.timedOut);
    this.#shared.waker.wake(this.#session);
    this.#owner.benchClosed();
  }
}

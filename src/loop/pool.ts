/**
 * Worker threads from main: starts them, answers what they ask (names), passes on what their
 * services say, sums up what they count, and stops them. The other side of it is Host.
 */

import type { Libraries } from "../../ffi/libraries.ts";
import { EventFd } from "../../ffi/loop.ts";
import type { Log } from "../base/log.ts";
import { ringMemory, RingWriter } from "../base/ring.ts";
import { type CounterValues, type CounterView, sumCounters } from "./counters.ts";
import { type HandOverSpec, handOverSpec } from "./hand_over.ts";
import { type EarlyWorkers, startWorker, type WorkerEntry } from "./early_workers.ts";
import { type Envelope, piecesOf } from "./inbox.ts";
import type { Asker, NameLookup } from "./name_lookup.ts";
import {
  type FirstMessage,
  type FromHost,
  type HostStart,
  type Protocol,
  RESOLVER,
} from "./protocol.ts";

const STOP_TIMEOUT_MS = 3000;
const INBOX_BYTES = 1 << 18;
/** A full inbox is tried again after so long; the worker empties it once a round. */
const INBOX_RETRY_MS = 5;
/** Messages that wait for room; more are lost, and who asked asks again. */
const OUTBOX_MAX = 8192;

type NameOf<P extends Protocol> = keyof P["services"] & string;

/** The workers' entry calls serveWorker(). */
export interface PoolOptions<P extends Protocol> extends WorkerEntry {
  readonly libs: Libraries;
  /** Of this entry, where some come up already; those left over are ended. */
  readonly early?: EarlyWorkers;
  /** What the services of each worker are started with: one for each. */
  readonly starts: readonly P["start"][];
  /**
   * The keys in a start. They go over to the worker: what is here afterwards is empty, so that
   * there is one copy to wipe.
   */
  readonly keysOf?: (start: P["start"]) => readonly Uint8Array[];
  /** Without it, workers find no names. */
  readonly lookup?: NameLookup;
  readonly log: Log;
  /** Hears what the services say, and of which worker it is. */
  readonly heard?: {
    readonly [N in NameOf<P>]?: (message: P["services"][N]["says"], index: number) => void;
  };
}

export class Pool<P extends Protocol> {
  readonly #workers: PooledWorker<P>[];
  /** Of each worker, for connections from the others. */
  readonly #bells: readonly EventFd[];

  /** Rejects when a worker fails after its start. */
  readonly failure: Promise<never>;

  private constructor(workers: PooledWorker<P>[], bells: readonly EventFd[]) {
    this.#workers = workers;
    this.#bells = bells;
    this.failure = Promise.race(workers.map((worker) => worker.failure));
    this.failure.catch(() => {});
  }

  /** Resolves when all services of every worker have started; when one can't, all are stopped. */
  static async start<P extends Protocol>(options: PoolOptions<P>): Promise<Pool<P>> {
    const isAlone = options.starts.length < 2;
    const bells = isAlone ? [] : options.starts.map(() => new EventFd(options.libs.native));
    const spec = isAlone ? undefined : handOverSpec(bells.map(({ fd }) => fd));
    const workers = options.starts.map((_, index) => new PooledWorker(options, index, spec));
    options.early?.close();
    const pool = new Pool(workers, bells);
    const results = await Promise.allSettled(workers.map((worker) => worker.ready));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return pool;
    await pool.stop();
    throw failure.reason;
  }

  get count(): number {
    return this.#workers.length;
  }

  /** What a service told when it had started, of each worker. */
  ready<N extends NameOf<P>>(service: N): readonly P["services"][N]["ready"][] {
    return this.#workers.map(({ services }) => services[service]);
  }

  /** The sums over all workers, by service and name; also once they have stopped. */
  counters(): CounterValues {
    return sumCounters(this.#workers.flatMap(({ counters }) => counters ?? []));
  }

  /** Says something to a service, in every worker. */
  tell<N extends NameOf<P>>(service: N, message: P["services"][N]["hears"]): void {
    for (const worker of this.#workers) worker.tell({ to: service, message });
  }

  /** Says to a service in each worker what is for that one; nothing where that is undefined. */
  tellEach<N extends NameOf<P>>(
    service: N,
    messageOf: (index: number) => P["services"][N]["hears"] | undefined,
  ): void {
    for (const [index, worker] of this.#workers.entries()) {
      const message = messageOf(index);
      if (message !== undefined) worker.tell({ to: service, message });
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    for (const bell of this.#bells) bell.close();
  }
}

class PooledWorker<P extends Protocol> {
  readonly ready: Promise<void>;
  readonly failure: Promise<never>;
  services: Readonly<Record<string, unknown>> = {};
  counters: CounterView | undefined;
  readonly #options: PoolOptions<P>;
  readonly #index: number;
  readonly #wake: EventFd;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #inbox: RingWriter;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #failure = Promise.withResolvers<never>();
  readonly #stopped = Promise.withResolvers<void>();
  #outbox: Uint8Array[] = [];
  #retry: number | undefined;

  constructor(options: PoolOptions<P>, index: number, spec: HandOverSpec | undefined) {
    this.#options = options;
    this.#index = index;
    const inbox = ringMemory(INBOX_BYTES);
    this.#inbox = new RingWriter(inbox);
    this.#wake = new EventFd(options.libs.native);
    this.ready = this.#ready.promise;
    this.failure = this.#failure.promise;
    this.failure.catch(() => {});
    this.#worker = options.early?.take() ?? startWorker(options);
    this.#worker.onmessage = ({ data }: MessageEvent<FromHost>) => this.#heard(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`a worker (${options.name}) failed: ${event.message}`);
    };
    const start = options.starts[index];
    const host: HostStart = {
      wakeFd: this.#wake.fd,
      stop: this.#stop.buffer,
      inbox,
      logLevel: options.log.threshold.memory,
      ...(spec === undefined ? {} : { handOver: { index, spec } }),
    };
    const first: FirstMessage<P["start"]> = { host, start };
    this.#worker.postMessage(first, memoryOf(options.keysOf?.(start) ?? []));
  }

  tell(envelope: Envelope): void {
    if (this.#wake.closed) return;
    const pieces = piecesOf(envelope);
    // A part of a message alone would be taken for the begin of the next one.
    if (this.#outbox.length + pieces.length > OUTBOX_MAX) return;
    this.#outbox.push(...pieces);
    this.#flush();
  }

  async stop(): Promise<void> {
    Atomics.store(this.#stop, 0, 1);
    if (!this.#wake.closed) this.#wake.signal();
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, STOP_TIMEOUT_MS);
    await Promise.race([this.#stopped.promise, timeout.promise]);
    clearTimeout(timer);
    clearTimeout(this.#retry);
    this.#worker.terminate();
    this.#wake.close();
  }

  #heard(message: FromHost): void {
    switch (message.kind) {
      case "ready":
        this.services = message.services;
        this.counters = message.counters;
        return this.#ready.resolve();
      case "said":
        return this.#options.heard?.[message.service as NameOf<P>]?.(message.message, this.#index);
      case "resolve":
        return void this.#resolve(message);
      case "forget":
        return this.#options.lookup?.forget(message.name, this.#askerOf(message.asker));
      case "log":
        return this.#options.log.put(message.record);
      case "failed":
        return this.#fail(message.reason);
      case "stopped":
        return this.#stopped.resolve();
    }
  }

  async #resolve({ id, name, asker, user }: FromHost & { kind: "resolve" }): Promise<void> {
    const { lookup } = this.#options;
    const answer = await lookup?.find(name, this.#askerOf(asker, user)) ??
      { addresses: [], error: "failed" };
    this.tell({ to: RESOLVER, message: { kind: "resolved", id, ...answer } });
  }

  #askerOf(asker: number, user = ""): Asker {
    return { key: `${this.#options.name} ${this.#index} ${asker}`, user };
  }

  #fail(reason: string): void {
    const error = new Error(reason);
    this.#ready.reject(error);
    this.#failure.reject(error);
    this.#stopped.resolve();
  }

  /** Writes what waits, as far as there is room, and rings. */
  #flush(): void {
    if (this.#retry !== undefined) return;
    let written = 0;
    while (written < this.#outbox.length && this.#inbox.write(this.#outbox[written]!)) {
      // It may hold keys, of which the ring has a copy now.
      this.#outbox[written++]!.fill(0);
    }
    this.#outbox = this.#outbox.slice(written);
    if (written > 0) this.#wake.signal();
    if (this.#outbox.length === 0) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (!this.#wake.closed) this.#flush();
    }, INBOX_RETRY_MS);
  }
}

/** The memory of keys, which is handed over and not copied. */
function memoryOf(keys: readonly Uint8Array[]): ArrayBuffer[] {
  return keys.map(({ buffer }) => buffer as ArrayBuffer).filter(({ byteLength }) => byteLength > 0);
}

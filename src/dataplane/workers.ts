/** Starts the data-plane workers, and stops them. */

import { endpoint } from "../../ffi/endpoint.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { EventFd } from "../../ffi/loop.ts";
import { SharedWord, type WorkerMessage, type WorkerStart } from "./worker_protocol.ts";

const STOP_TIMEOUT_MS = 3000;

export interface WorkersOptions {
  readonly code: URL;
  readonly count: number;
  /** 16 bytes, IPv4 as IPv4-mapped; all zero: every address. */
  readonly ip: Uint8Array;
  readonly port: number;
  readonly libs: Libraries;
}

export class Workers {
  readonly #workers: DataWorker[];

  /** Rejects when a worker fails after its start. */
  readonly failure: Promise<never>;

  private constructor(workers: DataWorker[]) {
    this.#workers = workers;
    this.failure = Promise.race(workers.map((worker) => worker.failure));
    this.failure.catch(() => {});
  }

  /** Resolves when every worker holds its socket; when one can't, all are stopped again. */
  static async start(options: WorkersOptions): Promise<Workers> {
    const workers: DataWorker[] = [];
    for (let i = 0; i < options.count; i++) workers.push(new DataWorker(options));
    const started = new Workers(workers);
    const results = await Promise.allSettled(workers.map((worker) => worker.ready));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return started;
    await started.stop();
    throw failure.reason;
  }

  get count(): number {
    return this.#workers.length;
  }

  /** Datagrams that all workers have received. */
  get datagrams(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.datagrams, 0);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }
}

class DataWorker {
  readonly ready: Promise<void>;
  readonly failure: Promise<never>;
  readonly #wake: EventFd;
  readonly #words: BigInt64Array;
  readonly #worker: Worker;
  readonly #stopped: Promise<void>;

  constructor({ code, ip, port, libs }: WorkersOptions) {
    const shared = new SharedArrayBuffer(8 * SharedWord.count);
    this.#words = new BigInt64Array(shared);
    this.#wake = new EventFd(libs.native);
    this.#worker = new Worker(code, { type: "module", name: "data plane" });
    const ready = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const failure = Promise.withResolvers<never>();
    const fail = (reason: string) => {
      const error = new Error(reason);
      ready.reject(error);
      failure.reject(error);
      stopped.resolve();
    };
    this.ready = ready.promise;
    this.failure = failure.promise;
    this.#stopped = stopped.promise;
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.kind === "ready") return ready.resolve();
      if (data.kind === "failed") return fail(data.reason);
      stopped.resolve();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      fail(`a data-plane worker failed: ${event.message}`);
    };
    const start: WorkerStart = { listen: endpoint(ip, port), wakeFd: this.#wake.fd, shared };
    this.#worker.postMessage(start);
  }

  get datagrams(): number {
    return Number(Atomics.load(this.#words, SharedWord.datagrams));
  }

  async stop(): Promise<void> {
    Atomics.store(this.#words, SharedWord.stop, 1n);
    if (!this.#wake.closed) this.#wake.signal();
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, STOP_TIMEOUT_MS);
    await Promise.race([this.#stopped, timeout.promise]);
    clearTimeout(timer);
    this.#worker.terminate();
    this.#wake.close();
  }
}

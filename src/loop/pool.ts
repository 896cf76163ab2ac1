/**
 * Starts the data-plane workers, answers what they ask (names), passes on what they say, and stops
 * them.
 */

import type { Libraries } from "../../ffi/libraries.ts";
import { EventFd } from "../../ffi/loop.ts";
import type { Log } from "../base/log.ts";
import { ringMemory, RingWriter } from "../base/ring.ts";
import { piecesOf } from "./inbox.ts";
import type { NameLookup } from "./name_lookup.ts";
import {
  type ClientStart,
  type ServerStart,
  SharedWord,
  type ToWorker,
  type WorkerMessage,
  type WorkerStart,
} from "../tunnel/protocol.ts";

const STOP_TIMEOUT_MS = 3000;
const INBOX_BYTES = 1 << 18;
/** A full inbox is tried again after so long; the worker empties it once a round. */
const INBOX_RETRY_MS = 5;
/** Messages that wait for room; more are lost, and who asked asks again. */
const OUTBOX_MAX = 8192;

/** What a worker is to do; the means to reach it are made here. */
export type WorkerTask =
  | Omit<ServerStart, "wakeFd" | "shared" | "inbox">
  | Omit<ClientStart, "wakeFd" | "shared" | "inbox">;

/** The client's session as its worker tells of it. */
export type SessionReport = Omit<Extract<WorkerMessage, { kind: "session" }>, "kind">;

export interface WorkersOptions {
  readonly libs: Libraries;
  readonly code: URL;
  /**
   * One for each worker. The keys in them go over to it: what is here afterwards is empty, so
   * that there is one copy to wipe.
   */
  readonly tasks: readonly WorkerTask[];
  readonly lookup: NameLookup;
  readonly log: Log;
  readonly onSession?: (report: SessionReport) => void;
  readonly onMarks?: (requests: Uint8Array) => void;
  readonly onReplayRecord?: (record: Uint8Array) => void;
}

type CounterName = Exclude<keyof typeof SharedWord, "stop" | "count">;
export type WorkerCounters = Readonly<Record<CounterName, number>>;

const COUNTERS = (Object.keys(SharedWord) as (keyof typeof SharedWord)[])
  .filter((name): name is CounterName => name !== "stop" && name !== "count");

export class Workers {
  readonly #workers: DataWorker[];

  /** Rejects when a worker fails after its start. */
  readonly failure: Promise<never>;

  private constructor(workers: DataWorker[]) {
    this.#workers = workers;
    this.failure = Promise.race(workers.map((worker) => worker.failure));
    this.failure.catch(() => {});
  }

  /** Resolves when every worker holds its sockets; when one can't, all are stopped again. */
  static async start(options: WorkersOptions): Promise<Workers> {
    const workers = options.tasks.map((task) => new DataWorker(task, options));
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

  /** Ports that the first worker listens on, in the order in which they were asked for. */
  get ports(): readonly number[] {
    return this.#workers[0]?.ports ?? [];
  }

  /** The descriptors that packets come by, in the order of the workers; empty for a client's. */
  get sockets(): readonly number[] {
    return this.#workers.flatMap(({ socket }) => socket ?? []);
  }

  /** The sums of all workers. */
  counters(): WorkerCounters {
    const sums = COUNTERS.map((name) => {
      return [name, this.#workers.reduce((sum, worker) => sum + worker.counter(name), 0)] as const;
    });
    return Object.fromEntries(sums) as unknown as WorkerCounters;
  }

  /** Says something to every worker. */
  tell(message: ToWorker): void {
    for (const worker of this.#workers) worker.tell(message);
  }

  /** Says to each worker what is for it; nothing where that is nothing. */
  tellEach(messageOf: (index: number) => ToWorker | undefined): void {
    for (const [index, worker] of this.#workers.entries()) {
      const message = messageOf(index);
      if (message !== undefined) worker.tell(message);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
  }
}

class DataWorker {
  readonly ready: Promise<void>;
  readonly failure: Promise<never>;
  ports: readonly number[] = [];
  socket: number | undefined;
  readonly #options: WorkersOptions;
  readonly #wake: EventFd;
  readonly #words: BigInt64Array;
  readonly #inbox: RingWriter;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #failure = Promise.withResolvers<never>();
  readonly #stopped = Promise.withResolvers<void>();
  #outbox: Uint8Array[] = [];
  #retry: number | undefined;

  constructor(task: WorkerTask, options: WorkersOptions) {
    this.#options = options;
    const shared = new SharedArrayBuffer(8 * SharedWord.count);
    const inbox = ringMemory(INBOX_BYTES);
    this.#words = new BigInt64Array(shared);
    this.#inbox = new RingWriter(inbox);
    this.#wake = new EventFd(options.libs.native);
    this.ready = this.#ready.promise;
    this.failure = this.#failure.promise;
    this.failure.catch(() => {});
    this.#worker = new Worker(options.code, { type: "module", name: "data plane" });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.#heard(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`a data-plane worker failed: ${event.message}`);
    };
    const start: WorkerStart = { ...task, wakeFd: this.#wake.fd, shared, inbox };
    this.#worker.postMessage(start, keysOf(task));
  }

  counter(name: CounterName): number {
    return Number(Atomics.load(this.#words, SharedWord[name]));
  }

  tell(message: ToWorker): void {
    if (this.#wake.closed) return;
    const pieces = piecesOf(message);
    // A part of a message alone would be taken for the begin of the next one.
    if (this.#outbox.length + pieces.length > OUTBOX_MAX) return;
    this.#outbox.push(...pieces);
    this.#flush();
  }

  async stop(): Promise<void> {
    Atomics.store(this.#words, SharedWord.stop, 1n);
    if (!this.#wake.closed) this.#wake.signal();
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, STOP_TIMEOUT_MS);
    await Promise.race([this.#stopped.promise, timeout.promise]);
    clearTimeout(timer);
    clearTimeout(this.#retry);
    this.#worker.terminate();
    this.#wake.close();
  }

  #heard(message: WorkerMessage): void {
    switch (message.kind) {
      case "ready":
        this.ports = message.ports;
        this.socket = message.socket;
        return this.#ready.resolve();
      case "resolve":
        return void this.#resolve(message.id, message.name);
      case "log":
        return this.#options.log.put(message.record);
      case "session": {
        const { kind: _, ...report } = message;
        return this.#options.onSession?.(report);
      }
      case "marks":
        return this.#options.onMarks?.(message.marks);
      case "replay":
        return this.#options.onReplayRecord?.(message.record);
      case "failed":
        return this.#fail(message.reason);
      case "stopped":
        return this.#stopped.resolve();
    }
  }

  async #resolve(id: number, name: string): Promise<void> {
    const answer = await this.#options.lookup.find(name);
    this.tell({ kind: "resolved", id, ...answer });
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
    while (written < this.#outbox.length && this.#inbox.write(this.#outbox[written]!)) written++;
    this.#outbox = this.#outbox.slice(written);
    if (written > 0) this.#wake.signal();
    if (this.#outbox.length === 0) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (!this.#wake.closed) this.#flush();
    }, INBOX_RETRY_MS);
  }
}

/** The memory of all keys of a task, which is handed over and not copied. */
function keysOf(task: WorkerTask): ArrayBuffer[] {
  const keys = task.kind === "server"
    ? [task.psk, task.serverSecret, ...task.users.map(({ key }) => key)]
    : [task.psk, task.userKey];
  return keys.map(({ buffer }) => buffer as ArrayBuffer).filter(({ byteLength }) => byteLength > 0);
}

/**
 * Worker threads that come up while main still reads what they are to do: an isolate and its code
 * take longer than all that main does before its workers can be told to start.
 */

export interface WorkerEntry {
  readonly code: URL;
  /** For people. */
  readonly name: string;
}

export function startWorker({ code, name }: WorkerEntry): Worker {
  return new Worker(code, { type: "module", name });
}

export class EarlyWorkers {
  readonly #entry: WorkerEntry;
  readonly #idle: Worker[] = [];

  constructor(entry: WorkerEntry) {
    this.#entry = entry;
  }

  /** So many are there or on their way; to be said before any is taken. */
  want(count: number): void {
    while (this.#idle.length < count) this.#idle.push(startWorker(this.#entry));
  }

  /** One that nobody has spoken to; undefined where all are taken. */
  take(): Worker | undefined {
    return this.#idle.shift();
  }

  /** Ends those that were not taken. */
  close(): void {
    for (const worker of this.#idle.splice(0)) worker.terminate();
  }
}

/**
 * What a server or client is made of: parts that are started in order, looked after by one clock,
 * asked how they are, told of new settings, and stopped in reverse.
 */

import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type CounterValues, mergeCounters } from "../loop/counters.ts";

/** How often parts' ticks come. */
const TICK_MS = 250;

export interface Part<Config = unknown, Status extends object = object> {
  readonly name: string;
  /** Looks after what it holds; from right behind "ready" on. */
  tick?(now: number): void;
  /** Its fields of what `phantom status` shows. */
  status?(): Partial<Status>;
  /** What its workers count. */
  counters?(): CounterValues;
  /** Takes over what it can of a new configuration; the settings that it took. */
  apply?(config: Config): readonly string[] | Promise<readonly string[]>;
  stop(): void | Promise<void>;
}

export class Parts<Config = unknown, Status extends object = object> {
  readonly #log: Log;
  readonly #parts: Part<Config, Status>[] = [];
  /** What each part's tick threw last: told once, and not several times a second. */
  readonly #told = new Map<string, string>();
  #timer: number | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** A part that has started: it is stopped before all that were added before it. */
  add<P extends Part<Config, Status>>(part: P): P {
    this.#parts.push(part);
    return part;
  }

  /** Ticks from now on; the first comes when the caller has said that it is ready. */
  begin(): void {
    const tick = (): void => {
      this.#tick(performance.now());
      this.#timer = setTimeout(tick, TICK_MS);
    };
    this.#timer = setTimeout(tick, 0);
  }

  /** What all parts say of themselves. */
  status(): Partial<Status> {
    return Object.assign({}, ...this.#parts.map((part) => part.status?.()));
  }

  /** What the workers of all parts count. */
  counters(): CounterValues {
    return mergeCounters(this.#parts.map((part) => part.counters?.() ?? {}));
  }

  /** Tells all parts of a configuration; the settings that any of them took. */
  async apply(config: Config): Promise<string[]> {
    const taken: string[] = [];
    for (const part of this.#parts) taken.push(...await part.apply?.(config) ?? []);
    return taken;
  }

  /** Stops all parts, also where one of them can't be: the first such error is thrown then. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const errors: unknown[] = [];
    for (const part of this.#parts.splice(0).reverse()) {
      try {
        await part.stop();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }

  #tick(now: number): void {
    for (const part of this.#parts) {
      try {
        part.tick?.(now);
      } catch (error) {
        this.#fault(part.name, error);
      }
    }
  }

  #fault(part: string, error: unknown): void {
    const cause = messageOf(error);
    if (this.#told.get(part) === cause) return;
    this.#told.set(part, cause);
    const stack = error instanceof Error ? error.stack : undefined;
    this.#log.error("part_fault", "a part went on after a fault", { part, cause, stack });
  }
}

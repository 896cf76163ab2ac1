/**
 * Log lines as a pool: each event has so many in a time, and what more there would be is counted
 * and told. Whatever strangers can make happen often, the log stays readable, and the disk free.
 */

import { Log, type LogLevel, type LogRecord, type LogThreshold } from "./log.ts";

/** Of one event of one component. */
const LINES_MAX = 100;
/** Of one that is for debugging: whoever asks for those wants each. */
const DEBUG_LINES_MAX = 2000;
const WINDOW_MS = 10_000;
/** Names of events are constants of the program; more than there are is a fault of its own. */
const EVENTS_MAX = 4096;
const SUMMARY = "lines_held_back";

interface Held {
  since: number;
  lines: number;
  /** The last one, of those that were held back. */
  last: Pick<LogRecord, "level" | "component" | "event"> | undefined;
  count: number;
}

function mostOf(level: LogLevel): number {
  return level === "debug" ? DEBUG_LINES_MAX : LINES_MAX;
}

/** Passes on what is not too much, and now and then how much was. */
export class LineLimit {
  heldBack = 0;
  readonly #sink: (record: LogRecord) => void;
  readonly #now: () => number;
  readonly #events = new Map<string, Held>();
  #tellAt = Infinity;

  constructor(sink: (record: LogRecord) => void, now: () => number) {
    this.#sink = sink;
    this.#now = now;
  }

  /** A log by way of this limit, of which lines up to a threshold are read. */
  log(component?: string, threshold?: LogThreshold): Log {
    return new Log((record) => this.#put(record), component, this, threshold);
  }

  holds(level: LogLevel, component: string, event: string): boolean {
    const held = this.#heldOf(component, event);
    if (held.lines < mostOf(level)) return false;
    this.#hold(held, { level, component, event });
    return true;
  }

  #put(record: LogRecord): void {
    const { level, component, event } = record;
    // What another limit has counted.
    if (event === SUMMARY) return this.#sink(record);
    const held = this.#heldOf(component, event);
    if (held.lines >= mostOf(level)) return this.#hold(held, record);
    held.lines++;
    this.#sink(record);
  }

  #hold(held: Held, line: Held["last"]): void {
    held.last = line;
    held.count++;
    this.heldBack++;
    this.#tellAt = Math.min(this.#tellAt, held.since + WINDOW_MS);
  }

  #heldOf(component: string, event: string): Held {
    const time = this.#now();
    // A clock may be set back, too.
    if (time >= this.#tellAt || time < this.#tellAt - WINDOW_MS) this.#tell();
    const key = `${component} ${event}`;
    let held = this.#events.get(key);
    if (held === undefined) {
      if (this.#events.size >= EVENTS_MAX) this.#events.clear();
      this.#events.set(key, held = { since: time, lines: 0, last: undefined, count: 0 });
    }
    if (time >= held.since + WINDOW_MS || time < held.since) {
      held.since = time;
      held.lines = 0;
    }
    return held;
  }

  #tell(): void {
    this.#tellAt = Infinity;
    for (const held of this.#events.values()) {
      const { last, count } = held;
      if (last === undefined) continue;
      held.last = undefined;
      held.count = 0;
      const { level, component, event: of } = last;
      const message = "more lines of an event were held back";
      this.#sink({ level, component, event: SUMMARY, message, fields: { of, count } });
    }
  }
}

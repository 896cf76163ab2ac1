/**
 * Log lines as a pool: each event has so many in a time, and what more there would be is counted
 * and told. Whatever strangers can make happen often, the log stays readable, and the disk free.
 */

import type { LogRecord } from "./log.ts";

/** Of one event of one component. */
const LINES_MAX = 20;
const WINDOW_MS = 10_000;
/** Names of events are constants of the program; more than there are is a fault of its own. */
const EVENTS_MAX = 4096;
const SUMMARY = "lines_held_back";

interface Held {
  since: number;
  lines: number;
  /** The last one, of those that were held back. */
  last: LogRecord | undefined;
  count: number;
}

/** A sink that passes on what is not too much, and now and then how much was. */
export function limitLines(
  sink: (record: LogRecord) => void,
  now: () => number,
): (record: LogRecord) => void {
  const events = new Map<string, Held>();
  let tellAt = Infinity;
  return (record) => {
    const time = now();
    // A clock may be set back, too.
    if (time >= tellAt || time < tellAt - WINDOW_MS) {
      tellAt = Infinity;
      for (const held of events.values()) tell(held, sink);
    }
    // What another limit has counted.
    if (record.event === SUMMARY) return sink(record);
    const held = heldOf(events, `${record.component} ${record.event}`, time);
    if (++held.lines <= LINES_MAX) return sink(record);
    held.last = record;
    held.count++;
    tellAt = Math.min(tellAt, held.since + WINDOW_MS);
  };
}

function heldOf(events: Map<string, Held>, key: string, time: number): Held {
  let held = events.get(key);
  if (held === undefined) {
    if (events.size >= EVENTS_MAX) events.clear();
    events.set(key, held = { since: time, lines: 0, last: undefined, count: 0 });
  }
  if (time >= held.since + WINDOW_MS || time < held.since) {
    held.since = time;
    held.lines = 0;
  }
  return held;
}

function tell(held: Held, sink: (record: LogRecord) => void): void {
  const { last, count } = held;
  if (last === undefined) return;
  held.last = undefined;
  held.count = 0;
  const { level, component, event: of } = last;
  const fields = { of, count };
  sink({
    level,
    component,
    event: SUMMARY,
    message: "more lines of an event were held back",
    fields,
  });
}

/** What the sessions of a tunnel count together: those that are over, and those that are. */

import { SessionCounters } from "../session/counters.ts";
import type { Session } from "../session/session.ts";

/** Sessions looked at a ms, on average: a table of many is not walked with every tick. */
const SESSIONS_A_MS = 4;

type Name = {
  [N in keyof SessionCounters]: SessionCounters[N] extends number ? N : never;
}[keyof SessionCounters];

const NAMES = Object.entries(new SessionCounters()).filter(([, value]) => typeof value === "number")
  .map(([name]) => name as Name);

export class SessionSums {
  readonly #ended = new SessionCounters();
  #sums = new SessionCounters();
  #notBefore = -Infinity;

  /** It counts no more. */
  closed({ counters }: Pick<Session, "counters">): void {
    add(this.#ended, counters);
  }

  /** The sums of now; of a little while ago where there are many sessions. */
  of(now: number, sessions: () => readonly Pick<Session, "counters" | "isOpen">[]): object {
    if (now < this.#notBefore) return this.#sums;
    const sums = this.#sums = new SessionCounters();
    add(sums, this.#ended);
    const all = sessions();
    for (const session of all) if (session.isOpen) add(sums, session.counters);
    this.#notBefore = now + all.length / SESSIONS_A_MS;
    return sums;
  }
}

function add(sums: SessionCounters, counters: SessionCounters): void {
  for (const name of NAMES) sums[name] += counters[name];
}

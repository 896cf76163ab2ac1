/**
 * What the kernel holds for connections that do not move: data that came and that no client takes,
 * or that no target takes. It is memory of the whole machine, of which others' connections need
 * some, too: beyond a share of it the session, or user, that holds most gives up connections.
 *
 * All are looked at again and again, a part at each tick, so that nothing is counted per packet.
 */

/** Looked at in a tick: each costs a call into the kernel. */
const LOOKS_A_TICK = 1024;
/** Given up at the end of a lap. */
const CUTS_A_LAP = 4096;

export interface StalledItem {
  /** Asks the kernel: bytes held, where fewer than those have passed since it was asked last. */
  look(): number;
  /** What it answered. */
  readonly stalled: number;
  giveWay(): void;
}

/** Who has what open; ExitSessions. */
export interface StalledSource<S> {
  inUse(): S[];
  each(session: S): Iterable<StalledItem>;
  userOf(session: S): string;
}

export interface StalledCounters {
  /** Connections that were given up so that others have memory. */
  stalledCut: number;
}

interface Payer<S> {
  bytes: number;
  readonly sessions: S[];
}

export class Stalled<S extends object> {
  /** By the last lap. */
  bytes = 0;
  max = Infinity;
  readonly #source: StalledSource<S>;
  readonly #counters: StalledCounters;
  #sessions: S[] = [];
  #items: Iterator<StalledItem> | undefined;
  /** Of this lap. */
  readonly #held = new Map<S, number>();

  constructor(source: StalledSource<S>, counters: StalledCounters) {
    this.#source = source;
    this.#counters = counters;
  }

  /** To be called a few times a second. */
  tick(): void {
    for (let looks = 0; looks < LOOKS_A_TICK;) {
      const item = this.#items?.next();
      if (item === undefined || item.done === true) {
        if (this.#nextSession()) continue;
        return this.#endLap();
      }
      looks++;
      const session = this.#sessions.at(-1)!;
      const bytes = item.value.look();
      if (bytes > 0) this.#held.set(session, (this.#held.get(session) ?? 0) + bytes);
    }
  }

  #nextSession(): boolean {
    if (this.#items !== undefined) this.#sessions.pop();
    this.#openLast();
    return this.#items !== undefined;
  }

  #openLast(): void {
    const session = this.#sessions.at(-1);
    this.#items = session && this.#source.each(session)[Symbol.iterator]();
  }

  #endLap(): void {
    const payers = this.#payers();
    this.bytes = payers.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.bytes > this.max) this.#cut(payers);
    this.#held.clear();
    this.#sessions = this.#source.inUse();
    this.#openLast();
  }

  /** Those that hold more than all may, in equal parts, come down to that. */
  #cut(payers: Payer<S>[]): void {
    const level = levelOf(payers.map(({ bytes }) => bytes), this.max);
    let cuts = CUTS_A_LAP;
    for (const { bytes, sessions } of payers) {
      let left = bytes - level;
      for (const item of left > 0 ? sessions.flatMap((one) => [...this.#source.each(one)]) : []) {
        if (left <= 0 || cuts === 0) break;
        const { stalled } = item;
        if (stalled === 0) continue;
        item.giveWay();
        left -= stalled;
        cuts--;
        this.#counters.stalledCut++;
      }
    }
  }

  /** Named users, and else each session for itself. */
  #payers(): Payer<S>[] {
    const users = new Map<string, Payer<S>>();
    const payers: Payer<S>[] = [];
    for (const [session, bytes] of this.#held) {
      const user = this.#source.userOf(session);
      const known = user === "" ? undefined : users.get(user);
      if (known !== undefined) {
        known.bytes += bytes;
        known.sessions.push(session);
        continue;
      }
      const payer = { bytes, sessions: [session] };
      payers.push(payer);
      if (user !== "") users.set(user, payer);
    }
    return payers;
  }
}

/** What each may hold so that all hold `max` together: who holds less leaves the rest to others. */
function levelOf(held: readonly number[], max: number): number {
  let rest = max;
  for (const [i, bytes] of held.toSorted((a, b) => a - b).entries()) {
    const part = rest / (held.length - i);
    if (bytes > part) return part;
    rest -= bytes;
  }
  return rest;
}

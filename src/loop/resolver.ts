/**
 * A worker's side of name look-ups: main looks names up, since that needs promises; here is who
 * asked for what, what is known for a while, and what is no longer waited for.
 *
 * Look-ups under way are shared: whoever asks for a name first pays for it, and where there are too
 * many the session that pays for most loses its oldest (base/shares.ts).
 *
 * What is remembered are addresses and never decisions: rules judge them at each use.
 */

import { parseIp } from "../base/ip.ts";
import { Shares } from "../base/shares.ts";
import { type Loop, NOT_ARMED, type Timer } from "./loop.ts";

/** How long an answer is believed that does not say so itself, and how long that there is none. */
export const FOUND_MS = 60_000;
export const NOT_FOUND_MS = 5_000;
/**
 * Bounds of what answers say of themselves: no name is asked for with every connection, and an
 * address that has changed is found within minutes, whatever was promised.
 */
export const FOUND_MIN_MS = 5_000;
export const FOUND_MAX_MS = 300_000;
export const LOOKUP_TIMEOUT_MS = 5_000;
/** Names remembered. */
const CACHE_MAX = 4096;
/** Look-ups under way, and what one session may have wait for them. */
const LOOKUPS_MAX = 1024;
const WAITERS_MAX = 1024;
/** A look-up that others wait for as well is paid for by them: how many are passed on like that. */
const PASSED_ON_MAX = 4;
/** Addresses of one name. */
const ADDRESSES_MAX = 64;
const ID_MAX = 0x7fff_ffff;

export interface Resolution {
  /** 16 bytes each; empty with an error. */
  readonly addresses: readonly Uint8Array[];
  /** "busy": too many look-ups wait. */
  readonly error?: "not-found" | "failed" | "timed-out" | "busy";
  /** In ms of the loop: then it is to be asked for again. */
  readonly until: number;
}

/** What main answers, by the ring. */
export interface NameAnswer {
  readonly kind: "resolved";
  readonly id: number;
  /** IP texts; empty with an error. */
  readonly addresses: readonly string[];
  /** How long they hold, where that is known. */
  readonly ttlSeconds?: number;
  readonly error?: "not-found" | "failed";
}

/** Who waits for a name. */
export interface NameWaiter {
  /** On whose account: a session, say, and whose that is. Without, on nobody's. */
  readonly asker?: object;
  readonly user?: string;
  /** What of the user's may wait at a time; 0: as much as there is room for. */
  readonly userWaitsMax?: number;
  resolved(resolution: Resolution): void;
}

export interface ResolverOptions {
  /** Asks main; the answer comes to `answered`. Main has a number for each asker. */
  readonly ask: (id: number, name: string, asker: number, user: string) => void;
  /** What was asked is not wanted any more. */
  readonly forget?: (name: string, asker: number) => void;
  readonly foundMs?: number;
  readonly notFoundMs?: number;
  readonly timeoutMs?: number;
  readonly cacheMax?: number;
  readonly lookupsMax?: number;
  readonly waitersMax?: number;
}

/** Counted since the start. */
export class ResolverCounters {
  lookups = 0;
  hits = 0;
  /** Refused since too many look-ups waited, for them all or for one session. */
  refused = 0;
  /** Ended so that others could begin. */
  gaveWay = 0;
  timeouts = 0;
  /** Answers that nobody waited for. */
  late = 0;
  /** Exceptions of those who waited: none is expected. */
  faults = 0;
}

interface Lookup {
  readonly id: number;
  readonly name: string;
  readonly deadline: number;
  readonly waiters: Set<NameWaiter>;
  payer: object;
}

const NOBODY = {};
const BUSY: Resolution = { addresses: [], error: "busy", until: -Infinity };

export class Resolver implements Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly counters: ResolverCounters = new ResolverCounters();
  readonly #loop: Pick<Loop, "now" | "arm" | "disarm" | "fault">;
  readonly #options: Required<ResolverOptions>;
  /** Oldest first, hence the first to be forgotten. */
  readonly #known = new Map<string, Resolution>();
  /** Oldest first, hence the first to time out. */
  readonly #lookups = new Map<number, Lookup>();
  readonly #byName = new Map<string, Lookup>();
  /** Look-ups under way, by who pays. */
  readonly #paid: Shares<object>;
  /** Who waits, by whose they are; no more than `waitersMax` each. */
  readonly #waiting = new Shares<object>(Infinity);
  readonly #numbers = new WeakMap<object, number>();
  #nextId = 0;
  #nextAsker = 0;

  constructor(loop: Pick<Loop, "now" | "arm" | "disarm" | "fault">, options: ResolverOptions) {
    this.#loop = loop;
    this.#options = {
      foundMs: FOUND_MS,
      notFoundMs: NOT_FOUND_MS,
      timeoutMs: LOOKUP_TIMEOUT_MS,
      cacheMax: CACHE_MAX,
      lookupsMax: LOOKUPS_MAX,
      waitersMax: WAITERS_MAX,
      forget: () => {},
      ...options,
    };
    this.#paid = new Shares(this.#options.lookupsMax);
  }

  /** Names that are remembered. */
  get known(): number {
    return this.#known.size;
  }

  /** Look-ups under way. */
  get pending(): number {
    return this.#lookups.size;
  }

  /** The addresses of a name (normalised); undefined: the waiter is told later. */
  resolve(name: string, waiter: NameWaiter): Resolution | undefined {
    const known = this.#known.get(name);
    if (known !== undefined && this.#loop.now < known.until) {
      this.counters.hits++;
      return known;
    }
    const { asker = NOBODY, user = "" } = waiter;
    const mayWait = this.#mayWait(asker, user, waiter.userWaitsMax);
    const lookup = mayWait ? this.#byName.get(name) ?? this.#begin(name, asker, user) : undefined;
    if (lookup === undefined) {
      this.counters.refused++;
      return BUSY;
    }
    if (lookup.waiters.has(waiter)) return undefined;
    lookup.waiters.add(waiter);
    this.#waiting.take(asker, user);
    return undefined;
  }

  #mayWait(asker: object, user: string, userMax = 0): boolean {
    if (this.#waiting.heldBy(asker) >= this.#options.waitersMax) return false;
    return userMax === 0 || this.#waiting.heldByGroup(user) < userMax;
  }

  /** It no longer waits. The look-up goes on: its answer may be of use to the next. */
  forget(name: string, waiter: NameWaiter): void {
    if (this.#byName.get(name)?.waiters.delete(waiter) !== true) return;
    this.#waiting.give(waiter.asker ?? NOBODY);
  }

  /** An answer from main. */
  answered(answer: NameAnswer): void {
    const lookup = this.#lookups.get(answer.id);
    if (lookup === undefined) {
      this.counters.late++;
      return;
    }
    const addresses = answer.addresses.slice(0, ADDRESSES_MAX).map((text) => parseIp(text))
      .filter((ip) => ip !== undefined);
    const error = addresses.length > 0 ? undefined : answer.error ?? "not-found";
    const until = this.#loop.now + this.#lifetimeMs(error === undefined, answer.ttlSeconds);
    const resolution = { addresses, ...(error === undefined ? {} : { error }), until };
    this.#remember(lookup.name, resolution);
    this.#end(lookup, resolution);
  }

  fire(now: number): void {
    for (const lookup of this.#lookups.values()) {
      if (lookup.deadline > now) {
        this.#loop.arm(this, lookup.deadline);
        return;
      }
      this.counters.timeouts++;
      this.#options.forget(lookup.name, this.#numberOf(lookup.payer));
      const until = now + this.#options.notFoundMs;
      this.#end(lookup, { addresses: [], error: "timed-out", until });
    }
  }

  #begin(name: string, asker: object, user: string): Lookup | undefined {
    const { ask, timeoutMs } = this.#options;
    if (!this.#makeRoom(asker, user)) return undefined;
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) & ID_MAX;
    const lookup = {
      id,
      name,
      deadline: this.#loop.now + timeoutMs,
      waiters: new Set<NameWaiter>(),
      payer: asker,
    };
    this.#paid.take(asker, user);
    this.#lookups.set(id, lookup);
    this.#byName.set(name, lookup);
    if (this.heapIndex === NOT_ARMED) this.#loop.arm(this, lookup.deadline);
    this.counters.lookups++;
    ask(id, name, this.#numberOf(asker), user);
    return lookup;
  }

  /** Main tells askers apart by these; 0 is nobody. */
  #numberOf(asker: object): number {
    if (asker === NOBODY) return 0;
    let number = this.#numbers.get(asker);
    if (number === undefined) this.#numbers.set(asker, number = ++this.#nextAsker);
    return number;
  }

  #makeRoom(asker: object, user: string): boolean {
    for (let tries = 0; this.#paid.isFull; tries++) {
      const payer = this.#paid.payerFor(asker, user);
      const lookup = payer === undefined ? undefined : this.#oldestOf(payer);
      if (lookup === undefined || tries > PASSED_ON_MAX) return false;
      this.#giveWay(lookup);
    }
    return true;
  }

  #oldestOf(payer: object): Lookup | undefined {
    for (const lookup of this.#lookups.values()) if (lookup.payer === payer) return lookup;
    return undefined;
  }

  /** Whoever pays waits no more; where others do, one of them pays from now on. */
  #giveWay(lookup: Lookup): void {
    const { payer } = lookup;
    const [own, others] = [[] as NameWaiter[], [] as NameWaiter[]];
    for (const waiter of lookup.waiters) {
      (waiter.asker ?? NOBODY) === payer ? own.push(waiter) : others.push(waiter);
    }
    this.counters.gaveWay++;
    const [heir] = others;
    if (heir === undefined) {
      this.#options.forget(lookup.name, this.#numberOf(payer));
      return this.#end(lookup, BUSY);
    }
    this.#paid.give(payer);
    lookup.payer = heir.asker ?? NOBODY;
    this.#paid.take(lookup.payer, heir.user ?? "");
    for (const waiter of own) lookup.waiters.delete(waiter);
    this.#tell(own, BUSY);
  }

  #lifetimeMs(isFound: boolean, ttlSeconds: number | undefined): number {
    if (!isFound) return this.#options.notFoundMs;
    if (ttlSeconds === undefined) return this.#options.foundMs;
    return Math.min(Math.max(1000 * ttlSeconds, FOUND_MIN_MS), FOUND_MAX_MS);
  }

  #remember(name: string, resolution: Resolution): void {
    const { cacheMax } = this.#options;
    this.#known.delete(name);
    this.#known.set(name, resolution);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= cacheMax) break;
      this.#known.delete(oldest);
    }
  }

  #end(lookup: Lookup, resolution: Resolution): void {
    this.#lookups.delete(lookup.id);
    this.#byName.delete(lookup.name);
    this.#paid.give(lookup.payer);
    if (this.#lookups.size === 0) this.#loop.disarm(this);
    this.#tell(lookup.waiters, resolution);
  }

  #tell(waiters: Iterable<NameWaiter>, resolution: Resolution): void {
    for (const waiter of waiters) {
      this.#waiting.give(waiter.asker ?? NOBODY);
      try {
        waiter.resolved(resolution);
      } catch (error) {
        this.counters.faults++;
        this.#loop.fault(error);
      }
    }
  }
}

// Happy Eyeballs (RFC 8305): which address to try when, for a target that has several.
//
// It opens no socket and reads no clock. The driver says what happened, then asks `next()` for
// attempts to start until there is none, and comes back at `nextTimeout()` at the latest.

import { OpenedCode } from "../wire/frames.ts";

/** RFC 8305 §3: how long the other family may still come when the preferred one is late. */
const RESOLUTION_DELAY_MS = 50;
/** RFC 8305 §5: how long an attempt runs alone. */
const ATTEMPT_DELAY_MS = 250;
/** Addresses tried for one target. */
export const CANDIDATES_MAX = 16;
export const CONNECT_TIMEOUT_MS = 10_000;
/** What {@linkcode HappyEyeballs.next} says when there is nothing to start. */
export const NO_ATTEMPT = -1;

export type Family = 4 | 6;

export interface EyeballsOptions {
  /** @default {6} */
  readonly preferred?: Family;
  /** The other family is not tried at all. @default {false} */
  readonly only?: boolean;
  readonly resolutionDelayMs?: number;
  readonly attemptDelayMs?: number;
  readonly timeoutMs?: number;
}

export type EyeballsState = "running" | "connected" | "failed";

type AttemptState = "started" | "failed" | "won" | "cancelled";

interface Attempt<T> {
  readonly address: T;
  readonly family: Family;
  state: AttemptState;
}

/** One target's attempts. `T` is an address as rules have allowed it. */
export class HappyEyeballs<T> {
  readonly #preferred: Family;
  readonly #only: boolean;
  readonly #resolutionDelayMs: number;
  readonly #attemptDelayMs: number;
  readonly #deadline: number;
  readonly #queues = { 4: [] as T[], 6: [] as T[] };
  readonly #resolved = { 4: false, 6: false };
  readonly #attempts: Attempt<T>[] = [];
  #state: EyeballsState = "running";
  #candidates = 0;
  /** Earliest time of the first attempt. */
  #startAt = Infinity;
  /** Time from which the next attempt may start although others run. */
  #nextAt = -Infinity;
  #winner = NO_ATTEMPT;
  #code: number = OpenedCode.nameNotFound;

  constructor(now: number, options: EyeballsOptions = {}) {
    this.#preferred = options.preferred ?? 6;
    this.#only = options.only ?? false;
    this.#resolutionDelayMs = options.resolutionDelayMs ?? RESOLUTION_DELAY_MS;
    this.#attemptDelayMs = options.attemptDelayMs ?? ATTEMPT_DELAY_MS;
    this.#deadline = now + (options.timeoutMs ?? CONNECT_TIMEOUT_MS);
    if (this.#only) this.#resolved[other(this.#preferred)] = true;
  }

  get state(): EyeballsState {
    return this.#state;
  }

  /** Index of the attempt that connected, or {@linkcode NO_ATTEMPT}. */
  get winner(): number {
    return this.#winner;
  }

  /** A code of OPENED, once failed: of the attempt that failed last. */
  get code(): number {
    return this.#code;
  }

  /** Addresses that came beyond {@linkcode CANDIDATES_MAX} are left out, and counted here. */
  omitted = 0;

  /** The addresses of a family have come, all of them; none is no answer or none allowed. */
  onResolved(now: number, family: Family, addresses: readonly T[]): void {
    if (this.#state !== "running" || this.#resolved[family]) return;
    this.#resolved[family] = true;
    const room = Math.max(0, CANDIDATES_MAX - this.#candidates);
    const taken = addresses.slice(0, room);
    this.omitted += addresses.length - taken.length;
    this.#candidates += taken.length;
    this.#queues[family].push(...taken);
    const isComplete = this.#resolved[4] && this.#resolved[6];
    if (taken.length > 0 && family === this.#preferred) this.#startAt = now;
    else if (isComplete) this.#startAt = Math.min(this.#startAt, now);
    else if (taken.length > 0) this.#startAt = now + this.#resolutionDelayMs;
    this.#judge();
  }

  /** Index of an attempt to start now, or {@linkcode NO_ATTEMPT}. Ask again until it is that. */
  next(now: number): number {
    if (this.#state !== "running") return NO_ATTEMPT;
    if (now >= this.#deadline) {
      this.#finish("failed");
      this.#code = OpenedCode.timedOut;
      return NO_ATTEMPT;
    }
    if (now < this.#startAt || (this.#isBusy() && now < this.#nextAt)) return NO_ATTEMPT;
    const family = this.#nextFamily();
    const address = this.#queues[family].shift();
    if (address === undefined) return NO_ATTEMPT;
    this.#nextAt = now + this.#attemptDelayMs;
    return this.#attempts.push({ address, family, state: "started" }) - 1;
  }

  /** The address of an attempt. */
  addressOf(index: number): T {
    const attempt = this.#attempts[index];
    if (attempt === undefined) throw new RangeError(`Cannot find attempt ${index}`);
    return attempt.address;
  }

  /** When to ask {@linkcode next} again; Infinity once it is over. */
  nextTimeout(): number {
    if (this.#state !== "running") return Infinity;
    const isWaiting = this.#queues[4].length + this.#queues[6].length > 0;
    if (!isWaiting) return this.#deadline;
    const at = this.#isBusy() ? Math.max(this.#startAt, this.#nextAt) : this.#startAt;
    return Math.min(at, this.#deadline);
  }

  /** An attempt has connected: all others are to be {@linkcode cancelled}. */
  onConnected(index: number): boolean {
    const attempt = this.#attempts[index];
    if (this.#state !== "running" || attempt?.state !== "started") return false;
    attempt.state = "won";
    this.#winner = index;
    this.#code = OpenedCode.ok;
    this.#finish("connected");
    return true;
  }

  /** An attempt has failed with a code of OPENED: the next one starts at once. */
  onFailed(index: number, code: number): void {
    const attempt = this.#attempts[index];
    if (this.#state !== "running" || attempt?.state !== "started") return;
    attempt.state = "failed";
    this.#code = code;
    this.#nextAt = -Infinity;
    this.#judge();
  }

  /** The client has gone. */
  abort(): void {
    if (this.#state === "running") this.#finish("failed");
  }

  /** Indexes of the attempts whose sockets are to be closed, once it is over. */
  cancelled(): number[] {
    return [...this.#attempts.keys()].filter((i) => this.#attempts[i]?.state === "cancelled");
  }

  #isBusy(): boolean {
    return this.#attempts.some(({ state }) => state === "started");
  }

  /** Takes turns, beginning with the preferred family. */
  #nextFamily(): Family {
    const last = this.#attempts.at(-1)?.family;
    const wanted = last === undefined ? this.#preferred : other(last);
    return this.#queues[wanted].length > 0 ? wanted : other(wanted);
  }

  /** Fails once nothing runs, waits or may still come. */
  #judge(): void {
    const isWaiting = this.#queues[4].length + this.#queues[6].length > 0;
    const mayCome = !this.#resolved[4] || !this.#resolved[6];
    if (!isWaiting && !mayCome && !this.#isBusy()) this.#finish("failed");
  }

  #finish(state: EyeballsState): void {
    this.#state = state;
    this.#queues[4].length = 0;
    this.#queues[6].length = 0;
    for (const attempt of this.#attempts) {
      if (attempt.state === "started") attempt.state = "cancelled";
    }
  }
}

function other(family: Family): Family {
  return family === 4 ? 6 : 4;
}

/**
 * The sessions at the server's end: whose they are, and what each has open there, within the limits
 * of the worker, of the session and of its user. What the worker has room for is shared: at its
 * limit the session that holds most gives up what it has used least lately (base/shares.ts).
 */

import { Shares } from "../../base/shares.ts";
import type { Resolver } from "../../loop/resolver.ts";
import type { Routes } from "../../outbound/routes.ts";
import type { Waker } from "../../outbound/stream_end.ts";
import type { Turns } from "../../outbound/turns.ts";
import type { Admission, UserAccount } from "../../proxy/users.ts";
import { SessionIndex } from "../../session/session_index.ts";
import type { TargetLog } from "./target_log.ts";

/** Of a session that is to give something up, so many are looked at: those it opened first. */
const LOOKED_AT_MAX = 1024;

/** What streams and datagrams have in common. */
export interface ExitOptions<S> extends Routes {
  readonly waker: Waker<S>;
  readonly resolver: Pick<Resolver, "resolve" | "forget">;
  /** A user's account, whose limits hold. */
  readonly accountOf?: (user: string) => UserAccount | undefined;
  readonly unixMs?: () => number;
  /** Hears of users who may open nothing more, and why. */
  readonly denied?: (user: string, admission: Admission) => void;
  /** Is told of targets. */
  readonly log?: TargetLog;
  /** In which sockets are opened and closed; of the whole worker. */
  readonly turns?: Turns;
}

/** What a session has open. */
export interface ExitItem {
  /** When something passed there last, in ms of the loop. */
  readonly lastUsed: number;
  /** Others are to have its place: it ends, and removes itself. */
  giveWay(): void;
}

export interface ExitLimits {
  /** Items of all sessions. */
  readonly max: number;
  /** Items of each. */
  readonly sessionMax: number;
}

/** What is counted. */
export interface ExitCounters {
  /** Items that ended so that others could begin. */
  gaveWay: number;
}

type SessionOptions<S> = Pick<ExitOptions<S>, "accountOf" | "unixMs" | "denied">;

/** One object for all open sessions of a user. */
interface SessionUser {
  readonly name: string;
  readonly account: UserAccount | undefined;
  readonly isClosed: boolean;
}

export class ExitSessions<S extends object, T extends ExitItem> {
  readonly #counters: ExitCounters;
  readonly #turns: Turns | undefined;
  readonly #options: SessionOptions<S>;
  readonly #sessionMax: number;
  readonly #shares: Shares<S>;
  readonly #users = new Map<S, SessionUser>();
  readonly #byName = new Map<string, SessionUser>();
  readonly #items = new SessionIndex<S, T>();

  constructor(
    options: SessionOptions<S>,
    { max, sessionMax }: ExitLimits,
    counters: ExitCounters,
    turns?: Turns,
  ) {
    this.#options = options;
    this.#turns = turns;
    this.#counters = counters;
    this.#shares = new Shares(max);
    this.#sessionMax = sessionMax;
  }

  /** Items of all sessions. */
  get count(): number {
    return this.#items.count;
  }

  /** Items of all sessions that there may be. */
  get max(): number {
    return this.#shares.total;
  }

  set max(max: number) {
    this.#shares.total = max;
  }

  opened(session: S, user: string): void {
    const account = this.#options.accountOf?.(user);
    let known = this.#byName.get(user);
    // One who was removed and comes back has another account.
    if (known === undefined || known.account !== account) {
      known = { name: user, account, isClosed: false };
      this.#byName.set(user, known);
    }
    this.#users.set(session, known);
  }

  /** All sessions. */
  all(): S[] {
    return [...this.#users.keys()];
  }

  /** Those that have items. */
  inUse(): S[] {
    return this.#items.sessions();
  }

  userOf(session: S): string {
    return this.#users.get(session)?.name ?? "";
  }

  /** Connections that its user may have; 0 is no limit. */
  connectionsMaxOf(session: S): number {
    return this.#users.get(session)?.account?.limits.connectionsMax ?? 0;
  }

  /** Whether the session is there and may have one more; another's may have to end for it. */
  makeRoom(session: S): boolean {
    if (this.#users.get(session)?.isClosed !== false) return false;
    if (this.#items.countOf(session) >= this.#sessionMax) return false;
    // More than one, where the limit was lowered.
    while (this.#shares.isFull) if (!this.free(session)) return false;
    return true;
  }

  /**
   * Has a descriptor freed for this session: one that is to be closed anyway, or one of whoever
   * holds most. False: nobody holds more than it.
   */
  free(session: S): boolean {
    if (this.#turns?.closeOne() === true) return true;
    const payer = this.#shares.payerFor(session, this.userOf(session));
    const item = payer === undefined ? undefined : this.#leastUsed(payer);
    if (item === undefined) return false;
    this.#counters.gaveWay++;
    item.giveWay();
    return true;
  }

  /** Asks the user's account; "ok" is to be followed by `add`, or by `giveBack`. */
  admit(session: S): Admission {
    const unixMs = (this.#options.unixMs ?? Date.now)();
    const user = this.#users.get(session);
    const admission = user?.account?.open(unixMs) ?? "ok";
    if (admission !== "ok") this.#options.denied?.(user!.name, admission);
    return admission;
  }

  /** What was admitted came to nothing. */
  giveBack(session: S): void {
    this.#users.get(session)?.account?.close();
  }

  get(session: S, id: number): T | undefined {
    return this.#items.get(session, id);
  }

  each(session: S): Iterable<T> {
    return this.#items.each(session);
  }

  itemsOf(session: S): T[] {
    return this.#items.itemsOf(session);
  }

  add(session: S, id: number, item: T): void {
    this.#items.set(session, id, item);
    this.#shares.take(session, this.userOf(session));
  }

  /**
   * It is not found any more, and the user may have another; the worker's place is free when it is
   * released. Whether it was there.
   */
  remove(session: S, id: number): boolean {
    if (!this.#items.delete(session, id)) return false;
    this.giveBack(session);
    return true;
  }

  /** What was removed is closed: its place is free. */
  release(session: S): void {
    this.#shares.give(session);
    if (this.#users.get(session)?.isClosed === true) this.closed(session);
  }

  /** The session is over; what it had has been removed, if perhaps not released. */
  closed(session: S): void {
    const user = this.#users.get(session);
    if (user === undefined) return;
    if (this.#shares.heldBy(session) === 0) this.#users.delete(session);
    else this.#users.set(session, { ...user, isClosed: true });
  }

  #leastUsed(session: S): T | undefined {
    let least: T | undefined;
    let left = LOOKED_AT_MAX;
    for (const item of this.#items.each(session)) {
      if (least === undefined || item.lastUsed < least.lastUsed) least = item;
      if (--left === 0) break;
    }
    return least;
  }
}

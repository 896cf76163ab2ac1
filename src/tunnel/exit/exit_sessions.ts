/**
 * The sessions at the server's end: whose they are, and what each has open there, within the limits
 * of the worker, of the session and of its user.
 */

import type { Resolver } from "../../loop/resolver.ts";
import type { Routes } from "../../outbound/routes.ts";
import type { Waker } from "../../outbound/stream_end.ts";
import type { Admission, UserAccount } from "../../proxy/users.ts";
import { SessionIndex } from "../../session/session_index.ts";

/** What streams and datagrams have in common. */
export interface ExitOptions<S> extends Routes {
  readonly waker: Waker<S>;
  readonly resolver: Pick<Resolver, "resolve" | "forget">;
  /** A user's account, whose limits hold. */
  readonly accountOf?: (user: string) => UserAccount | undefined;
  readonly unixMs?: () => number;
}

interface SessionUser {
  readonly name: string;
  readonly account: UserAccount | undefined;
}

export class ExitSessions<S extends object, T> {
  readonly #options: Pick<ExitOptions<S>, "accountOf" | "unixMs">;
  readonly #max: number;
  readonly #sessionMax: number;
  readonly #users = new Map<S, SessionUser>();
  readonly #items = new SessionIndex<S, T>();

  /** `max`: items of all sessions; `sessionMax`: of each. */
  constructor(
    options: Pick<ExitOptions<S>, "accountOf" | "unixMs">,
    max: number,
    sessionMax: number,
  ) {
    this.#options = options;
    this.#max = max;
    this.#sessionMax = sessionMax;
  }

  /** Items of all sessions. */
  get count(): number {
    return this.#items.count;
  }

  opened(session: S, user: string): void {
    this.#users.set(session, { name: user, account: this.#options.accountOf?.(user) });
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

  /** Whether the session is there and may have one more. */
  hasRoom(session: S): boolean {
    return this.#users.has(session) && this.#items.count < this.#max &&
      this.#items.countOf(session) < this.#sessionMax;
  }

  /** Asks the user's account; "ok" is to be followed by `add`, or by `giveBack`. */
  admit(session: S): Admission {
    const unixMs = (this.#options.unixMs ?? Date.now)();
    return this.#users.get(session)?.account?.open(unixMs) ?? "ok";
  }

  /** What was admitted came to nothing. */
  giveBack(session: S): void {
    this.#users.get(session)?.account?.close();
  }

  get(session: S, id: number): T | undefined {
    return this.#items.get(session, id);
  }

  itemsOf(session: S): T[] {
    return this.#items.itemsOf(session);
  }

  add(session: S, id: number, item: T): void {
    this.#items.set(session, id, item);
  }

  /** Whether it was there. */
  remove(session: S, id: number): boolean {
    if (!this.#items.delete(session, id)) return false;
    this.giveBack(session);
    return true;
  }

  /** The session is over; its items have been removed. */
  closed(session: S): void {
    this.#users.delete(session);
  }
}

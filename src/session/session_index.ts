/**
 * What is kept for streams or associations: session → id → item. Packets of one session, and of one
 * of its streams, come in a row: the last that was asked for is found without a look-up.
 */

export class SessionIndex<S extends object, T> {
  readonly #sessions = new Map<S, Map<number, T>>();
  #count = 0;
  // The last that was asked for; of a session without items, nothing.
  #lastSession: S | undefined;
  #lastItems: Map<number, T> | undefined;
  #lastId = -1;
  #lastItem: T | undefined;

  /** Items of all sessions. */
  get count(): number {
    return this.#count;
  }

  /** Items of one session. */
  countOf(session: S): number {
    return this.#sessions.get(session)?.size ?? 0;
  }

  /** The sessions that have items, as they are now. */
  sessions(): S[] {
    return [...this.#sessions.keys()];
  }

  /** The items of a session, the first that it got first; not to be changed meanwhile. */
  each(session: S): Iterable<T> {
    return this.#sessions.get(session)?.values() ?? [];
  }

  /** The items of a session, as they are now. */
  itemsOf(session: S): T[] {
    return [...this.#sessions.get(session)?.values() ?? []];
  }

  get(session: S, id: number): T | undefined {
    if (session !== this.#lastSession) {
      const items = this.#sessions.get(session);
      if (items === undefined) return undefined;
      this.#lastSession = session;
      this.#lastItems = items;
    } else if (id === this.#lastId) return this.#lastItem;
    this.#lastId = id;
    return this.#lastItem = this.#lastItems!.get(id);
  }

  set(session: S, id: number, item: T): void {
    let items = this.#sessions.get(session);
    if (items === undefined) this.#sessions.set(session, items = new Map());
    if (!items.has(id)) this.#count++;
    items.set(id, item);
    this.#forgetLast();
  }

  /** Whether it was there. */
  delete(session: S, id: number): boolean {
    const items = this.#sessions.get(session);
    if (items?.delete(id) !== true) return false;
    this.#count--;
    if (items.size === 0) this.#sessions.delete(session);
    this.#forgetLast();
    return true;
  }

  /** Takes all items of a session out. */
  take(session: S): T[] {
    const items = this.itemsOf(session);
    this.#sessions.delete(session);
    this.#count -= items.length;
    this.#forgetLast();
    return items;
  }

  #forgetLast(): void {
    this.#lastSession = this.#lastItems = this.#lastItem = undefined;
    this.#lastId = -1;
  }
}

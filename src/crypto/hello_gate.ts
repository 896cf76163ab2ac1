/**
 * What a server does with a HELLO, in the one order that is safe: open, then the replay filter,
 * then whether this handshake was accepted before.
 */

import { SALT_AT } from "../wire/packet.ts";
import { OpenResult } from "./handshake.ts";
import type { HandshakeCache } from "./handshake_cache.ts";
import { type HelloOpened, openHello } from "./hello.ts";
import type { Bytes, Primitives } from "./primitives.ts";
import { type ReplayFilter, ReplayVerdict } from "./replay_filter.ts";
import type { Tskd } from "./tskd.ts";
import type { UserTable } from "./users.ts";

/** What to do with a HELLO. */
export const HelloVerdict = {
  /** Nothing, in silence. */
  drop: 0,
  /** Make a session, answer ACCEPT, act on the frames. */
  fresh: 1,
  /** The same, but hold the frames back until a DATA packet of the session opens. */
  held: 2,
  /** Answer with the session of `slot`; the frames are not run. */
  repeated: 3,
} as const;
export type HelloVerdict = typeof HelloVerdict[keyof typeof HelloVerdict];

export class HelloGate {
  /** How often a HELLO was dropped for what, by OpenResult; replays are counted by the filter. */
  readonly dropped: Float64Array<ArrayBuffer> = new Float64Array(Object.keys(OpenResult).length);
  /** Of the last HELLO that was "repeated": its entry in the cache. */
  slot = -1;

  readonly #primitives: Primitives;
  readonly #tskd: Tskd;
  readonly #users: UserTable;
  readonly #filter: ReplayFilter;
  readonly #cache: HandshakeCache;

  constructor(
    primitives: Primitives,
    tskd: Tskd,
    users: UserTable,
    filter: ReplayFilter,
    cache: HandshakeCache,
  ) {
    this.#primitives = primitives;
    this.#tskd = tskd;
    this.#users = users;
    this.#filter = filter;
    this.#cache = cache;
  }

  /** Call it when the window changed: forgets the windows that are not accepted any more. */
  advance(): void {
    this.#filter.advance(this.#tskd.oldest);
  }

  /** A packet whose header was unmasked under `window`; `now` is monotonic, both in ms. */
  receive(
    arena: Bytes,
    at: number,
    length: number,
    window: number,
    unixMs: number,
    now: number,
    opened: HelloOpened,
  ): HelloVerdict {
    const result = openHello(
      this.#primitives,
      this.#tskd,
      this.#users,
      arena,
      at,
      length,
      window,
      unixMs,
      opened,
    );
    if (result !== OpenResult.ok) {
      this.dropped[result]!++;
      return HelloVerdict.drop;
    }
    if (this.#filter.admit(window, arena, at + SALT_AT) !== ReplayVerdict.fresh) {
      return HelloVerdict.drop;
    }
    const { clientSession, clientPublic, user } = opened;
    this.slot = this.#cache.find(clientSession, clientPublic, user!.id);
    if (this.slot >= 0) {
      return this.#cache.isSettled(this.slot) ? HelloVerdict.drop : HelloVerdict.repeated;
    }
    return this.#filter.canTell(now) ? HelloVerdict.fresh : HelloVerdict.held;
  }
}

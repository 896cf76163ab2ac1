/**
 * What a server does with a HELLO, in the one order that is safe: open, then whether its salt was
 * seen, then whose its handshake is.
 */

import { SALT_AT } from "../wire/packet.ts";
import { OpenResult } from "./handshake.ts";
import type { HandshakeCache } from "./handshake_cache.ts";
import { type HelloOpened, openHello } from "./hello.ts";
import type { Bytes, Primitives } from "./primitives.ts";
import { HandshakeClaim, type ReplayMemory, SaltVerdict } from "./replay_memory.ts";
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
  /** Make a session and say that the frames are not run: they may have been before a restart. */
  notRun: 4,
  /** The worker `owner` has its handshake: that one answers. */
  another: 5,
} as const;
export type HelloVerdict = typeof HelloVerdict[keyof typeof HelloVerdict];

/** The time, by all that a HELLO is measured by. */
export interface HelloClock {
  readonly unixMs: number;
  readonly bootMs: number;
  /** How often the windows have begun anew. */
  readonly beginning: number;
}

/** By OpenResult, without `ok`. */
const DROPS = Object.keys(OpenResult) as readonly (keyof HelloGate["dropped"])[];

export class HelloGate {
  /** HELLOs that did not open, by why (OpenResult); replays are counted by the memory. */
  readonly dropped: Record<Exclude<keyof typeof OpenResult, "ok">, number> = {
    ...{ shape: 0, tag: 0, contents: 0, unknownUser: 0, time: 0 },
  };
  /** Of the last HELLO that was "repeated": its entry in the cache. */
  slot = -1;

  readonly #primitives: Primitives;
  readonly #tskd: Tskd;
  readonly #users: UserTable;
  readonly #memory: ReplayMemory;
  readonly #cache: HandshakeCache;

  constructor(
    primitives: Primitives,
    tskd: Tskd,
    users: UserTable,
    memory: ReplayMemory,
    cache: HandshakeCache,
  ) {
    this.#primitives = primitives;
    this.#tskd = tskd;
    this.#users = users;
    this.#memory = memory;
    this.#cache = cache;
  }

  /** The worker that has the last HELLO's handshake. */
  get owner(): number {
    return this.#memory.owner;
  }

  /** A packet whose header was unmasked under `window`. */
  receive(
    arena: Bytes,
    at: number,
    length: number,
    window: number,
    clock: HelloClock,
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
      clock.unixMs,
      opened,
    );
    if (result !== OpenResult.ok) {
      this.dropped[DROPS[result]!]++;
      return HelloVerdict.drop;
    }
    const salt = this.#memory.claimSalt(clock.beginning, window, arena, at + SALT_AT);
    return salt === SaltVerdict.fresh ? this.#claim(opened, clock.bootMs) : HelloVerdict.drop;
  }

  /** Another worker got a HELLO of this worker's handshake, and has not run anything of it. */
  receiveHandedOver(opened: HelloOpened): HelloVerdict {
    const { clientSession, clientPublic, user } = opened;
    this.slot = this.#cache.find(clientSession, clientPublic, user!.id);
    // None: it was given up meanwhile. Its client comes again.
    if (this.slot < 0 || this.#cache.isSettled(this.slot)) return HelloVerdict.drop;
    return HelloVerdict.repeated;
  }

  /** Gives up the claim of the last HELLO, where it was new: nothing of it has run. */
  forget(): void {
    this.#memory.forgetHandshake();
  }

  /**
   * Whether frames of the handshake in this entry that were held back may be run: not where another
   * worker has found room for it meanwhile.
   */
  mayRunLate(slot: number, bootMs: number): boolean {
    const claim = this.#memory.claimNamed(this.#cache.name(slot), bootMs);
    return claim !== HandshakeClaim.another && claim !== HandshakeClaim.beforeRestart;
  }

  #claim({ clientSession, clientPublic, user }: HelloOpened, bootMs: number): HelloVerdict {
    const { id } = user!;
    const claim = this.#memory.claimHandshake(clientSession, clientPublic, id, bootMs);
    this.slot = this.#cache.find(clientSession, clientPublic, id);
    if (this.slot >= 0) {
      return this.#cache.isSettled(this.slot) ? HelloVerdict.drop : HelloVerdict.repeated;
    }
    if (claim === HandshakeClaim.another) return HelloVerdict.another;
    // Its client comes again; nobody can say whose it is.
    if (claim === HandshakeClaim.busy) return HelloVerdict.drop;
    // Known, and the cache has forgotten it: as if it had been before a restart.
    if (claim === HandshakeClaim.beforeRestart || claim === HandshakeClaim.known) {
      return HelloVerdict.notRun;
    }
    const isFresh = claim === HandshakeClaim.isNew && this.#memory.canTell(bootMs);
    return isFresh ? HelloVerdict.fresh : HelloVerdict.held;
  }
}

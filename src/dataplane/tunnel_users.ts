/** The users of a server as a tunnel holds them: who may say HELLO, and how fast each may be. */

import type { Primitives } from "../crypto/primitives.ts";
import { namedUser, soleUser, type User, UserTable } from "../crypto/users.ts";
import { equalBytes } from "../crypto/primitives.ts";
import { TokenBucket } from "../reliability/token_bucket.ts";
import type { UserSpec } from "./worker_protocol.ts";

/** A user and their limits, which all of their sessions share. */
export class TunnelUser {
  readonly user: User;
  upRate = 0;
  downRate = 0;
  /** From the server to the client, and the other way. */
  readonly down: TokenBucket = new TokenBucket(0);
  readonly up: TokenBucket = new TokenBucket(0);

  constructor(user: User) {
    this.user = user;
  }

  setRates(now: number, upRate: number, downRate: number): void {
    this.upRate = upRate;
    this.downRate = downRate;
    this.up.setRate(now, upRate);
    this.down.setRate(now, downRate);
  }
}

export class TunnelUsers {
  readonly table: UserTable = new UserTable();
  readonly #primitives: Primitives;
  readonly #byUser = new Map<User, TunnelUser>();

  constructor(primitives: Primitives) {
    this.#primitives = primitives;
  }

  /** What goes with a user of the table. */
  of(user: User): TunnelUser {
    return this.#byUser.get(user)!;
  }

  /** The one user of a PSK alone. */
  addSole(psk: Uint8Array): void {
    this.#add(soleUser(psk));
  }

  /**
   * These are the users from now on. Those that stay keep their sessions, with the new limits;
   * returned are those that are gone, or have another key.
   */
  set(now: number, specs: readonly UserSpec[]): User[] {
    const wanted = new Map(specs.map((spec) => [spec.name, spec]));
    const gone: User[] = [];
    for (const { user } of [...this.#byUser.values()]) {
      const spec = wanted.get(user.name);
      if (spec !== undefined && hasKey(user, spec.key)) continue;
      this.table.remove(user);
      this.#byUser.delete(user);
      gone.push(user);
    }
    const present = new Map([...this.#byUser.values()].map((held) => [held.user.name, held]));
    for (const { name, key, upRate, downRate } of specs) {
      const held = present.get(name) ?? this.#add(namedUser(this.#primitives, name, key));
      held.setRates(now, upRate, downRate);
    }
    return gone;
  }

  /** Wipes all keys. */
  wipe(): void {
    for (const { user } of this.#byUser.values()) this.table.remove(user);
    this.#byUser.clear();
  }

  #add(user: User): TunnelUser {
    this.table.add(user);
    const held = new TunnelUser(user);
    this.#byUser.set(user, held);
    return held;
  }
}

function hasKey(user: User, key: Uint8Array): boolean {
  return user.key.length === key.length && equalBytes(user.key, 0, key, 0, key.length);
}

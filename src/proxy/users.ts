// Named users: who may come in, how much each may use, and what each has used.
//
// Pure state, and one table a thread: what a user does in other threads is told from outside
// (`elsewhere`), so that limits hold over all of them. Replacing the table keeps the user objects
// that stay, and with them their counters and connections.

import type { Secret } from "../base/secret.ts";

export const USERS_MAX = 100_000;
export const USER_NAME_BYTES_MAX = 64;
/** The user when only a `psk` is configured. */
export const SOLE_USER = "default";

/** A limit that does not exist. */
export const UNLIMITED = 0;

const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._@+-]*$/u;

/** A user as configured. */
export interface UserSpec {
  readonly name: string;
  readonly key: Secret;
  /** Bits a second from the client; 0 is no limit. */
  readonly upBps?: number;
  /** Bits a second to the client; 0 is no limit. */
  readonly downBps?: number;
  /** Streams and UDP associations at a time; 0 is no limit. */
  readonly connectionsMax?: number;
  /** Bytes, up and down together, in all; 0 is no limit. */
  readonly trafficBytesMax?: number;
  /** Milliseconds since 1970; 0 is never. */
  readonly expiresAtMs?: number;
  /** @default {true} */
  readonly enabled?: boolean;
}

/** Why a user is let in or not. */
export type Admission =
  | "ok"
  | "removed"
  | "disabled"
  | "expired"
  | "traffic-used-up"
  | "too-many-connections";

/** What a user does in the other threads, and did before the process started. */
export interface Elsewhere {
  readonly connections: number;
  readonly upBytes: number;
  readonly downBytes: number;
}

const NOWHERE: Elsewhere = { connections: 0, upBytes: 0, downBytes: 0 };

/** A user and what it uses in this thread. Sessions keep a reference. */
export class User {
  readonly name: string;
  connections = 0;
  upBytes = 0;
  downBytes = 0;
  /** Admissions refused, by any reason. */
  refused = 0;
  #spec: UserSpec;
  #elsewhere: Elsewhere = NOWHERE;
  #isRemoved = false;

  constructor(spec: UserSpec) {
    this.name = spec.name;
    this.#spec = spec;
  }

  get spec(): UserSpec {
    return this.#spec;
  }

  /** No longer in the table: its sessions are to end. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  /** Bits a second from the client, or {@linkcode UNLIMITED}. */
  get upBps(): number {
    return this.#spec.upBps ?? UNLIMITED;
  }

  /** Bits a second to the client, or {@linkcode UNLIMITED}. */
  get downBps(): number {
    return this.#spec.downBps ?? UNLIMITED;
  }

  /** Bytes in all threads, up and down. */
  get trafficBytes(): number {
    return this.upBytes + this.downBytes + this.#elsewhere.upBytes + this.#elsewhere.downBytes;
  }

  setElsewhere(elsewhere: Elsewhere): void {
    this.#elsewhere = elsewhere;
  }

  /** Whether a session may begin, or go on. */
  admitSession(unixMs: number): Admission {
    const { enabled = true, expiresAtMs = 0, trafficBytesMax = UNLIMITED } = this.#spec;
    if (this.#isRemoved) return "removed";
    if (!enabled) return "disabled";
    if (expiresAtMs > 0 && unixMs >= expiresAtMs) return "expired";
    const isUsedUp = trafficBytesMax !== UNLIMITED && this.trafficBytes >= trafficBytesMax;
    return isUsedUp ? "traffic-used-up" : "ok";
  }

  /** Counts a new stream or association when it is let in; {@linkcode close} takes it back. */
  open(unixMs: number): Admission {
    let admission = this.admitSession(unixMs);
    const { connectionsMax = UNLIMITED } = this.#spec;
    const open = this.connections + this.#elsewhere.connections;
    if (admission === "ok" && connectionsMax !== UNLIMITED && open >= connectionsMax) {
      admission = "too-many-connections";
    }
    if (admission === "ok") this.connections += 1;
    else this.refused += 1;
    return admission;
  }

  close(): void {
    if (this.connections === 0) throw new RangeError("Cannot close more than was opened");
    this.connections -= 1;
  }

  /** Counts bytes; returns whether the user may go on. For every batch: allocates nothing. */
  count(upBytes: number, downBytes: number): boolean {
    this.upBytes += upBytes;
    this.downBytes += downBytes;
    const max = this.#spec.trafficBytesMax;
    return max === undefined || max === UNLIMITED || this.trafficBytes < max;
  }

  /** For {@linkcode UserTable} alone. */
  apply(spec: UserSpec | undefined): void {
    if (spec === undefined) this.#isRemoved = true;
    else this.#spec = spec;
  }
}

/** What replacing the table did; users not named here are untouched. */
export interface UserChanges {
  readonly added: readonly User[];
  /** Their sessions are to end. */
  readonly removed: readonly User[];
  readonly changed: readonly UserChange[];
}

export interface UserChange {
  readonly user: User;
  /** Sessions with the old key are to end. */
  readonly isKeyChanged: boolean;
  /** Token buckets are to be set anew. */
  readonly isRateChanged: boolean;
}

export interface UserProblem {
  readonly index: number;
  readonly text: string;
}

/** The users by name. */
export class UserTable {
  #users = new Map<string, User>();

  get size(): number {
    return this.#users.size;
  }

  get(name: string): User | undefined {
    return this.#users.get(name);
  }

  [Symbol.iterator](): IterableIterator<User> {
    return this.#users.values();
  }

  /** Puts other users in place, or changes nothing and says what is wrong. */
  replace(specs: readonly UserSpec[]): UserChanges | readonly UserProblem[] {
    const problems = findProblems(specs);
    if (problems.length > 0) return problems;
    const users = new Map<string, User>();
    const added: User[] = [];
    const changed: UserChange[] = [];
    for (const spec of specs) {
      const known = this.#users.get(spec.name);
      const user = known ?? new User(spec);
      users.set(spec.name, user);
      if (known === undefined) {
        added.push(user);
        continue;
      }
      const change = compare(known, spec);
      if (change !== undefined) changed.push(change);
      // Also when nothing changed: the old key may be wiped with the old configuration.
      known.apply(spec);
    }
    const removed = [...this.#users.values()].filter(({ name }) => !users.has(name));
    for (const user of removed) user.apply(undefined);
    this.#users = users;
    return { added, removed, changed };
  }
}

const LIMITS = ["upBps", "downBps", "connectionsMax", "trafficBytesMax", "expiresAtMs"] as const;

function compare(user: User, spec: UserSpec): UserChange | undefined {
  const old = user.spec;
  const isKeyChanged = !old.key.equals(spec.key);
  const differing = LIMITS.filter((limit) =>
    (old[limit] ?? UNLIMITED) !== (spec[limit] ?? UNLIMITED)
  );
  const isRateChanged = differing.includes("upBps") || differing.includes("downBps");
  const isSwitched = (old.enabled ?? true) !== (spec.enabled ?? true);
  if (!isKeyChanged && !isSwitched && differing.length === 0) return undefined;
  return { user, isKeyChanged, isRateChanged };
}

function findProblems(specs: readonly UserSpec[]): UserProblem[] {
  if (specs.length > USERS_MAX) {
    return [{ index: USERS_MAX, text: `there are more than ${USERS_MAX} users` }];
  }
  const problems: UserProblem[] = [];
  const names = new Set<string>();
  // Looked up by their bytes and not compared one by one: these are all keys of one operator.
  const keys = new Set<string>();
  for (const [index, spec] of specs.entries()) {
    const fail = (text: string): void => void problems.push({ index, text });
    const key = spec.key.expose().join();
    if (!isUserName(spec.name)) {
      fail("the name must be 1 to 64 bytes of letters, digits, . _ @ + -");
    }
    if (names.has(spec.name)) fail("the name is there twice");
    if (keys.has(key)) fail("the key is another user's too");
    names.add(spec.name);
    keys.add(key);
    for (const limit of LIMITS) {
      const value = spec[limit] ?? UNLIMITED;
      if (!Number.isSafeInteger(value) || value < 0) fail(`${limit} must be a whole number from 0`);
    }
  }
  return problems;
}

function isUserName(name: string): boolean {
  return NAME.test(name) && new TextEncoder().encode(name).length <= USER_NAME_BYTES_MAX;
}

/**
 * The users of a server as a tunnel holds them: who may say HELLO, how fast each may be, and who
 * has used up what they may.
 */

import { equalBytes, type Primitives } from "../../crypto/primitives.ts";
import { namedUser, soleUser, type User, UserTable } from "../../crypto/users.ts";
import { type Admission, UserAccount } from "../../proxy/users.ts";
import { TokenBucket } from "../../reliability/token_bucket.ts";
import { SESSION_WINDOW_MAX } from "../../session/limits.ts";
import { ShareGroup } from "../../session/share.ts";
import { CloseCode } from "../../wire/frames.ts";
import { type Loop, NOT_ARMED, type Timer } from "../../loop/loop.ts";
import type { UserSpec } from "../protocol.ts";

/** How often it is looked at what users have used. */
const USERS_CHECK_MS = 250;
/** A thread that carries less than this share of a user's rate leaves the rate to the others. */
const CARRIER_SHARE = 0.02;
/** Packets may come so much faster than data is read: some come again, or are no data. */
const PACKETS_FACTOR = 2;

const REFUSALS: Readonly<Record<Admission, CloseCode>> = {
  "ok": CloseCode.done,
  "expired": CloseCode.expired,
  "traffic-used-up": CloseCode.trafficUsedUp,
  "too-many-sessions": CloseCode.tooManySessions,
  "too-many-connections": CloseCode.tooManyConnections,
};

/** What a user is told where an account does not admit more. */
export function refusalOf(admission: Admission): CloseCode {
  return REFUSALS[admission];
}

/** A user and their limits, which all of their sessions share. */
export class TunnelUser {
  readonly user: User;
  readonly account: UserAccount;
  upRate = 0;
  downRate = 0;
  /** From the server to the client, and the other way. */
  readonly down: TokenBucket = new TokenBucket(0);
  readonly up: TokenBucket = new TokenBucket(0);
  /**
   * Packets that come. Streams' data waits for `up`, and the windows hold it back; this is for a
   * client that keeps to nothing.
   */
  readonly packets: TokenBucket = new TokenBucket(0);
  /** What their sessions of this worker share; not where a PSK alone makes all one user. */
  readonly group: ShareGroup | undefined;
  /** Sessions of this worker. */
  sessions = 0;
  isEnabled = true;
  #sharers = 1;

  constructor(user: User, account: UserAccount, isNamed: boolean) {
    this.user = user;
    this.account = account;
    this.group = isNamed ? new ShareGroup() : undefined;
  }

  /** Why a session of theirs may not go on; CloseCode.done: it may. */
  refusal(unixMs: number): CloseCode {
    return this.#codeOf(this.account.mayGoOn(unixMs));
  }

  /** Why none may begin. */
  refusalOfNew(unixMs: number): CloseCode {
    return this.#codeOf(this.account.admitSession(unixMs));
  }

  /** They have as many sessions as they may. */
  get isCrowded(): boolean {
    const { sessionsMax = 0 } = this.account.limits;
    return sessionsMax > 0 && this.account.sessions >= sessionsMax;
  }

  #codeOf(admission: Admission): CloseCode {
    return this.isEnabled ? refusalOf(admission) : CloseCode.disabled;
  }

  setRates(now: number, upRate: number, downRate: number): void {
    this.upRate = upRate;
    this.downRate = downRate;
    this.#setBuckets(now);
  }

  /** Tells the other workers what was used here, and takes this worker's part of the rate. */
  share(now: number): void {
    const rate = Math.max(this.upRate, this.downRate);
    this.account.publish(CARRIER_SHARE * rate * USERS_CHECK_MS / 1000);
    const { sharers } = this.account;
    if (rate === 0 || sharers === this.#sharers) return;
    this.#sharers = sharers;
    this.#setBuckets(now);
  }

  #setBuckets(now: number): void {
    const up = this.upRate / this.#sharers;
    this.up.setRate(now, up);
    this.packets.setRate(now, PACKETS_FACTOR * up, up === 0 ? 0 : SESSION_WINDOW_MAX + up);
    this.down.setRate(now, this.downRate / this.#sharers);
  }
}

export interface TunnelUsersOptions {
  readonly loop: Loop;
  readonly primitives: Primitives;
  /** The key of the one user that there is without names. */
  readonly psk: Uint8Array;
  /** What all workers count; without it this one counts for itself. */
  readonly accounts?: SharedArrayBuffer | undefined;
  /** This worker. */
  readonly thread: number;
  readonly unixMs: () => number;
  /** The user's sessions have to end. */
  readonly denied: (user: TunnelUser) => void;
}

export class TunnelUsers implements Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly table: UserTable = new UserTable();
  readonly #options: TunnelUsersOptions;
  readonly #byName = new Map<string, TunnelUser>();
  readonly #byUser = new Map<User, TunnelUser>();
  /** Those that have sessions here. */
  readonly #present = new Set<TunnelUser>();
  /** Those of them who have used up what they might before the next look. */
  readonly #spent = new Set<TunnelUser>();
  #lookAt = 0;

  constructor(options: TunnelUsersOptions) {
    this.#options = options;
  }

  /** What goes with a user of the table. */
  of(user: User): TunnelUser {
    return this.#byUser.get(user)!;
  }

  /** The user of that name: "" is the one of a PSK alone. */
  named(name: string): TunnelUser | undefined {
    return this.#byName.get(name);
  }

  /**
   * These are the users from now on; none means whoever has the psk. Those that stay keep their
   * sessions, with the new limits; `denied` hears of those that are gone, or have another key.
   */
  set(specs: readonly UserSpec[]): void {
    const { loop, psk, denied } = this.#options;
    const wanted = new Map<string, UserSpec>(
      specs.length > 0 ? specs.map((spec) => [spec.name, spec]) : [["", soleSpec(psk)]],
    );
    const before = new Map(this.#byName);
    for (const [name, held] of before) {
      const spec = wanted.get(name);
      if (spec !== undefined && hasKey(held.user, spec.key)) continue;
      this.table.remove(held.user);
      this.#byUser.delete(held.user);
      this.#byName.delete(name);
      denied(held);
    }
    for (const spec of wanted.values()) {
      const held = this.#byName.get(spec.name) ?? this.#add(spec, before.get(spec.name)?.account);
      held.setRates(loop.now, spec.upRate, spec.downRate);
      held.isEnabled = spec.isEnabled !== false;
      if (!held.isEnabled && held.sessions > 0) denied(held);
      held.account.limits = spec;
      held.account.allow();
    }
  }

  /** A session of theirs has begun, or ended. */
  entered(held: TunnelUser): void {
    held.account.sessionOpened();
    held.sessions++;
    this.#present.add(held);
    held.account.allow();
    if (this.heapIndex === NOT_ARMED) this.#arm();
  }

  left(held: TunnelUser): void {
    held.account.sessionClosed();
    if (--held.sessions > 0) return;
    held.account.publish(Infinity);
    this.#present.delete(held);
    this.#spent.delete(held);
  }

  fire(now: number): void {
    const { loop, unixMs } = this.#options;
    const today = unixMs();
    for (const held of this.#spent) {
      held.account.tell();
      this.#judge(held, today);
    }
    this.#spent.clear();
    if (now < this.#lookAt) return loop.arm(this, this.#lookAt);
    for (const held of this.#present) {
      held.share(now);
      this.#judge(held, today);
    }
    if (this.#present.size > 0) this.#arm();
  }

  #judge(held: TunnelUser, today: number): void {
    held.account.allow();
    if (held.refusal(today) !== CloseCode.done) this.#options.denied(held);
  }

  /** It is not waited for the next look. */
  #hurry(held: TunnelUser): void {
    if (!this.#present.has(held)) return;
    this.#spent.add(held);
    this.#options.loop.arm(this, this.#options.loop.now);
  }

  /** Wipes all keys. */
  wipe(): void {
    this.#options.loop.disarm(this);
    for (const held of this.#present) held.account.publish(Infinity);
    for (const { user } of this.#byUser.values()) this.table.remove(user);
    this.#byUser.clear();
    this.#byName.clear();
  }

  #arm(): void {
    const { loop } = this.#options;
    this.#lookAt = loop.now + USERS_CHECK_MS;
    loop.arm(this, this.#lookAt);
  }

  #add({ name, key, slot = 0 }: UserSpec, known: UserAccount | undefined): TunnelUser {
    const { primitives, accounts, thread } = this.#options;
    const user = name === "" ? soleUser(key) : namedUser(primitives, name, key);
    const isShared = accounts !== undefined && name !== "";
    const account = known ??
      (isShared ? new UserAccount(accounts, slot, thread) : new UserAccount());
    const held = new TunnelUser(user, account, name !== "");
    account.spent = () => this.#hurry(held);
    this.table.add(user);
    this.#byUser.set(user, held);
    this.#byName.set(name, held);
    return held;
  }
}

function soleSpec(psk: Uint8Array): UserSpec {
  return { name: "", key: psk, upRate: 0, downRate: 0 };
}

function hasKey(user: User, key: Uint8Array): boolean {
  return user.key.length === key.length && equalBytes(user.key, 0, key, 0, key.length);
}

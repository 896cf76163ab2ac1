/**
 * The names that an association's datagrams go to, each with what is the association's own: the
 * verdict of the rules for its user, the address that they allow, and a few datagrams that wait for
 * it. What names mean, and how long that holds, the worker's Resolver knows. They are found by the
 * very bytes of the address, without a text being made for each datagram.
 */

import type { EyeballsOptions } from "../../proxy/happy_eyeballs.ts";
import { OpenedCode } from "../../wire/frames.ts";
import { isIpv4Mapped } from "../../base/ip.ts";
import type { Pending } from "../../proxy/rules.ts";
import { Target } from "../../proxy/target.ts";
import type { NameWaiter, Resolution, Resolver } from "../../loop/resolver.ts";

/** Names of one association; the oldest is forgotten. */
export const NAMES_MAX = 32;
/** Datagrams that wait for one name. */
export const WAITING_MAX = 8;

/** Sends a datagram that waited. */
export type SendLate = (named: NamedTarget, bytes: Uint8Array) => void;

/** On whose account names are looked up. */
export interface NamesOwner {
  readonly session?: object;
  readonly user: string;
  /** Look-ups of the user at a time; 0 is no limit. */
  readonly connectionsMax?: number;
}

export class DatagramNames {
  readonly owner: NamesOwner;
  readonly resolver: Pick<Resolver, "resolve" | "forget">;
  readonly sendLate: SendLate;
  /** Which of a name's addresses are wanted. */
  readonly families: () => EyeballsOptions;
  readonly #names: NamedTarget[] = [];

  constructor(
    resolver: Pick<Resolver, "resolve" | "forget">,
    sendLate: SendLate,
    families: () => EyeballsOptions = () => ({}),
    owner: NamesOwner = { user: "" },
  ) {
    this.owner = owner;
    this.resolver = resolver;
    this.sendLate = sendLate;
    this.families = families;
  }

  get size(): number {
    return this.#names.length;
  }

  find(bytes: Uint8Array, at: number, length: number): NamedTarget | undefined {
    for (let i = 0; i < this.#names.length; i++) {
      const named = this.#names[i]!;
      if (isSame(named.key, bytes, at, length)) return named;
    }
    return undefined;
  }

  add(key: Uint8Array, target: Target, pending: Pending, rulesVersion: number): NamedTarget {
    if (this.#names.length >= NAMES_MAX) this.#names.shift()?.close();
    const named = new NamedTarget(this, key, target);
    named.decide(pending, rulesVersion);
    this.#names.push(named);
    return named;
  }

  close(): void {
    for (const named of this.#names) named.close();
    this.#names.length = 0;
  }
}

/** One name and port, with what the rules said of them and the addresses they have now. */
export class NamedTarget implements NameWaiter {
  readonly key: Uint8Array;
  readonly target: Target = new Target();
  rulesVersion = -1;
  readonly #cache: DatagramNames;
  readonly #name: string;
  #pending: Pending | undefined;
  #address: Uint8Array | undefined;
  #until = -Infinity;
  #isResolving = false;
  /** Why there is no address, as an OpenedCode. */
  outcome: number = OpenedCode.nameNotFound;
  #waiting: Uint8Array[] = [];

  constructor(cache: DatagramNames, key: Uint8Array, target: Target) {
    this.#cache = cache;
    this.key = key;
    this.target.copyFrom(target);
    this.#name = target.name;
  }

  get asker(): object {
    return this.#cache.owner.session ?? this.#cache;
  }

  get user(): string {
    return this.#cache.owner.user;
  }

  /** One look-up a connection: an association may go to many names, but not ask for all at once. */
  get userWaitsMax(): number {
    return this.#cache.owner.connectionsMax ?? 0;
  }

  /** What the rules said; they judge each datagram's address as well. */
  get pending(): Pending {
    return this.#pending!;
  }

  /** Where its datagrams go; undefined: nowhere. */
  get address(): Uint8Array | undefined {
    return this.#address;
  }

  decide(pending: Pending, rulesVersion: number): void {
    this.#pending = pending;
    this.rulesVersion = rulesVersion;
    // Another of its addresses may be allowed now.
    this.#until = -Infinity;
  }

  /**
   * Whether it is known where datagrams go now; begins to look that up where it is not, or not any
   * more: the old address serves meanwhile.
   */
  isReady(now: number): boolean {
    if (now < this.#until) return true;
    if (!this.target.isDomain) {
      // The text of an address came as a name.
      this.#address = this.target.ip;
      this.#until = Infinity;
    } else if (this.#pending!.step === "reject") {
      this.#take(NOWHERE);
    } else if (!this.#isResolving) {
      const resolution = this.#cache.resolver.resolve(this.#name, this);
      if (resolution === undefined) this.#isResolving = true;
      else this.#take(resolution);
    }
    return !this.#isResolving || this.#address !== undefined;
  }

  /** Keeps a datagram until the address is known. False: too many wait. */
  keep(bytes: Uint8Array, at: number, length: number): boolean {
    if (this.#waiting.length >= WAITING_MAX) return false;
    this.#waiting.push(bytes.slice(at, at + length));
    return true;
  }

  resolved(resolution: Resolution): void {
    this.#isResolving = false;
    this.#take(resolution);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const bytes of waiting) this.#cache.sendLate(this, bytes);
  }

  close(): void {
    if (this.#isResolving) this.#cache.resolver.forget(this.#name, this);
    this.#isResolving = false;
    this.#waiting = [];
  }

  /** Takes the first address that the rules allow; where none is preferred, IPv4. */
  #take({ addresses, error, until }: Resolution): void {
    this.#until = until;
    if (this.#pending!.step === "reject") this.outcome = OpenedCode.denied;
    else if (error === "not-found") this.outcome = OpenedCode.nameNotFound;
    else this.outcome = OpenedCode.resolverSilent;
    // Nobody said that the old address is wrong.
    if (error !== undefined && error !== "not-found" && this.#address !== undefined) return;
    const { allowed } = this.#pending!.decideAfterResolution(addresses);
    const { preferred = 4, only = false } = this.#cache.families();
    const best = allowed.find(({ isIpv4 }) => isIpv4 === (preferred === 4)) ??
      (only ? undefined : allowed[0]);
    if (best === undefined) {
      // Refused ones are kept, to be refused, and counted, datagram by datagram.
      this.#address = addresses.find((ip) => isIpv4Mapped(ip)) ?? addresses[0];
    } else {
      this.#address = new Uint8Array(16);
      best.copyIp(this.#address, 0);
    }
  }
}

/** Until the rules are others. */
const NOWHERE: Resolution = { addresses: [], error: "not-found", until: Infinity };

function isSame(key: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (key[i] !== bytes[at + i]) return false;
  return true;
}

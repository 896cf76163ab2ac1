/**
 * Main's side of the users: as the workers get them, and what they have used, which outlives the
 * process in the state folder.
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { UserConfig } from "../../config/mod.ts";
import { accountMemory, resetUsage, type Usage, usageOf } from "../../proxy/users.ts";
import type { UserSpec, UserText } from "../protocol.ts";
import type { StateFolder } from "./state_folder.ts";

const FILE_NAME = "traffic";
/** How often it is written; a crash forgets no more than this. */
export const SAVE_MS = 60_000;
const UNUSED: Usage = { upBytes: 0, downBytes: 0, connections: 0, sessions: 0 };

/** Users may come and go while their slots are not given to others at once. */
const SPARE_SLOTS = 1024;

/** A user as `phantom status` shows them. */
export interface UserStatus extends Usage {
  readonly name: string;
  readonly isEnabled: boolean;
  /** Where their last session came from, and when they were seen last; of this process. */
  readonly from?: string;
  readonly seenAtMs?: number;
  /** 0: no limit. */
  readonly connectionsMax: number;
  readonly trafficMax: number;
  readonly expiresAtMs: number;
}

interface Seen {
  readonly from?: string;
  readonly atMs: number;
}

export class ServerUsers {
  /** For all workers. */
  readonly accounts: SharedArrayBuffer;
  readonly #folder: StateFolder;
  readonly #log: Log;
  readonly #slots = new Map<string, number>();
  /** Slots of users that have gone, the oldest first. */
  readonly #gone = new Map<string, number>();
  /** What those had used that have no slot any more, or not yet. */
  readonly #known: Map<string, Usage>;
  readonly #slotCount: number;
  #saved = "";
  #users: readonly UserConfig[] = [];
  /** Of users that there are. */
  readonly #seen = new Map<string, Seen>();

  /** `usersMax`: how many there may ever be at a time. */
  constructor(folder: StateFolder, usersMax: number, log: Log) {
    this.#folder = folder;
    this.#log = log;
    this.#slotCount = usersMax + SPARE_SLOTS;
    this.accounts = accountMemory(this.#slotCount);
    this.#known = load(folder, log);
  }

  /** All users, with copies of their keys. */
  specs(users: readonly UserConfig[]): UserSpec[] {
    const names = new Set(users.map(({ name }) => name));
    for (const [name, slot] of [...this.#slots]) {
      if (names.has(name)) continue;
      this.#slots.delete(name);
      this.#gone.set(name, slot);
      this.#seen.delete(name);
    }
    this.#users = users;
    return users.map((user) => ({
      name: user.name,
      isEnabled: user.enabled,
      key: Uint8Array.from(user.key.expose()),
      upRate: user.upBps / 8,
      downRate: user.downBps / 8,
      slot: this.#slotOf(user.name),
      sessionsMax: user.sessionsMax,
      connectionsMax: user.connectionsMax,
      trafficMax: user.trafficMaxBytes,
      expiresAtMs: user.expiresAtMs,
    }));
  }

  /** The same for the ring. */
  texts(users: readonly UserConfig[]): UserText[] {
    return this.specs(users).map(({ key, ...rest }) => {
      const text = Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join("");
      key.fill(0);
      return { ...rest, key: text };
    });
  }

  /** Of a user that there is, in all workers. */
  usage(name: string): Usage | undefined {
    const slot = this.#slots.get(name);
    return slot === undefined ? undefined : usageOf(this.accounts, slot);
  }

  /** A session of theirs has begun, from somewhere, or is over. */
  seen(name: string, from: string | undefined, atMs: number): void {
    const last = from ?? this.#seen.get(name)?.from;
    if (!this.#slots.has(name)) return;
    this.#seen.set(name, { ...(last === undefined ? {} : { from: last }), atMs });
  }

  status(): UserStatus[] {
    return this.#users.map(({ name, enabled, connectionsMax, trafficMaxBytes, expiresAtMs }) => {
      const { from, atMs } = this.#seen.get(name) ?? {};
      return {
        ...{ name, isEnabled: enabled, ...this.usage(name) ?? UNUSED },
        ...(from === undefined ? {} : { from }),
        ...(atMs === undefined ? {} : { seenAtMs: atMs }),
        ...{ connectionsMax, trafficMax: trafficMaxBytes, expiresAtMs },
      };
    });
  }

  /** Writes what was used, where anything was; what the machine can't keep is told. */
  save(): void {
    const entries: [string, readonly [number, number]][] = [];
    const note = (name: string, { upBytes, downBytes }: Usage): void => {
      if (upBytes + downBytes > 0) entries.push([name, [upBytes, downBytes]]);
    };
    for (const [name, usage] of this.#known) note(name, usage);
    for (const slots of [this.#slots, this.#gone]) {
      for (const [name, slot] of slots) note(name, usageOf(this.accounts, slot));
    }
    const text = JSON.stringify(Object.fromEntries(entries));
    if (text === this.#saved || (this.#saved === "" && entries.length === 0)) return;
    try {
      this.#folder.write(FILE_NAME, new TextEncoder().encode(text));
      this.#saved = text;
    } catch (error) {
      const cause = messageOf(error);
      this.#log.warn("usage_not_saved", "the users' traffic counts can't be saved", {
        path: this.#folder.pathOf(FILE_NAME),
        cause,
      });
    }
  }

  #slotOf(name: string): number {
    const slot = this.#slots.get(name) ?? this.#gone.get(name);
    if (slot !== undefined) {
      this.#gone.delete(name);
      this.#slots.set(name, slot);
      return slot;
    }
    const free = this.#freeSlot();
    resetUsage(this.accounts, free, this.#known.get(name) ?? UNUSED);
    this.#known.delete(name);
    this.#slots.set(name, free);
    return free;
  }

  #freeSlot(): number {
    const used = this.#slots.size + this.#gone.size;
    if (used < this.#slotCount) return used;
    const [oldest] = this.#gone;
    if (oldest === undefined) {
      throw new RangeError(`Cannot add a user as there are ${this.#slotCount} already`);
    }
    const [name, slot] = oldest;
    this.#gone.delete(name);
    this.#known.set(name, usageOf(this.accounts, slot));
    return slot;
  }
}

function load(folder: StateFolder, log: Log): Map<string, Usage> {
  try {
    const bytes = folder.read(FILE_NAME);
    if (bytes === undefined) return new Map();
    const entries = Object.entries(JSON.parse(new TextDecoder().decode(bytes)));
    return new Map(entries.map(([name, used]) => [name, usageIn(used)]));
  } catch (error) {
    const cause = messageOf(error);
    log.warn(
      "usage_not_loaded",
      "the users' traffic counts can't be read: they start from zero",
      { path: folder.pathOf(FILE_NAME), cause },
    );
    return new Map();
  }
}

function usageIn(used: unknown): Usage {
  const [upBytes, downBytes] = Array.isArray(used) ? used : [];
  if (!isCount(upBytes) || !isCount(downBytes)) throw new SyntaxError("it holds no byte counts");
  return { ...UNUSED, upBytes, downBytes };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * Who may say HELLO: users by the eight bytes that a HELLO names them with.
 *
 *     user_id = SHA-256("phantom-user-v1" || name)[0..8]; zero for the one user of a PSK alone
 */

import { IDENT_BYTES, KEY_BYTES, USERS_MAX } from "../wire/limits.ts";
import { type Bytes, concatBytes, equalBytes, label, type Primitives } from "./primitives.ts";

const USER_LABEL = label("phantom-user-v1");

/** A user as the handshake sees them. */
export interface User {
  /** Empty for the one user of a PSK alone. */
  readonly name: string;
  readonly id: Bytes;
  readonly key: Bytes;
}

/** The id of a named user. */
export function userId(primitives: Primitives, name: string): Bytes {
  return primitives.sha256(concatBytes(USER_LABEL, label(name))).slice(0, IDENT_BYTES);
}

/** A user with a name and a key of their own. */
export function namedUser(primitives: Primitives, name: string, key: Uint8Array): User {
  return makeUser(name, userId(primitives, name), key);
}

/** The one user of a server that has a PSK alone. */
export function soleUser(psk: Uint8Array): User {
  return makeUser("", new Uint8Array(IDENT_BYTES), psk);
}

/** The users of one server. */
export class UserTable {
  // By six of the eight bytes, which a number holds exactly.
  readonly #byId = new Map<number, User>();

  get size(): number {
    return this.#byId.size;
  }

  add(user: User): void {
    const key = tableKey(user.id, 0);
    if (this.#byId.has(key)) {
      throw new RangeError(
        `Cannot add the user as names must differ: ${JSON.stringify(user.name)} is in use`,
      );
    }
    if (this.#byId.size === USERS_MAX) {
      throw new RangeError(`Cannot add the user as there must be at most ${USERS_MAX}`);
    }
    this.#byId.set(key, user);
  }

  /** Takes a user out and wipes their key. */
  remove(user: User): void {
    if (this.#byId.get(tableKey(user.id, 0)) !== user) return;
    this.#byId.delete(tableKey(user.id, 0));
    user.key.fill(0);
  }

  /** The user with the id at `at`. */
  find(bytes: Uint8Array, at: number): User | undefined {
    const user = this.#byId.get(tableKey(bytes, at));
    return user !== undefined && equalBytes(user.id, 0, bytes, at, IDENT_BYTES) ? user : undefined;
  }
}

function makeUser(name: string, id: Bytes, key: Uint8Array): User {
  if (key.length !== KEY_BYTES) {
    throw new RangeError(
      `Cannot make a user as their key must have ${KEY_BYTES} bytes: ` +
        `current length is ${key.length}`,
    );
  }
  return { name, id, key: Uint8Array.from(key) };
}

function tableKey(id: Uint8Array, at: number): number {
  let key = 0;
  for (let i = 0; i < 6; i++) key = key * 256 + id[at + i]!;
  return key;
}

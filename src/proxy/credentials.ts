// User names and passwords of an inbound, compared in a time that tells nothing about them.

/** What SOCKS5 can carry (RFC 1929). */
export const CREDENTIAL_BYTES_MAX = 255;
export const CREDENTIALS_MAX = 1024;
export const NO_CREDENTIAL = -1;

export interface Credential {
  readonly user: string;
  readonly password: string;
}

const encoder = new TextEncoder();

/** The pairs an inbound accepts, at least one. */
export class Credentials {
  readonly #users: string[] = [];
  // A length and 255 bytes for each name and each password, zero-padded.
  readonly #names: Uint8Array;
  readonly #passwords: Uint8Array;

  constructor(list: readonly Credential[]) {
    if (list.length < 1 || list.length > CREDENTIALS_MAX) {
      throw new RangeError(
        `Cannot hold other than 1 to ${CREDENTIALS_MAX} credentials: current count is ` +
          list.length,
      );
    }
    this.#names = new Uint8Array(list.length * 256);
    this.#passwords = new Uint8Array(list.length * 256);
    for (const [i, { user, password }] of list.entries()) {
      this.#users.push(user);
      store(this.#names, i, user);
      store(this.#passwords, i, password);
    }
  }

  /** Name of the pair at an index that {@linkcode match} gave. */
  userAt(index: number): string {
    return this.#users[index] ?? "";
  }

  /**
   * Index of the pair that equals what a client sent, or {@linkcode NO_CREDENTIAL}. Looks at
   * every byte of every pair, whatever was sent.
   */
  match(
    bytes: Uint8Array,
    nameAt: number,
    nameLength: number,
    passwordAt: number,
    passwordLength: number,
  ): number {
    let found = NO_CREDENTIAL;
    for (let i = 0; i < this.#users.length; i++) {
      const difference = compare(this.#names, i, bytes, nameAt, nameLength) |
        compare(this.#passwords, i, bytes, passwordAt, passwordLength);
      // All ones when nothing differs, without a branch.
      const isEqual = ((difference - 1) >> 31) | 0;
      found = (i & isEqual) | (found & ~isEqual);
    }
    return found;
  }
}

function store(table: Uint8Array, index: number, text: string): void {
  const bytes = encoder.encode(text);
  if (bytes.length < 1 || bytes.length > CREDENTIAL_BYTES_MAX) {
    throw new RangeError(
      `Cannot use a user or password that is not 1 to ${CREDENTIAL_BYTES_MAX} bytes: ` +
        `current length is ${bytes.length}`,
    );
  }
  table[index * 256] = bytes.length;
  table.set(bytes, index * 256 + 1);
}

/** Not negative; 0 when equal. */
function compare(
  table: Uint8Array,
  index: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): number {
  let difference = (table[index * 256] ?? 0) ^ length;
  for (let i = 0; i < CREDENTIAL_BYTES_MAX; i++) {
    const sent = i < length ? bytes[at + i] ?? 0 : 0;
    difference |= (table[index * 256 + 1 + i] ?? 0) ^ sent;
  }
  return difference;
}

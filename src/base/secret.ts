// A 32-byte key that no log line, JSON document or console can print by accident.
//
// Misuse to avoid: keeping what `expose()` returns. It is the live memory, which `wipe()` zeroes.

/** Length of every long-term key. */
export const SECRET_BYTES = 32;

const MASK = "[secret]";

/** Holds a key; prints as `[secret]` everywhere. */
export class Secret {
  #bytes: Uint8Array | undefined;

  /** Copies the bytes; the caller wipes its own. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== SECRET_BYTES) {
      throw new RangeError(
        `Cannot hold a secret that is not ${SECRET_BYTES} bytes: current length is ${bytes.length}`,
      );
    }
    this.#bytes = Uint8Array.from(bytes);
  }

  /** The live bytes, for the moment of use. */
  expose(): Uint8Array {
    if (this.#bytes === undefined) throw new TypeError("Cannot use a secret after it was wiped");
    return this.#bytes;
  }

  /** Compares in a time that does not depend on where the difference is. */
  equals(other: Secret): boolean {
    const mine = this.expose();
    const theirs = other.expose();
    let difference = 0;
    for (let i = 0; i < SECRET_BYTES; i++) difference |= (mine[i] ?? 0) ^ (theirs[i] ?? 0);
    return difference === 0;
  }

  /** Zeroes the bytes; every later use throws. Harmless when repeated. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for("Deno.customInspect")](): string {
    return MASK;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}

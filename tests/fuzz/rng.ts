// Seeded randomness for the fuzz tests: the same seed gives the same case on every machine.

/** A small fast generator (sfc32, seeded through splitmix32). Not for keys. */
export class Rng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    let state = seed | 0;
    const next = () => {
      state = (state + 0x9e3779b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    // The first outputs still show the seed.
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** A whole number from 0 to 2^32 - 1. */
  u32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** A number from 0 up to, but not, 1. */
  float(): number {
    return this.u32() / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.float() * (max - min + 1));
  }

  /** True in a share of `probability` of all calls. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32();
    return bytes;
  }

  pick<T>(items: ArrayLike<T>): T {
    if (items.length === 0) throw new RangeError("Cannot pick from nothing");
    return items[this.int(0, items.length - 1)] as T;
  }

  /** A copy with a few bytes flipped, replaced, removed, inserted, repeated or cut off. */
  mutate(bytes: Uint8Array, edits: number = this.int(1, 8)): Uint8Array<ArrayBuffer> {
    let copy = Uint8Array.from(bytes);
    for (let i = 0; i < edits; i++) copy = this.#mutateOnce(copy);
    return copy;
  }

  /** Like {@linkcode mutate}, for a text; `pieces` are what is inserted now and then. */
  mutateText(text: string, pieces: readonly string[], edits: number = this.int(1, 8)): string {
    let copy = text;
    for (let i = 0; i < edits; i++) {
      const at = this.int(0, copy.length);
      const end = Math.min(copy.length, at + this.int(0, 12));
      const middle = this.pick([
        () => "",
        () => this.pick(pieces),
        () => String.fromCharCode(this.int(0, 0xff)),
        () => copy.slice(at, end).repeat(2),
        () => copy.slice(this.int(0, copy.length)).slice(0, 40),
      ])();
      copy = copy.slice(0, at) + middle + copy.slice(this.chance(0.3) ? at : end);
    }
    return copy;
  }

  #mutateOnce(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const at = this.int(0, Math.max(0, bytes.length - 1));
    const end = Math.min(bytes.length, at + this.int(1, 8));
    const head = bytes.subarray(0, at);
    switch (this.int(0, 5)) {
      case 0:
        if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << this.int(0, 7));
        return bytes;
      case 1:
        if (bytes.length > 0) bytes[at] = this.pick([0, 1, 0x7f, 0x80, 0xfe, 0xff]);
        return bytes;
      case 2:
        return join(head, bytes.subarray(end));
      case 3:
        return join(head, this.bytes(this.int(1, 8)), bytes.subarray(at));
      case 4:
        return join(head, bytes.subarray(at, end), bytes.subarray(at));
      default:
        return Uint8Array.from(head);
    }
  }
}

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

export interface FuzzOptions {
  readonly seed?: number;
  readonly cases: number;
}

/**
 * Runs a case many times, each with its own seed. A failure names the seed that repeats it alone.
 * PHANTOM_FUZZ_SEED and PHANTOM_FUZZ_CASES override the options.
 */
export function fuzz({ seed = 1, cases }: FuzzOptions, run: (rng: Rng) => void): void {
  const first = fromEnvironment("PHANTOM_FUZZ_SEED", seed);
  const count = fromEnvironment("PHANTOM_FUZZ_CASES", cases);
  for (let i = 0; i < count; i++) {
    const caseSeed = (first + i) >>> 0;
    try {
      run(new Rng(caseSeed));
    } catch (cause) {
      const repeat = `PHANTOM_FUZZ_SEED=${caseSeed} PHANTOM_FUZZ_CASES=1`;
      throw new Error(`fuzz case failed; to repeat it: ${repeat}`, { cause });
    }
  }
}

function fromEnvironment(name: string, fallback: number): number {
  const text = Deno.env.get(name);
  if (text === undefined || text === "") return fallback;
  if (!/^\d{1,10}$/.test(text)) {
    throw new RangeError(
      `Cannot use ${name} as it must be a whole number: current value is ${text}`,
    );
  }
  return Number(text);
}

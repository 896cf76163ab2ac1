/**
 * Messages between two threads: a ring of bytes in shared memory, one writer, one reader.
 *
 *     word 0: bytes ever written | word 1: bytes ever read | bytes …
 *     a message: length u32 | bytes, padded to 4
 */

const WORDS = 2;
const WRITTEN = 0;
const READ = 1;
const LENGTH_BYTES = 4;
const WORD_MASK = 0x7fff_ffff;

/** Memory for a ring of `bytes` (a power of two). */
export function ringMemory(bytes: number): SharedArrayBuffer {
  if (bytes < 64 || (bytes & (bytes - 1)) !== 0) {
    throw new RangeError(`Cannot make a ring as its size must be a power of two: ${bytes}`);
  }
  return new SharedArrayBuffer(4 * WORDS + bytes);
}

abstract class Ring {
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  protected readonly mask: number;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory, 0, WORDS);
    this.bytes = new Uint8Array(memory, 4 * WORDS);
    this.mask = this.bytes.length - 1;
  }

  /** In two pieces where it goes over the end of the memory. */
  protected copyIn(at: number, from: Uint8Array): void {
    const start = at & this.mask;
    const first = Math.min(from.length, this.bytes.length - start);
    this.bytes.set(first === from.length ? from : from.subarray(0, first), start);
    if (first < from.length) this.bytes.set(from.subarray(first), 0);
  }

  protected copyOut(at: number, into: Uint8Array): void {
    const start = at & this.mask;
    const first = Math.min(into.length, this.bytes.length - start);
    into.set(this.bytes.subarray(start, start + first));
    if (first < into.length) into.set(this.bytes.subarray(0, into.length - first), first);
  }

  /** Bytes between reader and writer. */
  protected get used(): number {
    return (Atomics.load(this.words, WRITTEN) - Atomics.load(this.words, READ)) & WORD_MASK;
  }
}

export class RingWriter extends Ring {
  /** How often there was no room. */
  refused = 0;

  /** Writes a message whole, and leaves so much room. False: no room; say it again later. */
  write(message: Uint8Array, spareBytes = 0): boolean {
    const size = LENGTH_BYTES + padded(message.length);
    if (this.used + size + spareBytes > this.bytes.length) {
      this.refused++;
      return false;
    }
    const at = Atomics.load(this.words, WRITTEN);
    const { length } = message;
    for (let i = 0; i < LENGTH_BYTES; i++) this.bytes[(at + i) & this.mask] = length >>> (8 * i);
    this.copyIn(at + LENGTH_BYTES, message);
    Atomics.store(this.words, WRITTEN, (at + size) & WORD_MASK);
    return true;
  }
}

export class RingReader extends Ring {
  /** The next message, as a copy; undefined when there is none. */
  read(): Uint8Array<ArrayBuffer> | undefined {
    if (this.used === 0) return undefined;
    const at = Atomics.load(this.words, READ);
    let length = 0;
    for (let i = 0; i < LENGTH_BYTES; i++) length |= this.bytes[(at + i) & this.mask]! << (8 * i);
    const message = new Uint8Array(length);
    this.copyOut(at + LENGTH_BYTES, message);
    Atomics.store(this.words, READ, (at + LENGTH_BYTES + padded(length)) & WORD_MASK);
    return message;
  }
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

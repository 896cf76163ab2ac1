/**
 * Reading and writing integers in one long-lived byte array, without an allocation.
 *
 * Failure is sticky: past the end a Reader gives zeros and sets `failed`, a Writer writes nothing
 * and sets `failed`. So a whole structure is read first and checked once. Neither ever throws.
 */

import { copyBytes } from "../base/copy.ts";
import type { NumberCell } from "../base/number_field.ts";

const TWO_30 = 0x4000_0000;
const TWO_32 = 0x1_0000_0000;
/** Varint of 8 bytes: what its first 32 bits may be (after the length bits) to stay exact. */
const HIGH_MAX = 0x1f_ffff;

// One thread, no re-entry.
const long = new Float64Array(1);

/** Largest value of a varint here: RFC 9000 allows 2^62 - 1, doubles are exact up to this. */
export const VARINT_MAX = Number.MAX_SAFE_INTEGER;

/** Bytes that a value takes as a varint (RFC 9000 §16). */
export function varintBytes(value: number): number {
  if (value < 0x40) return 1;
  if (value < 0x4000) return 2;
  return value < 0x4000_0000 ? 4 : 8;
}

/** Bytes that the value of a cell takes. */
export function cellBytes(cell: NumberCell): number {
  const value = cell[0]!;
  if (value < 0x40) return 1;
  if (value < 0x4000) return 2;
  return value < 0x4000_0000 ? 4 : 8;
}

/** A place in bytes, between `at` and `end`. */
abstract class Cursor {
  bytes: Uint8Array;
  at = 0;
  end = 0;
  failed = false;

  constructor(bytes: Uint8Array = new Uint8Array(0), at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.reset(bytes, at, end);
  }

  /** Starts over, on the same or on other bytes. */
  reset(bytes: Uint8Array, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.failed = at < 0 || at > end || end > bytes.length;
    if (this.failed) this.at = this.end = 0;
  }
}

/** Reads from `at` up to, but not, `end`. */
export class Reader extends Cursor {
  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    if (!this.#take(1)) return 0;
    return this.bytes[this.at++]!;
  }

  u16(): number {
    if (!this.#take(2)) return 0;
    const high = this.bytes[this.at++]!;
    return high << 8 | this.bytes[this.at++]!;
  }

  u32(): number {
    if (!this.#take(4)) return 0;
    const { bytes } = this;
    const at = this.at;
    this.at = at + 4;
    return (bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!) >>> 0;
  }

  u48(): number {
    const high = this.u16();
    return high * TWO_32 + this.u32();
  }

  /** A u64 as a number; one above 2^53 - 1 is a failure. */
  u64(): number {
    const high = this.u32();
    const low = this.u32();
    if (high <= HIGH_MAX) return high * TWO_32 + low;
    this.failed = true;
    return 0;
  }

  /** RFC 9000 §16; a value above 2^53 - 1 is a failure. */
  varint(): number {
    // Only here and there is a value so large that it is returned as an object.
    if (this.at < this.end && this.bytes[this.at]! >= 0xc0) {
      this.varintTo(long);
      return long[0]!;
    }
    return this.#short();
  }

  /** The same, for values that may be large. */
  varintTo(cell: NumberCell): void {
    if (this.at >= this.end || this.bytes[this.at]! < 0xc0) {
      cell[0] = this.#short();
      return;
    }
    cell[0] = 0;
    if (this.end - this.at < 8) {
      this.#fail();
      return;
    }
    const high = this.#u30(this.bytes[this.at]!);
    const low = this.#u30(this.bytes[this.at]!) + (this.bytes[this.at - 4]! >> 6) * TWO_30;
    if (high <= HIGH_MAX) cell[0] = high * TWO_32 + low;
    else this.#fail();
  }

  /** A varint of at most four bytes. */
  #short(): number {
    if (this.at >= this.end) return this.#fail();
    const first = this.bytes[this.at]!;
    if (first < 0x40) {
      this.at++;
      return first;
    }
    if (first < 0x80) return this.u16() & 0x3fff;
    // Not by u32(): what it returns is no small integer here, and would be garbage.
    return this.#u30(first);
  }

  #u30(first: number): number {
    if (!this.#take(4)) return 0;
    const { bytes } = this;
    const at = this.at;
    this.at = at + 4;
    return (first & 0x3f) << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
  }

  /** Passes over bytes; the offset where they begin. */
  skip(length: number): number {
    const at = this.at;
    if (this.#take(length)) this.at += length;
    return at;
  }

  /** Copies bytes out. */
  copyTo(target: Uint8Array, targetAt: number, length: number): void {
    if (!this.#take(length)) return;
    if (target === this.bytes) target.copyWithin(targetAt, this.at, this.at + length);
    else copyBytes(target, targetAt, this.bytes, this.at, length);
    this.at += length;
  }

  #take(length: number): boolean {
    if (length <= this.end - this.at && length >= 0) return true;
    this.#fail();
    return false;
  }

  #fail(): number {
    this.failed = true;
    // Nothing behind a failure is read as if it stood in its place.
    this.at = this.end;
    return 0;
  }
}

/** Writes from `at` up to, but not, `end`. */
export class Writer extends Cursor {
  /** Bytes that still fit. */
  get room(): number {
    return this.end - this.at;
  }

  u8(value: number): void {
    if (this.#take(1)) this.bytes[this.at++] = value;
  }

  u16(value: number): void {
    if (!this.#take(2)) return;
    this.bytes[this.at++] = value >>> 8;
    this.bytes[this.at++] = value;
  }

  u32(value: number): void {
    if (!this.#take(4)) return;
    const { bytes } = this;
    const at = this.at;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
    this.at = at + 4;
  }

  /** A whole number of 0 to 2^48 - 1. */
  u48(value: number): void {
    if (!this.#take(6)) return;
    this.u16(value / TWO_32 | 0);
    this.u32(value | 0);
  }

  /** A whole number of 0 to 2^53 - 1. */
  u64(value: number): void {
    if (!this.#take(8)) return;
    this.u32(Math.floor(value / TWO_32) | 0);
    this.u32(value | 0);
  }

  /** RFC 9000 §16, in as few bytes as possible; a whole number of 0 to 2^53 - 1. */
  varint(value: number): void {
    if (value < 0x40) this.u8(value);
    else if (value < 0x4000) this.u16(value | 0x4000);
    else if (value < 0x4000_0000) this.u32(value | 0x8000_0000);
    else if (this.#take(8)) {
      this.u32(Math.floor(value / TWO_32) | 0xc000_0000);
      this.u32(value | 0);
    }
  }

  /** The same, for values that may be large. */
  varintOf(cell: NumberCell): void {
    const value = cell[0]!;
    if (value < 0x4000_0000) this.varint(value | 0);
    else if (this.#take(8)) {
      this.u32(Math.floor(value / TWO_32) | 0xc000_0000);
      this.u32(value | 0);
    }
  }

  /** Copies bytes in, also from elsewhere in the same array. */
  copy(source: Uint8Array, at: number, length: number): void {
    if (!this.#take(length)) return;
    if (source === this.bytes) this.bytes.copyWithin(this.at, at, at + length);
    else copyBytes(this.bytes, this.at, source, at, length);
    this.at += length;
  }

  /** Writes one value `length` times. */
  fill(value: number, length: number): void {
    if (!this.#take(length)) return;
    this.bytes.fill(value, this.at, this.at + length);
    this.at += length;
  }

  #take(length: number): boolean {
    if (length <= this.end - this.at && length >= 0) return true;
    this.failed = true;
    return false;
  }
}

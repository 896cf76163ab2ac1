// What sent packets carried: lists of frame records in one pool, shared by a worker's sessions.

import type { NumberCell } from "../base/number_field.ts";
import { RECORDS_MAX, RECORDS_MIN, RECORDS_RESERVE_SHARE, RECORDS_SURE } from "./params.ts";
import { Pool } from "./pool.ts";

/** End of a list. */
export const NO_RECORD = -1;

/** Values are three doubles a record: stream, offset, length; links are next and kind. */
const VALUES = 3;
const LINKS = 2;

/** A pool that doubles up to a named maximum; a freed record is the next to be used again. */
export class FrameRecords {
  #values: Float64Array;
  #links: Int32Array;
  #capacity: number;
  readonly max: number;
  readonly #pool: Pool;
  #fresh = 0;
  #free = NO_RECORD;
  /** How often there was none left. */
  refused = 0;

  constructor(max: number = RECORDS_MAX) {
    this.max = max;
    this.#pool = new Pool(max, RECORDS_SURE, RECORDS_RESERVE_SHARE);
    this.#capacity = Math.min(max, RECORDS_MIN);
    this.#values = new Float64Array(VALUES * this.#capacity);
    this.#links = new Int32Array(LINKS * this.#capacity);
  }

  /** Records in use. */
  get used(): number {
    return this.#pool.used;
  }

  /** So few are left that whoever has most should give some back. */
  get isShort(): boolean {
    return this.#pool.isShort;
  }

  /** Whether a session that has so many may have one more. */
  admits(held: number): boolean {
    if (this.#pool.admits(held)) return true;
    this.refused += 1;
    return false;
  }

  /** A record that ends its list, or NO_RECORD when the pool is used up. */
  take(kind: number, stream: number, offset: number, length: number): number {
    let record = this.#free;
    if (record !== NO_RECORD) {
      this.#free = this.#links[LINKS * record]!;
    } else {
      if (this.#fresh === this.#capacity && !this.#grow()) {
        this.refused += 1;
        return NO_RECORD;
      }
      record = this.#fresh++;
    }
    this.#pool.used += 1;
    this.#values[VALUES * record] = stream;
    this.#values[VALUES * record + 1] = offset;
    this.#values[VALUES * record + 2] = length;
    this.#links[LINKS * record] = NO_RECORD;
    this.#links[LINKS * record + 1] = kind;
    return record;
  }

  /** As `take`, for offsets that may be large. */
  setOffset(record: number, offset: NumberCell): void {
    this.#values[VALUES * record + 1] = offset[0]!;
  }

  release(record: number): void {
    this.#pool.used -= 1;
    this.#links[LINKS * record] = this.#free;
    this.#free = record;
  }

  /** Makes `next` follow `record`. */
  link(record: number, next: number): void {
    this.#links[LINKS * record] = next;
  }

  next(record: number): number {
    return this.#links[LINKS * record]!;
  }

  kind(record: number): number {
    return this.#links[LINKS * record + 1]!;
  }

  stream(record: number): number {
    return this.#values[VALUES * record]!;
  }

  offset(record: number): number {
    return this.#values[VALUES * record + 1]!;
  }

  copyOffset(record: number, to: NumberCell): void {
    to[0] = this.#values[VALUES * record + 1]!;
  }

  length(record: number): number {
    return this.#values[VALUES * record + 2]!;
  }

  #grow(): boolean {
    if (this.#capacity >= this.max) return false;
    this.#capacity = Math.min(this.max, 2 * this.#capacity);
    const values = new Float64Array(VALUES * this.#capacity);
    const links = new Int32Array(LINKS * this.#capacity);
    values.set(this.#values);
    links.set(this.#links);
    this.#values = values;
    this.#links = links;
    return true;
  }
}

// What sent packets carried: lists of frame records in one pool, shared by a worker's sessions.

import type { NumberCell } from "../base/number_field.ts";
import { RECORDS_MAX, RECORDS_MIN } from "./params.ts";

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
  readonly #max: number;
  #fresh = 0;
  #free = NO_RECORD;
  /** Records in use. */
  used = 0;
  /** How often there was none left. */
  refused = 0;

  constructor(max: number = RECORDS_MAX) {
    this.#max = max;
    this.#capacity = Math.min(max, RECORDS_MIN);
    this.#values = new Float64Array(VALUES * this.#capacity);
    this.#links = new Int32Array(LINKS * this.#capacity);
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
    this.used += 1;
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
    this.used -= 1;
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
    if (this.#capacity >= this.#max) return false;
    this.#capacity = Math.min(this.#max, 2 * this.#capacity);
    const values = new Float64Array(VALUES * this.#capacity);
    const links = new Int32Array(LINKS * this.#capacity);
    values.set(this.#values);
    links.set(this.#links);
    this.#values = values;
    this.#links = links;
    return true;
  }
}

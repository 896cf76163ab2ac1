/**
 * Where packets come from: how many sessions a source has, and when it last got a RESET. A source
 * is an IPv4 address or an IPv6 network of 64 bits. Both tables have a fixed size.
 */

import type { Route } from "../../../ffi/endpoint.ts";
import { isIpv4Mapped } from "../../base/ip.ts";
import { SlotIndex } from "../../crypto/slot_index.ts";
import { SIP_KEY_WORDS, sipHash } from "../../wire/siphash.ts";

const SOURCE_BYTES = 16;
const NETWORK_BYTES = 8;
const RESET_PLACES = 4096;
const NONE = -1;

/** Hashes under a key of its own, or a peer could choose addresses that collide. */
abstract class SourceHash {
  readonly #key = new Uint32Array(SIP_KEY_WORDS);
  readonly #out = new Uint32Array(2);
  protected readonly source: Uint8Array<ArrayBuffer> = new Uint8Array(SOURCE_BYTES);
  readonly #words = new Uint32Array(this.source.buffer);

  constructor(random: () => number) {
    for (let i = 0; i < SIP_KEY_WORDS; i++) this.#key[i] = random();
  }

  /** Puts the source of a route into `source`; its hash. */
  protected take(route: Route): number {
    for (let i = 0; i < SOURCE_BYTES / 4; i++) this.#words[i] = route[i]!;
    if (!isIpv4Mapped(this.source)) this.source.fill(0, NETWORK_BYTES);
    sipHash(this.#key, 0, this.source, 0, SOURCE_BYTES, this.#out);
    return this.#out[0]!;
  }
}

/** Sessions by source. */
export class SourceTable extends SourceHash {
  readonly #max: number;
  readonly #index: SlotIndex;
  readonly #sources: Uint8Array<ArrayBuffer>;
  readonly #counts: Int32Array<ArrayBuffer>;
  readonly #free: number[] = [];
  #touched = 0;
  /** Sessions that were refused. */
  refused = 0;

  /** `capacity`: sessions in all; `max`: of one source. */
  constructor(capacity: number, max: number, random: () => number) {
    super(random);
    this.#max = max;
    this.#index = new SlotIndex(capacity);
    this.#sources = new Uint8Array(capacity * SOURCE_BYTES);
    this.#counts = new Int32Array(capacity);
  }

  /**
   * Counts a session of this source: its place for `leave`; -1: it has as many as it may.
   * `isSure`: it is let in all the same.
   */
  enter(route: Route, isSure = false): number {
    const hash = this.take(route);
    let slot = this.#index.first(hash);
    while (slot !== NONE && !this.#is(slot)) slot = this.#index.another();
    if (slot === NONE) {
      slot = this.#free.pop() ?? this.#touched++;
      this.#sources.set(this.source, slot * SOURCE_BYTES);
      this.#index.insert(slot, hash);
    }
    if (this.#counts[slot]! >= this.#max && !isSure) {
      this.refused++;
      return NONE;
    }
    this.#counts[slot]!++;
    return slot;
  }

  leave(slot: number): void {
    this.#counts[slot]!--;
    if (this.#counts[slot] !== 0) return;
    this.#index.remove(slot);
    this.#free.push(slot);
  }

  #is(slot: number): boolean {
    const at = slot * SOURCE_BYTES;
    for (let i = 0; i < SOURCE_BYTES; i++) {
      if (this.#sources[at + i] !== this.source[i]) return false;
    }
    return true;
  }
}

/** At most one RESET to a source in a time; sources that share a place share the limit. */
export class ResetLimit extends SourceHash {
  readonly #intervalMs: number;
  readonly #sentAt = new Float64Array(RESET_PLACES).fill(-Infinity);

  constructor(intervalMs: number, random: () => number) {
    super(random);
    this.#intervalMs = intervalMs;
  }

  /** Whether one may be sent there now; then it counts as sent. */
  admits(route: Route, now: number): boolean {
    const place = this.take(route) & (RESET_PLACES - 1);
    if (now < this.#sentAt[place]! + this.#intervalMs) return false;
    this.#sentAt[place] = now;
    return true;
  }
}

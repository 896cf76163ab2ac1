/**
 * What xdp_sessions promises, said a second time: by the meaning of the requests in
 * contract/tunnel.h. Slow and plain. Where a time was taken by the kernel, the model knows between
 * which two moments.
 */

import assert from "node:assert/strict";
import {
  EventKind,
  Front,
  RequestLimit,
  SessionKey,
  SessionOp,
  SessionRequest,
  SessionResult,
  SessionState,
  SessionValue,
} from "../../../ffi/bpf/layout.gen.ts";
import type { Rng } from "../../fuzz/rng.ts";
import { type Bytes, hex } from "../packets.ts";

/** In front of the requests. */
const HEAD = 16;
/** That one request to flush sees to. */
const FLUSHED_SLOTS = 16;
const FLUSH_AFTER_NS = 100_000_000n;
const SECOND = 1_000_000_000n;
const U32 = 0xffff_ffff;
const { op: OP_AT, result: RESULT_AT, packets: PACKETS_AT, bytes: BYTES_AT } =
  SessionRequest.offset;
const { state: STATE_AT, lastSeenNs: SEEN_AT } = SessionValue.offset;

export interface ModelTimeouts {
  readonly new: bigint;
  readonly established: bigint;
  readonly closing: bigint;
}

/** A session that was given another state, or has timed out. */
export interface Change {
  /** As by `keyText`. */
  readonly key: string;
  readonly kind: number;
}

/** The part of a key that an event has, too. */
export function keyText(key: Uint8Array): string {
  return String.fromCharCode(...key.subarray(0, 38));
}

interface Entry {
  readonly value: Bytes;
  readonly view: DataView;
  /** Not before `value` says, and not after this. */
  seenMax: bigint;
}

export class SessionsModel {
  readonly slots: Bytes[] = [];
  readonly changes: Change[] = [];
  readonly #timeouts: ModelTimeouts;
  readonly #entries = new Map<string, Entry>();

  constructor(timeouts: ModelTimeouts) {
    this.#timeouts = timeouts;
  }

  get size(): number {
    return this.#entries.size;
  }

  put(key: Uint8Array, content: Uint8Array): void {
    const value = Uint8Array.from(content);
    const view = new DataView(value.buffer);
    this.#entries.set(wholeText(key), { value, view, seenMax: view.getBigUint64(SEEN_AT, true) });
  }

  /** Asserts that an entry of the table is as it has to be. */
  check(key: Uint8Array, value: Uint8Array): void {
    const entry = this.#entries.get(wholeText(key));
    assert.ok(entry !== undefined, `an entry that must be gone: ${hex(key)}`);
    const seen = new DataView(value.buffer, value.byteOffset).getBigUint64(SEEN_AT, true);
    assert.ok(seen >= seenMin(entry) && seen <= entry.seenMax, `seen at ${seen}: ${hex(key)}`);
    const same = Uint8Array.from(value);
    new DataView(same.buffer).setBigUint64(SEEN_AT, seenMin(entry), true);
    assert.equal(hex(same), hex(entry.value), hex(key));
  }

  /**
   * Serves a frame between two moments: writes the results into it, as they must be, and answers
   * how many there are. Where only the kernel's own time decides, `out` says what it was.
   */
  apply(data: Bytes, out: Uint8Array, before: bigint, after: bigint): number {
    const view = new DataView(data.buffer);
    const outView = new DataView(out.buffer, out.byteOffset, out.length);
    let served = 0;
    for (let at = HEAD; at + SessionRequest.size <= data.length; at += SessionRequest.size) {
      if (served++ === RequestLimit.run) return RequestLimit.run;
      const key = data.subarray(at, at + SessionKey.size);
      const op = view.getUint32(at + OP_AT, true);
      const result = op === SessionOp.flush
        ? this.#flush(view.getUint32(at, true), before)
        : op === SessionOp.sent
        ? this.#sent(
          key,
          view.getUint32(at + PACKETS_AT, true),
          view.getBigUint64(at + BYTES_AT, true),
        )
        : this.#change(key, op, [before, after], outView.getUint32(at + RESULT_AT, true));
      view.setUint32(at + RESULT_AT, result, true);
    }
    return served;
  }

  #sent(key: Uint8Array, packets: number, bytes: bigint): SessionResult {
    const entry = this.#entries.get(wholeText(key));
    if (entry === undefined) return SessionResult.missing;
    const { packetsOut, bytesOut } = SessionValue.offset;
    const { view } = entry;
    view.setUint32(packetsOut, view.getUint32(packetsOut, true) + packets, true);
    view.setBigUint64(bytesOut, view.getBigUint64(bytesOut, true) + bytes, true);
    return SessionResult.done;
  }

  #change(
    key: Uint8Array,
    op: number,
    [before, after]: readonly [bigint, bigint],
    was: number,
  ): SessionResult {
    const entry = this.#entries.get(wholeText(key));
    if (entry === undefined) return SessionResult.missing;
    if (op === SessionOp.expire) {
      const isOver = this.#isOver(entry, before, after) ?? was === SessionResult.done;
      if (!isOver) return SessionResult.kept;
      this.#entries.delete(wholeText(key));
      if (entry.value[STATE_AT] === SessionState.established) {
        this.changes.push({ key: keyText(key), kind: EventKind.gone });
      }
      return SessionResult.done;
    }
    if (op !== SessionOp.establish && op !== SessionOp.close) return SessionResult.none;
    const isEstablish = op === SessionOp.establish;
    const state = isEstablish ? SessionState.established : SessionState.closing;
    if (entry.value[STATE_AT] === state) return SessionResult.done;
    entry.value[STATE_AT] = state;
    entry.view.setBigUint64(SEEN_AT, before, true);
    entry.seenMax = after;
    const kind = isEstablish ? EventKind.established : EventKind.closing;
    this.changes.push({ key: keyText(key), kind });
    return SessionResult.done;
  }

  /** Whether an entry's time is over; undefined: it is so within these moments, or not. */
  #isOver(entry: Entry, before: bigint, after: bigint): boolean | undefined {
    const state = entry.value[STATE_AT];
    const timeout = state === SessionState.established
      ? this.#timeouts.established
      : state === SessionState.closing
      ? this.#timeouts.closing
      : this.#timeouts.new;
    // With 0 all is over that is not of the future: what was seen within a run is not.
    const isOverAt = (now: bigint, seen: bigint) => now >= seen && now - seen >= timeout;
    const [first, last] = [isOverAt(before, entry.seenMax), isOverAt(after, seenMin(entry))];
    return first === last ? first : timeout === 0n && entry.seenMax <= after ? true : undefined;
  }

  #flush(from: number, now: bigint): SessionResult {
    for (let i = 0; i < FLUSHED_SLOTS; i++) {
      const slot = this.slots[from + i > U32 ? from + i - U32 - 1 : from + i];
      if (slot === undefined) return SessionResult.missing;
      const view = new DataView(slot.buffer);
      const tick = view.getBigUint64(Front.offset.tickNs, true);
      const packets = view.getUint32(Front.offset.packets, true);
      if (packets === 0 || now <= tick || now - tick <= FLUSH_AFTER_NS) continue;
      this.#add(slot.subarray(0, SessionKey.size), packets, view);
      view.setUint32(Front.offset.packets, 0, true);
      view.setBigUint64(Front.offset.bytes, 0n, true);
    }
    return SessionResult.done;
  }

  #add(key: Uint8Array, packets: number, slot: DataView): void {
    const entry = this.#entries.get(wholeText(key));
    if (entry === undefined) return;
    const { view } = entry;
    const { packetsIn, bytesIn } = SessionValue.offset;
    view.setUint32(packetsIn, view.getUint32(packetsIn, true) + packets, true);
    const bytes = slot.getBigUint64(Front.offset.bytes, true);
    view.setBigUint64(bytesIn, view.getBigUint64(bytesIn, true) + bytes, true);
    const tick = slot.getBigUint64(Front.offset.tickNs, true);
    if (entry.value[STATE_AT] === SessionState.closing || entry.seenMax >= tick) return;
    view.setBigUint64(SEEN_AT, tick, true);
    entry.seenMax = tick;
  }
}

function wholeText(key: Uint8Array): string {
  return String.fromCharCode(...key);
}

function seenMin({ view }: Entry): bigint {
  return view.getBigUint64(SEEN_AT, true);
}

/** Of any content, but with a time that no limit of 0, 100 or 900 seconds ends at about now. */
export function randomEntry(rng: Rng, now: bigint): Bytes {
  const value = rng.bytes(SessionValue.size);
  const view = new DataView(value.buffer);
  value[STATE_AT] = rng.chance(0.95) ? rng.int(1, 3) : rng.pick([0, 4, 255]);
  const age = rng.pick([10n, 50n, 200n, 500n, 2000n, -5000n]) * SECOND;
  const seen = rng.chance(0.05) ? rng.pick([0n, (1n << 64n) - 1n, 1n << 63n]) : now - age;
  view.setBigUint64(SEEN_AT, BigInt.asUintN(64, seen), true);
  return value;
}

/** Mostly with packets, of a tick that is long over or to come. */
export function randomSlot(rng: Rng, key: Bytes, now: bigint): Bytes {
  const slot = rng.bytes(Front.size);
  slot.set(key);
  const view = new DataView(slot.buffer);
  if (rng.chance(0.2)) view.setUint32(Front.offset.packets, rng.int(0, 1), true);
  const age = rng.pick([1n, 15n, 300n, 3000n, -5000n]) * SECOND;
  const tick = rng.chance(0.05) ? rng.pick([0n, (1n << 64n) - 1n]) : now - age;
  view.setBigUint64(Front.offset.tickNs, BigInt.asUintN(64, tick), true);
  return slot;
}

/**
 * The kernel's table of sessions, as user space keeps it: marks what workers open and close, and
 * sweeps out what has been silent for too long, a batch at a time.
 *
 * All changes go through xdp_sessions (bpf/), which changes single fields and looks again before it
 * removes: no counter is ever written back, and no entry that came to life meanwhile is lost.
 */

import {
  RequestLimit,
  SessionKey,
  SessionOp,
  SessionRequest,
  SessionResult,
  SessionState,
  SessionValue,
  TunnelLimit,
} from "../../../ffi/bpf/layout.gen.ts";
import type { BpfMap, MapRows } from "../../../ffi/bpf/map.ts";
import type { BpfProgram } from "../../../ffi/bpf/program.ts";
import { NS_A_MS } from "../../base/units.ts";
import type { ProgramPart } from "../../kernel/object_plane.ts";

/** Entries looked at in one step; about a millisecond. */
const STEP_ENTRIES = 4096;
const STATE_AT = SessionValue.offset.state;
const SEEN_AT = SessionValue.offset.lastSeenNs;
const TWO_32 = 0x1_0000_0000;
/** From here on the table is said to fill up, and from there to be full. */
export const PRESSURE_STEPS: readonly number[] = [70, 90];

/** What the table brings to the program on XDP. */
export function sessionsPart(entriesMax: number, cpus: number): ProgramPart {
  return { sizes: { sessions: entriesMax, front: cpus * TunnelLimit.frontSlots } };
}

export interface Timeouts {
  readonly newMs: number;
  readonly establishedMs: number;
  readonly closingMs: number;
}

export interface SessionMaps {
  readonly sessions: BpfMap;
  readonly front: BpfMap;
}

export interface SessionCounts {
  /** By the last whole sweep. */
  entries: number;
  established: number;
  closing: number;
  /** Entries that the table has room for. */
  readonly entriesMax: number;
  /** Per cent of the table. */
  pressure: number;
  expired: number;
  /** Of what workers said: done, and of entries that were not there. */
  marked: number;
  missing: number;
}

export class KernelSessions {
  readonly counts: SessionCounts;
  readonly #program: BpfProgram;
  readonly #maps: SessionMaps;
  readonly #timeoutsMs: Float64Array;
  readonly #rows: MapRows;
  readonly #words: Uint32Array;
  readonly #data = new Uint8Array(RequestLimit.headBytes + RequestLimit.run * SessionRequest.size);
  #count = 0;
  #sweep: Generator<MapRows> | undefined;
  #seen = { entries: 0, established: 0, closing: 0 };
  /** Keys of the sessions that workers have open, in Latin-1. */
  readonly #open = new Set<string>();

  /** `program`: xdp_sessions, on the same maps. */
  constructor(program: BpfProgram, maps: SessionMaps, timeouts: Timeouts) {
    this.#program = program;
    this.#maps = maps;
    this.counts = {
      ...{ entries: 0, established: 0, closing: 0, entriesMax: maps.sessions.info.maxEntries },
      ...{ pressure: 0, expired: 0, marked: 0, missing: 0 },
    };
    this.#timeoutsMs = new Float64Array(SessionState.closing + 1).fill(timeouts.newMs);
    this.#timeoutsMs[SessionState.established] = timeouts.establishedMs;
    this.#timeoutsMs[SessionState.closing] = timeouts.closingMs;
    this.#rows = maps.sessions.rows(STEP_ENTRIES);
    this.#words = new Uint32Array(this.#rows.values.buffer);
  }

  /** Does what a worker's SessionMarks have collected. */
  mark(requests: Uint8Array): void {
    for (let at = 0; at + SessionRequest.size <= requests.length; at += SessionRequest.size) {
      const request = requests.subarray(at, at + SessionRequest.size);
      this.#remember(request.subarray(0, SessionKey.size), request[SessionRequest.offset.op]!);
      this.#push(request);
    }
    this.#run();
  }

  /** One step of the sweep; whether it was the last one of a round. */
  step(monotonicMs: number): boolean {
    if (this.#sweep === undefined) this.#flushFront();
    this.#sweep ??= this.#maps.sessions.batches({ rows: this.#rows });
    const { done, value } = this.#sweep.next();
    if (!done) {
      this.#look(value, monotonicMs);
      return false;
    }
    this.#sweep = undefined;
    const { counts } = this;
    Object.assign(counts, this.#seen);
    counts.pressure = 100 * counts.entries / counts.entriesMax;
    this.#seen = { entries: 0, established: 0, closing: 0 };
    return true;
  }

  #remember(key: Uint8Array, op: number): void {
    if (op === SessionOp.sent) return;
    const text = latin1(key);
    if (op === SessionOp.close) this.#open.delete(text);
    else if (this.#open.size < this.#maps.sessions.info.maxEntries) this.#open.add(text);
  }

  #look(rows: MapRows, monotonicMs: number): void {
    const stride = SessionValue.size / 4;
    for (let row = 0; row < rows.count; row++) {
      const at = row * stride;
      const state = rows.values[row * SessionValue.size + STATE_AT]!;
      const seenNs = this.#words[at + SEEN_AT / 4 + 1]! * TWO_32 + this.#words[at + SEEN_AT / 4]!;
      const silentMs = monotonicMs - seenNs / NS_A_MS;
      this.#seen.entries++;
      if (state === SessionState.established) this.#seen.established++;
      if (state === SessionState.closing) this.#seen.closing++;
      const key = rows.keys.subarray(row * SessionKey.size, (row + 1) * SessionKey.size);
      if (silentMs >= (this.#timeoutsMs[state] ?? 0)) this.#request(key, SessionOp.expire);
      else if (state === SessionState.new && this.#open.size > 0 && this.#open.has(latin1(key))) {
        // It was thrown out of a full table, and is back.
        this.#request(key, SessionOp.establish);
      }
    }
    this.#run();
  }

  /** What silent sessions have left in front of the table. */
  #flushFront(): void {
    const key = new Uint8Array(SessionKey.size);
    const first = new DataView(key.buffer);
    for (let slot = 0; slot < this.#maps.front.info.maxEntries; slot += RequestLimit.slots) {
      first.setUint32(0, slot, true);
      this.#request(key, SessionOp.flush);
    }
    this.#run();
  }

  #request(key: Uint8Array, op: number): void {
    const request = new Uint8Array(SessionRequest.size);
    request.set(key);
    new DataView(request.buffer).setUint32(SessionRequest.offset.op, op, true);
    this.#push(request);
  }

  #push(request: Uint8Array): void {
    this.#data.set(request, RequestLimit.headBytes + this.#count * SessionRequest.size);
    if (++this.#count === RequestLimit.run) this.#run();
  }

  #run(): void {
    if (this.#count === 0) return;
    const data = this.#data.subarray(0, RequestLimit.headBytes + this.#count * SessionRequest.size);
    const result = this.#program.run({ data }).data;
    for (let i = 0; i < this.#count; i++) {
      const at = RequestLimit.headBytes + i * SessionRequest.size;
      const op = result[at + SessionRequest.offset.op];
      const outcome = result[at + SessionRequest.offset.result];
      if (op === SessionOp.flush || op === SessionOp.sent) continue;
      if (outcome === SessionResult.missing) this.counts.missing++;
      else if (outcome === SessionResult.done && op === SessionOp.expire) this.counts.expired++;
      else if (outcome === SessionResult.done) this.counts.marked++;
    }
    this.#count = 0;
  }
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

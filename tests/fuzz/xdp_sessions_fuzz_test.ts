/**
 * xdp_sessions against a model of it: requests that are right, nearly so and not at all, about
 * entries and slots of any content. A frame is a run of up to 70 requests;
 * PHANTOM_FUZZ_CASES=80000 is five million of them, in about four minutes.
 */

import assert from "node:assert/strict";
import {
  Config,
  Event,
  EventGate,
  EventKind,
  Front,
  RequestLimit,
  SessionOp,
  SessionRequest,
  SessionResult,
  sessionResultName,
} from "../../ffi/bpf/layout.gen.ts";
import { monotonicMs } from "../../ffi/loop.ts";
import { type BpfMap, keyOfIndex } from "../../ffi/bpf/map.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { eachRecord, EventRing } from "../../ffi/bpf/ring.ts";
import { type Bytes, hex } from "../bpf/packets.ts";
import {
  type Change,
  keyText,
  type ModelTimeouts,
  randomEntry,
  randomSlot,
  SessionsModel,
} from "../bpf/tunnel/xdp_sessions_model.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { fuzz, type Rng } from "./rng.ts";

// Loaded before a test counts what it opens: a library stays.
libraries();
libraries();

const isRoot = Deno.uid() === 0;
const CASES = 800;
const RUNS_A_CASE = 64;
const HEAD = 16;
const { size: REQUEST } = SessionRequest;
const { op: OP_AT } = SessionRequest.offset;
const KEYS = 40;
const SLOTS = 64;
const SECOND = 1_000_000_000n;
/** Below this a run is not a frame to the kernel. */
const FRAME_BYTES_MIN = 14;
const DRAIN_BYTES = 1 << 16;
const OPS = [
  SessionOp.establish,
  SessionOp.close,
  SessionOp.expire,
  SessionOp.flush,
  SessionOp.sent,
];

const nowNs = () => BigInt(Math.round(monotonicMs(libraries().native) * 1e6));

/** The program with maps of its own, and the model beside it. */
class SessionsFuzz implements Disposable {
  readonly #object = new BpfObject(libraries(), "xdp_sessions", bpfObject("xdp_sessions"));
  readonly #ring: EventRing;
  readonly #drained = new Uint8Array(DRAIN_BYTES);
  #keys: Bytes[] = [];
  #model = new SessionsModel({ new: 0n, established: 0n, closing: 0n });
  frames = 0;
  /** By SessionResult. */
  readonly results = new Float64Array(4);

  constructor() {
    this.#object.omit("perf_events");
    // Room for many more: nothing is thrown out here.
    this.#object.resize("sessions", 4096);
    this.#object.resize("front", SLOTS);
    this.#object.load();
    this.#ring = EventRing.ofRingBuffer(libraries(), this.#map("events"));
  }

  one(rng: Rng): void {
    this.#fill(rng);
    const before = this.#suppressed();
    for (let i = 0; i < RUNS_A_CASE; i++) this.#run(rng);
    this.#checkEntries();
    this.#checkSlots();
    this.#checkEvents(before);
  }

  #map(name: string): BpfMap {
    return this.#object.map(name);
  }

  #run(rng: Rng): void {
    const data = this.#randomFrame(rng);
    const before = nowNs();
    const { value, data: out } = this.#object.program("xdp_sessions").run({ data });
    const served = this.#model.apply(data, out, before, nowNs());
    const text = `frame ${this.frames++}: ${hex(data)}`;
    assert.equal(value, served, text);
    assert.equal(hex(out), hex(data), text);
    for (let i = 0; i < served; i++) {
      this.results[data[HEAD + i * REQUEST + SessionRequest.offset.result]!]!++;
    }
  }

  #randomFrame(rng: Rng): Bytes {
    const count = rng.chance(0.03) ? rng.int(0, RequestLimit.run + 5) : rng.int(1, 4);
    let data = rng.bytes(HEAD + count * REQUEST);
    const view = new DataView(data.buffer);
    for (let at = HEAD; at < data.length; at += REQUEST) {
      const op = rng.chance(0.95) ? rng.pick(OPS) : rng.pick([0, 6, 255, 256, rng.u32()]);
      view.setUint32(at + OP_AT, op, true);
      if (op === SessionOp.flush) view.setUint32(at, randomFirst(rng), true);
      else data.set(rng.pick(this.#keys), at);
      if (rng.chance(0.1)) view.setUint32(at + OP_AT + 4, rng.int(0, 4), true);
      if (rng.chance(0.02)) data[at + rng.int(0, OP_AT - 1)]! ^= 1 << rng.int(0, 7);
    }
    if (rng.chance(0.05)) data = data.slice(0, rng.int(FRAME_BYTES_MIN, data.length));
    if (rng.chance(0.05)) data = rng.mutate(data, rng.int(1, 3));
    if (data.length >= FRAME_BYTES_MIN) return data;
    const longer = new Uint8Array(FRAME_BYTES_MIN);
    longer.set(data);
    return longer;
  }

  /** New entries, slots and time limits. */
  #fill(rng: Rng): void {
    const timeout = () => rng.pick([0n, 100n * SECOND, 900n * SECOND, (1n << 64n) - 1n]);
    const timeouts = { new: timeout(), established: timeout(), closing: timeout() };
    this.#configure(timeouts);
    this.#model = new SessionsModel(timeouts);
    this.#keys = Array.from({ length: KEYS }, () => rng.bytes(40));
    const sessions = this.#map("sessions");
    for (const _ of sessions.batches({ take: true }));
    const now = nowNs();
    const kept = this.#keys.filter(() => rng.chance(0.8));
    const entries = sessions.rows(KEYS);
    for (const key of kept) {
      const value = randomEntry(rng, now);
      entries.keys.set(key, entries.count * key.length);
      entries.values.set(value, entries.count++ * value.length);
      this.#model.put(key, value);
    }
    sessions.setMany(entries);
    const slots = this.#map("front").rows(SLOTS);
    for (let i = 0; i < SLOTS; i++) {
      const slot = randomSlot(rng, rng.pick(this.#keys), now);
      slots.keys.set(keyOfIndex(i), 4 * i);
      slots.values.set(slot, i * Front.size);
      this.#model.slots.push(slot);
    }
    slots.count = SLOTS;
    this.#map("front").setMany(slots);
  }

  #configure(timeouts: ModelTimeouts): void {
    const config = this.#map("config");
    const value = new Uint8Array(config.info.valueSize);
    const view = new DataView(value.buffer);
    const { offset } = Config;
    view.setBigUint64(offset.newTimeoutNs, timeouts.new, true);
    view.setBigUint64(offset.establishedTimeoutNs, timeouts.established, true);
    view.setBigUint64(offset.closingTimeoutNs, timeouts.closing, true);
    config.set(keyOfIndex(0), value);
  }

  #checkEntries(): void {
    let found = 0;
    for (const rows of this.#map("sessions").batches()) {
      for (let row = 0; row < rows.count; row++, found++) {
        const key = rows.keys.subarray(40 * row, 40 * (row + 1));
        this.#model.check(key, rows.values.subarray(64 * row, 64 * (row + 1)));
      }
    }
    assert.equal(found, this.#model.size);
  }

  #checkSlots(): void {
    for (const rows of this.#map("front").batches()) {
      for (let row = 0; row < rows.count; row++) {
        const value = rows.values.subarray(row * Front.size, (row + 1) * Front.size);
        assert.equal(hex(value), hex(this.#model.slots[row]!), `slot ${row}`);
      }
    }
  }

  /** Each change of a state is told, in its turn, or counted as not told. */
  #checkEvents(before: number): void {
    const { changes } = this.#model;
    const told = this.#events();
    assert.equal(told.length + this.#suppressed() - before, changes.length);
    let at = 0;
    for (const one of told) {
      while (at < changes.length && !isSame(changes[at]!, one)) at++;
      assert.ok(at++ < changes.length, `an event of no change: ${one.key} ${one.kind}`);
    }
  }

  #events(): Change[] {
    const events: Change[] = [];
    const bytes = this.#drained;
    for (let used = this.#ring.drain(bytes); used > 0; used = this.#ring.drain(bytes)) {
      eachRecord(new DataView(bytes.buffer), used, (offset) => {
        const from = offset + Event.offset.srcIp;
        const kind = bytes[offset + Event.offset.kind]!;
        events.push({ key: keyText(bytes.subarray(from, from + 38)), kind });
      });
    }
    return events;
  }

  #suppressed(): number {
    let sum = 0;
    for (const kind of [EventKind.established, EventKind.closing, EventKind.gone]) {
      const gates = this.#map("event_gate").get(keyOfIndex(kind))!;
      const view = new DataView(gates.buffer);
      for (let at = 0; at < gates.length; at += EventGate.size) {
        sum += Number(EventGate.read(view, at).suppressed);
      }
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#ring.close();
    this.#object.close();
  }
}

function isSame(a: Change, b: Change): boolean {
  return a.kind === b.kind && a.key === b.key;
}

/** Of the slots that a flush begins with: most are there, some not, and some wrap around. */
function randomFirst(rng: Rng): number {
  if (rng.chance(0.9)) return rng.int(0, SLOTS + 4);
  return rng.pick([rng.u32(), 0xffff_ffff, 0xffff_fff8, 0x8000_0000]);
}

Deno.test({
  name: `xdp_sessions agrees with its model${isRoot ? "" : " (needs root)"}`,
  ignore: !isRoot,
  fn() {
    using sessions = new SessionsFuzz();
    fuzz({ cases: CASES }, (rng) => sessions.one(rng));
    if (sessions.frames < CASES * RUNS_A_CASE) return;
    const all = sessions.results.reduce((sum, one) => sum + one);
    for (const result of Object.values(SessionResult)) {
      const share = sessions.results[result]! / all;
      assert.ok(share > 0.01, `${sessionResultName(result)} is ${share} of all results`);
    }
  },
});

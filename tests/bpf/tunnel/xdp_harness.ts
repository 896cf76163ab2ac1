/** xdp_phantom, loaded and not attached: frames go in, verdicts, counters and events come out. */

import { SysError } from "../../../ffi/errors.ts";
import {
  Config,
  ConfigFlag,
  Event,
  EventGate,
  EventKind,
  Front,
  ListenWord,
  MaskKey,
  Reason,
  reasonName,
  SessionKey,
  SessionValue,
  TunnelLimit,
  Verdict,
  verdictName,
} from "../../../ffi/bpf/layout.gen.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import type { BpfMap, MapRows } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import type { BpfProgram } from "../../../ffi/bpf/program.ts";
import { eachRecord, EventRing } from "../../../ffi/bpf/ring.ts";
import { stayOnCpu } from "../../fixtures/affinity.ts";
import { claim, type TestClaim } from "../../fixtures/claim.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import { type Bytes, hex } from "../packets.ts";
import { type Outcome, OWN, OWN_FIRST } from "./xdp_model.ts";

/** ETH_HLEN: the shortest frame that BPF_PROG_TEST_RUN takes, on most kernels. */
export const frameBytesMin = 14;

const XDP_DROP = 1;
const XDP_PASS = 2;
const COUNTERS = Verdict.count * Reason.count;
const DRAIN_BYTES = 1 << 16;

export interface HarnessOptions {
  /** @default {true} */
  readonly statsEnabled?: boolean;
  /** Of the ring; a power of two and of whole pages. */
  readonly eventRingBytes?: number;
  /** Entries of the table. */
  readonly sessions?: number;
  /** Events by the perf buffer, as on a kernel without ring buffers. @default {false} */
  readonly perf?: boolean;
}

/** What the program is told; what is left out is 0. */
export type Settings = Partial<Config>;

export interface FrameResult {
  readonly verdict: Verdict;
  readonly frame: Uint8Array;
}

export class XdpHarness {
  readonly cpus: number;
  readonly #object: BpfObject;
  readonly #ring: EventRing;
  readonly #drained = new Uint8Array(DRAIN_BYTES);
  /** Elsewhere, `front` would be another CPU's, and what it holds back would not be seen. */
  readonly #stay: Disposable;

  constructor(ports: Iterable<number>, options: HarnessOptions = {}) {
    const libs = libraries();
    const { perf = false } = options;
    this.#object = new BpfObject(libs, "xdp_phantom", bpfObject("xdp_phantom"));
    if (options.statsEnabled === false) this.#object.setConstant("stats_enabled", 0);
    this.#object.setConstant("events_by_perf", perf ? 1 : 0);
    if (options.eventRingBytes) this.#object.resize("events", options.eventRingBytes);
    if (options.sessions) this.#object.resize("sessions", options.sessions);
    this.#object.omit(perf ? "events" : "perf_events");
    this.#object.load();
    this.#ring = perf
      ? EventRing.ofPerfBuffer(libs, this.#object.map("perf_events"), 8)
      : EventRing.ofRingBuffer(libs, this.#object.map("events"));
    this.cpus = this.#object.map("event_gate").cpus;
    this.#listen(ports);
    this.claim();
    this.#stay = stayOnCpu();
  }

  [Symbol.dispose](): void {
    this.#stay[Symbol.dispose]();
    this.#ring.close();
    this.#object.close();
  }

  /** Runs the program on a frame; undefined when it is one that this kernel does not run. */
  run(frame: Bytes, repeat = 1): FrameResult | undefined {
    const program = this.#object.program("xdp_phantom");
    try {
      const { value, data } = program.run({ data: frame, repeat });
      return { verdict: verdictOf(value), frame: data };
    } catch (error) {
      const refused = error instanceof SysError && error.code === "EINVAL";
      if (refused && frame.length < frameBytesMin) return undefined;
      throw error;
    }
  }

  /** Packets and bytes of each verdict and reason, by counterIndex. */
  counters(): Float64Array {
    return this.#object.map("stats").sums();
  }

  /** The program itself, for those who measure it. */
  get program(): BpfProgram {
    return this.#object.program("xdp_phantom");
  }

  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  /** All events since the last call. */
  events(): Event[] {
    const events: Event[] = [];
    const bytes = this.#drained;
    const view = new DataView(bytes.buffer);
    for (let used = this.#ring.drain(bytes); used > 0; used = this.#ring.drain(bytes)) {
      eachRecord(view, used, (offset, length) => {
        // A perf buffer pads its records to 8 bytes behind a length of 4.
        if (length < Event.size) throw new RangeError(`Cannot read an event of ${length} bytes`);
        events.push(Event.read(view, offset));
      });
    }
    return events;
  }

  /** The gate of each CPU, of one kind of event. */
  gates(kind: EventKind = EventKind.malformed): EventGate[] {
    const bytes = this.#object.map("event_gate").get(keyOf(kind));
    if (bytes === undefined) throw new Error(`Cannot read event_gate as it has no entry ${kind}`);
    const view = new DataView(bytes.buffer);
    return Array.from(
      { length: this.cpus },
      (_, cpu) => EventGate.read(view, cpu * EventGate.size),
    );
  }

  /** Makes every CPU's gate open at `nextNs`, with nothing suppressed. */
  setGates(nextNs: bigint, kind: EventKind = EventKind.malformed): void {
    const bytes = new Uint8Array(EventGate.size * this.cpus);
    const view = new DataView(bytes.buffer);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      EventGate.write(view, cpu * EventGate.size, { nextNs, suppressed: 0n });
    }
    this.#object.map("event_gate").set(keyOf(kind), bytes);
  }

  /** Whose packets are ours: to `OWN_FIRST` and `OWN`, for as long as anybody may test. */
  claim(content: TestClaim = {}): void {
    claim((name) => this.map(name), { first: OWN_FIRST, own: OWN, ...content });
  }

  /** Turns the filter on, with these limits and no others. */
  configure(settings: Settings = {}): void {
    const fields = Object.fromEntries(Object.keys(Config.offset).map((name) => [name, 0n]));
    const numbers = { present: 0, workers: 0, ownerMask: 0 };
    const flags = ConfigFlag.filter;
    const value = new Uint8Array(Config.size);
    const config = { ...fields, ...numbers, flags, ...settings } as unknown as Config;
    Config.write(new DataView(value.buffer), 0, config);
    this.#object.map("config").set(keyOf(0), value);
  }

  /** Gives the keys of windows, of which `present` began `sinceMs` ago; no others are there. */
  setKeys(keys: ReadonlyMap<number, Uint8Array>, present: number, sinceMs = 10_000): void {
    const map = this.#object.map("mask_keys");
    const now = BigInt(Math.round((monotonicMs(libraries().native) - sinceMs) * 1e6));
    for (let place = 0; place < TunnelLimit.maskKeys; place++) {
      const value = new Uint8Array(MaskKey.size);
      const window = [...keys.keys()].find((one) => one % TunnelLimit.maskKeys === place);
      if (window !== undefined) {
        const view = new DataView(keys.get(window)!.slice().buffer);
        MaskKey.write(new DataView(value.buffer), 0, {
          window: BigInt(window),
          beginNs: now + BigInt(window - present) * 30_000_000_000n,
          k0: view.getBigUint64(0, true),
          k1: view.getBigUint64(8, true),
        });
      }
      map.set(keyOf(place), value);
    }
  }

  /** The keys as they stand in the map. */
  maskKeys(): Iterable<MapRows> {
    return this.#object.map("mask_keys").batches();
  }

  /** What `configure` has written. */
  config(): Bytes {
    return this.#object.map("config").get(keyOf(0))!;
  }

  /** What stands in front of the table and is not written to it yet, of all CPUs. */
  pending(): Map<string, { packets: number; bytes: bigint }> {
    const found = new Map<string, { packets: number; bytes: bigint }>();
    for (const rows of this.#object.map("front").batches()) {
      const view = new DataView(rows.values.buffer);
      for (let row = 0; row < rows.count; row++) {
        const at = row * Front.size;
        const packets = view.getUint32(at + Front.offset.packets, true);
        if (packets === 0) continue;
        const key = hex(rows.values.subarray(at, at + SessionKey.size));
        const before = found.get(key) ?? { packets: 0, bytes: 0n };
        const bytes = before.bytes + view.getBigUint64(at + Front.offset.bytes, true);
        found.set(key, { packets: before.packets + packets, bytes });
      }
    }
    return found;
  }

  /** The whole table. */
  sessions(): Map<string, SessionValue> {
    const found = new Map<string, SessionValue>();
    for (const rows of this.#object.map("sessions").batches()) {
      const view = new DataView(rows.values.buffer);
      for (let row = 0; row < rows.count; row++) {
        const key = rows.keys.slice(row * SessionKey.size, (row + 1) * SessionKey.size);
        found.set(hex(key), SessionValue.read(view, row * SessionValue.size));
      }
    }
    return found;
  }

  setSession(key: SessionKey, value: SessionValue): void {
    const keyBytes = new Uint8Array(SessionKey.size);
    const bytes = new Uint8Array(SessionValue.size);
    SessionKey.write(new DataView(keyBytes.buffer), 0, key);
    SessionValue.write(new DataView(bytes.buffer), 0, value);
    this.#object.map("sessions").set(keyBytes, bytes);
  }

  /** Forgets all sessions, sources and rates. */
  forget(): void {
    for (const name of ["sessions", "sources", "salts"]) {
      const map = this.#object.map(name);
      for (const key of [...map.keys()]) map.delete(key);
    }
    const front = this.#object.map("front");
    const rows = front.rows(front.info.maxEntries);
    rows.count = front.info.maxEntries;
    new Uint32Array(rows.keys.buffer).forEach((_, i, all) => all[i] = i);
    front.setMany(rows);
    this.#object.map("totals").set(keyOf(0), new Uint8Array(8));
  }

  #listen(ports: Iterable<number>): void {
    const words = new Map<number, bigint>();
    for (const port of ports) {
      const index = Math.floor(port / 64);
      words.set(index, (words.get(index) ?? 0n) | 1n << BigInt(port % 64));
    }
    const value = new Uint8Array(ListenWord.size);
    for (const [index, word] of words) {
      ListenWord.write(new DataView(value.buffer), 0, { ports: word, relays: 0n, returns: 0n });
      this.#object.map("listen_ports").set(new Uint8Array(Uint32Array.of(index).buffer), value);
    }
  }
}

function keyOf(index: number): Bytes {
  return new Uint8Array(Uint32Array.of(index).buffer);
}

/** Where a verdict's and reason's packets are in the counters; the bytes are behind them. */
export function counterIndex({ verdict, reason }: Outcome): number {
  return 2 * (verdict * Reason.count + reason);
}

/** The counters that differ, as text: "pass listen: 1 packets, 62 bytes". */
export function counterChanges(before: Float64Array, after: Float64Array): string[] {
  const changes: string[] = [];
  for (let i = 0; i < COUNTERS; i++) {
    const packets = after[2 * i]! - before[2 * i]!;
    const bytes = after[2 * i + 1]! - before[2 * i + 1]!;
    if (packets === 0 && bytes === 0) continue;
    const outcome = {
      verdict: Math.floor(i / Reason.count) as Verdict,
      reason: i % Reason.count as Reason,
    };
    changes.push(`${outcomeText(outcome)}: ${packets} packets, ${bytes} bytes`);
  }
  return changes;
}

export function outcomeText({ verdict, reason }: Outcome): string {
  return `${verdictName(verdict)} ${reasonName(reason)}`;
}

function verdictOf(value: number): Verdict {
  if (value === XDP_PASS) return Verdict.pass;
  if (value === XDP_DROP) return Verdict.drop;
  throw new RangeError(`Cannot read an XDP action as it must be drop or pass: it is ${value}`);
}

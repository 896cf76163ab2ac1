/** xdp_phantom, loaded and not attached: frames go in, verdicts, counters and events come out. */

import { SysError } from "../../ffi/errors.ts";
import {
  Event,
  EventGate,
  ListenWord,
  Reason,
  reasonName,
  Verdict,
  verdictName,
} from "../../ffi/layout.gen.ts";
import { BpfObject } from "../../ffi/object.ts";
import { eachRecord, EventRing } from "../../ffi/ring.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import type { Bytes } from "./packets.ts";
import type { Outcome } from "./xdp_model.ts";

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
}

export interface FrameResult {
  readonly verdict: Verdict;
  readonly frame: Uint8Array;
}

export class XdpHarness {
  readonly cpus: number;
  readonly #object: BpfObject;
  readonly #ring: EventRing;
  readonly #drained = new Uint8Array(DRAIN_BYTES);

  constructor(ports: Iterable<number>, options: HarnessOptions = {}) {
    const libs = libraries();
    this.#object = new BpfObject(libs, "xdp_phantom", bpfObject("xdp_phantom"));
    if (options.statsEnabled === false) this.#object.setConstant("stats_enabled", 0);
    if (options.eventRingBytes) this.#object.resize("events", options.eventRingBytes);
    this.#object.load();
    this.#ring = EventRing.ofRingBuffer(libs, this.#object.map("events"));
    this.cpus = this.#object.map("event_gate").cpus;
    this.#listen(ports);
  }

  [Symbol.dispose](): void {
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

  /** All events since the last call. */
  events(): Event[] {
    const events: Event[] = [];
    const bytes = this.#drained;
    const view = new DataView(bytes.buffer);
    for (let used = this.#ring.drain(bytes); used > 0; used = this.#ring.drain(bytes)) {
      eachRecord(view, used, (offset, length) => {
        if (length !== Event.size) throw new RangeError(`Cannot read an event of ${length} bytes`);
        events.push(Event.read(view, offset));
      });
    }
    return events;
  }

  /** The gate of each CPU. */
  gates(): EventGate[] {
    const bytes = this.#object.map("event_gate").get(new Uint8Array(4));
    if (bytes === undefined) throw new Error("Cannot read event_gate as it has no entry 0");
    const view = new DataView(bytes.buffer);
    return Array.from(
      { length: this.cpus },
      (_, cpu) => EventGate.read(view, cpu * EventGate.size),
    );
  }

  /** Makes every CPU's gate open at `nextNs`, with nothing suppressed. */
  setGates(nextNs: bigint): void {
    const bytes = new Uint8Array(EventGate.size * this.cpus);
    const view = new DataView(bytes.buffer);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      EventGate.write(view, cpu * EventGate.size, { nextNs, suppressed: 0n });
    }
    this.#object.map("event_gate").set(new Uint8Array(4), bytes);
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

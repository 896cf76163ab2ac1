/**
 * Main's side of the time that windows follow: it watches the wall clock, tells all threads what
 * counts, and says when the two differ.
 */

import { bootMs } from "../../../ffi/loop.ts";
import type { Native } from "../../../ffi/native.ts";
import type { Log } from "../../base/log.ts";
import { ClockChange, ClockWriter, ServerClock } from "../../crypto/server_clock.ts";
import { RestingMemory } from "../../crypto/replay_memory.ts";
import type { Instant } from "./replay_record.ts";

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";
const BOOT_ID_BYTES = 16;

/** What there is to say, by ClockChange. */
const TEXTS: readonly (readonly [event: string, text: string])[] = [
  ["", ""],
  ["clock_jumped", "the wall clock has jumped: unless it comes back, clients follow it in 60 s"],
  ["clock_returned", "the wall clock is back where it was: nothing has changed for clients"],
  ["clock_moved", "the wall clock has stayed where it jumped to: clients have to have its time"],
  [
    "clock_set_back",
    "the wall clock was set back and stayed there: clients have to have its time, and what they " +
    "send first waits for 90 s",
  ],
];

export interface ClockWatchOptions {
  readonly native: Native;
  /** Forgets when the clock was set back. */
  readonly replay: SharedArrayBuffer;
  readonly log: Log;
  /** @default {Date.now} */
  readonly wallMs?: () => number;
  /** @default the machine's */
  readonly bootMs?: () => number;
}

export class ClockWatch {
  readonly #writer = new ClockWriter();
  readonly #clock: ServerClock;
  readonly #replay: RestingMemory;
  readonly #log: Log;
  readonly #wallMs: () => number;
  readonly #bootMs: () => number;
  readonly #bootId: Uint8Array;
  #beginnings = 0;
  #offsetMs = NaN;

  constructor({ native, replay, log, ...clocks }: ClockWatchOptions) {
    this.#wallMs = clocks.wallMs ?? Date.now;
    this.#bootMs = clocks.bootMs ?? (() => bootMs(native));
    this.#bootId = readBootId();
    this.#replay = new RestingMemory(replay);
    this.#log = log;
    this.#clock = new ServerClock(this.#wallMs(), this.#bootMs());
    this.#tell();
  }

  /** For ClockReader, in all threads. */
  get memory(): SharedArrayBuffer {
    return this.#writer.memory;
  }

  unixMs(): number {
    return this.#clock.unixMs(this.#bootMs());
  }

  /** This moment, for a replay record. */
  now(): Instant {
    return { unixMs: this.unixMs(), bootMs: this.#bootMs(), bootId: this.#bootId };
  }

  /** Several times a second. */
  tick(): void {
    const bootMs = this.#bootMs();
    const change = this.#clock.observe(this.#wallMs(), bootMs);
    if (change === ClockChange.setBack) {
      // Before anybody asks about windows of before.
      this.#replay.startOver(bootMs);
      this.#beginnings++;
    }
    this.#tell();
    if (change === ClockChange.none) return;
    const [event, text] = TEXTS[change]!;
    this.#log.warn(event, text, { by_s: Math.round(this.#clock.jumpedByMs / 1000) });
  }

  #tell(): void {
    const { offsetMs } = this.#clock;
    if (offsetMs === this.#offsetMs) return;
    this.#offsetMs = offsetMs;
    this.#writer.write(offsetMs, this.#beginnings);
  }
}

/** Zeros where the machine does not tell: then it is as if it had started anew. */
function readBootId(): Uint8Array {
  const id = new Uint8Array(BOOT_ID_BYTES);
  try {
    const digits = Deno.readTextFileSync(BOOT_ID_PATH).replaceAll(/[^0-9a-f]/g, "");
    for (let i = 0; i < BOOT_ID_BYTES; i++) id[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  } catch {
    // It has no /proc.
  }
  return id;
}

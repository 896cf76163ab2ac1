/**
 * Keeps the cores from sleeping while there is traffic. A core that slept costs each packet that
 * wakes it 20 to 60 µs, four times on the way there and back through a tunnel. The price is power:
 * cores that wait are busy waiting. It is told to the kernel by a file (PM QoS) that holds as long
 * as it is open, so that nothing is left behind however the process ends.
 */

import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Part } from "./part.ts";

const REQUEST_FILE = "/dev/cpu_dma_latency";
/** A signed word in the machine's order: how many µs a core may take to wake up. */
const AT_ONCE = new Uint8Array(4);
/** Within a tick; a session at rest has fewer: a PING, its ACK, and once more. */
const TRAFFIC_MIN = 4;
const HOLD_MS = 5000;

export interface AwakeCoresOptions {
  /** Datagrams that have come so far. */
  readonly datagrams: () => number;
  readonly log: Log;
  /** @default {REQUEST_FILE} */
  readonly path?: string;
}

export class AwakeCores implements Part {
  readonly name = "awake cores";
  readonly #options: Required<AwakeCoresOptions>;
  #request: Deno.FsFile | undefined;
  #isDenied = false;
  #known = 0;
  #until = -Infinity;

  constructor(options: AwakeCoresOptions) {
    this.#options = { path: REQUEST_FILE, ...options };
    // Said at the start and not with the first packets, when nobody looks at the log.
    this.#hold();
    this.#release();
  }

  get isHeld(): boolean {
    return this.#request !== undefined;
  }

  /** Looks whether there is traffic. */
  tick(now: number): void {
    if (this.#isDenied) return;
    const datagrams = this.#options.datagrams();
    if (datagrams - this.#known >= TRAFFIC_MIN) this.#until = now + HOLD_MS;
    this.#known = datagrams;
    if (now >= this.#until) this.#release();
    else if (this.#request === undefined) this.#hold();
  }

  stop(): void {
    this.#release();
  }

  #hold(): void {
    const { path, log } = this.#options;
    try {
      this.#request = Deno.openSync(path, { write: true });
      this.#request.writeSync(AT_ONCE);
    } catch (error) {
      this.#isDenied = true;
      this.#release();
      log.warn("low_latency_failed", "low_latency has no effect: the cores can't be kept awake", {
        cause: messageOf(error),
        remedy: `run as root, with write access to ${path}`,
      });
    }
  }

  #release(): void {
    this.#request?.close();
    this.#request = undefined;
  }
}

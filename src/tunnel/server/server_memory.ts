/**
 * What main keeps for all workers of a server: what they remember of HELLOs and the time that
 * windows follow, taken from the server before and left to the next one.
 */

import type { Native } from "../../../ffi/native.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import type { Log } from "../../base/log.ts";
import { replayMemory, RestingMemory } from "../../crypto/replay_memory.ts";
import type { ServerStart } from "../protocol.ts";
import { ClockWatch } from "./clock_watch.ts";
import {
  inherit,
  type Inheritance,
  keepReplayRecord,
  replayRecord,
  takeReplayRecord,
} from "./replay_record.ts";
import type { StateFolder } from "./state_folder.ts";

export class ServerMemory {
  readonly #primitives: NativePrimitives;
  readonly #folder: StateFolder;
  readonly #log: Log;
  readonly #replay: SharedArrayBuffer;
  readonly #clock: ClockWatch;
  readonly #before: Inheritance | undefined;
  readonly #ended: Uint8Array[] = [];

  constructor(native: Native, folder: StateFolder, log: Log) {
    this.#primitives = new NativePrimitives(native);
    this.#folder = folder;
    this.#log = log;
    const replay = this.#replay = replayMemory(() =>
      crypto.getRandomValues(new Uint32Array(1))[0]!
    );
    this.#clock = new ClockWatch({ native, replay, log });
    this.#before = this.#inherit();
    if (this.#before === undefined) new RestingMemory(replay).startOver(this.#clock.now().bootMs);
  }

  /** For the start of each worker. */
  get shares(): Pick<ServerStart, "replay" | "clock" | "before"> {
    const before = this.#before === undefined ? {} : { before: this.#before };
    return { replay: this.#replay, clock: this.#clock.memory, ...before };
  }

  /** The time that windows follow. */
  unixMs(): number {
    return this.#clock.unixMs();
  }

  /** Several times a second. */
  tick(): void {
    this.#clock.tick();
  }

  /** A worker has stopped: the sessions of it that have ended. */
  ended(sessions: Uint8Array): void {
    this.#ended.push(sessions);
  }

  /** Leaves all of it to the next start, once no worker runs. */
  save(): void {
    const now = this.#clock.now();
    const record = replayRecord(this.#primitives, this.#replay, now, this.#ended);
    keepReplayRecord(this.#folder, record, this.#log);
  }

  #inherit(): Inheritance | undefined {
    const record = takeReplayRecord(this.#folder);
    if (record === undefined) return undefined;
    const before = inherit(this.#primitives, record, this.#replay, this.#clock.now());
    if (before === undefined) {
      this.#log.warn(
        "replay_record_unused",
        "the record of HELLOs is of no use: what clients send first waits for 90 s",
        { remedy: "none is needed; see that the clock is right" },
      );
    }
    return before;
  }
}

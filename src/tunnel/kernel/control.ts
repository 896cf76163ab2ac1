/**
 * What user space does for the programs in the kernel while the server runs: keys ahead of time,
 * limits, the sweep of sessions, steering; and what is worth an event or a number.
 */

import { Config as KernelConfig, ConfigFlag, EventKind } from "../../../ffi/bpf/layout.gen.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { type BpfMap, keyOfIndex } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { detachFromSocket } from "../../../ffi/bpf/socket_link.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { NS_A_MS } from "../../base/units.ts";
import { EVENTS, type KernelEvents, PERF_EVENTS } from "../../kernel/events.ts";
import { KernelKeys } from "./keys.ts";
import { KernelSessions, PRESSURE_STEPS, type SessionCounts } from "./sessions.ts";
import type { BpfCode } from "../../kernel/resources.ts";
import { Steering } from "./steering.ts";
import { ownerMask } from "../../wire/session_id.ts";

/** How often keys are looked at and a part of the table is swept. */
const TICK_MS = 250;
/** From one round of the sweep to the next. */
const ROUND_MS = 2000;
const NEW_MS = 30_000;
const CLOSING_MS = 5000;
/** What a limit lets be saved up, in seconds of its rate. */
const BURST_S = 2;
const NS_A_S = 1e9;

export interface KernelLimits {
  /** A second; 0: no limit. */
  readonly hellosPerSource: number;
  readonly hellos: number;
  readonly sessionsPerSource: number;
  readonly sessionTimeoutMs: number;
}

export interface KernelControlOptions {
  readonly libs: Libraries;
  readonly psk: Uint8Array;
  readonly limits: KernelLimits;
  /** The maps of the XDP program, where one is loaded. */
  readonly plane: ((name: string) => BpfMap) | undefined;
  /** Whether frames meet it now. */
  readonly isAttached: () => boolean;
  /** Where the XDP program's events go, and whether by perf buffer. */
  readonly events?: KernelEvents | undefined;
  readonly eventsByPerf?: boolean | undefined;
  readonly code: { readonly sessions: BpfCode; readonly steer: BpfCode };
  /** Descriptors of the workers' sockets, by index. */
  readonly sockets: readonly number[];
  readonly log: Log;
  /** Our clock. @default {Date.now} */
  readonly unixMs?: () => number;
}

export class KernelControl {
  readonly #options: KernelControlOptions;
  readonly #timers: number[];
  #steering: Steering | undefined;
  #lateFilter: Steering | undefined;
  #isFiltering = false;
  #sessions: KernelSessions | undefined;
  #sessionsObject: BpfObject | undefined;
  #keys: KernelKeys | undefined;
  #config: BpfMap | undefined;
  #hasBegun = false;
  #present = -1;
  #roundAt = 0;
  #pressureStep = 0;

  private constructor(options: KernelControlOptions) {
    this.#options = options;
    if (options.plane !== undefined) this.#giveKeys(options.plane);
    // Nothing of the rest is wanted before the first session, and loading it takes a while.
    this.#timers = [
      setTimeout(() => this.#guard(() => this.#begin()), 0),
      setInterval(() => this.#tick(), TICK_MS),
    ];
  }

  /** From now on XDP knows the keys; the rest follows, and the log says what can't be had. */
  static start(options: KernelControlOptions): KernelControl {
    return new KernelControl(options);
  }

  /** Whether packets are steered to the workers that own them. */
  get isSteered(): boolean {
    return this.#steering !== undefined && this.#options.sockets.length > 1;
  }

  /** Whether junk is dropped at the sockets, since no XDP program does so before. */
  get isFiltering(): boolean {
    return this.#isFiltering;
  }

  get sessions(): Readonly<SessionCounts> | undefined {
    return this.#sessions?.counts;
  }

  /** What a worker's SessionMarks have collected. */
  mark(requests: Uint8Array): void {
    this.#guard(() => {
      this.#begin();
      this.#sessions?.mark(requests);
    });
  }

  /**
   * The sockets are about to be closed, and their numbers may be other files' by then: nothing is
   * begun any more, and what has begun takes its last marks.
   */
  letGoOfSockets(): void {
    this.#hasBegun = true;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** The programs go on with the keys that they have. */
  stop(): void {
    this.letGoOfSockets();
    this.#sessionsObject?.close();
    this.#steering?.close();
    this.#lateFilter?.close();
  }

  #giveKeys(map: (name: string) => BpfMap): void {
    const { libs, psk } = this.#options;
    this.#config = map("config");
    this.#keys = new KernelKeys(map("mask_keys"), new NativePrimitives(libs.native), psk);
    this.#updateKeys();
  }

  /** The programs beside xdp_phantom, once. */
  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const options = this.#options;
    const { plane } = options;
    const filters = !options.isAttached();
    const steering = this.#steering = startSteering(options, filters);
    this.#isFiltering = filters && steering !== undefined;
    if (plane === undefined) {
      if (steering !== undefined) this.#giveKeys((name) => steering.map(name));
      return;
    }
    this.#sessionsObject = openSessions(options, plane);
    const { sessionTimeoutMs } = options.limits;
    this.#sessions = new KernelSessions(
      this.#sessionsObject.program("xdp_sessions"),
      { sessions: plane("sessions"), front: plane("front") },
      { newMs: NEW_MS, establishedMs: sessionTimeoutMs, closingMs: CLOSING_MS },
    );
  }

  #tick(): void {
    this.#guard(() => {
      this.#updateKeys();
      this.#sweep();
      this.#followLevel();
    });
  }

  /** The sockets drop junk as long as no frame meets XDP. */
  #followLevel(): void {
    const { libs, plane, code, sockets, isAttached, log } = this.#options;
    // Without a plane they do from the start, or never can.
    if (!this.#hasBegun || plane === undefined || sockets.length === 0) return;
    const isWanted = !isAttached();
    if (isWanted === this.#isFiltering) return;
    this.#isFiltering = isWanted;
    if (isWanted) {
      this.#lateFilter?.close();
      const options = { libs, code: code.steer, sockets, shared: plane };
      this.#lateFilter = Steering.start({ ...options, steers: false, filters: true });
      log.info("junk_filter_sockets", "sockets drop junk: there is no XDP");
    } else {
      for (const socket of sockets) detachFromSocket(libs, socket);
      log.info("junk_filter_xdp", "XDP drops junk, sockets no longer do");
    }
  }

  /** A fault here must not end the server: the kernel side goes on as it was. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      const cause = messageOf(error);
      this.#options.log.error("kernel_control_fault", "the kernel's tables can't be updated", {
        cause,
      });
    }
  }

  #updateKeys(): void {
    const { libs, unixMs = Date.now } = this.#options;
    if (this.#keys === undefined || this.#config === undefined) return;
    const clocks = { unixMs: unixMs(), monotonicMs: monotonicMs(libs.native) };
    const present = this.#keys.update(clocks);
    if (present === this.#present) return;
    this.#present = present;
    this.#config.set(keyOfIndex(0), kernelConfig(this.#options, present));
  }

  #sweep(): void {
    const sessions = this.#sessions;
    const now = monotonicMs(this.#options.libs.native);
    if (sessions === undefined || now < this.#roundAt) return;
    if (!sessions.step(now)) return;
    this.#roundAt = now + ROUND_MS;
    this.#tellPressure(sessions.counts);
  }

  #tellPressure({ pressure, entries }: Readonly<SessionCounts>): void {
    const step = PRESSURE_STEPS.filter((limit) => pressure >= limit).length;
    if (step > this.#pressureStep) {
      this.#options.events?.tell(
        EventKind.pressure,
        "the kernel's table of sessions fills up",
        {
          entries,
          percent: Math.floor(pressure),
          remedy: "raise ebpf.map_size; the oldest entries make room for new ones",
        },
      );
    }
    this.#pressureStep = step;
  }
}

function startSteering(options: KernelControlOptions, filters: boolean): Steering | undefined {
  const { libs, plane, sockets, code, log } = options;
  const steers = sockets.length > 1;
  if (sockets.length === 0 || !(steers || filters)) return undefined;
  try {
    return Steering.start({ libs, code: code.steer, sockets, shared: plane, steers, filters });
  } catch (error) {
    log.warn(
      "steering_failed",
      "the kernel does not steer packets: workers hand over those of clients that change port",
      {
        cause: messageOf(error),
      },
    );
    return undefined;
  }
}

function openSessions(
  { libs, code, eventsByPerf = false }: KernelControlOptions,
  plane: (name: string) => BpfMap,
): BpfObject {
  const object = new BpfObject(libs, code.sessions.name, code.sessions.bytes);
  try {
    object.setConstant("events_by_perf", eventsByPerf ? 1 : 0);
    object.omit(eventsByPerf ? EVENTS : PERF_EVENTS);
    for (const { name } of object.shapes()) object.reuse(name, plane(name));
    return object.load();
  } catch (error) {
    object.close();
    throw error;
  }
}

function kernelConfig(
  { limits, sockets }: KernelControlOptions,
  present: number,
): Uint8Array<ArrayBuffer> {
  const value = new Uint8Array(KernelConfig.size);
  const [helloSource, helloTotal, newSource] = [
    limits.hellosPerSource,
    limits.hellos,
    limits.sessionsPerSource,
  ].map((rate) => rate > 0 ? BigInt(Math.round(NS_A_S / rate)) : 0n);
  const room = (cost = 0n) => BigInt(Math.max(Number(cost), BURST_S * NS_A_S));
  KernelConfig.write(new DataView(value.buffer), 0, {
    flags: ConfigFlag.filter,
    present,
    helloSourceCostNs: helloSource!,
    helloSourceRoomNs: room(helloSource),
    helloTotalCostNs: helloTotal!,
    helloTotalRoomNs: room(helloTotal),
    newSourceCostNs: newSource!,
    newSourceRoomNs: room(newSource),
    newTimeoutNs: BigInt(NEW_MS * NS_A_MS),
    establishedTimeoutNs: BigInt(limits.sessionTimeoutMs * NS_A_MS),
    closingTimeoutNs: BigInt(CLOSING_MS * NS_A_MS),
    workers: sockets.length,
    ownerMask: ownerMask(sockets.length),
  });
  return value;
}

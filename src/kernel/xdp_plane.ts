/**
 * The XDP program, its maps and its counters, on one or several interfaces.
 *
 * Maps and attachments are pinned (pins.ts): they go on without this process, and the next one
 * adopts them (plane_maps.ts) and swaps the program in one step (xdp_attachment.ts). Where nothing
 * can be pinned it works all the same, and ends with this process.
 */

import { readBtf } from "../../ffi/bpf/btf.ts";
import {
  Event,
  EventGate,
  EventKind,
  layoutHash,
  layoutHashes,
  ListenWord,
  Reason,
  reasonName,
  Verdict,
  verdictName,
} from "../../ffi/bpf/layout.gen.ts";
import { layoutDifferences } from "../../ffi/bpf/layout_hash.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import { openPinnedLink, type XdpMode } from "../../ffi/bpf/link.ts";
import { type BpfMap, isHash, openPinnedMap } from "../../ffi/bpf/map.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { probeMapType } from "../../ffi/bpf/probe.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { eachRecord, EventRing } from "../../ffi/bpf/ring.ts";
import { cString } from "../../ffi/memory.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { relayBits, type RelayPlan, sizeRelayMaps } from "../relay/kernel_relay.ts";
import { takeOffEgress } from "./tc_hook.ts";
import { type EventCounts, KernelEvents } from "./events.ts";
import { InstanceBusyError, PinFolder } from "./pins.ts";
import { type HealthCounters, type InterfaceState, PlaneInterfaces } from "./hooked_interfaces.ts";
import { PlaneMaps, TYPES_MAP } from "./map_store.ts";
import type { BpfCode } from "./resources.ts";
import { modeOf, takeOff } from "./xdp_hook.ts";

export type { HealthCounters, InterfaceState } from "./hooked_interfaces.ts";

const PROGRAM = "xdp_phantom";
const EGRESS_PROGRAM = "tc_egress";
/** The map in place of the ring buffer, where the kernel has none. */
const PERF_EVENTS = "perf_events";
const EVENT_BATCH_BYTES = 64 << 10;
/** Of each CPU, where there are no ring buffers. */
const PERF_PAGES = 8;

/** What is set in a program before it is loaded. */
export interface ProgramSettings {
  /** Values of its `const volatile` integers. */
  readonly constants: Readonly<Record<string, number | bigint>>;
  /** Entries of maps, where not as the program declares them. */
  readonly sizes?: Readonly<Record<string, number>>;
}

export interface PlaneOptions extends ProgramSettings {
  readonly pinPath: string;
  readonly instance: string;
  /** Names, also of interfaces that are not there yet; none: that of the default route. */
  readonly interfaces: readonly string[];
  readonly mode: "auto" | XdpMode;
  readonly code: BpfCode;
  /** Hash of the layout of `code`. @default {layoutHash} */
  readonly layout?: string;
  /** The program that counts what leaves. */
  readonly egress?: BpfCode;
  /** Fills maps before the program meets its first packet. */
  readonly prepare?: (map: (name: string) => BpfMap) => void;
  /** UDP ports that are ours. */
  readonly ports: readonly number[];
  /** What the relay does, where it is configured. */
  readonly relay?: RelayPlan;
  readonly log: Log;
}

interface EgressCode {
  readonly egress: BpfCode | undefined;
  readonly log: Log;
}

export interface Counter {
  readonly verdict: string;
  readonly reason: string;
  readonly packets: number;
  readonly bytes: number;
}

/** What is pinned for an interface. */
export interface PinnedState {
  readonly interfaceName: string;
  /** Nothing: the interface is gone, or somebody took the program off it. */
  readonly mode: XdpMode | undefined;
  readonly programId: number;
}

export class XdpPlane {
  /** Maps taken over from an earlier run, by name. */
  readonly adopted: readonly string[];
  readonly events: KernelEvents;
  /** Whether events come by perf buffer, for want of ring buffers. */
  readonly eventsByPerf: boolean;
  readonly #libs: Libraries;
  readonly #egressCode: EgressCode;
  /** Nothing: no pins are possible. */
  readonly #pins: PinFolder | undefined;
  /** Whether nothing was there before. */
  readonly #isNew: boolean;
  readonly #object: BpfObject;
  readonly #interfaces: PlaneInterfaces;
  #egress: BpfObject | undefined;
  readonly #ring: EventRing;
  readonly #eventBytes = new Uint8Array(EVENT_BATCH_BYTES);

  private constructor(
    libs: Libraries,
    parts: {
      options: PlaneOptions;
      pins: PinFolder | undefined;
      isNew: boolean;
      byPerf: boolean;
      events: KernelEvents;
      object: BpfObject;
      adopted: readonly string[];
      interfaces: PlaneInterfaces;
    },
  ) {
    this.#libs = libs;
    const { egress, log } = parts.options;
    this.#egressCode = { egress, log };
    this.#pins = parts.pins;
    this.#isNew = parts.isNew;
    this.#object = parts.object;
    this.adopted = parts.adopted;
    this.events = parts.events;
    this.eventsByPerf = parts.byPerf;
    this.#interfaces = parts.interfaces;
    this.#ring = parts.byPerf
      ? EventRing.ofPerfBuffer(libs, this.#object.map(PERF_EVENTS), PERF_PAGES)
      : EventRing.ofRingBuffer(libs, this.#object.map("events"));
  }

  /**
   * Loads, adopts or makes the maps, attaches where it can: no interface at all is no error, for
   * one may come. Throws when it can't load, and leaves nothing new.
   */
  static start(libs: Libraries, given: PlaneOptions): XdpPlane {
    const opened = openPlane(libs, given);
    try {
      opened.object.load();
      return XdpPlane.#begin(libs, opened);
    } catch (error) {
      giveUp(opened);
      throw error;
    }
  }

  /** As `start`, with the maps made and the programs verified on another thread. */
  static async startBeside(libs: Libraries, given: PlaneOptions): Promise<XdpPlane> {
    const opened = openPlane(libs, given);
    try {
      await opened.object.loadBeside();
      return XdpPlane.#begin(libs, opened);
    } catch (error) {
      giveUp(opened);
      throw error;
    }
  }

  /** What follows once the object is loaded. */
  static #begin(libs: Libraries, { options, pins, isNew, object, maps }: OpenedPlane): XdpPlane {
    maps?.settle();
    setPorts(object.map("listen_ports"), options.ports, options.relay);
    options.prepare?.(object.map.bind(object));
    const events = new KernelEvents(options.log);
    const interfaces = openInterfaces(libs, pins, { object, events }, options);
    try {
      interfaces.start(performance.now());
      maps?.finish();
      const byPerf = Boolean(options.constants["events_by_perf"]);
      const adopted = maps?.adopted ?? [];
      return new XdpPlane(libs, {
        ...{ pins, isNew, byPerf, events, object, adopted, interfaces, options },
      });
    } catch (error) {
      interfaces.close();
      throw error;
    }
  }

  /**
   * Counts what leaves, too, where that is wanted. Apart from `start`, for to attach the program
   * takes the kernel many milliseconds, and that of an earlier run goes on until then.
   */
  countEgress(): void {
    this.#egress ??= openEgress(this.#libs, this.#object, this.#egressCode);
    if (this.#egress !== undefined) {
      this.#interfaces.setEgress(this.#egress.program(EGRESS_PROGRAM));
    }
  }

  /** A map of the program, good until `close`. */
  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  /** A program of the object, good until `close`. */
  program(name: string): BpfProgram {
    return this.#object.program(name);
  }

  /** Another object, loaded with the maps of this one; the caller's to close, before the plane. */
  beside(code: BpfCode, constants: ProgramSettings["constants"] = {}): BpfObject {
    return openBeside(this.#libs, this.#object, code, constants);
  }

  /** The interfaces as they are now, those without XDP too. */
  interfaces(): InterfaceState[] {
    return this.#interfaces.states();
  }

  /** What packets meet first: "native XDP on eth0, generic XDP on eth1", or "no XDP". */
  get level(): string {
    const attached = this.interfaces().filter(({ mode }) => mode !== undefined);
    if (attached.length === 0) return "no XDP";
    return attached.map(({ mode, interfaceName }) => `${mode} XDP on ${interfaceName}`).join(", ");
  }

  /** Whether it outlives this process. */
  get isPinned(): boolean {
    return this.#pins !== undefined;
  }

  /** How often attachments were lost, made anew and so on. */
  get health(): Readonly<HealthCounters> {
    return this.#interfaces.health;
  }

  /** Sees to the interfaces; to be called several times a second. */
  check(): void {
    this.#interfaces.check(performance.now());
  }

  counters(): Counter[] {
    return countersOf(this.#object.map("stats"));
  }

  /** Of all kinds, since this process began; missed ones since the maps were made. */
  eventCounts(): EventCounts {
    const sums = this.#object.map("event_gate").sums();
    const [fields, at] = [EventGate.size / 8, EventGate.offset.suppressed / 8];
    const missed = Float64Array.from(
      { length: EventKind.count },
      (_, kind) => sums[fields * kind + at]!,
    );
    return this.events.counts(missed);
  }

  /** Takes the kernel's events that have come since the last call; at most a buffer full. */
  drainEvents(): void {
    const used = this.#ring.drain(this.#eventBytes);
    if (used === 0) return;
    const view = new DataView(this.#eventBytes.buffer);
    this.events.beginRound();
    eachRecord(view, used, (offset, length) => {
      // A longer one is of a newer program, and what we know of it stands in front.
      if (length >= Event.size) this.events.take(Event.read(view, offset));
    });
  }

  /** Lets go. Program, maps and attachments go on: `unloadPlane` removes them. */
  close(): void {
    const isOfUse = !this.#isNew || this.level !== "no XDP";
    this.#ring.close();
    this.#interfaces.close();
    this.#egress?.close();
    this.#object.close();
    if (!isOfUse) this.#pins?.remove();
    this.#pins?.unlock();
  }

  /** Ends what `start` began, for a server that does not come up after all. */
  abandon(): void {
    this.close();
    if (this.#isNew && this.#pins !== undefined) unloadPlane(this.#libs, this.#pins);
  }
}

/** A plane whose object is to be loaded. */
interface OpenedPlane {
  readonly options: PlaneOptions;
  /** Nothing: no pins are possible. */
  readonly pins: PinFolder | undefined;
  readonly isNew: boolean;
  readonly object: BpfObject;
  readonly maps: PlaneMaps | undefined;
}

function openPlane(libs: Libraries, given: PlaneOptions): OpenedPlane {
  const options = { ...given, constants: { ...eventConstants(libs), ...given.constants } };
  const folder = new PinFolder(libs, options.pinPath, options.instance);
  const isNew = !folder.exists;
  const pins = usablePins(folder, options.log);
  let object: BpfObject | undefined;
  try {
    object = openProgram(libs, options.code, options);
    sizeRelayMaps(object, options.relay);
    const { layout = layoutHash, log } = options;
    const maps = pins && PlaneMaps.find({ libs, object, pins, layout, log });
    return { options, pins, isNew, object, maps };
  } catch (error) {
    giveUp({ pins, isNew, ...(object === undefined ? {} : { object }) });
    throw error;
  }
}

/** Leaves nothing new behind. */
function giveUp(
  { pins, isNew, object, maps }: Pick<OpenedPlane, "pins" | "isNew"> & Partial<OpenedPlane>,
): void {
  maps?.close();
  object?.close();
  if (isNew) pins?.remove();
  pins?.unlock();
}

/** The folder made and locked; nothing where no pins are possible. */
function usablePins(pins: PinFolder, log: Log): PinFolder | undefined {
  try {
    pins.create();
    return pins;
  } catch (error) {
    if (error instanceof InstanceBusyError) throw error;
    log.warn(
      "pins_unavailable",
      "nothing can be pinned: XDP, sessions and counters end with this process",
      {
        cause: messageOf(error),
      },
    );
    return undefined;
  }
}

/** Nothing where none is wanted, or it does not load: it only counts. */
function openEgress(
  libs: Libraries,
  object: BpfObject,
  { egress, log }: EgressCode,
): BpfObject | undefined {
  if (egress === undefined) return undefined;
  try {
    return openBeside(libs, object, egress, {});
  } catch (error) {
    log.warn("egress_count_failed", "outgoing packets are not counted", {
      cause: messageOf(error),
    });
    return undefined;
  }
}

/** Another object, loaded with the maps of `main`, which is loaded. */
export function openBeside(
  libs: Libraries,
  main: BpfObject,
  code: BpfCode,
  constants: ProgramSettings["constants"],
  verbose = false,
): BpfObject {
  const object = new BpfObject(libs, code.name, code.bytes);
  try {
    for (const [name, value] of Object.entries(constants)) object.setConstant(name, value);
    const shared = new Set(main.shapes().map(({ name }) => name));
    for (const { name } of object.shapes()) {
      if (shared.has(name)) object.reuse(name, main.map(name));
      else if (name === PERF_EVENTS) object.omit(name);
    }
    return object.load({ verbose });
  } catch (error) {
    object.close();
    throw error;
  }
}

/** Perf buffers where the kernel has no ring buffers (before 5.8). */
export function eventConstants(libs: Libraries): ProgramSettings["constants"] {
  return { events_by_perf: probeMapType(libs, BpfMapType.ringbuf).have === false ? 1 : 0 };
}

function openInterfaces(
  libs: Libraries,
  pins: PinFolder | undefined,
  { object, events }: { object: BpfObject; events: KernelEvents },
  { interfaces, mode, constants, log }: PlaneOptions,
): PlaneInterfaces {
  const stats = object.map("stats");
  const isCounting = Number(constants["stats_enabled"] ?? 1) !== 0;
  const counted = () => countersOf(stats).reduce((sum, { packets }) => sum + packets, 0);
  return new PlaneInterfaces({
    libs,
    pins,
    program: object.program(PROGRAM),
    mode,
    configured: interfaces,
    log,
    events,
    counted: () => isCounting ? counted() : undefined,
  });
}

/** Opens the object and sets what can be set, without loading. */
export function openProgram(
  libs: Libraries,
  code: BpfCode,
  { constants, sizes = {} }: ProgramSettings,
): BpfObject {
  if (code.origin !== "embedded") {
    const differences = differencesOf(code);
    if (differences.length > 0) {
      throw new Error(
        `Cannot use ${code.origin} as it was built for another version: ` +
          `${differences.join(", ")}; remove it, or unset ebpf.program_path`,
      );
    }
  }
  const object = new BpfObject(libs, code.name, code.bytes);
  try {
    for (const [name, value] of Object.entries(constants)) object.setConstant(name, value);
    for (const [name, size] of Object.entries(sizes)) object.resize(name, size);
    object.omit(constants["events_by_perf"] ? "events" : PERF_EVENTS);
    if (constants["af_xdp_enabled"] === 0) object.omit("xsks");
    return object;
  } catch (error) {
    object.close();
    throw error;
  }
}

function differencesOf({ origin, bytes }: BpfCode): readonly string[] {
  try {
    return layoutDifferences(readBtf(bytes), layoutHashes);
  } catch (cause) {
    throw new Error(
      `Cannot use ${origin} as it is no BPF object of ours (${messageOf(cause)}); remove it, or ` +
        "unset ebpf.program_path",
      { cause },
    );
  }
}

/** What runs under this instance's pins, whoever started it. Nothing when nothing does. */
export function planeStates(libs: Libraries, pins: PinFolder): PinnedState[] {
  return pins.links().map((interfaceName) => {
    const link = openPinnedLink(libs, pins.link(interfaceName));
    if (link === undefined) return { interfaceName, mode: undefined, programId: 0 };
    const { programId, ifindex } = link.info();
    link.close();
    return { interfaceName, programId, mode: modeOf(libs, ifindex, programId) };
  });
}

/** The counters under this instance's pins; nothing when this version has none there. */
export function pinnedCounters(libs: Libraries, pins: PinFolder): Counter[] | undefined {
  const map = openPinnedMap(libs, `${pins.maps(layoutHash)}/stats`);
  if (map === undefined) return undefined;
  try {
    return countersOf(map);
  } finally {
    map.close();
  }
}

export interface MapUse {
  readonly name: string;
  /** Of hash maps only: others are always full. */
  readonly entries: number | undefined;
  readonly maxEntries: number;
}

/** The maps of this version under this instance's pins. */
export function mapUses(libs: Libraries, pins: PinFolder): MapUse[] {
  const folder = pins.maps(layoutHash);
  return pins.mapNames(layoutHash).filter((name) => name !== TYPES_MAP).map((name) => {
    using map = openPinnedMap(libs, `${folder}/${name}`)!;
    return {
      name,
      entries: isHash(map.info) ? map.count() : undefined,
      maxEntries: map.info.maxEntries,
    };
  });
}

/** Detaches, unpins and so frees all of this instance; the interfaces it was on. */
export function unloadPlane(libs: Libraries, pins: PinFolder): string[] {
  if (!pins.exists) return [];
  pins.lock();
  try {
    const interfaces = pins.links();
    for (const name of interfaces) {
      takeOffEgress(libs, pins, name, libs.native.symbols.ph_ifindex(cString(name)));
      takeOff(libs, pins.link(name));
    }
    pins.remove();
    return interfaces;
  } finally {
    pins.unlock();
  }
}

/** Makes exactly these ports ours, a word (64 ports) at a time. */
function setPorts(
  map: BpfMap,
  ports: readonly number[],
  relay: RelayPlan | undefined,
): void {
  const words = relayBits(relay);
  for (const port of ports) words[port >> 6]!.ports |= 1n << BigInt(port & 63);
  const rows = map.rows(words.length);
  rows.keys.set(new Uint8Array(Uint32Array.from(words.keys()).buffer));
  const view = new DataView(rows.values.buffer);
  words.forEach((word, index) => ListenWord.write(view, index * ListenWord.size, word));
  rows.count = words.length;
  map.setMany(rows);
}

function countersOf(stats: BpfMap): Counter[] {
  const sums = stats.sums();
  const counters: Counter[] = [];
  for (let verdict = 0; verdict < Verdict.count; verdict++) {
    for (let reason = 0; reason < Reason.count; reason++) {
      const at = 2 * (verdict * Reason.count + reason);
      const [packets, bytes] = [sums[at]!, sums[at + 1]!];
      if (packets === 0) continue;
      counters.push({
        verdict: verdictName(verdict),
        reason: reasonName(reason),
        packets,
        bytes,
      });
    }
  }
  return counters;
}

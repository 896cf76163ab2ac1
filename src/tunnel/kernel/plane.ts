/**
 * The XDP program, its maps and its counters, on one or several interfaces; beside it what counts
 * the packets that leave.
 *
 * Maps and attachments are pinned: they go on without this process, and the next one adopts them
 * and swaps the programs. Where nothing can be pinned it works all the same, and ends with this
 * process.
 */

import {
  Event,
  EventGate,
  EventKind,
  layouts,
  type ObjectLayout,
  Reason,
  reasonName,
  Verdict,
  verdictName,
} from "../../../ffi/bpf/layout.gen.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { openPinnedLink } from "../../../ffi/bpf/link.ts";
import type { XdpMode } from "../../../ffi/bpf/xdp_link.ts";
import { type BpfMap, isHash, openPinnedMap } from "../../../ffi/bpf/map.ts";
import type { BpfObject } from "../../../ffi/bpf/object.ts";
import type { BpfProgram } from "../../../ffi/bpf/program.ts";
import { eachRecord, EventRing } from "../../../ffi/bpf/ring.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import {
  type EventCounts,
  EVENTS,
  eventsPart,
  KernelEvents,
  PERF_EVENTS,
} from "../../kernel/events.ts";
import { takeOffLink } from "../../kernel/hook.ts";
import { type HealthCounters, HookedInterfaces } from "../../kernel/hooked_interfaces.ts";
import { LISTEN_PORTS, setPorts } from "../../kernel/listen_ports.ts";
import { TYPES_MAP } from "../../kernel/map_store.ts";
import { ObjectPlane, type ProgramPart } from "../../kernel/object_plane.ts";
import type { PinFolder } from "../../kernel/pins.ts";
import { PortClaim } from "../../kernel/port_claim.ts";
import type { BpfCode } from "../../kernel/resources.ts";
import { takeOffTc, TcHook, type TcPlace } from "../../kernel/tc_hook.ts";
import { unloadInstance } from "../../kernel/unload.ts";
import {
  type InterfaceState,
  modeOf,
  XDP_HOOK,
  XdpHook,
  type XdpView,
} from "../../kernel/xdp_hook.ts";

const PROGRAM = "xdp_phantom";
const EGRESS_PROGRAM = "tc_egress";
const EGRESS: TcPlace = {
  name: "tc_egress",
  direction: "egress",
  // "PH"
  identity: { handle: 0x5048, priority: 0x5048 },
};
const EVENT_BATCH_BYTES = 64 << 10;
/** Of each CPU, where there are no ring buffers. */
const PERF_PAGES = 8;

export interface PlaneOptions {
  /** Of the instance, locked; nothing: all ends with this process. */
  readonly pins: PinFolder | undefined;
  /** Names, also of interfaces that are not there yet; none: that of the default route. */
  readonly interfaces: readonly string[];
  readonly mode: "auto" | XdpMode;
  readonly code: BpfCode;
  /** @default {layouts.xdp_phantom} */
  readonly layout?: ObjectLayout;
  /** The program that counts what leaves. */
  readonly egress?: BpfCode;
  /** What systems bring to the program. */
  readonly parts: readonly ProgramPart[];
  /** Whether verdicts are counted. @default {true} */
  readonly counts?: boolean;
  /** UDP ports that are ours. */
  readonly ports: readonly number[];
  /** Where we listen, 16 bytes; 0.0.0.0 or ::, at all addresses. @default {::} */
  readonly ip?: Uint8Array;
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

export class XdpPlane implements XdpView {
  readonly events: KernelEvents;
  /** Brings what an object beside it needs to send events. */
  readonly eventsPart: ProgramPart;
  readonly #options: PlaneOptions;
  readonly #libs: Libraries;
  readonly #object: ObjectPlane;
  readonly #claim: PortClaim;
  readonly #interfaces: HookedInterfaces;
  readonly #ring: EventRing;
  readonly #eventBytes = new Uint8Array(EVENT_BATCH_BYTES);
  #egress: BpfObject | undefined;

  private constructor(
    libs: Libraries,
    options: PlaneOptions,
    parts: {
      readonly object: ObjectPlane;
      readonly claim: PortClaim;
      readonly events: KernelEvents;
      readonly eventsPart: ProgramPart;
      readonly interfaces: HookedInterfaces;
    },
  ) {
    this.#libs = libs;
    this.#options = options;
    this.#object = parts.object;
    this.#claim = parts.claim;
    this.events = parts.events;
    this.eventsPart = parts.eventsPart;
    this.#interfaces = parts.interfaces;
    this.#ring = this.eventsByPerf
      ? EventRing.ofPerfBuffer(libs, this.#object.map(PERF_EVENTS), PERF_PAGES)
      : EventRing.ofRingBuffer(libs, this.#object.map(EVENTS));
  }

  /**
   * Loads, adopts or makes the maps, attaches where it can: no interface at all is no error, for
   * one may come. Throws when it can't load, and leaves nothing new.
   */
  static start(libs: Libraries, options: PlaneOptions): XdpPlane {
    const part = eventsPart(libs);
    return XdpPlane.#begin(libs, options, part, ObjectPlane.open(objectOf(libs, options, part)));
  }

  /** As `start`, with the maps made and the programs verified on another thread. */
  static async startBeside(libs: Libraries, options: PlaneOptions): Promise<XdpPlane> {
    const part = eventsPart(libs);
    const object = await ObjectPlane.openInBackground(objectOf(libs, options, part));
    return XdpPlane.#begin(libs, options, part, object);
  }

  /** What follows once the object is loaded. */
  static #begin(
    libs: Libraries,
    options: PlaneOptions,
    eventsPart: ProgramPart,
    object: ObjectPlane,
  ): XdpPlane {
    const events = new KernelEvents(options.log);
    const claim = openClaim(libs, options, object);
    const interfaces = openInterfaces(libs, options, object, events);
    try {
      interfaces.start(performance.now());
      object.finish();
      return new XdpPlane(libs, options, { object, claim, events, eventsPart, interfaces });
    } catch (error) {
      interfaces.close();
      claim.letGo();
      claim.close();
      if (object.isNew) removeHooks(libs, options);
      object.abandon();
      throw error;
    }
  }

  /** Maps taken over from an earlier run, by name. */
  get adopted(): readonly string[] {
    return this.#object.adopted;
  }

  /** Whether events come by perf buffer, for want of ring buffers. */
  get eventsByPerf(): boolean {
    return Boolean(this.eventsPart.constants?.["events_by_perf"]);
  }

  /**
   * Counts what leaves, too, where that is wanted. Apart from `start`, for to attach the program
   * takes the kernel many milliseconds, and that of an earlier run goes on until then.
   */
  countEgress(): void {
    if (this.#egress !== undefined) return;
    this.#egress = openEgress(this.#object, this.#options);
    if (this.#egress === undefined) return;
    const hook = new TcHook({
      libs: this.#libs,
      pins: this.#options.pins?.hook(EGRESS.name),
      program: this.#egress.program(EGRESS_PROGRAM),
      place: EGRESS,
      title: "the counter of outgoing packets",
      follows: XDP_HOOK,
    });
    this.#interfaces.add(hook, performance.now());
  }

  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  /** A program of the object, good until `close`. */
  program(name: string): BpfProgram {
    return this.#object.program(name);
  }

  /** Another object, loaded with the maps of this one; the caller's to close, before the plane. */
  beside(code: BpfCode, part: ProgramPart = {}): BpfObject {
    return this.#object.beside(code, part);
  }

  interfaces(): InterfaceState[] {
    return this.#interfaces.states(XDP_HOOK)
      .map(({ level, ...state }) => ({ ...state, mode: level as XdpMode | undefined }));
  }

  get level(): string {
    const attached = this.interfaces().filter(({ mode }) => mode !== undefined);
    if (attached.length === 0) return "no XDP";
    return attached.map(({ mode, interfaceName }) => `${mode} XDP on ${interfaceName}`).join(", ");
  }

  /** Whether it outlives this process. */
  get isPinned(): boolean {
    return this.#options.pins !== undefined;
  }

  /** How often attachments were lost, made anew and so on. */
  get health(): Readonly<HealthCounters> {
    return this.#interfaces.health;
  }

  /** Sees to the interfaces and addresses; to be called several times a second. */
  check(): void {
    this.#claim.check();
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

  /** The program goes on with our ports for a grace from now, until another process takes over. */
  keepPorts(): void {
    this.#claim.renew();
  }

  /** The program lets all packets pass from now on. */
  letGoOfPorts(): void {
    this.#claim.letGo();
  }

  /** Lets go. Program, maps and attachments go on: `unloadPlane` removes them. */
  close(): void {
    const isOfUse = !this.#object.isNew || this.level !== "no XDP";
    this.#claim.close();
    this.#ring.close();
    this.#interfaces.close();
    this.#egress?.close();
    if (isOfUse) this.#object.close();
    else this.#object.abandon();
  }

  /** Ends what `start` began, for a server that does not come up after all. */
  abandon(): void {
    this.letGoOfPorts();
    this.close();
    if (!this.#object.isNew) return;
    removeHooks(this.#libs, this.#options);
    this.#object.abandon();
  }
}

function objectOf(libs: Libraries, options: PlaneOptions, events: ProgramPart) {
  const { code, layout = layouts[PROGRAM], pins, counts = true, ports, log } = options;
  const own: ProgramPart = {
    constants: { stats_enabled: counts ? 1 : 0 },
    prepare: (map) => setPorts(map(LISTEN_PORTS), { ports }),
  };
  return { libs, code, layout, pins, log, parts: [events, own, ...options.parts] };
}

/** Before the program meets its first packet. */
function openClaim(libs: Libraries, { ip, log }: PlaneOptions, object: ObjectPlane): PortClaim {
  const map = (name: string) => object.map(name);
  return new PortClaim({ libs, map, ip: ip ?? new Uint8Array(16), log });
}

function openInterfaces(
  libs: Libraries,
  { pins, interfaces, mode, counts = true, log }: PlaneOptions,
  object: ObjectPlane,
  events: KernelEvents,
): HookedInterfaces {
  const stats = object.map("stats");
  const counted = () => countersOf(stats).reduce((sum, { packets }) => sum + packets, 0);
  const hook = new XdpHook({
    libs,
    pins: pins?.hook(XDP_HOOK),
    program: object.program(PROGRAM),
    mode,
    ...(counts ? { counted } : {}),
  });
  return new HookedInterfaces({ libs, hooks: [hook], configured: interfaces, log, events });
}

/** Takes off what was attached. */
function removeHooks(libs: Libraries, { pins }: PlaneOptions): void {
  if (pins === undefined) return;
  const [xdp, egress] = [pins.hook(XDP_HOOK), pins.hook(EGRESS.name)];
  for (const name of egress.interfaces()) takeOffTc(libs, egress, EGRESS, name);
  for (const name of xdp.interfaces()) takeOffLink(libs, xdp.path(name));
  for (const hook of [xdp, egress]) hook.remove();
}

/** Nothing where none is wanted, or it does not load: it only counts. */
function openEgress(
  object: ObjectPlane,
  { egress, log }: PlaneOptions,
): BpfObject | undefined {
  if (egress === undefined) return undefined;
  try {
    return object.beside(egress);
  } catch (error) {
    const cause = messageOf(error);
    log.warn("egress_count_failed", "outgoing packets are not counted", { cause });
    return undefined;
  }
}

/** The maps of this version under an instance's pins. */
export function planeMapsFolder(pins: PinFolder): string {
  return pins.object(PROGRAM).maps(layouts[PROGRAM].hash);
}

/** What runs under this instance's pins, whoever started it. Nothing when nothing does. */
export function planeStates(libs: Libraries, pins: PinFolder): PinnedState[] {
  const hook = pins.hook(XDP_HOOK);
  return hook.interfaces().map((interfaceName) => {
    const link = openPinnedLink(libs, hook.path(interfaceName));
    if (link === undefined) return { interfaceName, mode: undefined, programId: 0 };
    const { programId, ifindex } = link.info();
    link.close();
    return { interfaceName, programId, mode: modeOf(libs, ifindex, programId) };
  });
}

/** The counters under this instance's pins; nothing when this version has none there. */
export function pinnedCounters(libs: Libraries, pins: PinFolder): Counter[] | undefined {
  const map = openPinnedMap(libs, `${planeMapsFolder(pins)}/stats`);
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
  const folder = planeMapsFolder(pins);
  return pins.object(PROGRAM).mapNames(layouts[PROGRAM].hash).filter((name) => name !== TYPES_MAP)
    .map(
      (name) => {
        using map = openPinnedMap(libs, `${folder}/${name}`)!;
        return {
          name,
          entries: isHash(map.info) ? map.count() : undefined,
          maxEntries: map.info.maxEntries,
        };
      },
    );
}

/** Detaches, unpins and so frees all of this instance; the interfaces it was on. */
export function unloadPlane(libs: Libraries, pins: PinFolder): string[] {
  return unloadInstance(libs, pins, [EGRESS]);
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

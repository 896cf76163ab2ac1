/**
 * The XDP program on an interface, its maps and its counters.
 *
 * Maps and the attachment are pinned (pins.ts): they go on without this process, and the next one
 * adopts them and swaps the program in one step.
 */

import { readBtf } from "../../ffi/btf.ts";
import { SysError } from "../../ffi/errors.ts";
import {
  Event,
  layoutHash,
  layoutHashes,
  ListenWord,
  Reason,
  reasonName,
  Verdict,
  verdictName,
} from "../../ffi/layout.gen.ts";
import { layoutDifferences } from "../../ffi/layout_hash.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { attachXdp, type BpfLink, openPinnedLink, queryXdp, type XdpMode } from "../../ffi/link.ts";
import { BpfMap, type MapShape, openPinnedMap } from "../../ffi/map.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/object.ts";
import type { BpfProgram } from "../../ffi/program.ts";
import { eachRecord, EventRing } from "../../ffi/ring.ts";
import type { Log } from "../base/log.ts";
import { relayBits, type RelayPlan, sizeRelayMaps } from "../relay/kernel_relay.ts";
import { PinFolder } from "./pins.ts";
import type { BpfCode } from "./resources.ts";

const PROGRAM = "xdp_phantom";
const EVENT_BATCH_BYTES = 64 << 10;

export interface PlaneOptions {
  readonly pinPath: string;
  readonly instance: string;
  readonly interfaceName: string;
  readonly mode: "auto" | XdpMode;
  readonly code: BpfCode;
  readonly stats: boolean;
  /** UDP ports that are ours. */
  readonly ports: readonly number[];
  /** What the relay does, where it is configured. */
  readonly relay?: RelayPlan;
  readonly log: Log;
}

export interface Counter {
  readonly verdict: string;
  readonly reason: string;
  readonly packets: number;
  readonly bytes: number;
}

export interface PlaneState {
  readonly interfaceName: string;
  /** Nothing: the interface is gone, or somebody took the program off it. */
  readonly mode: XdpMode | undefined;
  readonly programId: number;
}

/** Another XDP program is on the interface; it is never replaced. */
export class ForeignProgramError extends Error {
  override readonly name = "ForeignProgramError";
}

export class XdpPlane {
  readonly interfaceName: string;
  readonly ifindex: number;
  readonly mode: XdpMode;
  /** Maps taken over from an earlier run, by name. */
  readonly adopted: readonly string[];
  /** Whether the attachment of an earlier run went on, with its program swapped. */
  readonly swapped: boolean;
  readonly #libs: Libraries;
  readonly #pins: PinFolder;
  /** Whether nothing was there before. */
  readonly #isNew: boolean;
  readonly #object: BpfObject;
  readonly #link: BpfLink;
  readonly #ring: EventRing;
  readonly #eventBytes = new Uint8Array(EVENT_BATCH_BYTES);

  private constructor(
    parts: { pins: PinFolder; object: BpfObject; adopted: readonly string[]; isNew: boolean },
    interfaceName: string,
    attached: Attached,
  ) {
    const { libs } = attached;
    this.#libs = libs;
    this.#isNew = parts.isNew;
    this.interfaceName = interfaceName;
    this.ifindex = attached.ifindex;
    this.mode = attached.mode;
    this.adopted = parts.adopted;
    this.swapped = attached.swapped;
    this.#pins = parts.pins;
    this.#object = parts.object;
    this.#link = attached.link;
    this.#ring = EventRing.ofRingBuffer(libs, this.#object.map("events"));
  }

  /** Loads, adopts or makes the maps, attaches. Throws when it can't, and leaves nothing new. */
  static start(libs: Libraries, options: PlaneOptions): XdpPlane {
    const ifindex = interfaceIndex(libs, options.interfaceName);
    const pins = new PinFolder(libs, options.pinPath, options.instance);
    const isNew = !pins.exists;
    pins.create();
    let object: BpfObject | undefined;
    let attached: Attached | undefined;
    try {
      object = openProgram(libs, options.code, options.stats);
      sizeRelayMaps(object, options.relay);
      const adopted = loadWithPins(libs, object, pins, options.log);
      setPorts(object.map("listen_ports"), options.ports, options.relay);
      const program = object.program(PROGRAM);
      attached = attach(libs, pins, program, ifindex, options);
      removeLeftovers(libs, pins, options);
      return new XdpPlane({ pins, object, adopted, isNew }, options.interfaceName, attached);
    } catch (error) {
      attached?.link.close();
      object?.close();
      if (isNew) pins.remove();
      pins.unlock();
      throw error;
    }
  }

  /** Ends what `start` began, for a server that does not come up after all. */
  abandon(): void {
    this.close();
    if (this.#isNew) unloadPlane(this.#libs, this.#pins);
  }

  /** A map of the program; good until `close`. */
  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  counters(): Counter[] {
    return countersOf(this.#object.map("stats"));
  }

  /** Hands over the events that have come since the last call; at most a buffer full. */
  drainEvents(visit: (event: Event) => void): void {
    const used = this.#ring.drain(this.#eventBytes);
    if (used === 0) return;
    const view = new DataView(this.#eventBytes.buffer);
    eachRecord(view, used, (offset, length) => {
      // A longer one is of a newer program, and what we know of it stands in front.
      if (length >= Event.size) visit(Event.read(view, offset));
    });
  }

  /** Lets go. Program, maps and attachment go on: `unloadPlane` removes them. */
  close(): void {
    this.#ring.close();
    this.#link.close();
    this.#object.close();
    this.#pins.unlock();
  }
}

/** Opens the object and sets its constants, without loading. */
export function openProgram(libs: Libraries, code: BpfCode, stats: boolean): BpfObject {
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
    object.setConstant("stats_enabled", stats ? 1 : 0);
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What runs under this instance's pins, whoever started it. Nothing when nothing does. */
export function planeStates(libs: Libraries, pins: PinFolder): PlaneState[] {
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

/** Detaches, unpins and so frees all of this instance; the interfaces it was on. */
export function unloadPlane(libs: Libraries, pins: PinFolder): string[] {
  if (!pins.exists) return [];
  pins.lock();
  try {
    const interfaces = pins.links();
    for (const name of interfaces) takeOff(libs, pins.link(name));
    pins.remove();
    return interfaces;
  } finally {
    pins.unlock();
  }
}

function interfaceIndex(libs: Libraries, name: string): number {
  const index = libs.native.symbols.ph_ifindex(cString(name));
  if (index > 0) return index;
  throw new SysError(`find interface ${name}`, -index, "`ip link` lists what there is");
}

/** Loads with every pinned map that still fits, and pins the others; the names adopted. */
function loadWithPins(
  libs: Libraries,
  object: BpfObject,
  pins: PinFolder,
  log: Log,
): string[] {
  const folder = pins.maps(layoutHash, true);
  const adopted = new Map<string, BpfMap>();
  const shapes = object.shapes();
  try {
    for (const shape of shapes) {
      const path = `${folder}/${shape.name}`;
      const map = openPinnedMap(libs, path);
      if (map === undefined) continue;
      if (isOfShape(map, shape)) {
        object.reuse(shape.name, map);
        adopted.set(shape.name, map);
        continue;
      }
      log.warn("a pinned map has another size and is made anew", { map: shape.name });
      map.close();
      Deno.removeSync(path);
    }
    object.load();
  } finally {
    for (const map of adopted.values()) map.close();
  }
  for (const { name } of shapes) {
    if (!adopted.has(name)) object.map(name).pin(`${folder}/${name}`);
  }
  return [...adopted.keys()];
}

function isOfShape({ info }: BpfMap, shape: MapShape): boolean {
  return info.type === shape.type && info.keySize === shape.keySize &&
    info.valueSize === shape.valueSize && info.maxEntries === shape.maxEntries &&
    info.flags === (shape.flags ?? 0);
}

/** What earlier runs left: maps of other layouts, attachments to interfaces not wanted any more. */
function removeLeftovers(
  libs: Libraries,
  pins: PinFolder,
  { interfaceName, log }: PlaneOptions,
): void {
  for (const layout of pins.layouts()) {
    if (layout === layoutHash) continue;
    log.info("maps of another version are removed", { layout });
    pins.removeMaps(layout);
  }
  for (const other of pins.links()) {
    if (other === interfaceName) continue;
    log.info("XDP taken off an interface of an earlier run", { interface: other });
    takeOff(libs, pins.link(other));
  }
}

/** Detached and not only unpinned: another process may hold a descriptor. */
function takeOff(libs: Libraries, path: string): void {
  const link = openPinnedLink(libs, path);
  if (link === undefined) return;
  link.detach();
  link.close();
  Deno.removeSync(path);
}

interface Attached {
  readonly libs: Libraries;
  readonly ifindex: number;
  readonly link: BpfLink;
  readonly mode: XdpMode;
  readonly swapped: boolean;
}

function attach(
  libs: Libraries,
  pins: PinFolder,
  program: BpfProgram,
  ifindex: number,
  options: PlaneOptions,
): Attached {
  const { interfaceName, mode, log } = options;
  const path = pins.link(interfaceName, true);
  const earlier = openPinnedLink(libs, path);
  if (earlier !== undefined) {
    const { ifindex: current, programId } = earlier.info();
    const running = current === ifindex ? modeOf(libs, ifindex, programId) : undefined;
    if (running !== undefined && (mode === "auto" || mode === running)) {
      earlier.update(program);
      return { libs, ifindex, link: earlier, mode: running, swapped: true };
    }
    // The interface was made anew, the program was taken off, or another mode is wanted now.
    earlier.close();
    takeOff(libs, path);
  }
  const wanted: XdpMode[] = mode === "auto" ? ["native", "generic"] : [mode];
  for (const [index, next] of wanted.entries()) {
    try {
      const link = attachPinned(libs, program, ifindex, { mode: next, path });
      return { libs, ifindex, link, mode: next, swapped: false };
    } catch (error) {
      refuseForeign(libs, ifindex, interfaceName, error);
      if (index === wanted.length - 1 || !(error instanceof SysError)) throw error;
      const cause = error.message;
      log.warn("native XDP does not work here, trying generic XDP", { interfaceName, cause });
    }
  }
  throw new Error(`Cannot attach to ${interfaceName} as no mode is left to try`);
}

function attachPinned(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  { mode, path }: { mode: XdpMode; path: string },
): BpfLink {
  const link = attachXdp(libs, program, ifindex, mode);
  try {
    link.pin(path);
    return link;
  } catch (error) {
    link.close();
    throw error;
  }
}

function refuseForeign(
  libs: Libraries,
  ifindex: number,
  interfaceName: string,
  error: unknown,
): void {
  const isTaken = error instanceof SysError && (error.code === "EBUSY" || error.code === "EEXIST");
  if (!isTaken) return;
  const { native, generic, offloaded } = queryXdp(libs, ifindex);
  const id = native || generic || offloaded;
  throw new ForeignProgramError(
    `Cannot attach to ${interfaceName} as another XDP program is there (id ${id}): ` +
      `\`bpftool prog show id ${id}\` tells whose it is; take it off, or set ebpf.interface`,
    { cause: error },
  );
}

/** How a program is attached to an interface; nothing when it is not. */
function modeOf(libs: Libraries, ifindex: number, programId: number): XdpMode | undefined {
  if (ifindex === 0) return undefined;
  const { native, generic } = queryXdp(libs, ifindex);
  if (native === programId) return "native";
  return generic === programId ? "generic" : undefined;
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

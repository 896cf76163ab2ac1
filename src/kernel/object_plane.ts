/**
 * A BPF object whose maps outlive this process: opened with what its systems bring to it, loaded,
 * its maps adopted from an earlier run, migrated from another version's, or made anew and pinned.
 * Several objects may share the pins of one instance, which are locked once.
 */

import { readBtf } from "../../ffi/bpf/btf.ts";
import type { ObjectLayout } from "../../ffi/bpf/layout.gen.ts";
import { layoutDifferences } from "../../ffi/bpf/layout_hash.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { MapStore } from "./map_store.ts";
import type { ObjectPins, PinFolder } from "./pins.ts";
import type { BpfCode } from "./resources.ts";

/** What a system brings to an object that it is a part of. */
export interface ProgramPart {
  /** Values of `const volatile` integers: the verifier removes what they turn off. */
  readonly constants?: Readonly<Record<string, number | bigint>>;
  /** Entries of maps, where not as the object declares them. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Maps that its constants keep the programs from. */
  readonly omit?: readonly string[];
  /** Fills maps before the program meets its first packet. */
  prepare?(map: (name: string) => BpfMap): void;
}

/** Sets what a part brings, before the object is loaded. */
export function bringPart(
  object: BpfObject,
  { constants = {}, sizes = {}, omit = [] }: ProgramPart,
): void {
  for (const [name, value] of Object.entries(constants)) object.setConstant(name, value);
  for (const [name, size] of Object.entries(sizes)) object.resize(name, size);
  for (const name of omit) object.omit(name);
}

export interface ObjectOptions {
  readonly libs: Libraries;
  readonly code: BpfCode;
  /** What this build knows of the object. */
  readonly layout: ObjectLayout;
  readonly parts: readonly ProgramPart[];
  /** Of the instance, locked; nothing: the maps end with this process. */
  readonly pins?: PinFolder | undefined;
  readonly log: Log;
  /** Keeps the verifier's output: see `verifierLogs`. */
  readonly verbose?: boolean;
}

export class ObjectPlane {
  /** Maps taken over from an earlier run, by name. */
  readonly adopted: readonly string[];
  /** Whether nothing was pinned of it before. */
  readonly isNew: boolean;
  readonly #options: ObjectOptions;
  readonly #object: BpfObject;
  readonly #pins: ObjectPins | undefined;
  readonly #maps: MapStore | undefined;

  private constructor(options: ObjectOptions, { object, maps, isNew }: Opened) {
    this.#options = options;
    this.#object = object;
    this.#pins = options.pins?.object(options.code.name);
    this.#maps = maps;
    this.isNew = isNew;
    this.adopted = maps?.adopted ?? [];
    try {
      maps?.settle();
      for (const part of options.parts) part.prepare?.((name) => object.map(name));
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Throws when it can't be loaded, and leaves nothing new. */
  static open(options: ObjectOptions): ObjectPlane {
    const opened = openObject(options);
    try {
      opened.object.load({ verbose: options.verbose ?? false });
    } catch (error) {
      giveUp(options, opened);
      throw error;
    }
    return new ObjectPlane(options, opened);
  }

  /** As `open`, with the maps made and the programs verified on another thread. */
  static async openInBackground(options: ObjectOptions): Promise<ObjectPlane> {
    const opened = openObject(options);
    try {
      await opened.object.loadBeside();
    } catch (error) {
      giveUp(options, opened);
      throw error;
    }
    return new ObjectPlane(options, opened);
  }

  /** Once the new programs run: takes over what came into old maps meanwhile, and drops them. */
  finish(): void {
    this.#maps?.finish();
  }

  /** A map, good until `close`. */
  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  /** A program, good until `close`. */
  program(name: string): BpfProgram {
    return this.#object.program(name);
  }

  /**
   * Another object, loaded with the maps of this one as far as both have them; the caller's to
   * close, before this one.
   */
  beside(
    code: BpfCode,
    { constants = {} }: ProgramPart = {},
    verbose = false,
  ): BpfObject {
    const object = new BpfObject(this.#options.libs, code.name, code.bytes);
    try {
      for (const [name, value] of Object.entries(constants)) object.setConstant(name, value);
      const shared = new Set(this.#object.shapes().map(({ name }) => name));
      const omitted = new Set(this.#options.parts.flatMap(({ omit = [] }) => omit));
      for (const { name } of object.shapes()) {
        if (shared.has(name)) object.reuse(name, this.map(name));
        else if (omitted.has(name)) object.omit(name);
      }
      return object.load({ verbose });
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** The verifier's output by program, after a verbose start. */
  verifierLogs(): Map<string, string> {
    return this.#object.verifierLogs();
  }

  /** Lets go. Pinned maps go on. */
  close(): void {
    this.#maps?.close();
    this.#object.close();
  }

  /** Ends what `open` began; what it found goes on. */
  abandon(): void {
    this.close();
    if (this.isNew) this.#pins?.remove();
  }
}

/** An object that is to be loaded. */
interface Opened {
  readonly object: BpfObject;
  /** Nothing: no pins are possible. */
  readonly maps: MapStore | undefined;
  readonly isNew: boolean;
}

function openObject(options: ObjectOptions): Opened {
  const { libs, code, layout, log } = options;
  const pins = options.pins?.object(code.name);
  const isNew = pins === undefined || pins.layouts().length === 0;
  assertOfThisVersion(code, layout);
  const object = new BpfObject(libs, code.name, code.bytes);
  try {
    for (const part of options.parts) bringPart(object, part);
    const maps = pins && MapStore.find({ libs, object, pins, layout: layout.hash, log });
    return { object, maps, isNew };
  } catch (error) {
    giveUp(options, { object, isNew });
    throw error;
  }
}

/** Leaves nothing new behind. */
function giveUp(
  { pins, code }: ObjectOptions,
  { object, maps, isNew }: Omit<Opened, "maps"> & Partial<Opened>,
): void {
  maps?.close();
  object.close();
  if (isNew) pins?.object(code.name).remove();
}

/** Throws when a program from a file was built for another version. */
function assertOfThisVersion(code: BpfCode, { hashes }: ObjectLayout): void {
  if (code.origin === "embedded") return;
  const differences = differencesOf(code, hashes);
  if (differences.length === 0) return;
  throw new Error(
    `Cannot use ${code.origin} as it was built for another version: ` +
      `${differences.join(", ")}; remove it, or unset ebpf.program_path`,
  );
}

function differencesOf(
  { origin, bytes }: BpfCode,
  hashes: ObjectLayout["hashes"],
): readonly string[] {
  try {
    return layoutDifferences(readBtf(bytes), hashes);
  } catch (cause) {
    const text = messageOf(cause);
    throw new Error(
      `Cannot use ${origin} as it is no BPF object of ours (${text}); remove it, or ` +
        "unset ebpf.program_path",
      { cause },
    );
  }
}

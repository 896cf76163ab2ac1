/**
 * The maps of a program, each adopted from an earlier run, migrated from one of another layout or
 * size, or made anew.
 *
 * Beside the maps lies one with the types (BTF) of all of them: what a later version needs to read
 * them. (The kernel tells them too, but only to holders of CAP_SYS_ADMIN.)
 */

import { type Btf, parseBtf } from "../../ffi/bpf/btf.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { BpfMap, createMap, isHash, type MapShape, openPinnedMap } from "../../ffi/bpf/map.ts";
import type { BpfObject } from "../../ffi/bpf/object.ts";
import type { Log } from "../base/log.ts";
import {
  copyEntries,
  type CopyPlan,
  isSameLayout,
  mapTypesOf,
  planCopy,
  wholeCopy,
} from "./map_migration.ts";
import type { ObjectPins } from "./pins.ts";

/** The map with the types. No map of a program is called so. */
export const TYPES_MAP = "ph_types";
/** A pinned map that a new one of another size replaces, until its entries have moved. */
const OLD = "-old";
const BPF_F_RDONLY_PROG = 1 << 7;

export interface MapsOptions {
  readonly libs: Libraries;
  readonly object: BpfObject;
  readonly pins: ObjectPins;
  /** Hash of the object's layout. */
  readonly layout: string;
  readonly log: Log;
}

/** An earlier map whose entries are to move. */
interface Source {
  readonly name: string;
  readonly map: BpfMap;
  readonly plan: CopyPlan;
  /** Entries that were there when they moved. */
  seen: number;
}

export class MapStore {
  /** Names of those that an earlier run left, as they are. */
  readonly adopted: string[] = [];
  readonly #options: MapsOptions;
  readonly #folder: string;
  readonly #shapes: readonly MapShape[];
  readonly #sources: Source[] = [];
  readonly #reused: BpfMap[] = [];
  #types: Btf | undefined;

  private constructor(options: MapsOptions) {
    this.#options = options;
    this.#folder = options.pins.maps(options.layout, true);
    this.#shapes = options.object.shapes();
  }

  /** Finds every map that the object, which is not loaded yet, can have. */
  static find(options: MapsOptions): MapStore {
    const maps = new MapStore(options);
    try {
      for (const shape of maps.#shapes) maps.#find(shape);
      return maps;
    } catch (error) {
      maps.close();
      throw error;
    }
  }

  /** Once the object is loaded: pins the maps that are new, and moves entries into them. */
  settle(): void {
    this.#pin();
    this.#move();
  }

  /** Once the new program runs: takes over what came into old maps meanwhile, and drops them. */
  finish(): void {
    const { pins, layout, log } = this.#options;
    this.#moveLate();
    this.close();
    for (const name of pins.mapNames(layout)) {
      if (name.endsWith(OLD)) Deno.removeSync(`${this.#folder}/${name}`);
    }
    for (const other of pins.layouts()) {
      if (other === layout) continue;
      log.info("maps_removed", "maps of another version are removed", { layout: other });
      pins.removeMaps(other);
    }
  }

  /** Looks for the map as it is wanted, else for one to take the entries from. */
  #find(shape: MapShape): void {
    const { libs, object, pins, layout, log } = this.#options;
    const path = `${this.#folder}/${shape.name}`;
    const map = openPinnedMap(libs, path);
    if (map === undefined) {
      for (const other of pins.layouts()) {
        if (other !== layout && this.#findElsewhere(shape, other)) break;
      }
    } else if (isOfShape(map, shape)) {
      object.reuse(shape.name, map);
      this.#reused.push(map);
      this.adopted.push(shape.name);
    } else {
      log.warn("map_resized", "a pinned map has another size and is made anew", {
        map: shape.name,
        before: map.info.maxEntries,
        now: shape.maxEntries,
      });
      this.#replace(shape, map, path);
    }
    // Of a start that did not get to its end.
    const older = openPinnedMap(libs, `${path}${OLD}`);
    if (
      older !== undefined && !this.#sources.some(({ map: { info } }) => info.id === older.info.id)
    ) {
      this.#takeFrom(shape, older, wholeCopy(older));
    } else older?.close();
  }

  /** The program that runs now goes on with the old map until it is swapped. */
  #replace(shape: MapShape, map: BpfMap, path: string): void {
    const isMovable = isHash(map.info) && isHash(shape) &&
      map.info.keySize === shape.keySize && map.info.valueSize === shape.valueSize;
    if (!isMovable) {
      map.close();
      Deno.removeSync(path);
      return;
    }
    Deno.renameSync(path, `${path}${OLD}`);
    this.#takeFrom(shape, map, wholeCopy(map));
  }

  /** Whether a map of another layout is taken as it is: nothing in its own types has changed. */
  #findElsewhere(shape: MapShape, layout: string): boolean {
    const { libs, object, pins, log } = this.#options;
    if (!isHash(shape)) return false;
    const folder = pins.maps(layout);
    const map = openPinnedMap(libs, `${folder}/${shape.name}`);
    if (map === undefined) return false;
    const before = typesIn(libs, folder, shape.name);
    const now = mapTypesOf(this.#ownTypes(), shape.name);
    if (before === undefined || now === undefined || !isHash(map.info)) {
      map.close();
      return false;
    }
    if (isOfShape(map, shape) && isSameLayout(before, now)) {
      object.reuse(shape.name, map);
      this.#reused.push(map);
      map.pin(`${this.#folder}/${shape.name}`);
      this.adopted.push(shape.name);
      return true;
    }
    const plan = planCopy(before, now);
    if (plan === undefined) {
      log.warn("map_not_migrated", "a map of another version can't be read and starts empty", {
        map: shape.name,
      });
      map.close();
    } else this.#takeFrom(shape, map, plan);
    return false;
  }

  #takeFrom({ name }: MapShape, map: BpfMap, plan: CopyPlan): void {
    this.#sources.push({ name, map, plan, seen: 0 });
  }

  #ownTypes(): Btf {
    return this.#types ??= parseBtf(this.#options.object.btfBytes());
  }

  #pin(): void {
    const { libs, object } = this.#options;
    for (const { name } of this.#shapes) {
      if (!this.adopted.includes(name)) object.map(name).pin(`${this.#folder}/${name}`);
    }
    const path = `${this.#folder}/${TYPES_MAP}`;
    const known = openPinnedMap(libs, path);
    if (known !== undefined) return known.close();
    const bytes = object.btfBytes();
    const shape = { name: TYPES_MAP, type: BpfMapType.array, keySize: 4, maxEntries: 1 };
    using map = createMap(libs, { ...shape, valueSize: bytes.length });
    map.set(new Uint8Array(4), bytes);
    map.pin(path);
  }

  #move(): void {
    const { object, log } = this.#options;
    for (const source of this.#sources) {
      const map = source.name;
      const { entries, lost } = copyEntries(source.map, object.map(map), source.plan);
      if (lost > 0) {
        log.warn(
          "map_migrated_partly",
          "a map of another version is taken over, not all entries had room",
          { map, entries, lost },
        );
      } else if (entries > 0) {
        log.info("map_migrated", "a map of another version is taken over", { map, entries });
      }
      source.seen += entries + lost;
    }
  }

  #moveLate(): void {
    const { object, log } = this.#options;
    for (const { name, map, plan, seen } of this.#sources) {
      const target = object.map(name);
      // It would only push others out.
      if (seen >= target.info.maxEntries) continue;
      const { entries } = copyEntries(map, target, plan);
      if (entries > 0) {
        log.info("map_migrated_late", "entries of a map of another version are taken over late", {
          map: name,
          entries,
        });
      }
    }
  }

  /** Lets go of what was found, when the start ends early. */
  close(): void {
    for (const { map } of this.#sources) map.close();
    for (const map of this.#reused) map.close();
    this.#sources.length = 0;
    this.#reused.length = 0;
  }
}

/** Types of a map as its own version pinned them; nothing for versions that did not. */
function typesIn(libs: Libraries, folder: string, name: string) {
  using map = openPinnedMap(libs, `${folder}/${TYPES_MAP}`);
  const bytes = map?.get(new Uint8Array(4));
  return bytes === undefined ? undefined : mapTypesOf(parseBtf(bytes), name);
}

function isOfShape({ info }: BpfMap, shape: MapShape): boolean {
  return info.type === shape.type && info.keySize === shape.keySize &&
    info.valueSize === shape.valueSize && info.maxEntries === shape.maxEntries &&
    (info.flags & ~addedFlags(info.type)) === (shape.flags ?? 0);
}

/** Flags that the kernel adds by itself: to it, programs may only read maps of devices. */
function addedFlags(type: number): number {
  const isOfDevices = type === BpfMapType.devmap || type === BpfMapType.devmapHash;
  return isOfDevices ? BPF_F_RDONLY_PROG : 0;
}

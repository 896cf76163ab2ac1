/**
 * Reads the map definitions of a BPF object: the variables of its `.maps` section, whose types
 * carry numbers as array lengths (`__uint(max_entries, 1024)`) and types as pointers.
 *
 * @module
 */

import { type Btf, BtfError, type BtfMember } from "../ffi/bpf/btf.ts";
import { fieldTypeOf, structModelOf } from "../ffi/bpf/layout_model.ts";

/** By number, see `enum bpf_map_type`; the kernel only ever appends. A test compares them. */
export const MAP_TYPES: readonly string[] = [
  "unspec",
  "hash",
  "array",
  "prog_array",
  "perf_event_array",
  "percpu_hash",
  "percpu_array",
  "stack_trace",
  "cgroup_array",
  "lru_hash",
  "lru_percpu_hash",
  "lpm_trie",
  "array_of_maps",
  "hash_of_maps",
  "devmap",
  "sockmap",
  "cpumap",
  "xskmap",
  "sockhash",
  "cgroup_storage",
  "reuseport_sockarray",
  "percpu_cgroup_storage",
  "queue",
  "stack",
  "sk_storage",
  "devmap_hash",
  "struct_ops",
  "ringbuf",
  "inode_storage",
  "task_storage",
  "bloom_filter",
  "user_ringbuf",
  "cgrp_storage",
  "arena",
];

export interface MapDefinition {
  readonly name: string;
  readonly type: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Type id of the key; undefined where the map has none or only its size is given. */
  readonly key: number | undefined;
  readonly value: number | undefined;
}

/** The maps of one object, in the order of their names. */
export function mapsOf(btf: Btf): readonly MapDefinition[] {
  const maps: MapDefinition[] = [];
  for (const { type } of btf.find("datasec", ".maps")?.entries ?? []) {
    const variable = btf.type(type);
    if (variable.kind !== "var") throw new BtfError(".maps holds something that is no variable");
    maps.push(mapOf(btf, variable.name, variable.type));
  }
  return maps.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** A place of a map key that no field covers. The kernel hashes it, so it must be written. */
export interface KeyHole {
  readonly type: string;
  readonly offset: number;
  readonly size: number;
}

/** The holes of a type and of the structs within it, each with the struct it is in. */
export function holesWithin(btf: Btf, id: number): readonly KeyHole[] {
  const holes: KeyHole[] = [];
  const queue = [id];
  const seen = new Set<number>();
  for (const next of queue) {
    const type = fieldTypeOf(btf, next);
    if (type.kind !== "struct" && type.kind !== "structs" && type.kind !== "inline") continue;
    if (seen.has(type.id)) continue;
    seen.add(type.id);
    const model = structModelOf(btf, type.id);
    for (const hole of model.holes) holes.push({ type: btf.describe(type.id), ...hole });
    for (const field of model.fields) {
      if ("id" in field.type) queue.push(field.type.id);
    }
  }
  return holes;
}

function mapOf(btf: Btf, name: string, typeId: number): MapDefinition {
  const definition = btf.resolve(typeId);
  if (definition.kind !== "struct") throw new BtfError(`Map ${name} is not defined by a struct`);
  const members = new Map(definition.members.map((member) => [member.name, member]));
  const number = (member: string): number => numberOf(btf, name, members.get(member));
  const key = pointeeOf(btf, members.get("key"));
  const value = pointeeOf(btf, members.get("value"));
  // Maps of maps and program arrays give `values`; what they hold is a file descriptor.
  const plainValueSize = members.has("values") ? 4 : number("value_size");
  const typeNumber = number("type");
  const type = MAP_TYPES[typeNumber];
  if (type === undefined) throw new BtfError(`Map ${name} has the unknown type ${typeNumber}`);
  return {
    name,
    type,
    keySize: key === undefined ? number("key_size") : btf.sizeOf(key),
    valueSize: value === undefined ? plainValueSize : btf.sizeOf(value),
    maxEntries: number("max_entries"),
    flags: number("map_flags"),
    key,
    value,
  };
}

/** `int (*x)[N]` → N, 0 where the member is absent. */
function numberOf(btf: Btf, map: string, member: BtfMember | undefined): number {
  if (member === undefined) return 0;
  const pointer = btf.resolve(member.type);
  const array = pointer.kind === "ptr" ? btf.resolve(pointer.type) : pointer;
  if (array.kind !== "array") {
    throw new BtfError(`Map ${map} does not give ${member.name} by __uint()`);
  }
  return array.length;
}

function pointeeOf(btf: Btf, member: BtfMember | undefined): number | undefined {
  if (member === undefined) return undefined;
  const pointer = btf.resolve(member.type);
  return pointer.kind === "ptr" ? pointer.type : undefined;
}

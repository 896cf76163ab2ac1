/**
 * Moves the entries of a map into one of another layout or size: field by field, by the types (BTF)
 * of both. What only the new one knows is zero. Keys must have the very same fields, or entries
 * would fall together.
 */

import { type Btf, type BtfOfKind } from "../../ffi/bpf/btf.ts";
import { closureTextOf } from "../../ffi/bpf/layout_hash.ts";
import {
  type Field,
  fieldTypeOf,
  type StructModel,
  structModelOf,
} from "../../ffi/bpf/layout_model.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";

/** Bytes that go from one place to another. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly size: number;
}

export interface CopyPlan {
  readonly key: readonly Move[];
  readonly value: readonly Move[];
}

/** Types of a map's key and value. */
export interface MapTypes {
  readonly btf: Btf;
  readonly keyType: number;
  readonly valueType: number;
}

export interface Copied {
  readonly entries: number;
  /** For want of room. */
  readonly lost: number;
}

/** As `__type(key, …)` and `__type(value, …)` declare them; nothing where they don't. */
export function mapTypesOf(btf: Btf, name: string): MapTypes | undefined {
  const variable = btf.find("var", name);
  const declared = variable === undefined ? undefined : btf.resolve(variable.type);
  if (declared?.kind !== "struct") return undefined;
  const key = pointee(btf, declared, "key");
  const value = pointee(btf, declared, "value");
  if (key === undefined || value === undefined) return undefined;
  return { btf, keyType: key, valueType: value };
}

function pointee(btf: Btf, declared: BtfOfKind<"struct" | "union">, name: string) {
  const member = declared.members.find((one) => one.name === name);
  const type = member === undefined ? undefined : btf.resolve(member.type);
  return type?.kind === "ptr" ? type.type : undefined;
}

/** Entries of both mean the same as they are. */
export function isSameLayout(one: MapTypes, other: MapTypes): boolean {
  return textOf(one.btf, one.keyType) === textOf(other.btf, other.keyType) &&
    textOf(one.btf, one.valueType) === textOf(other.btf, other.valueType);
}

/** How to copy; nothing when it can't be done without loss of meaning. */
export function planCopy(from: MapTypes, to: MapTypes): CopyPlan | undefined {
  const key = planFields(from.btf, from.keyType, to.btf, to.keyType);
  const value = planFields(from.btf, from.valueType, to.btf, to.valueType);
  if (key === undefined || value === undefined) return undefined;
  if (!key.isWhole || value.moves.length === 0) return undefined;
  return { key: key.moves, value: value.moves };
}

function planFields(
  fromBtf: Btf,
  fromId: number,
  toBtf: Btf,
  toId: number,
): { moves: Move[]; isWhole: boolean } | undefined {
  const [from, to] = [structOf(fromBtf, fromId), structOf(toBtf, toId)];
  if (from === undefined || to === undefined) {
    if (textOf(fromBtf, fromId) !== textOf(toBtf, toId)) return undefined;
    return { moves: [{ from: 0, to: 0, size: toBtf.sizeOf(toId) }], isWhole: true };
  }
  const moves: Move[] = [];
  for (const field of to.fields) {
    const source = from.fields.find(({ name }) => name === field.name);
    if (source === undefined || field.name === "") continue;
    if (fieldText(fromBtf, source) !== fieldText(toBtf, field)) continue;
    moves.push({ from: source.offset, to: field.offset, size: field.size });
  }
  const isWhole = [from, to].every(({ fields }) => fields.length === moves.length);
  return { moves, isWhole };
}

function structOf(btf: Btf, id: number): StructModel | undefined {
  const type = btf.resolve(id);
  return type.kind === "struct" ? structModelOf(btf, type.id) : undefined;
}

function textOf(btf: Btf, id: number): string {
  const struct = structOf(btf, id);
  if (struct !== undefined) return closureTextOf(btf, struct);
  return `${JSON.stringify(fieldTypeOf(btf, id))} of ${btf.sizeOf(id)}`;
}

/** A field's type without ids, which differ from object to object. */
function fieldText(btf: Btf, { type, size }: Field): string {
  if (type.kind === "struct" || type.kind === "structs" || type.kind === "inline") {
    return `${type.kind} of ${size}: ${closureTextOf(btf, structModelOf(btf, type.id))}`;
  }
  return `${JSON.stringify(type)} of ${size}`;
}

/** The plan for maps of one layout. */
export function wholeCopy(map: BpfMap): CopyPlan {
  const whole = (size: number): Move[] => [{ from: 0, to: 0, size }];
  return { key: whole(map.info.keySize), value: whole(map.info.valueSize) };
}

/** Copies what the target does not have yet. */
export function copyEntries(
  from: Pick<BpfMap, "info" | "slotSize" | "cpus" | "batches">,
  to: Pick<BpfMap, "info" | "slotSize" | "cpus" | "add">,
  plan: CopyPlan,
): Copied {
  const key = new Uint8Array(to.info.keySize);
  const value = new Uint8Array(to.slotSize);
  const [fromStride, toStride] = [from.slotSize / from.cpus, to.slotSize / to.cpus];
  let entries = 0;
  let lost = 0;
  for (const rows of from.batches()) {
    for (let row = 0; row < rows.count; row++) {
      move(plan.key, rows.keys, row * from.info.keySize, key, 0);
      for (let cpu = 0; cpu < to.cpus; cpu++) {
        const at = row * from.slotSize + cpu * fromStride;
        move(plan.value, rows.values, at, value, cpu * toStride);
      }
      const outcome = to.add(key, value);
      if (outcome === "added") entries++;
      if (outcome === "full") lost++;
    }
  }
  return { entries, lost };
}

function move(
  moves: readonly Move[],
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
): void {
  for (const one of moves) {
    const start = fromAt + one.from;
    to.set(from.subarray(start, start + one.size), toAt + one.to);
  }
}

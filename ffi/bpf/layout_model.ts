/**
 * What user space needs to know of a C struct or enum, drawn out of BTF: the offsets and plain
 * types of its fields, the bytes no field covers, the values of its enumerators. The generator
 * writes TypeScript from it (tools/layout_gen.ts), the hash is made of it (layout_hash.ts).
 *
 * @module
 */

import { type Btf, BtfError, type BtfMember, type BtfType } from "./btf.ts";

/** C files linked together may each bring a type; more than this is no program of ours. */
const DEFINITIONS_MAX = 16;

/** A number in memory: how wide, of which sign, in which byte order. */
export type Scalar =
  | "u8"
  | "u16"
  | "u32"
  | "u64"
  | "s8"
  | "s16"
  | "s32"
  | "s64"
  | "be16"
  | "be32"
  | "be64";

export type FieldType =
  | { readonly kind: "scalar"; readonly scalar: Scalar }
  /** An array of `__u8` or `char`. */
  | { readonly kind: "bytes"; readonly length: number }
  | { readonly kind: "list"; readonly scalar: Scalar; readonly length: number }
  | { readonly kind: "struct"; readonly id: number; readonly name: string }
  | {
    readonly kind: "structs";
    readonly id: number;
    readonly name: string;
    readonly length: number;
  }
  /** A struct without a name, or a union with or without one. */
  | { readonly kind: "inline"; readonly id: number; readonly union: boolean }
  | { readonly kind: "pointer" }
  | { readonly kind: "bitfield"; readonly bitOffset: number; readonly bits: number }
  | { readonly kind: "other"; readonly what: string };

export interface Field {
  /** Empty for an anonymous struct or union. */
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly type: FieldType;
}

export interface Hole {
  readonly offset: number;
  readonly size: number;
}

export interface StructModel {
  readonly kind: "struct";
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
  /** Bytes that belong to no field, at its end or between two. */
  readonly holes: readonly Hole[];
}

export interface EnumModel {
  readonly kind: "enum";
  readonly name: string;
  readonly size: number;
  readonly values: readonly { readonly name: string; readonly value: bigint }[];
}

export type LayoutModel = StructModel | EnumModel;

/**
 * The models of all structs and enums of this name. More than one only where C files disagree;
 * none where the name is absent or only declared.
 */
export function modelsOf(btf: Btf, name: string): readonly LayoutModel[] {
  const types = btf.named(name);
  if (types.length > DEFINITIONS_MAX) {
    throw new BtfError(`Cannot lay out ${name} as it has more than ${DEFINITIONS_MAX} definitions`);
  }
  const models: LayoutModel[] = [];
  for (const type of types) {
    if (type.kind === "struct") models.push(structModelOf(btf, type.id));
    if ((type.kind === "enum" || type.kind === "enum64") && type.values.length > 0) {
      models.push({ kind: "enum", name, size: type.size, values: type.values });
    }
  }
  return models;
}

/** The model of one struct or union; a union's fields overlap and it has no holes. */
export function structModelOf(btf: Btf, id: number): StructModel {
  const type = btf.resolve(id);
  if (type.kind !== "struct" && type.kind !== "union") {
    throw new BtfError(`Cannot lay out ${btf.describe(id)} as it is not a struct`);
  }
  const fields = type.members.map((member) => fieldOf(btf, type.name, member));
  for (const field of fields) {
    if (field.offset + field.size > type.size) {
      throw new BtfError(`Cannot lay out ${type.name}.${field.name} as it ends behind the struct`);
    }
  }
  const holes = type.kind === "union" ? [] : holesOf(fields, type.size);
  return { kind: "struct", name: type.name, size: type.size, fields, holes };
}

/** What a member, a map's key or an array's element is. */
export function fieldTypeOf(btf: Btf, id: number): FieldType {
  const type = btf.resolve(id);
  if (type.kind === "array") return arrayTypeOf(btf, type.type, type.length);
  const scalar = scalarOf(btf, id);
  if (scalar !== undefined) return { kind: "scalar", scalar };
  switch (type.kind) {
    case "ptr":
      return { kind: "pointer" };
    case "union":
      return { kind: "inline", id: type.id, union: true };
    case "struct":
      if (type.name === "") return { kind: "inline", id: type.id, union: false };
      return { kind: "struct", id: type.id, name: type.name };
    default:
      return { kind: "other", what: btf.describe(id) };
  }
}

/** The scalar's size in bytes. */
export function scalarBytes(scalar: Scalar): number {
  return Number(scalar.replace(/^\D+/, "")) / 8;
}

function fieldOf(btf: Btf, owner: string, member: BtfMember): Field {
  const { name, bitOffset } = member;
  const target = btf.resolve(member.type);
  const isNarrow = target.kind === "int" && target.bits !== target.size * 8 && !target.bool;
  if (member.bitSize > 0 || isNarrow) {
    const bits = member.bitSize > 0 ? member.bitSize : (target.kind === "int" ? target.bits : 0);
    const offset = Math.floor(bitOffset / 8);
    const size = Math.ceil((bitOffset + bits) / 8) - offset;
    return { name, offset, size, type: { kind: "bitfield", bitOffset, bits } };
  }
  if (bitOffset % 8 !== 0) {
    throw new BtfError(`Cannot lay out ${owner}.${name} as it starts inside a byte`);
  }
  const size = btf.sizeOf(member.type);
  return { name, offset: bitOffset / 8, size, type: fieldTypeOf(btf, member.type) };
}

function arrayTypeOf(btf: Btf, elementId: number, length: number): FieldType {
  const element = fieldTypeOfElement(btf, elementId);
  if (element.kind === "scalar") {
    if (element.scalar === "u8" || isChar(btf.resolve(elementId))) return { kind: "bytes", length };
    return { kind: "list", scalar: element.scalar, length };
  }
  if (element.kind === "struct") {
    return { kind: "structs", id: element.id, name: element.name, length };
  }
  return { kind: "other", what: `${btf.describe(elementId)}[${length}]` };
}

/** Arrays of arrays are not followed: no struct here has one, and it keeps this from recursing. */
function fieldTypeOfElement(btf: Btf, id: number): FieldType {
  if (btf.resolve(id).kind === "array") return { kind: "other", what: btf.describe(id) };
  return fieldTypeOf(btf, id);
}

function scalarOf(btf: Btf, id: number): Scalar | undefined {
  const chain = btf.chain(id);
  const type = chain.at(-1);
  if (type === undefined) return undefined;
  if (type.kind === "enum" || type.kind === "enum64") {
    return asScalar(`${type.signed ? "s" : "u"}${type.size * 8}`);
  }
  if (type.kind !== "int") return undefined;
  const bits = type.size * 8;
  // The typedef is all that tells network order: the integer below it is the same.
  if (chain.some((alias) => alias.kind === "typedef" && alias.name === `__be${bits}`)) {
    return asScalar(`be${bits}`);
  }
  return asScalar(`${type.signed ? "s" : "u"}${bits}`);
}

const SCALARS: readonly Scalar[] = [
  "u8",
  "u16",
  "u32",
  "u64",
  "s8",
  "s16",
  "s32",
  "s64",
  "be16",
  "be32",
  "be64",
];

function asScalar(text: string): Scalar | undefined {
  return SCALARS.find((scalar) => scalar === text);
}

/** `char`, whose sign differs between targets; `signed char` is a number. */
function isChar(type: BtfType): boolean {
  return type.kind === "int" && type.size === 1 && (type.name === "char" || type.char);
}

function holesOf(fields: readonly Field[], size: number): Hole[] {
  const holes: Hole[] = [];
  let covered = 0;
  for (const field of fields.toSorted((a, b) => a.offset - b.offset)) {
    if (field.offset > covered) holes.push({ offset: covered, size: field.offset - covered });
    covered = Math.max(covered, field.offset + field.size);
  }
  if (covered < size) holes.push({ offset: covered, size: size - covered });
  return holes;
}

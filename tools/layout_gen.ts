/**
 * Makes TypeScript out of BTF: the text of ffi/bpf/layout.gen.ts (what our BPF programs share with
 * user space, under strict rules) and of ffi/bpf/libbpf.gen.ts (structs of libbpf and the kernel,
 * taken as they are). Pure: BTF and names in, text out; tools/layout.ts is the command.
 *
 * @module
 */

import type { Btf } from "../ffi/bpf/btf.ts";
import { combineHashes, layoutHashOf } from "../ffi/bpf/layout_hash.ts";
import {
  type EnumModel,
  type Field,
  fieldTypeOf,
  type Hole,
  type LayoutModel,
  modelsOf,
  type StructModel,
  structModelOf,
} from "../ffi/bpf/layout_model.ts";
import {
  camelCase,
  emitEnum,
  emitImports,
  emitStruct,
  type EnumText,
  pascalCase,
  type Slot,
  type SlotType,
  type StructText,
} from "./layout_emit.ts";
import { holesWithin, type MapDefinition, mapsOf } from "./layout_maps.ts";

const CONTRACT_PREFIX = "ph_";
const PAD_NAME = /^_*pad(ding)?[0-9_]*$/;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Above this an enumerator of an old compiler may be a negative one: BTF does not tell. */
const ENUM_VALUE_MAX = 0x7fff_ffffn;
/** How deep structs and unions without a name of their own are followed. */
const INLINE_DEPTH_MAX = 8;
/** Names that the generated file needs for itself. */
const RESERVED = ["Array", "DataView", "Partial", "Readonly", "Record", "String", "Uint8Array"];

/** Why no text was made: every problem that was found, one a line. */
export class LayoutError extends Error {
  override name = "LayoutError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** The BTF of one object, with the path by which messages call it. */
export interface Source {
  readonly name: string;
  readonly btf: Btf;
}

/** What every generated file begins with, see {@linkcode emitFile}. */
export interface FileNotes {
  /** What the file was made from. */
  readonly origin: string;
  /** The command that makes it again. */
  readonly command: string;
  /** Enums whose values have names for people. Limits, for one, have none. @default {[]} */
  readonly named?: readonly string[];
}

/** The structs and enums that a header defines, in its order: those that must be in the BTF. */
export function contractNamesOf(header: string): readonly string[] {
  const names: string[] = [];
  const definition = /\b(?:struct|union|enum)\s+(?:__attribute__\s*\(\(.*?\)\)\s*)?(ph_\w+)\s*\{/g;
  for (const [, name] of withoutComments(header).matchAll(definition)) {
    if (name !== undefined && !names.includes(name)) names.push(name);
  }
  return names;
}

/** The names that a C file of anchors states by `ANCHOR(struct x)` or `ANCHOR(enum x)`. */
export function anchoredNamesOf(source: string): readonly string[] {
  const anchors = withoutComments(source).matchAll(/^ANCHOR\((?:struct|enum)\s+(\w+)\)/gm);
  return [...anchors].map(([, name]) => name ?? "");
}

/** The text of ffi/bpf/layout.gen.ts; throws {@linkcode LayoutError} with all that is wrong. */
export function generateContract(
  sources: readonly Source[],
  names: readonly string[],
  notes: FileNotes,
): string {
  const problems = names.length > 0 ? [] : [`${notes.origin} defines no ${CONTRACT_PREFIX}… type`];
  const owners = new Map<string, Source>();
  for (const name of names) {
    const owner = ownerOf(name, sources, problems);
    if (owner !== undefined) owners.set(name, owner);
  }
  const sections: string[] = [];
  for (const [name, { btf }] of owners) {
    const [model] = modelsOf(btf, name);
    if (model !== undefined) {
      sections.push(emitContractModel(btf, model, { names, notes, problems }));
    }
  }
  problems.push(...namedProblems(notes, [...owners.keys()]));
  sections.push(emitMaps(sources, names, problems));
  problems.push(...nameProblems(names.map((name) => contractTypeName(name))));
  if (problems.length > 0) throw new LayoutError(problems);
  sections.push(emitLayouts(sources, names));
  return emitFile(sections, notes);
}

/**
 * The text of ffi/bpf/libbpf.gen.ts: C names kept, pointers as addresses, holes allowed, bit fields
 * left out, members of unions only by their offsets.
 */
export function generateForeign(btf: Btf, names: readonly string[], notes: FileNotes): string {
  const problems: string[] = [];
  const sections: string[] = [];
  for (const name of names) {
    const [model] = modelsOf(btf, name);
    if (model === undefined) problems.push(missingProblem(name, [{ name: "the anchors", btf }]));
    else if (model.kind === "enum") {
      sections.push(emitEnum(foreignEnum(model), isNamed(notes, name)));
    } else sections.push(emitStruct(foreignStruct(btf, model, names, problems)));
  }
  problems.push(...nameProblems(names.map(pascalCase)), ...namedProblems(notes, names));
  if (problems.length > 0) throw new LayoutError(problems);
  return emitFile(sections, notes);
}

function emitFile(sections: readonly string[], { origin, command }: FileNotes): string {
  const body = sections.join("\n");
  const head = `// Generated from ${origin}. Do not edit; make it again with:\n//   ${command}\n\n`;
  return head + emitImports(body) + body;
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, " ").replace(/\/\/.*$/gm, " ");
}

/** The first source that has the type; all that have it must agree. */
function ownerOf(
  name: string,
  sources: readonly Source[],
  problems: string[],
): Source | undefined {
  const owners = sources.filter(({ btf }) => modelsOf(btf, name).length > 0);
  const [first] = owners;
  if (first === undefined) {
    problems.push(missingProblem(name, sources));
    return undefined;
  }
  for (const other of owners.slice(1)) {
    if (layoutHashOf(other.btf, [name]) !== layoutHashOf(first.btf, [name])) {
      problems.push(`${name} differs between ${first.name} and ${other.name}: compile both again`);
    }
  }
  return first;
}

function missingProblem(name: string, sources: readonly Source[]): string {
  const kinds = sources.flatMap(({ btf }) => btf.named(name).map(({ kind }) => kind));
  if (kinds.includes("union")) return `${name} is a union: make it a struct for each form`;
  const why = kinds.length > 0 ? "is only declared, being reached through pointers" : "is missing";
  const where = sources.map((source) => source.name).join(", ");
  return `${name} ${why} in the BTF of ${where}: anchor it in a global variable of that type`;
}

function isNamed({ named = [] }: FileNotes, name: string): boolean {
  return named.includes(name);
}

function namedProblems({ named = [] }: FileNotes, names: readonly string[]): string[] {
  const unknown = named.filter((name) => !names.includes(name));
  return unknown.map((name) => `${name} is to have names, but is none of the types`);
}

interface ContractContext {
  readonly names: readonly string[];
  readonly notes: FileNotes;
  readonly problems: string[];
}

function emitContractModel(
  btf: Btf,
  model: LayoutModel,
  { names, notes, problems }: ContractContext,
): string {
  if (model.kind === "enum") {
    return emitEnum(contractEnum(model, problems), isNamed(notes, model.name));
  }
  return emitStruct(contractStruct(btf, model, names, problems));
}

function contractStruct(
  btf: Btf,
  model: StructModel,
  names: readonly string[],
  problems: string[],
): StructText {
  const { name: cName, size } = model;
  const pads = model.fields.filter(({ name }) => PAD_NAME.test(name));
  const slots: Slot[] = [];
  for (const field of model.fields) {
    if (pads.includes(field)) continue;
    const slot = contractSlot(btf, cName, field, names);
    if (typeof slot === "string") problems.push(slot);
    else slots.push(slot);
  }
  for (const hole of model.holes) {
    problems.push(`${cName} has ${describeHole(hole)}: add an explicit pad field`);
  }
  if (slots.length === 0) problems.push(`${cName} has no field that can be read`);
  problems.push(...keyProblems(cName, slots.map(({ key }) => key)));
  const tsName = contractTypeName(cName);
  return { cName, tsName, size, slots, pads, skipped: [], partial: false };
}

function describeHole({ offset, size }: Hole): string {
  return `${size} unnamed ${size === 1 ? "byte" : "bytes"} at ${offset}`;
}

/** The slot, or what is wrong with the field. */
function contractSlot(
  btf: Btf,
  owner: string,
  field: Field,
  names: readonly string[],
): Slot | string {
  const place = `${owner}.${field.name || `(anonymous at ${field.offset})`}`;
  const { type } = field;
  switch (type.kind) {
    case "inline":
      return type.union
        ? `${place} is a union: make it bytes of a fixed length, or a struct for each form`
        : `${place} is a struct without a name: name it ${CONTRACT_PREFIX}… and define it apart`;
    case "pointer":
      return `${place} is a pointer, which means nothing in user space: make it a __u64 or an id`;
    case "bitfield":
      return `${place} is a bit field: make it a __u32 of flags with an enum for its bits`;
    case "other":
      return `${place} is ${type.what}, which has no counterpart: use __u8 to __u64 or one array`;
    case "struct":
    case "structs":
      if (!names.includes(type.name)) {
        return `${place} is struct ${type.name}: define that in the header as ${CONTRACT_PREFIX}…`;
      }
      return slotOf(camelCase(field.name), field.offset, codecType(btf, type, contractTypeName));
    default:
      return slotOf(camelCase(field.name), field.offset, type);
  }
}

function slotOf(key: string, offset: number, type: SlotType): Slot {
  return { key, offset, type };
}

function codecType(
  btf: Btf,
  type: Extract<Field["type"], { kind: "struct" | "structs" }>,
  typeName: (name: string) => string,
): SlotType {
  const codec = typeName(type.name);
  if (type.kind === "struct") return { kind: "struct", codec };
  return { kind: "structs", codec, length: type.length, stride: btf.sizeOf(type.id) };
}

function contractEnum(model: EnumModel, problems: string[]): EnumText {
  const prefix = `${model.name.toUpperCase()}_`;
  const values: EnumText["values"][number][] = [];
  for (const { name, value } of model.values) {
    const label = name.slice(prefix.length).toLowerCase();
    if (!name.startsWith(prefix) || !/^[a-z]/.test(label)) {
      problems.push(`${model.name}: ${name} must be named ${prefix}… with a letter after that`);
    }
    if (value < 0n || value > ENUM_VALUE_MAX) {
      problems.push(`${model.name}: ${name} must be within 0 to ${ENUM_VALUE_MAX}: is ${value}`);
    }
    values.push({ key: camelCase(label), label, value });
  }
  problems.push(...keyProblems(model.name, values.map(({ key }) => key)));
  return { cName: model.name, tsName: contractTypeName(model.name), values };
}

function contractTypeName(cName: string): string {
  return pascalCase(cName.slice(CONTRACT_PREFIX.length));
}

/** Two C names may become one in TypeScript (`a_b` and `aB`), or none at all. */
function keyProblems(owner: string, keys: readonly string[]): string[] {
  return keys.flatMap((key, index) => {
    if (!IDENTIFIER.test(key)) return [`${owner}: "${key}" is no name in TypeScript`];
    return keys.indexOf(key) < index ? [`${owner} has two members that become ${key}`] : [];
  });
}

function nameProblems(names: readonly string[]): string[] {
  const reserved = names.filter((name) => RESERVED.includes(name));
  return [
    ...keyProblems("the generated file", names),
    ...reserved.map((name) => `${name} is a name that the generated file needs: choose another`),
  ];
}

function foreignStruct(
  btf: Btf,
  model: StructModel,
  names: readonly string[],
  problems: string[],
): StructText {
  const slots: Slot[] = [];
  const skipped: string[] = [];
  for (const field of flattenForeign(btf, model.fields, { path: "", base: 0, depth: 0 })) {
    if (PAD_NAME.test(field.name)) continue;
    const key = camelCase(field.name);
    const type = field.isUnion ? undefined : foreignType(btf, field, names);
    if (type !== undefined) {
      slots.push({ key, offset: field.offset, type });
    } else if (field.type.kind === "bitfield") {
      skipped.push(`${field.name} (bit field)`);
    } else {
      slots.push({ key, offset: field.offset, type: { kind: "offset" } });
    }
  }
  problems.push(...keyProblems(model.name, slots.map(({ key }) => key)));
  const tsName = pascalCase(model.name);
  return { cName: model.name, tsName, size: model.size, slots, pads: [], skipped, partial: true };
}

interface Position {
  readonly path: string;
  readonly base: number;
  readonly depth: number;
}

type FlatField = Field & { readonly isUnion: boolean };

/** The fields of structs and unions inside too, each named by its path. */
function flattenForeign(btf: Btf, fields: readonly Field[], position: Position): FlatField[] {
  return fields.flatMap((field) => {
    const name = [position.path, field.name].filter((part) => part !== "").join("_");
    const offset = position.base + field.offset;
    if (field.type.kind !== "inline" || position.depth === INLINE_DEPTH_MAX) {
      return [{ ...field, name, offset, isUnion: false }];
    }
    const inner = { path: name, base: offset, depth: position.depth + 1 };
    const flat = flattenForeign(btf, structModelOf(btf, field.type.id).fields, inner);
    return field.type.union ? flat.map((member) => ({ ...member, isUnion: true })) : flat;
  });
}

function foreignType(btf: Btf, { type }: Field, names: readonly string[]): SlotType | undefined {
  switch (type.kind) {
    case "pointer":
      return { kind: "scalar", scalar: "u64" };
    case "struct":
    case "structs":
      return names.includes(type.name) ? codecType(btf, type, pascalCase) : undefined;
    case "scalar":
    case "bytes":
    case "list":
      return type;
    default:
      return undefined;
  }
}

/** Foreign enums need not repeat their own name: strip what all their enumerators begin with. */
function foreignEnum(model: EnumModel): EnumText {
  // How many there are is no value, and another number with each version of the headers.
  const counted = model.values.filter(({ name }) => !/^(__)?MAX_|^__/.test(name));
  const prefix = commonPrefix(counted.map(({ name }) => name));
  const values = counted.map(({ name, value }) => {
    const label = name.slice(prefix.length).toLowerCase();
    return { key: camelCase(label), label, value };
  });
  return { cName: model.name, tsName: pascalCase(model.name), values };
}

/** The longest beginning that ends with an underscore and leaves a letter everywhere. */
function commonPrefix(names: readonly string[]): string {
  const [first = ""] = names;
  const parts = first.split("_");
  for (let count = parts.length - 1; count > 0; count--) {
    const prefix = `${parts.slice(0, count).join("_")}_`;
    const fits = (name: string) =>
      name.startsWith(prefix) && /^[A-Za-z]/.test(name.slice(prefix.length));
    if (names.every(fits)) return prefix;
  }
  return "";
}

function emitMaps(
  sources: readonly Source[],
  names: readonly string[],
  problems: string[],
): string {
  const texts = new Map<string, string>();
  for (const { name: sourceName, btf } of sources) {
    for (const map of mapsOf(btf)) {
      const text = emitMap(btf, map, names, problems);
      const known = texts.get(map.name);
      if (known !== undefined && known !== text) {
        problems.push(`map ${map.name} is defined in another way in ${sourceName}`);
      }
      texts.set(map.name, text);
    }
  }
  problems.push(...keyProblems("the section .maps", [...texts.keys()]));
  const entries = [...texts].toSorted().map(([name, text]) => `  ${name}: ${text},\n`).join("");
  return `/** The maps of our BPF objects. A key or value is a layout above, a scalar or bytes. */
export const maps = {
${entries}} as const;

export type MapName = keyof typeof maps;
`;
}

function emitMap(
  btf: Btf,
  map: MapDefinition,
  names: readonly string[],
  problems: string[],
): string {
  for (const hole of map.key === undefined ? [] : holesWithin(btf, map.key)) {
    problems.push(
      `map ${map.name}: key ${hole.type} has ${describeHole(hole)}: ` +
        "add an explicit pad field, the kernel compares all bytes of a key",
    );
  }
  return `{
    type: "${map.type}",
    keySize: ${map.keySize},
    valueSize: ${map.valueSize},
    maxEntries: ${map.maxEntries},
    flags: ${map.flags},
    key: ${mapTypeName(btf, map.key, names)},
    value: ${mapTypeName(btf, map.value, names)},
  }`;
}

function mapTypeName(btf: Btf, id: number | undefined, names: readonly string[]): string {
  if (id === undefined) return "null";
  const type = fieldTypeOf(btf, id);
  if (type.kind === "scalar") return `"${type.scalar}"`;
  if (type.kind !== "struct" || !names.includes(type.name)) return '"bytes"';
  return `"${contractTypeName(type.name)}"`;
}

/**
 * An object's layout is what of the contract its BTF has: another object's types are no part of
 * it, and may change while its maps stay.
 */
function emitLayouts(sources: readonly Source[], names: readonly string[]): string {
  const objects = sources.map(({ name, btf }): [string, Record<string, string>] => {
    const own = names.filter((type) => modelsOf(btf, type).length > 0);
    const hashes = own.map((type) => [type, layoutHashOf(btf, [type])] as const);
    return [objectNameOf(name), Object.fromEntries(hashes)];
  });
  const texts = objects.map(([object, hashes]) => {
    const lines = Object.entries(hashes).map(([name, hash]) => `      ${name}: "${hash}",\n`);
    return `  ${object}: {
    hash: "${combineHashes(hashes)}",
    hashes: {
${lines.join("")}    },
  },
`;
  });
  return `/** Our BPF objects. */
export type ObjectName = ${objects.map(([object]) => `"${object}"`).join(" | ")};

/** Which of the layouts above an object has. */
export interface ObjectLayout {
  /** layoutHashOf() all of them. */
  readonly hash: string;
  /** That of each, by its C name: see layoutDifferences() in layout_hash.ts. */
  readonly hashes: Readonly<Record<string, string>>;
}

export const layouts: Readonly<Record<ObjectName, ObjectLayout>> = {
${texts.join("")}};
`;
}

function objectNameOf(path: string): string {
  return path.replace(/^.*\//, "").replace(/\.o$/, "");
}

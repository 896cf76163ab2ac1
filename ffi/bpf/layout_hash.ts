/**
 * A fingerprint of the layouts that BPF programs and user space share.
 *
 * The generated file carries the one of the object it was made from; the runtime computes that of
 * an object it is told to load and refuses a different one, because reading its maps with our
 * offsets would give numbers that look right and are not. Against mistakes, not against malice.
 *
 * @module
 */

import { type Btf, BtfError } from "./btf.ts";
import {
  type Field,
  type LayoutModel,
  modelsOf,
  type StructModel,
  structModelOf,
} from "./layout_model.ts";

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;

/** Hash of the named structs and enums; throws {@linkcode BtfError} when one is missing. */
export function layoutHashOf(btf: Btf, names: readonly string[]): string {
  return combineHashes(
    Object.fromEntries(names.map((name) => [name, fnv1a64(canonicalTextOf(btf, name))])),
  );
}

/** The hash of several layouts out of the hash of each; their order does not matter. */
export function combineHashes(hashes: Readonly<Record<string, string>>): string {
  const lines = Object.entries(hashes).map(([name, hash]) => `${name} ${hash}`);
  const [only] = Object.values(hashes);
  return only !== undefined && lines.length === 1 ? only : fnv1a64(lines.toSorted().join("\n"));
}

/**
 * What differs between an object and the layouts this program was built with: the names whose
 * hash is another one, and those the object does not have.
 */
export function layoutDifferences(
  btf: Btf,
  expected: Readonly<Record<string, string>>,
): readonly string[] {
  const differences: string[] = [];
  for (const [name, hash] of Object.entries(expected)) {
    if (modelsOf(btf, name).length === 0) differences.push(`${name} is missing`);
    else if (layoutHashOf(btf, [name]) !== hash) differences.push(`${name} differs`);
  }
  return differences;
}

/** FNV-1a, 64 bits, as 16 hex digits. */
function fnv1a64(text: string): string {
  let hash = FNV_OFFSET;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * FNV_PRIME);
  }
  return hash.toString(16).padStart(16, "0");
}

/**
 * One line a field or value, including those of structs inside, in an order that does not depend
 * on the compiler. Nested structs are queued and not recursed into, each once.
 */
function canonicalTextOf(btf: Btf, name: string): string {
  const models = modelsOf(btf, name);
  const texts = new Set(models.map((model) => closureTextOf(btf, model)));
  const [text] = texts;
  if (text === undefined) throw new BtfError(`Cannot hash ${name} as it is not in the BTF`);
  if (texts.size > 1) throw new BtfError(`Cannot hash ${name} as the BTF defines it differently`);
  return text;
}

/** The layout of a struct and all inside it as text: equal texts, equal layouts. */
export function closureTextOf(btf: Btf, model: LayoutModel): string {
  if (model.kind === "enum") return enumTextOf(model);
  const seen = new Set<number>();
  const queue: StructModel[] = [model];
  const texts: string[] = [];
  for (const next of queue) {
    texts.push(structTextOf(next));
    for (const { type } of next.fields) {
      if (type.kind !== "struct" && type.kind !== "structs" && type.kind !== "inline") continue;
      if (seen.has(type.id)) continue;
      seen.add(type.id);
      queue.push(structModelOf(btf, type.id));
    }
  }
  return texts.join("\n");
}

function structTextOf(model: StructModel): string {
  const fields = model.fields.map((field) => `${field.name}@${field.offset} ${fieldText(field)}`);
  return [`struct ${model.name} ${model.size}`, ...fields].join("\n");
}

function enumTextOf(model: LayoutModel & { kind: "enum" }): string {
  const values = model.values.map(({ name, value }) => `${name}=${value}`).toSorted();
  return [`enum ${model.name} ${model.size}`, ...values].join("\n");
}

function fieldText({ type, size }: Field): string {
  switch (type.kind) {
    case "scalar":
      return type.scalar;
    case "bytes":
      return `u8[${type.length}]`;
    case "list":
      return `${type.scalar}[${type.length}]`;
    case "struct":
      return `struct ${type.name}`;
    case "structs":
      return `struct ${type.name}[${type.length}]`;
    case "inline":
      return `${type.union ? "union" : "struct"} of ${size}`;
    case "pointer":
      return "pointer";
    case "bitfield":
      return `bits ${type.bitOffset}+${type.bits}`;
    case "other":
      return `${type.what} of ${size}`;
  }
}

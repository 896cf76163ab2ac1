/**
 * Writes the TypeScript of layouts: an interface and a codec for a struct, a constant and a name
 * function for an enum. Knows nothing of BTF; what may appear was decided before.
 *
 * @module
 */

import { type Scalar, scalarBytes } from "../ffi/bpf/layout_model.ts";

export type SlotType =
  | { readonly kind: "scalar"; readonly scalar: Scalar }
  | { readonly kind: "bytes"; readonly length: number }
  | { readonly kind: "list"; readonly scalar: Scalar; readonly length: number }
  | { readonly kind: "struct"; readonly codec: string }
  | {
    readonly kind: "structs";
    readonly codec: string;
    readonly length: number;
    readonly stride: number;
  }
  /** Only its offset is written: part of a union, or of a type that has no codec. */
  | { readonly kind: "offset" };

/** A named place in a struct. */
export interface Slot {
  readonly key: string;
  readonly offset: number;
  readonly type: SlotType;
}

export interface StructText {
  readonly cName: string;
  readonly tsName: string;
  readonly size: number;
  readonly slots: readonly Slot[];
  /** Bytes that write() zeroes. */
  readonly pads: readonly { readonly offset: number; readonly size: number }[];
  /** Members that are left out altogether, each with its reason. */
  readonly skipped: readonly string[];
  /** write() takes some of the fields and zeroes the rest, as libbpf's option structs want. */
  readonly partial: boolean;
}

export interface EnumText {
  readonly cName: string;
  readonly tsName: string;
  readonly values: readonly {
    readonly key: string;
    readonly label: string;
    readonly value: bigint;
  }[];
}

const UNION_NOTE =
  "  // Members of unions are only in `offset`: the struct alone does not tell which one holds.\n";

/** The interface and the codec of one struct. */
export function emitStruct(struct: StructText): string {
  const { tsName, size } = struct;
  const slots = struct.slots.filter(({ type }) => type.kind !== "offset");
  const skipped = struct.skipped.map((text) => `  // Left out: ${text}\n`).join("");
  const isWhole = slots.length === struct.slots.length;
  const fields = slots.map(({ key, type }) => `  ${key}: ${tsTypeOf(type)};\n`).join("");
  const offsets = struct.slots.map(({ key, offset }) => `${key}: ${offset}`).join(", ");
  const reads = slots.map((slot) => `      ${slot.key}: ${readOf(slot)},\n`).join("");
  const writes = writesOf(struct, slots).map((line) => `    ${line};\n`).join("");
  const valueType = struct.partial ? `Partial<${tsName}>` : tsName;
  return `/** \`struct ${struct.cName}\` */
export interface ${tsName} {
${fields}${skipped}${isWhole ? "" : UNION_NOTE}}

/** \`struct ${struct.cName}\`: ${size} bytes. */
export const ${tsName} = {
  size: ${size},
  offset: { ${offsets} },
  read(view: DataView, at = 0): ${tsName} {
    return {
${reads}    };
  },
  write(view: DataView, at: number, value: ${valueType}): void {
${writes}  },
} as const;
`;
}

/** The constant and the type of one enum, and the function that names its values where asked. */
export function emitEnum(text: EnumText, isNamed: boolean): string {
  const { cName, tsName, values } = text;
  const keys = values.map(({ key, value }) => `  ${key}: ${value},\n`).join("");
  return `/** \`enum ${cName}\` */
export const ${tsName} = {
${keys}} as const;

export type ${tsName} = (typeof ${tsName})[keyof typeof ${tsName}];
${isNamed ? emitNames(text) : ""}`;
}

function emitNames({ cName, tsName, values }: EnumText): string {
  const first = new Map<bigint, string>();
  for (const { value, label } of values) {
    if (!first.has(value)) first.set(value, label);
  }
  const names = [...first].map(([value, label]) => `  ${keyOf(value)}: "${label}",\n`).join("");
  const table = `${constantCase(tsName)}_NAMES`;
  return `
const ${table}: Readonly<Record<number, string>> = {
${names}};

/** The name of a value of \`enum ${cName}\`, or the number as text. */
export function ${lowerFirst(tsName)}Name(value: number): string {
  return ${table}[value] ?? String(value);
}
`;
}

/** The import of those helpers that the text uses; unused imports do not pass the lint. */
export function emitImports(body: string): string {
  const helpers = ["checkLength", "getBytes", "setBytes", "setZero"];
  const used = helpers.filter((helper) => body.includes(`${helper}(`));
  return used.length === 0 ? "" : `import { ${used.join(", ")} } from "./layout_io.ts";\n\n`;
}

/** `src_ip` → `srcIp` */
export function camelCase(snake: string): string {
  return snake.replace(/^_+|_+$/g, "").replace(/_+(\w)/g, (_, letter) => letter.toUpperCase());
}

/** `listen_key` → `ListenKey` */
export function pascalCase(snake: string): string {
  const camel = camelCase(snake);
  return camel.slice(0, 1).toUpperCase() + camel.slice(1);
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function constantCase(pascal: string): string {
  return pascal.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase();
}

function keyOf(value: bigint): string {
  return value < 0n ? `"${value}"` : String(value);
}

function tsTypeOf(type: SlotType): string {
  switch (type.kind) {
    case "scalar":
      return scalarType(type.scalar);
    case "bytes":
      return "Uint8Array";
    case "list":
      return `${scalarType(type.scalar)}[]`;
    case "struct":
      return type.codec;
    case "structs":
      return `${type.codec}[]`;
    case "offset":
      return "never";
  }
}

function scalarType(scalar: Scalar): string {
  return scalarBytes(scalar) === 8 ? "bigint" : "number";
}

/** The DataView method without its `get` or `set`, and the argument for the byte order. */
function accessOf(scalar: Scalar): { method: string; order: string } {
  const bits = scalarBytes(scalar) * 8;
  const sign = scalar.startsWith("s") ? "Int" : "Uint";
  const order = bits === 8 || scalar.startsWith("be") ? "" : ", true";
  return { method: `${bits === 64 ? "Big" : ""}${sign}${bits}`, order };
}

function place(offset: number): string {
  return offset === 0 ? "at" : `at + ${offset}`;
}

function readOf({ offset, type }: Slot): string {
  const at = place(offset);
  switch (type.kind) {
    case "scalar": {
      const { method, order } = accessOf(type.scalar);
      return `view.get${method}(${at}${order})`;
    }
    case "bytes":
      return `getBytes(view, ${at}, ${type.length})`;
    case "list": {
      const { method, order } = accessOf(type.scalar);
      const item = `view.get${method}(${at} + index * ${scalarBytes(type.scalar)}${order})`;
      return `Array.from({ length: ${type.length} }, (_, index) => ${item})`;
    }
    case "struct":
      return `${type.codec}.read(view, ${at})`;
    case "structs": {
      const item = `${type.codec}.read(view, ${at} + index * ${type.stride})`;
      return `Array.from({ length: ${type.length} }, (_, index) => ${item})`;
    }
    case "offset":
      return "undefined";
  }
}

function writesOf(struct: StructText, slots: readonly Slot[]): string[] {
  const lines: string[] = [];
  if (struct.partial) lines.push(`setZero(view, at, ${struct.size})`);
  for (const slot of slots) {
    const field = `value.${slot.key}`;
    if (!struct.partial) {
      lines.push(...writeOf(struct.tsName, slot, field));
    } else if (slot.key === "sz") {
      // libbpf tells its versions apart by the size that the caller states.
      lines.push(...writeOf(struct.tsName, slot, `${field} ?? ${struct.size}n`));
    } else {
      const writes = writeOf(struct.tsName, slot, field);
      lines.push(`if (${field} !== undefined) { ${writes.join("; ")}; }`);
    }
  }
  for (const pad of struct.partial ? [] : struct.pads) {
    lines.push(`setZero(view, ${place(pad.offset)}, ${pad.size})`);
  }
  return lines;
}

function writeOf(owner: string, { key, offset, type }: Slot, value: string): string[] {
  const at = place(offset);
  const name = `"${owner}.${key}"`;
  switch (type.kind) {
    case "scalar": {
      const { method, order } = accessOf(type.scalar);
      return [`view.set${method}(${at}, ${value}${order})`];
    }
    case "bytes":
      return [`setBytes(view, ${at}, ${value}, ${type.length}, ${name})`];
    case "list": {
      const { method, order } = accessOf(type.scalar);
      const stride = scalarBytes(type.scalar);
      const item = `view.set${method}(${at} + index * ${stride}, item${order})`;
      return [
        `checkLength(${value}.length, ${type.length}, ${name})`,
        `${value}.forEach((item, index) => ${item})`,
      ];
    }
    case "struct":
      return [`${type.codec}.write(view, ${at}, ${value})`];
    case "structs": {
      const item = `${type.codec}.write(view, ${at} + index * ${type.stride}, item)`;
      return [
        `checkLength(${value}.length, ${type.length}, ${name})`,
        `${value}.forEach((item, index) => ${item})`,
      ];
    }
    case "offset":
      return [];
  }
}

/**
 * Reads BTF, the type information that clang writes into a BPF object and the kernel shows under
 * /sys/kernel/btf. Pure: bytes in, types out.
 *
 * The input may come from anyone (an operator's own program, a damaged file), so whatever it
 * holds the outcome is a {@linkcode Btf} or a {@linkcode BtfError}: all counts are bounded by the
 * bytes that carry them, and walks along chains of types by the named limits below.
 *
 * Format: https://docs.kernel.org/bpf/btf.html
 *
 * @module
 */

const BTF_MAGIC = 0xeb9f;
const BTF_MAGIC_SWAPPED = 0x9feb;
const BTF_VERSION = 1;
const BTF_HEADER_BYTES = 24;
const TYPE_HEADER_BYTES = 12;

const ELF_MAGIC = 0x7f454c46;
const ELF_CLASS_64 = 2;
const ELF_DATA_LITTLE = 1;
const ELF_HEADER_BYTES = 64;
const ELF_SECTION_BYTES = 64;
const ELF_SECTION_NOBITS = 8;
const ELF_SECTION_COMPRESSED = 0x800n;

/** The largest BTF that is read; a kernel's own is 5 to 10 MB. */
const BTF_BYTES_MAX = 32 << 20;
/** The kernel's own limit on types (BTF_MAX_TYPE). */
const BTF_TYPES_MAX = 0x000f_ffff;
/** The longest name that is read. C++ and Rust mangle into hundreds of characters. */
const BTF_NAME_CHARS_MAX = 4096;
/**
 * How many typedefs, qualifiers or array dimensions may follow one another, or structs nest: the
 * kernel's own limit (MAX_RESOLVE_DEPTH).
 */
export const BTF_CHAIN_MAX = 32;
/** A pointer in an object for the `bpf` target, and in a 64-bit kernel. */
const BTF_POINTER_BYTES = 8;

/** The input is not BTF, is damaged, or does not hold what was asked of it. */
export class BtfError extends Error {
  override name = "BtfError";
}

interface Named {
  /** The number by which other types refer to this one. */
  readonly id: number;
  /** Empty for an anonymous type. */
  readonly name: string;
}

export interface BtfVoid extends Named {
  readonly kind: "void";
}

export interface BtfInt extends Named {
  readonly kind: "int";
  readonly size: number;
  /** Less than `size * 8` in the older encoding of bit fields. */
  readonly bits: number;
  readonly signed: boolean;
  readonly char: boolean;
  readonly bool: boolean;
}

export interface BtfFloat extends Named {
  readonly kind: "float";
  readonly size: number;
}

/** A type that only refers to another one. */
export interface BtfReference extends Named {
  readonly kind: "ptr" | "typedef" | "volatile" | "const" | "restrict" | "type_tag";
  readonly type: number;
}

export interface BtfArray extends Named {
  readonly kind: "array";
  readonly type: number;
  readonly indexType: number;
  readonly length: number;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** 0 for a member that is not a bit field. */
  readonly bitSize: number;
}

export interface BtfComposite extends Named {
  readonly kind: "struct" | "union";
  readonly size: number;
  readonly members: readonly BtfMember[];
}

export interface BtfEnumerator {
  readonly name: string;
  readonly value: bigint;
}

export interface BtfEnum extends Named {
  readonly kind: "enum" | "enum64";
  readonly size: number;
  /** Compilers before clang 16 leave this unset also for enums with negative values. */
  readonly signed: boolean;
  readonly values: readonly BtfEnumerator[];
}

export interface BtfForward extends Named {
  readonly kind: "fwd";
  readonly union: boolean;
}

export interface BtfFunction extends Named {
  readonly kind: "func";
  readonly type: number;
  readonly linkage: number;
}

export interface BtfParameter {
  readonly name: string;
  readonly type: number;
}

export interface BtfPrototype extends Named {
  readonly kind: "func_proto";
  readonly returns: number;
  readonly parameters: readonly BtfParameter[];
}

export interface BtfVariable extends Named {
  readonly kind: "var";
  readonly type: number;
  readonly linkage: number;
}

export interface BtfSectionEntry {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
}

export interface BtfDataSection extends Named {
  readonly kind: "datasec";
  readonly size: number;
  readonly entries: readonly BtfSectionEntry[];
}

export interface BtfDeclarationTag extends Named {
  readonly kind: "decl_tag";
  readonly type: number;
  /** Which member or parameter is meant; -1 for the whole type. */
  readonly component: number;
}

export type BtfType =
  | BtfVoid
  | BtfInt
  | BtfFloat
  | BtfReference
  | BtfArray
  | BtfComposite
  | BtfEnum
  | BtfForward
  | BtfFunction
  | BtfPrototype
  | BtfVariable
  | BtfDataSection
  | BtfDeclarationTag;

export type BtfKind = BtfType["kind"];

/** The member of {@linkcode BtfType} that has this kind. */
export type BtfOfKind<K extends BtfKind, T extends BtfType = BtfType> = T extends BtfType
  ? K extends T["kind"] ? T : never
  : never;

/** The types of one object or kernel, and what can be asked about them. */
export class Btf {
  /** By id; `types[0]` is void. */
  readonly types: readonly BtfType[];
  readonly #alignments = new Map<number, number>();
  #named: Map<string, BtfType[]> | undefined;

  constructor(types: readonly BtfType[]) {
    this.types = types;
  }

  /** The type with this id. */
  type(id: number): BtfType {
    const type = this.types[id];
    if (type === undefined) {
      throw new BtfError(`Cannot find type ${id}: the BTF has ids 0 to ${this.types.length - 1}`);
    }
    return type;
  }

  /** All types of this name, of any kind, in the order of their ids. */
  named(name: string): readonly BtfType[] {
    this.#named ??= indexByName(this.types);
    return this.#named.get(name) ?? [];
  }

  /** The first type of this kind and name. */
  find<K extends BtfKind>(kind: K, name: string): BtfOfKind<K> | undefined {
    for (const type of this.named(name)) {
      if (isKind(type, kind)) return type;
    }
    return undefined;
  }

  /** This type and, while it is a typedef, qualifier or tag, what it stands for; bare type last. */
  chain(id: number): readonly BtfType[] {
    const chain: BtfType[] = [];
    let next = id;
    while (chain.length < BTF_CHAIN_MAX) {
      const type = this.type(next);
      chain.push(type);
      if (!isAlias(type)) return chain;
      next = type.type;
    }
    throw new BtfError(`Cannot resolve type ${id} as it has more than ${BTF_CHAIN_MAX} aliases`);
  }

  /** What this type is behind its typedefs, qualifiers and tags. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    for (let step = 0; step < BTF_CHAIN_MAX; step++) {
      if (!isAlias(type)) return type;
      type = this.type(type.type);
    }
    throw new BtfError(`Cannot resolve type ${id} as it has more than ${BTF_CHAIN_MAX} aliases`);
  }

  /** Size in bytes, as C's `sizeof`. */
  sizeOf(id: number): number {
    let count = 1;
    let next = id;
    for (let step = 0; step < BTF_CHAIN_MAX; step++) {
      const type = this.resolve(next);
      if (type.kind !== "array") return limitSize(count * this.#plainSize(type), id);
      count = limitSize(count * type.length, id);
      next = type.type;
    }
    throw new BtfError(`Cannot size type ${id} as it has more than ${BTF_CHAIN_MAX} dimensions`);
  }

  /** Alignment in bytes, as C's `_Alignof`; that a struct is packed is not in BTF. */
  alignOf(id: number): number {
    return this.#alignAt(id, 0);
  }

  /** The type as C would write it, for messages. */
  describe(id: number): string {
    let suffix = "";
    let next = id;
    for (let step = 0; step < BTF_CHAIN_MAX; step++) {
      const type = this.type(next);
      switch (type.kind) {
        case "ptr":
          suffix = ` *${suffix}`;
          next = type.type;
          break;
        case "array":
          suffix = `${suffix}[${type.length}]`;
          next = type.type;
          break;
        case "const":
        case "volatile":
        case "restrict":
        case "type_tag":
          next = type.type;
          break;
        default:
          return describePlain(type) + suffix;
      }
    }
    return `type ${id}`;
  }

  #plainSize(type: BtfType): number {
    switch (type.kind) {
      case "int":
      case "float":
      case "struct":
      case "union":
      case "enum":
      case "enum64":
      case "datasec":
        return type.size;
      case "ptr":
        return BTF_POINTER_BYTES;
      default:
        throw new BtfError(`Cannot size type ${type.id} as a ${type.kind} has no size`);
    }
  }

  #alignAt(id: number, depth: number): number {
    const known = this.#alignments.get(id);
    if (known !== undefined) return known;
    if (depth > BTF_CHAIN_MAX) {
      throw new BtfError(`Cannot align type ${id} as it nests deeper than ${BTF_CHAIN_MAX}`);
    }
    const type = this.resolve(id);
    let alignment = 1;
    if (type.kind === "array") {
      alignment = this.#alignAt(type.type, depth + 1);
    } else if (type.kind === "struct" || type.kind === "union") {
      for (const member of type.members) {
        alignment = Math.max(alignment, this.#alignAt(member.type, depth + 1));
      }
    } else {
      alignment = Math.max(1, this.#plainSize(type));
    }
    this.#alignments.set(id, alignment);
    return alignment;
  }
}

/** Reads BTF out of an ELF object or out of a raw `.BTF` file, whichever the bytes are. */
export function readBtf(bytes: Uint8Array): Btf {
  const isElf = bytes.length >= 4 && viewOf(bytes).getUint32(0) === ELF_MAGIC;
  return parseBtf(isElf ? btfSectionOf(bytes) : bytes);
}

/** The bytes of the `.BTF` section of a 64-bit little-endian ELF object; a view, not a copy. */
export function btfSectionOf(elf: Uint8Array): Uint8Array {
  if (elf.length < ELF_HEADER_BYTES || viewOf(elf).getUint32(0) !== ELF_MAGIC) {
    throw new BtfError("Cannot read ELF as the file does not start with an ELF header");
  }
  const view = viewOf(elf);
  if (view.getUint8(4) !== ELF_CLASS_64 || view.getUint8(5) !== ELF_DATA_LITTLE) {
    throw new BtfError("Cannot read ELF as it is not 64-bit little-endian: rebuild for bpfel");
  }
  const count = view.getUint16(60, true);
  const headers = sliceOf(elf, view.getBigUint64(40, true), count * ELF_SECTION_BYTES, "sections");
  if (view.getUint16(58, true) !== ELF_SECTION_BYTES) {
    throw new BtfError("Cannot read ELF as its section headers have an unknown size");
  }
  const names = sectionAt(elf, headers, view.getUint16(62, true));
  for (let index = 0; index < count; index++) {
    const nameAt = viewOf(headers).getUint32(index * ELF_SECTION_BYTES, true);
    if (hasTextAt(names, nameAt, ".BTF")) return sectionAt(elf, headers, index);
  }
  throw new BtfError("Cannot find BTF as the object has no .BTF section: compile it with -g");
}

/** Parses the contents of a `.BTF` section. */
export function parseBtf(bytes: Uint8Array): Btf {
  const { types: typeBytes, strings } = splitBtf(bytes);
  const names = new Names(strings);
  const cursor = new Cursor(typeBytes);
  const types: BtfType[] = [{ kind: "void", id: 0, name: "" }];
  while (!cursor.done) {
    if (types.length > BTF_TYPES_MAX) {
      throw new BtfError(`Cannot read BTF as it has more than ${BTF_TYPES_MAX} types`);
    }
    types.push(readType(types.length, cursor, names));
  }
  for (const type of types) checkReferences(type, types.length);
  return new Btf(types);
}

function splitBtf(bytes: Uint8Array): { types: Uint8Array; strings: Uint8Array } {
  if (bytes.length < BTF_HEADER_BYTES) {
    throw new BtfError(`Cannot read BTF as it has ${bytes.length} bytes: the header alone has 24`);
  }
  if (bytes.length > BTF_BYTES_MAX) {
    throw new BtfError(`Cannot read BTF as it is larger than ${BTF_BYTES_MAX} bytes`);
  }
  const view = viewOf(bytes);
  const magic = view.getUint16(0, true);
  if (magic === BTF_MAGIC_SWAPPED) {
    throw new BtfError("Cannot read BTF as it is big-endian: rebuild for bpfel");
  }
  if (magic !== BTF_MAGIC) throw new BtfError("Cannot read BTF as its first bytes are not BTF's");
  const version = view.getUint8(2);
  if (version !== BTF_VERSION) {
    throw new BtfError(`Cannot read BTF as its version must be 1: current value is ${version}`);
  }
  const headerBytes = view.getUint32(4, true);
  if (headerBytes < BTF_HEADER_BYTES || headerBytes > bytes.length) {
    throw new BtfError(`Cannot read BTF as its header says it has ${headerBytes} bytes`);
  }
  const body = bytes.subarray(headerBytes);
  const types = sliceOf(body, view.getUint32(8, true), view.getUint32(12, true), "BTF types");
  const strings = sliceOf(body, view.getUint32(16, true), view.getUint32(20, true), "BTF names");
  if (strings[0] !== 0 || strings[strings.length - 1] !== 0) {
    throw new BtfError("Cannot read BTF as its names do not start and end with a zero byte");
  }
  return { types, strings };
}

/** The string section. Decoded once: a slice of a string is much cheaper than a decoded name. */
class Names {
  readonly #text: string;

  constructor(bytes: Uint8Array) {
    // One character a byte, so that offsets stay offsets. C's names are ASCII.
    this.#text = new TextDecoder("latin1").decode(bytes);
  }

  at(offset: number): string {
    if (offset === 0) return "";
    if (offset >= this.#text.length) {
      throw new BtfError(`Cannot read name at ${offset}: there are ${this.#text.length} bytes`);
    }
    // Cut before the search: a search to the end of the section for each name would be quadratic.
    const window = this.#text.slice(offset, offset + BTF_NAME_CHARS_MAX + 1);
    const end = window.indexOf("\0");
    if (end < 0) {
      throw new BtfError(`Cannot read name at ${offset} as it exceeds ${BTF_NAME_CHARS_MAX}`);
    }
    return window.slice(0, end);
  }
}

class Cursor {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = viewOf(bytes);
  }

  get done(): boolean {
    return this.#at === this.#view.byteLength;
  }

  /** Fails unless this many bytes are left, so that no count outgrows what carries it. */
  need(byteCount: number): void {
    if (byteCount > this.#view.byteLength - this.#at) {
      throw new BtfError(`Cannot read BTF as its types end inside the one at byte ${this.#at}`);
    }
  }

  u32(): number {
    this.need(4);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  s32(): number {
    return this.u32() | 0;
  }

  list<T>(count: number, itemBytes: number, readItem: () => T): T[] {
    this.need(count * itemBytes);
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(readItem());
    return items;
  }
}

interface TypeHeader {
  readonly id: number;
  readonly name: string;
  readonly vlen: number;
  readonly kindFlag: boolean;
  /** A size or a type id, as the kind says. */
  readonly sizeOrType: number;
}

type KindReader = (header: TypeHeader, cursor: Cursor, names: Names) => BtfType;

/** By the number of the kind in BTF. */
const KIND_READERS: readonly (KindReader | undefined)[] = [
  undefined,
  readInt,
  ({ id, name, sizeOrType }) => ({ kind: "ptr", id, name, type: sizeOrType }),
  readArray,
  (header, cursor, names) => readComposite("struct", header, cursor, names),
  (header, cursor, names) => readComposite("union", header, cursor, names),
  readEnum,
  ({ id, name, kindFlag }) => ({ kind: "fwd", id, name, union: kindFlag }),
  ({ id, name, sizeOrType }) => ({ kind: "typedef", id, name, type: sizeOrType }),
  ({ id, name, sizeOrType }) => ({ kind: "volatile", id, name, type: sizeOrType }),
  ({ id, name, sizeOrType }) => ({ kind: "const", id, name, type: sizeOrType }),
  ({ id, name, sizeOrType }) => ({ kind: "restrict", id, name, type: sizeOrType }),
  ({ id, name, sizeOrType, vlen }) => ({
    kind: "func",
    id,
    name,
    type: sizeOrType,
    linkage: vlen,
  }),
  readPrototype,
  readVariable,
  readDataSection,
  readFloat,
  ({ id, name, sizeOrType }, cursor) => ({
    kind: "decl_tag",
    id,
    name,
    type: sizeOrType,
    component: cursor.s32(),
  }),
  ({ id, name, sizeOrType }) => ({ kind: "type_tag", id, name, type: sizeOrType }),
  readEnum64,
];

function readType(id: number, cursor: Cursor, names: Names): BtfType {
  cursor.need(TYPE_HEADER_BYTES);
  const name = names.at(cursor.u32());
  const info = cursor.u32();
  const kind = (info >>> 24) & 0x1f;
  const readKind = KIND_READERS[kind];
  if (readKind === undefined) {
    throw new BtfError(`Cannot read type ${id} as its kind is unknown: current value is ${kind}`);
  }
  const header: TypeHeader = {
    id,
    name,
    vlen: info & 0xffff,
    kindFlag: info >>> 31 === 1,
    sizeOrType: cursor.u32(),
  };
  return readKind(header, cursor, names);
}

function readInt({ id, name, sizeOrType: size }: TypeHeader, cursor: Cursor): BtfInt {
  const encoding = cursor.u32();
  const bits = encoding & 0xff;
  if (![1, 2, 4, 8, 16].includes(size) || bits > size * 8) {
    throw new BtfError(`Cannot read type ${id} as an integer of ${size} bytes and ${bits} bits`);
  }
  return {
    kind: "int",
    id,
    name,
    size,
    bits,
    signed: (encoding & (1 << 24)) !== 0,
    char: (encoding & (2 << 24)) !== 0,
    bool: (encoding & (4 << 24)) !== 0,
  };
}

function readFloat({ id, name, sizeOrType: size }: TypeHeader): BtfFloat {
  if (![2, 4, 8, 12, 16].includes(size)) {
    throw new BtfError(`Cannot read type ${id} as a float of ${size} bytes`);
  }
  return { kind: "float", id, name, size };
}

function readArray({ id, name }: TypeHeader, cursor: Cursor): BtfArray {
  const type = cursor.u32();
  const indexType = cursor.u32();
  return { kind: "array", id, name, type, indexType, length: cursor.u32() };
}

function readComposite(
  kind: "struct" | "union",
  { id, name, vlen, kindFlag, sizeOrType }: TypeHeader,
  cursor: Cursor,
  names: Names,
): BtfComposite {
  const members = cursor.list(vlen, 12, (): BtfMember => {
    const memberName = names.at(cursor.u32());
    const type = cursor.u32();
    const offset = cursor.u32();
    // With the flag the upper byte is the width of a bit field, without it all is the offset.
    if (!kindFlag) return { name: memberName, type, bitOffset: offset, bitSize: 0 };
    return { name: memberName, type, bitOffset: offset & 0xff_ffff, bitSize: offset >>> 24 };
  });
  return { kind, id, name, size: sizeOrType, members };
}

function readEnum(
  { id, name, vlen, kindFlag, sizeOrType: size }: TypeHeader,
  cursor: Cursor,
  names: Names,
): BtfEnum {
  checkEnumSize(id, size);
  const values = cursor.list(vlen, 8, (): BtfEnumerator => {
    const valueName = names.at(cursor.u32());
    return { name: valueName, value: BigInt(kindFlag ? cursor.s32() : cursor.u32()) };
  });
  return { kind: "enum", id, name, size, signed: kindFlag, values };
}

function readEnum64(
  { id, name, vlen, kindFlag, sizeOrType: size }: TypeHeader,
  cursor: Cursor,
  names: Names,
): BtfEnum {
  checkEnumSize(id, size);
  const values = cursor.list(vlen, 12, (): BtfEnumerator => {
    const valueName = names.at(cursor.u32());
    const low = BigInt(cursor.u32());
    const bits = (BigInt(cursor.u32()) << 32n) | low;
    return { name: valueName, value: kindFlag ? BigInt.asIntN(64, bits) : bits };
  });
  return { kind: "enum64", id, name, size, signed: kindFlag, values };
}

function checkEnumSize(id: number, size: number): void {
  if (![1, 2, 4, 8].includes(size)) {
    throw new BtfError(`Cannot read type ${id} as an enum of ${size} bytes`);
  }
}

function readPrototype(
  { id, name, vlen, sizeOrType }: TypeHeader,
  cursor: Cursor,
  names: Names,
): BtfPrototype {
  const parameters = cursor.list(vlen, 8, (): BtfParameter => {
    const parameterName = names.at(cursor.u32());
    return { name: parameterName, type: cursor.u32() };
  });
  return { kind: "func_proto", id, name, returns: sizeOrType, parameters };
}

function readVariable({ id, name, sizeOrType }: TypeHeader, cursor: Cursor): BtfVariable {
  return { kind: "var", id, name, type: sizeOrType, linkage: cursor.u32() };
}

function readDataSection(
  { id, name, vlen, sizeOrType: size }: TypeHeader,
  cursor: Cursor,
): BtfDataSection {
  const entries = cursor.list(vlen, 12, (): BtfSectionEntry => {
    const type = cursor.u32();
    const offset = cursor.u32();
    return { type, offset, size: cursor.u32() };
  });
  return { kind: "datasec", id, name, size, entries };
}

function checkReferences(type: BtfType, typeCount: number): void {
  switch (type.kind) {
    case "struct":
    case "union":
      for (const member of type.members) checkReference(type, member.type, typeCount);
      return;
    case "func_proto":
      checkReference(type, type.returns, typeCount);
      for (const parameter of type.parameters) checkReference(type, parameter.type, typeCount);
      return;
    case "datasec":
      for (const entry of type.entries) checkReference(type, entry.type, typeCount);
      return;
    case "array":
      checkReference(type, type.indexType, typeCount);
      checkReference(type, type.type, typeCount);
      return;
    default:
      if ("type" in type) checkReference(type, type.type, typeCount);
  }
}

function checkReference(from: BtfType, to: number, typeCount: number): void {
  if (to >= typeCount) {
    throw new BtfError(`Cannot read type ${from.id} as it refers to ${to}, which is not there`);
  }
}

function isAlias(type: BtfType): type is BtfReference {
  switch (type.kind) {
    case "typedef":
    case "const":
    case "volatile":
    case "restrict":
    case "type_tag":
      return true;
    default:
      return false;
  }
}

function isKind<K extends BtfKind>(type: BtfType, kind: K): type is BtfOfKind<K> {
  return type.kind === kind;
}

function indexByName(types: readonly BtfType[]): Map<string, BtfType[]> {
  const index = new Map<string, BtfType[]>();
  for (const type of types) {
    if (type.name === "") continue;
    const same = index.get(type.name);
    if (same === undefined) index.set(type.name, [type]);
    else same.push(type);
  }
  return index;
}

function describePlain(type: BtfType): string {
  const name = type.name === "" ? "(anonymous)" : type.name;
  switch (type.kind) {
    case "struct":
    case "union":
      return `${type.kind} ${name}`;
    case "enum":
    case "enum64":
      return `enum ${name}`;
    case "fwd":
      return `${type.union ? "union" : "struct"} ${name}`;
    case "void":
      return "void";
    case "func_proto":
      return "function";
    default:
      return name;
  }
}

function limitSize(size: number, id: number): number {
  if (size > 0xffff_ffff) throw new BtfError(`Cannot size type ${id} as it exceeds 4 GiB`);
  return size;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function sliceOf(
  bytes: Uint8Array,
  offset: number | bigint,
  size: number | bigint,
  what: string,
): Uint8Array {
  if (BigInt(offset) + BigInt(size) > BigInt(bytes.length)) {
    throw new BtfError(`Cannot read ${what} as they end behind the end of the file`);
  }
  return bytes.subarray(Number(offset), Number(offset) + Number(size));
}

function sectionAt(elf: Uint8Array, headers: Uint8Array, index: number): Uint8Array {
  const at = index * ELF_SECTION_BYTES;
  if (at >= headers.length) throw new BtfError(`Cannot find ELF section ${index}`);
  const view = viewOf(headers);
  const isAbsent = view.getUint32(at + 4, true) === ELF_SECTION_NOBITS;
  if (isAbsent || (view.getBigUint64(at + 8, true) & ELF_SECTION_COMPRESSED) !== 0n) {
    throw new BtfError(`Cannot read ELF section ${index} as it is empty or compressed`);
  }
  const offset = view.getBigUint64(at + 24, true);
  return sliceOf(elf, offset, view.getBigUint64(at + 32, true), `bytes of section ${index}`);
}

function hasTextAt(bytes: Uint8Array, at: number, text: string): boolean {
  if (at + text.length >= bytes.length || bytes[at + text.length] !== 0) return false;
  for (let index = 0; index < text.length; index++) {
    if (bytes[at + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

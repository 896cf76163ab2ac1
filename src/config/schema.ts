// The schema combinators: one value describes a setting's type, default, rules and words, and from
// it come the TypeScript type (`Infer`), the reading with all its problems, the example file and
// the reference page.

import { nearest } from "../base/nearest.ts";
import { PROBLEMS_MAX, type Report } from "./problem.ts";
import { isNull, type MapNode, type Node, type ScalarNode } from "./tree.ts";

/** Longer texts are no slips of the fingers. */
const ADVISED_LENGTH_MAX = 64;

/** One setting. `Suffix` is the unit that the field's name gains, such as `Ms`. */
export interface Leaf<T, Suffix extends string = ""> {
  readonly kind: "leaf";
  readonly suffix: Suffix;
  /** Why the setting is there, in one line. */
  readonly doc: string;
  /** What kind of value it takes, such as `whole number`. */
  readonly type: string;
  /** What is allowed; empty when the type says it all. */
  readonly range: string;
  /** What a bare number counts; empty when there is nothing to say. */
  readonly unit: string;
  readonly fallback: T;
  /** The default as it is written in YAML; for a secret, what the example file holds instead. */
  readonly fallbackText: string;
  /** There is no default: it must be written. The fallback text is then an example. */
  readonly required?: boolean;
  /** Of a list of sections: what each one holds. */
  readonly item?: Group;
  /** The value, or undefined after reporting why there is none. */
  readonly read: (node: Node, path: string, report: Report, place?: Place) => T | undefined;
  /** A value as the file has it; undefined where it can only be left out. */
  write(value: T): Written | undefined;
}

/** What stands in a file. */
export type Written = string | number | boolean | readonly Written[] | WrittenSection;

export interface WrittenSection {
  readonly [name: string]: Written;
}

/** What a leaf that holds others may know of the reading it is part of. */
export interface Place {
  /** Where each setting that was written stands. */
  readonly offsets: Map<string, number>;
  /** The file breaks off: what is missing may stand behind the break. */
  readonly partial: boolean;
}

/** A group of settings. */
export interface Section<F extends Fields> {
  readonly kind: "section";
  readonly doc: string;
  readonly fields: F;
}

/** Any section; an interface, because an alias may not refer to itself. */
export interface Group extends Section<Fields> {}

export type Field = Leaf<unknown, string> | Group;

export interface Fields {
  readonly [name: string]: Field;
}

type Camel<S extends string> = S extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}`
  : S;

type FieldName<K extends string, S> = S extends Leaf<unknown, infer X> ? `${Camel<K>}${X}`
  : Camel<K>;

/** The TypeScript type of what a schema reads: deeply readonly, nothing optional. */
export type Infer<S> = S extends Leaf<infer T, string> ? T
  : S extends Section<infer F>
    ? { readonly [K in keyof F & string as FieldName<K, F[K]>]: Infer<F[K]> }
  : never;

/** Groups settings under one name. */
export function section<F extends Fields>(doc: string, fields: F): Section<F> {
  return { kind: "section", doc, fields };
}

/** A setting that the program reads and does not heed yet, but for values of which it is true. */
export function notYet<T, S extends string>(
  leaf: Leaf<T, S>,
  alreadyTrue: readonly T[] = [leaf.fallback],
): Leaf<T, S> {
  const known = new Set(alreadyTrue.map((value) => JSON.stringify(value)));
  return {
    ...leaf,
    doc: `${leaf.doc} (Does nothing yet.)`,
    read: (node, path, report, place) => {
      const value = leaf.read(node, path, report, place);
      if (value !== undefined && !known.has(JSON.stringify(value))) {
        report.warn(
          node.offset,
          path,
          "does nothing yet",
          "Leave it out until the changelog has it.",
        );
      }
      return value;
    },
  };
}

/** A setting of the schema with its dotted path, in the order of the file. */
export interface Entry {
  readonly path: string;
  readonly name: string;
  readonly field: Field;
}

/** Every section and setting, parents before children. */
export function entriesOf(schema: Group, prefix = ""): Entry[] {
  return Object.entries(schema.fields).flatMap(([name, field]) => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    const entry: Entry = { path, name, field };
    return field.kind === "leaf" ? [entry] : [entry, ...entriesOf(field, path)];
  });
}

/** What {@linkcode read} found: the settings, and where each one that was written stands. */
export interface Reading<S> {
  readonly settings: Infer<S>;
  readonly offsets: ReadonlyMap<string, number>;
}

/** Reads a whole tree; what is wrong goes to the report and the default stands in for it. */
export function read<F extends Fields>(
  schema: Section<F>,
  root: MapNode,
  report: Report,
  partial = false,
): Reading<Section<F>> {
  const offsets = new Map<string, number>();
  const reader = new Reader(schema, report, { offsets, partial });
  // The reader builds exactly the fields that Infer names, from the same schema.
  const settings = reader.section(schema, root, "") as unknown as Infer<Section<F>>;
  return { settings, offsets };
}

type LeafFacts = Pick<Leaf<unknown, string>, "required" | "type" | "fallbackText">;

class Reader {
  readonly #schema: Group;
  readonly #report: Report;
  readonly #place: Place;
  #known: readonly Entry[] | undefined;

  constructor(schema: Group, report: Report, place: Place) {
    this.#schema = schema;
    this.#report = report;
    this.#place = place;
  }

  section(schema: Group, node: Node | undefined, path: string): Readonly<Record<string, unknown>> {
    const written = this.#entries(schema, node, path);
    const built: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(schema.fields)) {
      const fieldPath = path === "" ? name : `${path}.${name}`;
      const value = written.get(name);
      if (field.kind === "section") built[camel(name)] = this.section(field, value, fieldPath);
      else {
        const isSection = node === undefined || node.kind === "map" || isNull(node);
        if (value === undefined && isSection) this.#missing(field, node?.offset ?? 0, fieldPath);
        built[fieldName(name, field)] = this.#leaf(field, value, fieldPath);
      }
    }
    return Object.freeze(built);
  }

  #leaf(leaf: Leaf<unknown, string>, node: Node | undefined, path: string): unknown {
    if (node === undefined) return leaf.fallback;
    return leaf.read(node, path, this.#report, this.#place) ?? leaf.fallback;
  }

  #missing({ required = false, type, fallbackText }: LeafFacts, at: number, path: string): void {
    if (!required || this.#place.partial) return;
    const name = path.slice(path.lastIndexOf(".") + 1);
    const remedy = `Write ${article(type)}, such as ${name}: ${fallbackText}.`;
    this.#report.fail(at, path, "is missing", remedy);
  }

  /** The known entries of a section by name; unknown ones are reported. */
  #entries(schema: Group, node: Node | undefined, path: string): ReadonlyMap<string, Node> {
    const found = new Map<string, Node>();
    if (node === undefined || isNull(node)) return found;
    if (node.kind !== "map") {
      const keys = Object.keys(schema.fields);
      const remedy = path.endsWith("]")
        ? `Write its keys behind "- ", such as "- ${keys[0] ?? ""}: ...".`
        : `Write its keys indented below "${path}:", such as "${keys[0] ?? ""}".`;
      const current = node.kind === "list" ? "found a list" : "found a single value";
      this.#report.fail(node.offset, path, `must be a section: ${current}`, remedy);
      return found;
    }
    let unknown = 0;
    for (const { name, offset, value } of node.entries) {
      if (Object.hasOwn(schema.fields, name)) {
        found.set(name, value);
        this.#place.offsets.set(path === "" ? name : `${path}.${name}`, value.offset);
      } else if (++unknown > PROBLEMS_MAX) this.#report.omit();
      else this.#unknown(name, offset, schema, path);
    }
    return found;
  }

  #unknown(name: string, offset: number, schema: Group, path: string): void {
    const shown = this.#report.showName(name);
    const shownPath = path === "" ? shown : `${path}.${shown}`;
    const place = path === "" ? "at the top level" : `in section ${path}`;
    const remedy = this.#suggest(name, schema, path === "");
    this.#report.fail(offset, shownPath, `is not a known key ${place}`, remedy);
  }

  #suggest(name: string, schema: Group, isTop: boolean): string {
    if (name === "<<") return "Merge keys are not supported: write the keys out.";
    this.#known ??= entriesOf(this.#schema);
    const exact = this.#known.filter((entry) => entry.name === name || entry.path === name);
    if (exact.length > 0) return `Move it: ${exact.map(describePlace).join(" or ")}.`;
    const here = nearest(name, Object.keys(schema.fields));
    if (here !== undefined) return `Did you mean "${here}"?`;
    const elsewhere = nearest(name, this.#known.map((entry) => entry.name));
    if (elsewhere === undefined) return isTop ? LOOK_UP : keysOf(schema);
    const places = this.#known.filter((entry) => entry.name === elsewhere);
    return `Did you mean ${places.map(describePlace).join(" or ")}?`;
  }
}

const LOOK_UP = "Remove it, or look up the name in docs/CONFIG.md.";

function keysOf({ fields }: Group): string {
  return `Remove it; there are ${Object.keys(fields).join(", ")}.`;
}

function describePlace({ path, name }: Entry): string {
  const parent = path.slice(0, -name.length - 1);
  return parent === "" ? `"${name}" at the top level` : `"${name}" in section ${parent}`;
}

/** The file that settings would be read from; the opposite of {@linkcode read}. */
export function write(schema: Group, settings: object): WrittenSection {
  const values = new Map<string, unknown>(Object.entries(settings));
  const written: Record<string, Written> = {};
  for (const [name, field] of Object.entries(schema.fields)) {
    const value = values.get(fieldName(name, field));
    if (field.kind === "leaf") {
      const text = field.write(value);
      if (text !== undefined) written[name] = text;
    } else if (typeof value === "object" && value !== null) written[name] = write(field, value);
  }
  return written;
}

/** What a setting of a file is called where it is read. */
export function fieldName(name: string, field: Field): string {
  return camel(name) + (field.kind === "section" ? "" : field.suffix);
}

/** `check_interval_ms` → `checkIntervalMs`. */
function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** A list of sections of one kind, empty by default. */
export function sections<F extends Fields>(
  spec: { readonly doc: string; readonly max: number; readonly item: Section<F> },
): Leaf<readonly Infer<Section<F>>[]> {
  const { doc, max, item } = spec;
  const type = "list of sections";
  return {
    kind: "leaf",
    suffix: "",
    doc,
    type,
    range: `at most ${max}`,
    unit: "",
    fallback: Object.freeze([]),
    fallbackText: "[]",
    item,
    write: (values) => values.map((value) => write(item, value)),
    read(node, path, report, place = { offsets: new Map(), partial: false }) {
      if (isNull(node)) {
        failNull(node, path, report, { type, fallbackText: "[]" });
        return undefined;
      }
      if (node.kind !== "list") {
        const found = node.kind === "map" ? "a section" : "a single value";
        const first = Object.keys(item.fields)[0] ?? "";
        const remedy = `Start each section with "- ", as in "- ${first}: ...".`;
        report.fail(node.offset, path, `must be a list: found ${found}`, remedy);
        return undefined;
      }
      if (node.items.length > max) {
        const rule = `has more than ${max} entries`;
        report.fail(node.offset, path, rule, "Remove those that are not needed.");
        return undefined;
      }
      const reader = new Reader(item, report, place);
      const values = node.items.map((one, i) => {
        const itemPath = `${path}[${i}]`;
        place.offsets.set(itemPath, one.offset);
        return reader.section(item, one, itemPath);
      });
      // As in read(): the reader builds what Infer names.
      return Object.freeze(values) as unknown as readonly Infer<Section<F>>[];
    },
  };
}

/** Reports a key without a value. */
export function failNull(node: Node, path: string, report: Report, spec: LeafFacts): void {
  if (node.kind === "scalar" && node.broken) return;
  const instead = spec.required
    ? `such as ${spec.fallbackText}.`
    : `or remove the line: the default is ${spec.fallbackText}.`;
  const remedy = `Write ${article(spec.type)}, ${instead}`;
  report.fail(node.offset, path, "has no value", remedy);
}

/** A value that is its own text. */
function plainValue(value: unknown): Written {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value;
    default:
      throw new TypeError(`Cannot write a value of type ${typeof value} as it has no format`);
  }
}

function article(noun: string): string {
  return `${/^[aeiou]/i.test(noun) ? "an" : "a"} ${noun}`;
}

/** What a text means, or why it means nothing. The current value is added to the rule. */
export type Parsed<T> = { readonly value: T } | Fault;

export interface Fault {
  readonly rule: string;
  readonly remedy: string;
}

/** What a leaf of one single value says of itself. */
export interface ScalarSpec<T, Suffix extends string> {
  readonly doc: string;
  readonly type: string;
  readonly range?: string;
  readonly unit?: string;
  readonly suffix: Suffix;
  readonly fallback: T;
  readonly fallbackText: string;
  readonly parse: (scalar: ScalarNode) => Parsed<T>;
  /** The text of a value, where that is not what the file has anyway. */
  readonly format?: (value: T) => string;
  /** What was probably meant by what `parse` refuses; better than its remedy, where it knows. */
  readonly advise?: ((text: string) => string | undefined) | undefined;
  /** The value is a secret: no message shows it, and a missing one is its reader's business. */
  readonly secret?: boolean;
  readonly required?: boolean;
}

/** A leaf written as one value. */
export function scalar<T, Suffix extends string>(spec: ScalarSpec<T, Suffix>): Leaf<T, Suffix> {
  const { doc, type, suffix, fallback, fallbackText, parse, advise, secret = false } = spec;
  return {
    kind: "leaf",
    suffix,
    doc,
    type,
    range: spec.range ?? "",
    unit: spec.unit ?? "",
    fallback,
    fallbackText,
    required: spec.required ?? false,
    write: (value) => spec.format?.(value) ?? plainValue(value),
    read(node, path, report) {
      if (isNull(node)) {
        if (!secret) failNull(node, path, report, spec);
        return undefined;
      }
      if (node.kind !== "scalar") {
        const rule = `must be ${article(type)}: found a ${
          node.kind === "list" ? "list" : "section"
        }`;
        report.fail(node.offset, path, rule, "Write a single value; quote it if it has brackets.");
        return undefined;
      }
      const parsed = parse(node);
      if ("value" in parsed) return parsed.value;
      const current = secret ? "" : `: current value is ${report.show(node.text)}`;
      // Advice repeats what was written.
      const isRepeated = !secret && node.text.length <= ADVISED_LENGTH_MAX &&
        !report.hides(node.text);
      const better = isRepeated ? advise?.(node.text) : undefined;
      report.fail(node.offset, path, `${parsed.rule}${current}`, better ?? parsed.remedy);
      return undefined;
    },
  };
}

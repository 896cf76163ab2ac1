// The kinds of settings: numbers with and without units, choices, lists, names and paths.

import { nearest } from "../base/nearest.ts";
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from "../base/units.ts";
import {
  durationAdvice,
  flagAdvice,
  integerAdvice,
  nameAdvice,
  rateAdvice,
  sizeAdvice,
} from "./value_advice.ts";
import { type Address, formatAddress, parseAddress } from "./address.ts";
import { failNull, type Fault, type Leaf, type Parsed, scalar } from "./schema.ts";
import { isNull, type ScalarNode } from "./tree.ts";

const NUMBER = /^-?(?:0|[1-9]\d*)?(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const INTEGER = /^-?(?:0|[1-9]\d*)$/;
const DIGIT = /\d/;
const CONTROL = /\p{Cc}/u;
const PATH_BYTES_MAX = 4095;
const INTERFACE_BYTES_MAX = 15;
const encoder = new TextEncoder();

interface Common<T> {
  readonly doc: string;
  readonly default: T;
}

interface Ranged extends Common<number> {
  readonly min: number;
  readonly max: number;
}

/** `unit` is what the number counts, for the reader of the documentation. */
interface Counted extends Ranged {
  readonly unit?: string;
}

/** `true` or `false`. */
export function flag(spec: Common<boolean>): Leaf<boolean> {
  return scalar({
    doc: spec.doc,
    type: "boolean",
    range: "true, false",
    suffix: "",
    fallback: spec.default,
    fallbackText: String(spec.default),
    advise: flagAdvice,
    parse({ text, plain }) {
      if (plain && (text === "true" || text === "false")) return { value: text === "true" };
      return { rule: "must be true or false", remedy: "Write true or false, without quotes." };
    },
  });
}

/** A whole number that has no unit. */
export function integer(spec: Counted): Leaf<number> {
  return numeric(spec, "whole number", INTEGER);
}

/** A number that may have a fraction. */
export function decimal(spec: Counted): Leaf<number> {
  return numeric(spec, "number", NUMBER);
}

function numeric(spec: Counted, type: string, form: RegExp): Leaf<number> {
  const { doc, min, max } = spec;
  return scalar({
    doc,
    type,
    range: `${min} to ${max}`,
    unit: spec.unit ?? "",
    suffix: "",
    fallback: spec.default,
    fallbackText: String(spec.default),
    advise: integerAdvice,
    parse({ text, plain }) {
      if (!form.test(text) || !DIGIT.test(text)) return notNumber(type, min, max);
      if (!plain) return { rule: "must not be in quotes", remedy: "Remove the quotes." };
      return inRange(Number(text), min, max, "");
    },
  });
}

function notNumber(type: string, min: number, max: number): Fault {
  return { rule: `must be a ${type}`, remedy: `Write a ${type} from ${min} to ${max}.` };
}

function inRange(value: number, min: number, max: number, unit: string): Parsed<number> {
  if (value >= min && value <= max) return { value: value === 0 ? 0 : value };
  const space = unit === "" ? "" : ` ${unit}`;
  return {
    rule: `must be between ${min} and ${max}${space}`,
    remedy: value < min ? `Write ${min}${space} or more.` : `Write ${max}${space} or less.`,
  };
}

/** A unit that a key's name can carry, such as the `ms` of `check_interval_ms`. */
export type NameUnit = "ms" | "s" | "mbps" | "bytes";

interface UnitRule {
  readonly parse: (text: string) => number | undefined;
  /** What `parse` counts for one of this unit. */
  readonly scale: number;
  /** Smallest step of a value, in this unit. */
  readonly step: number;
  readonly samples: string;
  readonly advise: (text: string) => string | undefined;
}

const DURATION = { parse: parseDuration, advise: durationAdvice };
const RATE = { parse: parseRate, advise: rateAdvice };
const SIZE = { parse: parseSize, advise: sizeAdvice };

const NAME_UNITS: { readonly [unit in NameUnit]: UnitRule } = {
  ms: { ...DURATION, scale: 1, step: 1, samples: '"250ms" or "1s"' },
  s: { ...DURATION, scale: 1000, step: 1, samples: '"30s" or "1m30s"' },
  // Whole kilobits, so that a slow line can be stated at all.
  mbps: { ...RATE, scale: 1e6, step: 0.001, samples: '"100mbps" or "1gbps"' },
  bytes: { ...SIZE, scale: 1, step: 1, samples: '"64KiB" or "1MB"' },
};

/** A number whose key's name carries its unit: takes a bare number, or a text with any unit. */
export function measured(spec: Ranged & { readonly unit: NameUnit }): Leaf<number> {
  const { doc, min, max, unit } = spec;
  const rule = NAME_UNITS[unit];
  return scalar({
    doc,
    type: "number, or text with a unit",
    range: `${min} to ${max}`,
    unit,
    suffix: "",
    fallback: spec.default,
    fallbackText: String(spec.default),
    advise: rule.advise,
    parse({ text }) {
      const isBare = NUMBER.test(text) && DIGIT.test(text);
      const counted = isBare ? Number(text) * rule.scale : rule.parse(text);
      if (counted === undefined) {
        return {
          rule: `must be a number of ${unit}`,
          remedy: `Write a number of ${unit}, or a number with a unit such as ${rule.samples}.`,
        };
      }
      const value = counted / rule.scale;
      const steps = Math.round(value / rule.step);
      const rounded = rule.step === 1 ? steps : steps / Math.round(1 / rule.step);
      const ranged = inRange(value, min, max, unit);
      if (!("value" in ranged) || Math.abs(rounded - value) <= value * 1e-12) {
        return "value" in ranged ? inRange(rounded, min, max, unit) : ranged;
      }
      return {
        rule: `must be in steps of ${rule.step} ${unit}`,
        remedy: `Write ${rounded} ${unit}.`,
      };
    },
  });
}

interface QuantityRule<Suffix extends string> {
  readonly type: string;
  readonly suffix: Suffix;
  readonly units: string;
  readonly samples: string;
  readonly parse: (text: string) => number | undefined;
  readonly format: (value: number) => string;
  readonly advise: (text: string) => string | undefined;
}

/** A time such as `30s`; the field counts milliseconds and its name ends in `Ms`. */
export function duration(spec: Ranged): Leaf<number, "Ms"> {
  return quantity(spec, {
    type: "duration",
    suffix: "Ms",
    units: "ns, us, ms, s, m, h, d",
    samples: '"30s" or "1m30s"',
    ...DURATION,
    format: formatDuration,
  });
}

/** A size such as `64KiB`; the field counts bytes and its name ends in `Bytes`. */
export function size(spec: Ranged): Leaf<number, "Bytes"> {
  return quantity(spec, {
    type: "size",
    suffix: "Bytes",
    units: "B, KB, KiB, MB, MiB, GB, GiB, TB, TiB",
    samples: '"64KiB" or "1MB"',
    ...SIZE,
    format: formatSize,
  });
}

/** A rate such as `100mbps`; the field counts bits per second and its name ends in `Bps`. */
export function rate(spec: Ranged): Leaf<number, "Bps"> {
  return quantity(spec, {
    type: "rate",
    suffix: "Bps",
    units: "bps, kbps, mbps, gbps, tbps (bits per second)",
    samples: '"100mbps" or "1gbps"',
    ...RATE,
    format: formatRate,
  });
}

function quantity<Suffix extends string>(
  spec: Ranged,
  rule: QuantityRule<Suffix>,
): Leaf<number, Suffix> {
  const { doc, min, max } = spec;
  const { type, suffix, samples, format, advise } = rule;
  const range = `${format(min)} to ${format(max)}`;
  return scalar({
    doc,
    type,
    range,
    suffix,
    fallback: spec.default,
    fallbackText: JSON.stringify(format(spec.default)),
    advise,
    format,
    parse({ text }) {
      if (NUMBER.test(text) && DIGIT.test(text)) {
        return { rule: "needs a unit", remedy: `Add one of ${rule.units}, as in ${samples}.` };
      }
      const value = rule.parse(text);
      if (value === undefined) {
        const remedy = `Write a number with one of ${rule.units}, as in ${samples}.`;
        return { rule: `must be a ${type}`, remedy };
      }
      if (value >= min && value <= max) return { value };
      return {
        rule: `must be between ${format(min)} and ${format(max)}`,
        remedy: `Write ${range}.`,
      };
    },
  });
}

interface Words<W extends string> extends Common<W> {
  /** What other programs call them, in lower case. */
  readonly alias?: Readonly<Record<string, W>>;
}

/** One of a few words. */
export function oneOf<const W extends string>(
  words: readonly W[],
  spec: Words<NoInfer<W>>,
): Leaf<W> {
  return scalar<W, "">({
    doc: spec.doc,
    type: "word",
    range: words.join(", "),
    suffix: "",
    fallback: spec.default,
    fallbackText: JSON.stringify(spec.default),
    parse: ({ text }) => parseWord(words, text, spec.alias),
  });
}

function parseWord<W extends string>(
  words: readonly W[],
  text: string,
  alias: Readonly<Record<string, W>> = {},
): Parsed<W> {
  const word = words.find((known) => known === text);
  if (word !== undefined) return { value: word };
  const folded = text.toLowerCase().replaceAll("_", "-");
  const near = Object.hasOwn(alias, folded) ? alias[folded] : nearest(text, words);
  const remedy = near === undefined ? "Write one of these words." : `Did you mean "${near}"?`;
  return { rule: `must be one of ${words.join(", ")}`, remedy };
}

/** A list of different words, at least one. */
export function listOf<const W extends string>(
  words: readonly W[],
  spec: Common<readonly NoInfer<W>[]>,
): Leaf<readonly W[]> {
  const sample = JSON.stringify(spec.default).replaceAll(",", ", ");
  return {
    kind: "leaf",
    suffix: "",
    doc: spec.doc,
    type: "list of words",
    range: `at least one of ${words.join(", ")}, none twice`,
    unit: "",
    fallback: Object.freeze([...spec.default]),
    fallbackText: sample,
    write: (values) => values,
    read(node, path, report) {
      if (isNull(node)) {
        failNull(node, path, report, { type: "list of words", fallbackText: sample });
        return undefined;
      }
      if (node.kind !== "list") {
        const found = node.kind === "map" ? "found a section" : "found a single value";
        report.fail(node.offset, path, `must be a list: ${found}`, `Write it as ${sample}.`);
        return undefined;
      }
      if (node.items.length === 0) {
        const remedy = `Name at least one: ${words.join(", ")}.`;
        report.fail(node.offset, path, "must not be empty", remedy);
        return undefined;
      }
      const values: W[] = [];
      // One item too many shows every duplicate that matters; a list of thousands is not read on.
      for (const [i, item] of node.items.slice(0, words.length + 1).entries()) {
        const isWord = item.kind === "scalar" && !isNull(item);
        const parsed = parseWord(words, isWord ? item.text : "");
        const itemPath = `${path}[${i}]`;
        if (!("value" in parsed)) {
          const current = isWord ? `: current value is ${report.show(item.text)}` : "";
          report.fail(item.offset, itemPath, `${parsed.rule}${current}`, parsed.remedy);
        } else if (values.includes(parsed.value)) {
          const rule = `names ${parsed.value} a second time`;
          report.fail(item.offset, itemPath, rule, "Remove one of the two.");
        } else values.push(parsed.value);
      }
      return Object.freeze(values);
    },
  };
}

/** Where to listen; see address.ts. */
export function address(spec: { readonly doc: string; readonly default: Address }): Leaf<Address> {
  return scalar({
    doc: spec.doc,
    type: "address",
    range: "host:port, :port, [v6]:port or port; the host is an IP address or localhost",
    suffix: "",
    fallback: Object.freeze({ ...spec.default }),
    fallbackText: JSON.stringify(formatAddress(spec.default)),
    format: formatAddress,
    parse: ({ text }) => parseAddress(text),
  });
}

/** `auto` or a whole number. */
export function autoOr(
  spec: { readonly doc: string; readonly min: number; readonly max: number },
): Leaf<number | "auto"> {
  const { doc, min, max } = spec;
  return scalar<number | "auto", "">({
    doc,
    type: "whole number or auto",
    range: `auto, ${min} to ${max}`,
    suffix: "",
    fallback: "auto",
    fallbackText: '"auto"',
    parse({ text, plain }) {
      if (text === "auto") return { value: "auto" };
      if (plain && INTEGER.test(text)) return inRange(Number(text), min, max, "");
      const remedy = `Write "auto", or a number from ${min} to ${max} without quotes.`;
      return { rule: "must be auto or a whole number", remedy };
    },
  });
}

interface TextSpec extends Common<string> {
  readonly type: string;
  readonly range: string;
  readonly check: (text: string) => Fault | undefined;
  readonly advise?: (text: string) => string | undefined;
}

function checked(spec: TextSpec): Leaf<string> {
  return scalar({
    doc: spec.doc,
    type: spec.type,
    range: spec.range,
    suffix: "",
    fallback: spec.default,
    fallbackText: JSON.stringify(spec.default),
    advise: spec.advise,
    parse: ({ text }) => spec.check(text) ?? { value: text },
  });
}

/** A path from the root, or, with `optional`, an empty text that stands for "none". */
export function absolutePath(
  spec: Common<string> & { readonly optional?: boolean },
): Leaf<string> {
  const { optional = false } = spec;
  return checked({
    doc: spec.doc,
    default: spec.default,
    type: "path",
    range: optional ? "absolute, or empty" : "absolute",
    check(text) {
      if (text === "" && optional) return undefined;
      if (!text.startsWith("/")) {
        return { rule: "must be an absolute path", remedy: "Write a path that starts with /." };
      }
      return pathFault(text);
    },
  });
}

/** A path to a file, relative to the configuration's folder; empty for none. */
export function filePath(spec: Common<string>): Leaf<string> {
  const range = "absolute or relative to the configuration's folder, or empty";
  return checked({ ...spec, type: "path", range, check: pathFault });
}

function pathFault(text: string): Fault | undefined {
  if (text.startsWith("~")) {
    return { rule: "must not begin with ~", remedy: "Write the path of that home folder out." };
  }
  if (CONTROL.test(text)) {
    return { rule: "must not hold control characters", remedy: "Write a plain path." };
  }
  if (encoder.encode(text).length > PATH_BYTES_MAX) {
    return { rule: `is longer than ${PATH_BYTES_MAX} bytes`, remedy: "Write a shorter path." };
  }
  // A folder that climbs would end somewhere else than it reads.
  if (!text.split("/").includes("..")) return undefined;
  return { rule: 'must not hold ".."', remedy: "Write the path it leads to." };
}

/** A short name for people and file names. */
export function shortName(spec: Common<string>): Leaf<string> {
  return checked({
    ...spec,
    type: "name",
    range: "1 to 32 of a-z, 0-9, -",
    advise: nameAdvice,
    check(text) {
      if (/^[a-z0-9-]{1,32}$/.test(text)) return undefined;
      return {
        rule: "must be 1 to 32 lower-case letters, digits or dashes",
        remedy: 'Write a name such as "default" or "edge-1".',
      };
    },
  });
}

/** The name of a network interface by the kernel's rule, or empty. */
export function interfaceName(spec: Common<string>): Leaf<string> {
  return checked({
    ...spec,
    type: "interface name",
    range: `1 to ${INTERFACE_BYTES_MAX} bytes, or empty`,
    check: (text) => text === "" ? undefined : interfaceFault(text),
  });
}

/** Why a text can't be the name of an interface. */
export function interfaceFault(text: string): Fault | undefined {
  const isBad = text === "" || /[\s/:]/.test(text) || CONTROL.test(text) || /^\.\.?$/.test(text);
  if (!isBad && encoder.encode(text).length <= INTERFACE_BYTES_MAX) return undefined;
  return {
    rule: `must be an interface name of 1 to ${INTERFACE_BYTES_MAX} bytes ` +
      "without slash, colon or space",
    remedy: 'Write a name that "ip link" lists, such as "eth0".',
  };
}

/** What `phantom config` prints for a secret. It is refused as one. */
export const UNTOLD = "[secret]";

const UNTOLD_FAULT: Fault = {
  rule: "stands for a secret that `phantom config` does not print",
  remedy: "Write the secret itself, as the file had it from which this was made.",
};

/** A text that no message shows. What it has to be is judged by who reads the secret. */
export function secretText(
  spec: { readonly doc: string; readonly range: string; readonly placeholder: string },
): Leaf<string> {
  return scalar({
    doc: spec.doc,
    type: "secret",
    range: spec.range,
    suffix: "",
    fallback: "",
    fallbackText: JSON.stringify(spec.placeholder),
    secret: true,
    parse: ({ text }: ScalarNode) => text === UNTOLD ? UNTOLD_FAULT : { value: text },
  });
}

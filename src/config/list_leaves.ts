// The kinds of settings that hold several values, and texts of people: names, passwords, hosts.

import { parseIp } from "../base/ip.ts";
import {
  type Address,
  formatAddress,
  type HostPort,
  LOOPBACK,
  parseAddress,
  parseHost,
  parseHostPort,
} from "./address.ts";
import { interfaceFault } from "./leaves.ts";
import type { Report } from "./problem.ts";
import { failNull, type Leaf, type Parsed, scalar } from "./schema.ts";
import { isNull, type Node, type ScalarNode } from "./tree.ts";
import { dateAdvice } from "./value_advice.ts";

const CONTROL = /\p{Cc}/u;
const encoder = new TextEncoder();

interface TextSpec {
  readonly doc: string;
  /** Longest, in bytes of UTF-8. */
  readonly bytesMax: number;
  /** What the example file holds, of a text that has no default. */
  readonly required?: string;
  /** What is wrong with a text beside its length. */
  readonly check?: (text: string) => { readonly rule: string; readonly remedy: string } | undefined;
}

/** A text of one line; empty unless it is required. */
export function freeText(spec: TextSpec): Leaf<string> {
  const { doc, bytesMax, required, check } = spec;
  return scalar({
    doc,
    type: "text",
    range: `${required === undefined ? "at most" : "1 to"} ${bytesMax} bytes`,
    suffix: "",
    fallback: "",
    fallbackText: JSON.stringify(required ?? ""),
    required: required !== undefined,
    parse: ({ text }) =>
      parseText(text, bytesMax, required !== undefined) ?? check?.(text) ?? { value: text },
  });
}

function parseText(
  text: string,
  bytesMax: number,
  isRequired: boolean,
): { rule: string; remedy: string } | undefined {
  if (isRequired && text === "") return { rule: "must not be empty", remedy: "Write a text." };
  if (CONTROL.test(text)) {
    return { rule: "must not hold control characters", remedy: "Write a text of one line." };
  }
  if (encoder.encode(text).length <= bytesMax) return undefined;
  return { rule: `is longer than ${bytesMax} bytes`, remedy: "Write a shorter text." };
}

/** A host, by name or address, and a port; empty for none. */
export function optionalHostPort(spec: { readonly doc: string }): Leaf<HostPort | undefined> {
  return scalar<HostPort | undefined, "">({
    doc: spec.doc,
    type: "host and port",
    range: "name:port, 192.0.2.1:port or [2001:db8::1]:port, or empty",
    suffix: "",
    fallback: undefined,
    fallbackText: '""',
    format: (value) => value === undefined ? "" : formatAddress(value),
    parse: ({ text }) => text === "" ? { value: undefined } : parseHostPort(text),
  });
}

/** A name or an IP address (IPv6 also without brackets), without a port; empty for none. */
export function optionalHost(spec: { readonly doc: string }): Leaf<string> {
  return scalar({
    doc: spec.doc,
    type: "host",
    range: "a name or an IP address, or empty",
    suffix: "",
    fallback: "",
    fallbackText: '""',
    parse({ text }) {
      const host = text === "" ? "" : parseHost(text) ?? parseHost(`[${text}]`);
      if (host !== undefined) return { value: host };
      const isWithPort = "value" in parseHostPort(text);
      return {
        rule: isWithPort ? "must have no port" : "must be a name or an IP address",
        remedy: isWithPort
          ? "Write the host alone: the port is listen's."
          : 'Write such as "proxy.example.org" or "192.0.2.1".',
      };
    },
  });
}

/** An IP address; empty for none. */
export function optionalIp(spec: { readonly doc: string }): Leaf<string> {
  return scalar({
    doc: spec.doc,
    type: "IP address",
    range: "IPv4 or IPv6, or empty",
    suffix: "",
    fallback: "",
    fallbackText: '""',
    parse({ text }) {
      if (text === "" || parseIp(text) !== undefined) return { value: text.toLowerCase() };
      return { rule: "must be an IP address", remedy: 'Write such as "192.0.2.7".' };
    },
  });
}

const DATE = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?$/;

/** A day, or a time of it, in UTC unless it says otherwise; 0 for none. */
export function moment(spec: { readonly doc: string }): Leaf<number, "AtMs"> {
  return scalar<number, "AtMs">({
    doc: spec.doc,
    type: "date",
    range: "2027-01-31, 2027-01-31T18:00Z or with another offset, or empty",
    suffix: "AtMs",
    fallback: 0,
    fallbackText: '""',
    advise: dateAdvice,
    format: formatMoment,
    parse({ text }) {
      if (text === "") return { value: 0 };
      const isBare = /[T ]\d\d:\d\d(?::\d\d)?$/.test(text);
      const ms = DATE.test(text)
        ? Date.parse(`${text.replace(" ", "T")}${isBare ? "Z" : ""}`)
        : NaN;
      // A 31st of February would be taken for a day of March.
      const day = new Date(`${text.slice(0, 10)}T00:00Z`);
      const isDay = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text.slice(0, 10));
      if (ms > 0 && isDay) return { value: ms };
      return { rule: "must be a date", remedy: 'Write such as "2027-01-31".' };
    },
  });
}

function formatMoment(ms: number): string {
  if (ms === 0) return "";
  return new Date(ms).toISOString().replace(".000Z", "Z").replace("T00:00:00Z", "");
}

/** A host, by name or address, and a port. There is no default. */
export function hostPort(
  spec: { readonly doc: string; readonly example: string },
): Leaf<HostPort> {
  return scalar<HostPort, "">({
    doc: spec.doc,
    type: "host and port",
    range: "name:port, 192.0.2.1:port or [2001:db8::1]:port",
    suffix: "",
    fallback: Object.freeze({ host: "", port: 0 }),
    fallbackText: JSON.stringify(spec.example),
    required: true,
    format: formatAddress,
    parse: ({ text }) => parseHostPort(text),
  });
}

const LOCAL_FORMS =
  "port, host:port or [v6]:port; the host is an IP address or localhost, without one 127.0.0.1";

interface ListSpec {
  readonly doc: string;
  readonly max: number;
}

const LIST_TEXT_BYTES_MAX = 253;

/** Texts, written as one or as a list that is not empty; none when it is not written. */
export function texts(spec: ListSpec & { readonly range: string }): Leaf<readonly string[]> {
  const leaf = scalars({
    ...spec,
    type: "text or list of texts",
    format: (text: string) => text,
    parse: ({ text }) => parseText(text, LIST_TEXT_BYTES_MAX, true) ?? { value: text },
  });
  return {
    ...leaf,
    write: (values) => values.length === 0 ? undefined : values,
    read(node, path, report, place) {
      const values = leaf.read(node, path, report, place);
      // "One of none" and "any" are opposites: which was meant, the reader can't know.
      if (node.kind === "list" && node.items.length === 0) {
        report.fail(node.offset, path, "must not be empty", "Name one, or remove the line.");
      }
      return values;
    },
  };
}

/** Where a client listens, one or a list. Without a host it is this machine alone. */
export function localAddresses(
  spec: ListSpec,
): Leaf<readonly Address[]> {
  return scalars({
    ...spec,
    type: "address or list of addresses",
    range: LOCAL_FORMS,
    format: formatAddress,
    parse: ({ text }) => parseLocalAddress(text),
  });
}

/** An address to listen on, on loopback when it has no host. There is no default. */
export function localAddress(
  spec: { readonly doc: string; readonly example: string },
): Leaf<Address> {
  return scalar<Address, "">({
    doc: spec.doc,
    type: "address",
    range: LOCAL_FORMS,
    suffix: "",
    fallback: Object.freeze({ host: LOOPBACK, port: 0 }),
    fallbackText: JSON.stringify(spec.example),
    required: true,
    format: formatAddress,
    parse: ({ text }) => parseLocalAddress(text),
  });
}

/** As parseAddress(), but that no host is this machine and not every address of it. */
export function parseLocalAddress(text: string): Parsed<Address> {
  const parsed = parseAddress(text);
  if (!("value" in parsed) || parsed.value.host !== "") return parsed;
  return { value: Object.freeze({ host: LOOPBACK, port: parsed.value.port }) };
}

const DNS_PORT = 53;

/** `system`, or the name servers to ask. */
export function nameServers(
  spec: { readonly doc: string; readonly max: number },
): Leaf<"system" | readonly Address[]> {
  const list = scalars({
    ...spec,
    type: "system, or list of addresses",
    range: "system, or IP addresses with or without a port",
    format: formatAddress,
    parse: ({ text }) => parseNameServer(text),
  });
  return {
    ...list,
    fallback: "system",
    fallbackText: '"system"',
    write: (value) => typeof value === "string" ? value : list.write(value),
    read(node, path, report, place) {
      if (node.kind === "scalar" && node.text === "system") return "system";
      if (node.kind === "list" && node.items.length === 0) {
        const remedy = 'Write "system", or name a server.';
        report.fail(node.offset, path, "must not be empty", remedy);
        return undefined;
      }
      return list.read(node, path, report, place);
    },
  };
}

function parseNameServer(text: string): Parsed<Address> {
  if (parseIp(text) !== undefined) {
    return { value: Object.freeze({ host: text.toLowerCase(), port: DNS_PORT }) };
  }
  const isLocal = text.toLowerCase() === "localhost";
  const parsed = parseAddress(isLocal ? `${text}:${DNS_PORT}` : text);
  if ("value" in parsed && parsed.value.host !== "") return parsed;
  return {
    rule: "must be an IP address of a name server",
    remedy: 'Write "system", or such as "192.0.2.53", "192.0.2.53:5353" or "2001:db8::53".',
  };
}

/** Interfaces, one or a list; `auto` (or empty) is none by name. */
export function interfaceNames(spec: ListSpec): Leaf<readonly string[]> {
  const list = scalars({
    ...spec,
    type: "interface name or list of names",
    range: "auto, or names of 1 to 15 bytes",
    format: (name: string) => name,
    parse: ({ text }) => interfaceFault(text) ?? { value: text },
  });
  return {
    ...list,
    fallbackText: '"auto"',
    write: (names) => names.length === 0 ? "auto" : names,
    read(node, path, report, place) {
      if (node.kind === "scalar" && !isNull(node) && /^(auto)?$/.test(node.text)) {
        return list.fallback;
      }
      const names = list.read(node, path, report, place);
      return names && Object.freeze([...new Set(names)]);
    },
  };
}

interface ScalarsSpec<T> extends ListSpec {
  readonly type: string;
  readonly range: string;
  readonly parse: (scalar: ScalarNode) => Parsed<T>;
  readonly format: (value: T) => string;
}

/** Values of one kind, written as one or as a list. */
function scalars<T>({ doc, max, type, range, parse, format }: ScalarsSpec<T>): Leaf<readonly T[]> {
  return {
    kind: "leaf",
    suffix: "",
    doc,
    type,
    range: `${range}; at most ${max}`,
    unit: "",
    fallback: Object.freeze([]),
    fallbackText: "[]",
    write: (values) => values.map(format),
    read(node, path, report, place) {
      if (isNull(node)) {
        failNull(node, path, report, { type, fallbackText: "[]" });
        return undefined;
      }
      if (node.kind === "map") {
        const remedy = "Write one value, or several in [ ].";
        report.fail(node.offset, path, "must be a list: found a section", remedy);
        return undefined;
      }
      if (node.kind === "scalar") return readItems([node], () => path, parse, report);
      if (node.items.length > max) {
        const remedy = "Remove those that are not needed.";
        report.fail(node.offset, path, `has more than ${max} entries`, remedy);
        return undefined;
      }
      for (const [i, { offset }] of node.items.entries()) {
        place?.offsets.set(`${path}[${i}]`, offset);
      }
      return readItems(node.items, (i) => `${path}[${i}]`, parse, report);
    },
  };
}

function readItems<T>(
  items: readonly Node[],
  pathOf: (index: number) => string,
  parse: (scalar: ScalarNode) => Parsed<T>,
  report: Report,
): readonly T[] {
  const values: T[] = [];
  for (const [i, item] of items.entries()) {
    if (item.kind === "scalar" && item.broken) continue;
    if (item.kind !== "scalar" || isNull(item)) {
      report.fail(item.offset, pathOf(i), "must be a single value", "Write one value an entry.");
      continue;
    }
    const parsed = parse(item);
    if ("value" in parsed) {
      values.push(parsed.value);
      continue;
    }
    const rule = `${parsed.rule}: current value is ${report.show(item.text)}`;
    report.fail(item.offset, pathOf(i), rule, parsed.remedy);
  }
  return Object.freeze(values);
}

// Outbound rules as an operator writes them, and the lines of list files.

import { type Cidr, parseCidr } from "./rule_cidrs.ts";
import { normalizeDomainText } from "./target.ts";

export const RULES_MAX = 2000;
export const ENTRIES_MAX = 2_000_000;
export const LIST_CHARS_MAX = 64 * 1024 * 1024;
export const PORTS_MAX = 1000;
export const PROBLEMS_MAX = 50;

export type Network = "tcp" | "udp";

/** A list file: its lines, and how to call it. */
export interface ListText {
  readonly name: string;
  readonly text: string;
}

/**
 * One rule. It matches when each kind of condition that it has matches; the kinds that name a
 * destination (domains, lists, CIDR) count as one.
 */
export interface RuleSpec {
  /** Whole names. */
  readonly domain?: readonly string[];
  /** Names with everything below them; "example.com", ".example.com" and "*.example.com". */
  readonly domainSuffix?: readonly string[];
  /** Parts of names. */
  readonly domainKeyword?: readonly string[];
  /** Lines: a name (with everything below), `full:name`, `keyword:word`, an address or CIDR. */
  readonly lists?: readonly ListText[];
  readonly cidr?: readonly string[];
  /** `443`, `8000-8999`. */
  readonly port?: readonly string[];
  readonly network?: Network;
  readonly user?: readonly string[];
  /** `direct`, `reject` or the name of an upstream. */
  readonly outbound: string;
}

/** What is wrong with one rule. */
export interface RuleProblem {
  /** Index of the rule; -1 is no rule's. */
  readonly rule: number;
  /** `domain[3]`, `lists[0]:120`. */
  readonly place: string;
  readonly text: string;
}

export type Entry =
  | { readonly kind: "exact" | "suffix" | "keyword"; readonly name: string }
  | { readonly kind: "cidr"; readonly cidr: Cidr };

const KEYWORD = /^[a-z0-9_.-]{1,63}$/;
const PREFIX = /^(full|domain|suffix|keyword|cidr|ip):/;
const NAME_FAULT = "must be a domain name in ASCII (an IDN as punycode)";

/** Reads one condition of a kind; a text says what is wrong with it. */
export function parseEntry(kind: Entry["kind"], text: string): Entry | string {
  if (kind === "cidr") {
    const cidr = parseCidr(text);
    return typeof cidr === "string" ? cidr : { kind, cidr };
  }
  if (kind === "keyword") {
    const name = text.toLowerCase();
    return KEYWORD.test(name) ? { kind, name } : "must be 1 to 63 letters, digits, dots, hyphens";
  }
  const name = normalizeDomainText(kind === "suffix" ? text.replace(/^\*?\./, "") : text);
  return name === undefined ? NAME_FAULT : { kind, name };
}

/** Reads a line of a list; undefined for one that is empty or a comment. */
export function parseListLine(line: string): Entry | string | undefined {
  const hash = line.indexOf("#");
  const text = (hash === -1 ? line : line.slice(0, hash)).trim();
  if (text === "") return undefined;
  const word = PREFIX.exec(text)?.[1];
  const rest = word === undefined ? text : text.slice(word.length + 1).trim();
  switch (word) {
    case "full":
      return parseEntry("exact", rest);
    case "domain":
    case "suffix":
      return parseEntry("suffix", rest);
    case "keyword":
      return parseEntry("keyword", rest);
    case "cidr":
    case "ip":
      return parseEntry("cidr", rest);
    default: {
      const isAddress = /[:/]/.test(rest) || /^[\d.]+$/.test(rest);
      return parseEntry(isAddress ? "cidr" : "suffix", rest);
    }
  }
}

/** First and last port of `443` or `8000-8999`, or what is wrong. */
export function parsePorts(text: string): readonly [first: number, last: number] | string {
  const match = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(text);
  const first = Number(match?.[1] ?? 0);
  const last = Number(match?.[2] ?? first);
  const isRange = first >= 1 && first <= last && last <= 0xffff;
  return isRange ? [first, last] : "must be a port from 1 to 65535, or a range such as 8000-8999";
}

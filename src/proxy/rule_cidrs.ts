// CIDR blocks → sets of rules, as sorted ranges: a look-up is one binary search, and allocates
// nothing. Blocks nest or are apart, so that one sweep with a stack cuts them into ranges.

import { AddressClass, classify } from "./address_class.ts";
import { isIpv4Mapped, parseIp } from "../base/ip.ts";
import { EMPTY_SET, itemOf, Level, type RuleSets } from "./rule_sets.ts";

const FULL = 128;
const MAPPED_BITS = 96;
const MAPPED_WORD = 0xffff;

/** A block of addresses: 16 bytes, IPv4 as IPv4-mapped, and a prefix of up to 128 bits. */
export interface Cidr {
  readonly ip: Uint8Array;
  readonly bits: number;
}

/** The block a text stands for (`10.0.0.0/8`, `2001:db8::/32`, one address), or what is wrong. */
export function parseCidr(text: string): Cidr | string {
  const slash = text.indexOf("/");
  const ip = parseIp(slash === -1 ? text : text.slice(0, slash));
  if (ip === undefined) return "must be an IP address or a CIDR block";
  const isIpv4 = !text.includes(":");
  const digits = slash === -1 ? String(isIpv4 ? 32 : FULL) : text.slice(slash + 1);
  const prefix = /^(?:0|[1-9]\d{0,2})$/.test(digits) ? Number(digits) : Infinity;
  const bits = isIpv4 ? prefix + MAPPED_BITS : prefix;
  if (bits > FULL) return `must have a prefix of at most ${isIpv4 ? 32 : FULL} bits`;
  if (!isIpv4 && bits < MAPPED_BITS && isIpv4Mapped(ip)) return "must be written as IPv4";
  if (!isClear(ip, bits)) return "has bits beyond its prefix";
  return { ip, bits };
}

/** Ones where a prefix leaves a byte free. */
function freeBits(byte: number, bits: number): number {
  const kept = bits - byte * 8;
  return kept >= 8 ? 0 : kept <= 0 ? 0xff : 0xff >> kept;
}

function isClear(ip: Uint8Array, bits: number): boolean {
  for (let i = bits >> 3; i < 16; i++) {
    if (((ip[i] ?? 0) & freeBits(i, bits)) !== 0) return false;
  }
  return true;
}

/** A block's last address. */
function lastOf(ip: Uint8Array, bits: number): Uint8Array {
  const last = Uint8Array.from(ip);
  for (let i = bits >> 3; i < 16; i++) last[i] = (ip[i] ?? 0) | freeBits(i, bits);
  return last;
}

/**
 * How explicitly a block names refused addresses: one that starts and ends in one refused class
 * (10.0.0.0/8) does, one that happens to cover them (0.0.0.0/0) does not. Cloud metadata, which
 * hides inside such classes, and this machine's own addresses only open to the very address.
 */
function levelOfBlock({ ip, bits }: Cidr): number {
  if (bits === FULL) return Level.HOST;
  const first = classify(ip);
  if (first === AddressClass.PUBLIC || first !== classify(lastOf(ip, bits))) return Level.NONE;
  return Level.CLASS;
}

/** An address as four words: compared a hundred thousand times, so no arrays. */
interface Words {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

interface Block {
  readonly first: Words;
  readonly last: Words;
  readonly bits: number;
  readonly item: number;
}

interface Open {
  readonly last: Words;
  readonly set: number;
}

/** Starts of ranges, four words each, and the set of each range. */
class RangeList {
  readonly starts: number[] = [0, 0, 0, 0];
  readonly sets: number[] = [EMPTY_SET];

  add({ a, b, c, d }: Words, set: number): void {
    const { starts, sets } = this;
    const at = starts.length - 4;
    const isSame = starts[at] === a && starts[at + 1] === b && starts[at + 2] === c &&
      starts[at + 3] === d;
    if (isSame) {
      sets[sets.length - 1] = set;
    } else {
      starts.push(a, b, c, d);
      sets.push(set);
    }
  }
}

/** Gathers blocks, then builds the table. */
export class CidrBuilder {
  readonly #ipv4: Block[] = [];
  readonly #ipv6: Block[] = [];

  add(cidr: Cidr, rule: number): void {
    const { ip, bits } = cidr;
    const item = itemOf(rule, levelOfBlock(cidr));
    const first = { a: word(ip, 0), b: word(ip, 4), c: word(ip, 8), d: word(ip, 12) };
    const last = {
      a: lastWord(first.a, bits),
      b: lastWord(first.b, bits - 32),
      c: lastWord(first.c, bits - 64),
      d: lastWord(first.d, bits - 96),
    };
    // ::/0 and its like are IPv6 only, although the mapped addresses lie inside.
    const isIpv4 = bits >= MAPPED_BITS && isIpv4Mapped(ip);
    (isIpv4 ? this.#ipv4 : this.#ipv6).push({ first, last, bits, item });
  }

  build(sets: RuleSets): CidrTable {
    return new CidrTable(sweep(this.#ipv4, sets), sweep(this.#ipv6, sets));
  }
}

function lastWord(first: number, bits: number): number {
  if (bits >= 32) return first;
  return bits <= 0 ? 0xffffffff : (first | (0xffffffff >>> bits)) >>> 0;
}

function compareWords(x: Words, y: Words): number {
  return x.a - y.a || x.b - y.b || x.c - y.c || x.d - y.d;
}

/** The address after another; undefined after the last of all. */
function next({ a, b, c, d }: Words): Words | undefined {
  if (d !== 0xffffffff) return { a, b, c, d: d + 1 };
  if (c !== 0xffffffff) return { a, b, c: c + 1, d: 0 };
  if (b !== 0xffffffff) return { a, b: b + 1, c: 0, d: 0 };
  return a === 0xffffffff ? undefined : { a: a + 1, b: 0, c: 0, d: 0 };
}

function sweep(blocks: Block[], sets: RuleSets): RangeList {
  blocks.sort((x, y) => compareWords(x.first, y.first) || x.bits - y.bits);
  const ranges = new RangeList();
  const open: Open[] = [];
  const closeBefore = (first: Words | undefined): void => {
    let top = open.at(-1);
    while (top !== undefined && (first === undefined || compareWords(top.last, first) < 0)) {
      open.pop();
      const start = next(top.last);
      top = open.at(-1);
      if (start !== undefined) ranges.add(start, top?.set ?? EMPTY_SET);
    }
  };
  for (const { first, last, item } of blocks) {
    closeBefore(first);
    const set = sets.with(open.at(-1)?.set ?? EMPTY_SET, item);
    open.push({ last, set });
    ranges.add(first, set);
  }
  closeBefore(undefined);
  return ranges;
}

/** Set of the rules whose blocks hold an address. */
export class CidrTable {
  readonly #starts4: Uint32Array;
  readonly #sets4: Int32Array;
  readonly #starts6: Uint32Array;
  readonly #sets6: Int32Array;

  constructor(ipv4: RangeList, ipv6: RangeList) {
    // Of a mapped address only the last word differs; what starts after the last one is left out.
    const isMapped = (i: number): boolean => i === 0 || ipv4.starts[i * 4 + 2] === MAPPED_WORD;
    const kept = [...ipv4.sets.keys()].filter(isMapped);
    this.#starts4 = Uint32Array.from(kept, (i) => ipv4.starts[i * 4 + 3] ?? 0);
    this.#sets4 = Int32Array.from(kept, (i) => ipv4.sets[i] ?? EMPTY_SET);
    this.#starts6 = Uint32Array.from(ipv6.starts);
    this.#sets6 = Int32Array.from(ipv6.sets);
  }

  lookup(ip: Uint8Array, at: number): number {
    return isIpv4Mapped(ip, at) ? this.lookupIpv4(word(ip, at + 12)) : this.#lookupIpv6(ip, at);
  }

  lookupIpv4(ip: number): number {
    const starts = this.#starts4;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((starts[middle] ?? 0) <= ip) low = middle;
      else high = middle - 1;
    }
    return this.#sets4[low] ?? EMPTY_SET;
  }

  #lookupIpv6(ip: Uint8Array, at: number): number {
    const a = word(ip, at);
    const b = word(ip, at + 4);
    const c = word(ip, at + 8);
    const d = word(ip, at + 12);
    let low = 0;
    let high = this.#sets6.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#startsAtOrBefore(middle * 4, a, b, c, d)) low = middle;
      else high = middle - 1;
    }
    return this.#sets6[low] ?? EMPTY_SET;
  }

  #startsAtOrBefore(at: number, a: number, b: number, c: number, d: number): boolean {
    const starts = this.#starts6;
    const first = starts[at] ?? 0;
    if (first !== a) return first < a;
    const second = starts[at + 1] ?? 0;
    if (second !== b) return second < b;
    const third = starts[at + 2] ?? 0;
    return third === c ? (starts[at + 3] ?? 0) <= d : third < c;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>> 0;
}

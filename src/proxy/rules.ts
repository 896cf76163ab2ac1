// Which outbound a stream or datagram takes: the first rule that matches decides.
//
// A name is decided in two steps, since some rules need its addresses. In the second step each
// address is judged for itself, and addresses that are not public, or this machine's own, are
// refused unless the rule that matched names them by CIDR. The answer is a `CheckedTarget`: a copy
// of the very address that was judged, and the only thing the dialling code takes.

import { AddressClass, classify, embeddedIpv4, NO_IPV4 } from "./address_class.ts";
import { isIpv4Mapped } from "../base/ip.ts";
import { OwnAddresses } from "./own_addresses.ts";
import { CidrBuilder, type CidrTable } from "./rule_cidrs.ts";
import { DomainTable, KEYWORDS_MAX } from "./rule_domains.ts";
import { itemOf, Level, LEVEL_BITS, levelOf, NO_ITEM, ruleOf, RuleSets } from "./rule_sets.ts";
import {
  ENTRIES_MAX,
  type Entry,
  LIST_CHARS_MAX,
  type Network,
  parseEntry,
  parseListLine,
  parsePorts,
  PORTS_MAX,
  PROBLEMS_MAX,
  type RuleProblem,
  RULES_MAX,
  type RuleSpec,
} from "./rule_form.ts";
import type { Target } from "./target.ts";

export const DIRECT = 0;
export const REJECT = 1;
/** Where a rule is told by its index: the fallback decided. */
export const NO_RULE = -1;

/** Answers that are no outbound. */
export const Verdict = {
  /** A rule says reject. */
  REJECTED: -1,
  /** The address is not public, or this machine's own, and no rule names it. */
  REFUSED_ADDRESS: -2,
} as const;

export interface OutboundSpec {
  readonly name: string;
  /**
   * The upstream gets names as they are. Its network is then out of these rules' sight: what a
   * name leads to there, nobody checks.
   *
   * @default {false}
   */
  readonly resolvesNames?: boolean;
}

export interface RulesOptions {
  readonly rules: readonly RuleSpec[];
  /** Upstreams, beside `direct` and `reject`. */
  readonly outbounds?: readonly OutboundSpec[];
  /** Outbound when no rule matches. @default {"direct"} */
  readonly fallback?: string;
  /** Addresses of this machine itself. */
  readonly own?: OwnAddresses;
}

/** Whose traffic it is, and where to. */
interface Flow {
  readonly user: string;
  readonly network: number;
  readonly port: number;
  /** "" when the client named an address. */
  readonly name: string;
}

const NO_ADDRESSES = new OwnAddresses();
const NETWORK_BIT = { tcp: 1, udp: 2 } as const;
const BOTH_NETWORKS = 3;

interface Condition {
  readonly outbound: number;
  readonly networks: number;
  readonly users: ReadonlySet<string> | undefined;
  /** First and last of each range. */
  readonly ports: Uint16Array | undefined;
}

interface Tables {
  readonly conditions: readonly Condition[];
  readonly outbounds: readonly Required<OutboundSpec>[];
  readonly fallback: number;
  readonly sets: RuleSets;
  readonly domains: DomainTable;
  readonly cidrs: CidrTable;
  /** Set of the rules that name no destination. */
  readonly anywhere: number;
  /** Set of the rules that have a CIDR. */
  readonly withCidr: number;
  readonly own: OwnAddresses;
}

// Not exported: nothing outside this file can make a target say what no rule has allowed.
let fillChecked: (
  target: CheckedTarget,
  ip: Uint8Array,
  at: number,
  port: number,
  outbound: number,
) => void;
let clearChecked: (target: CheckedTarget) => void;
let setRule: (target: CheckedTarget, item: number) => void;
let judge: (
  rules: Rules,
  best: number,
  flow: Flow,
  ip: Uint8Array,
  at: number,
  out: CheckedTarget,
) => number;

/**
 * An address that rules have allowed: a copy of it, its port and the outbound to use. Only this
 * can be dialled or sent to. A name that resolves differently the next time (rebinding) has no
 * next time.
 */
export class CheckedTarget {
  readonly #ip = new Uint8Array(16);
  #port = 0;
  #outbound = -1;
  #rule = NO_RULE;

  static {
    fillChecked = (target, ip, at, port, outbound) => {
      for (let i = 0; i < 16; i++) target.#ip[i] = ip[at + i] ?? 0;
      target.#port = port;
      target.#outbound = outbound;
    };
    clearChecked = (target) => {
      target.#port = 0;
      target.#outbound = -1;
    };
    setRule = (target, item) => target.#rule = indexOf(item);
  }

  get port(): number {
    return this.#port;
  }

  /** Index of the outbound; see `Rules.outbounds`. */
  get outbound(): number {
    return this.#outbound;
  }

  /** Index of the rule that decided, also where it refused; NO_RULE: none matched. */
  get rule(): number {
    return this.#rule;
  }

  /** Writes the 16 bytes of the address, for the call that dials or sends. */
  copyIp(out: Uint8Array, at: number): void {
    if (this.#port === 0) throw new TypeError("Cannot use a target that no rule has allowed");
    for (let i = 0; i < 16; i++) out[at + i] = this.#ip[i] ?? 0;
  }

  get isIpv4(): boolean {
    return isIpv4Mapped(this.#ip);
  }
}

/** Compiled rules; never changed, only replaced. */
export class Rules {
  readonly #tables: Tables;

  static {
    judge = (rules, best, { user, network, port }, ip, at, out) =>
      rules.#judge(best, user, network, ip, at, port, out);
  }

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Names by index: 0 is `direct`, 1 is `reject`. */
  get outbounds(): readonly Required<OutboundSpec>[] {
    return this.#tables.outbounds;
  }

  /** First step for a stream, or for the first datagram to a name. */
  decideBeforeResolution(user: string, network: Network, target: Target): Pending {
    const { name, port } = target;
    const flow = { user, network: NETWORK_BIT[network], port, name };
    let best = this.#first(this.#tables.anywhere, user, flow.network, port);
    if (name !== "") {
      this.#tables.domains.forEachSet(name, (set) => {
        best = Math.min(best, this.#first(set, user, flow.network, port));
      });
    }
    const mayChange = this.#first(this.#tables.withCidr, user, flow.network, port) < best;
    return new Pending(this, flow, best, mayChange);
  }

  /**
   * Whether a datagram to an address may go, for each one anew. Allocates nothing.
   *
   * @returns the outbound with `out` filled, or a {@linkcode Verdict} with `out` emptied
   */
  checkDatagram(
    user: string,
    ip: Uint8Array,
    at: number,
    port: number,
    out: CheckedTarget,
  ): number {
    const anywhere = this.#first(this.#tables.anywhere, user, NETWORK_BIT.udp, port);
    return this.#judge(anywhere, user, NETWORK_BIT.udp, ip, at, port, out);
  }

  /** Outbound of an item that names or conditions without a destination have matched. */
  outboundOf(item: number): number {
    const { conditions, fallback } = this.#tables;
    return item === NO_ITEM ? fallback : conditions[ruleOf(item)]?.outbound ?? REJECT;
  }

  /** The second step: `best` is what matched so far. Fills or empties `out`. */
  #judge(
    best: number,
    user: string,
    network: number,
    ip: Uint8Array,
    at: number,
    port: number,
    out: CheckedTarget,
  ): number {
    const { cidrs } = this.#tables;
    const named = this.#first(cidrs.lookup(ip, at), user, network, port);
    // An address that leads to an IPv4 one is held to that one's rules, but not freed by them.
    const inner = embeddedIpv4(ip, at);
    const innerItem = inner === NO_IPV4
      ? NO_ITEM
      : this.#first(cidrs.lookupIpv4(inner), user, network, port) | LEVEL_BITS;
    const item = Math.min(best, named, innerItem);
    const outbound = this.outboundOf(item);
    setRule(out, item);
    const level = item === named && item !== NO_ITEM ? levelOf(item) : Level.NONE;
    if (outbound === REJECT || port === 0) {
      clearChecked(out);
      return Verdict.REJECTED;
    }
    const addressClass = classify(ip, at);
    if (!isLifted(addressClass, level) || this.#isOwn(addressClass, level, ip, at, inner)) {
      clearChecked(out);
      return Verdict.REFUSED_ADDRESS;
    }
    fillChecked(out, ip, at, port, outbound);
    return outbound;
  }

  /**
   * Whether it leads to this machine, without a rule that names the very address. What is not
   * public is refused by its class, whoever has it.
   */
  #isOwn(
    addressClass: number,
    level: number,
    ip: Uint8Array,
    at: number,
    inner: number,
  ): boolean {
    if (addressClass !== AddressClass.PUBLIC || level === Level.HOST) return false;
    const { own } = this.#tables;
    return own.has(ip, at) || (inner !== NO_IPV4 && own.hasIpv4(inner));
  }

  /** The first item of a set whose other conditions hold. */
  #first(set: number, user: string, network: number, port: number): number {
    const { sets, conditions } = this.#tables;
    const items = sets.items(set);
    for (let i = 0; i < items.length; i++) {
      const item = items[i] ?? NO_ITEM;
      const condition = conditions[item >> 2];
      if (condition !== undefined && matches(condition, user, network, port)) return item;
    }
    return NO_ITEM;
  }
}

function indexOf(item: number): number {
  return item === NO_ITEM ? NO_RULE : ruleOf(item);
}

function isLifted(addressClass: number, level: number): boolean {
  if (addressClass === AddressClass.PUBLIC) return true;
  return level >= (addressClass === AddressClass.METADATA ? Level.HOST : Level.CLASS);
}

function matches(condition: Condition, user: string, network: number, port: number): boolean {
  if ((condition.networks & network) === 0) return false;
  if (condition.users !== undefined && !condition.users.has(user)) return false;
  const { ports } = condition;
  if (ports === undefined) return true;
  for (let i = 0; i < ports.length; i += 2) {
    if (port >= (ports[i] ?? 0) && port <= (ports[i + 1] ?? 0)) return true;
  }
  return false;
}

/** What became of a name's addresses. */
export interface Candidates {
  /** In the order given. */
  readonly allowed: readonly CheckedTarget[];
  readonly rejected: number;
  readonly refusedAddresses: number;
  /** The rule that decided of the first of them; NO_RULE: none matched. */
  readonly rule: number;
}

/** A stream's or name's decision, as far as it goes without an address. */
export class Pending {
  /**
   * - `reject`: no address changes that.
   * - `hand-over`: the upstream resolves the name.
   * - `resolve`: get the addresses (for an address: that one), then {@linkcode check} them.
   */
  readonly step: "reject" | "hand-over" | "resolve";
  /** The outbound when handed over. */
  readonly outbound: number;
  readonly #rules: Rules;
  readonly #flow: Flow;
  readonly #best: number;

  constructor(rules: Rules, flow: Flow, best: number, mayChange: boolean) {
    this.#rules = rules;
    this.#flow = flow;
    this.#best = best;
    this.outbound = rules.outboundOf(best);
    const isHandedOver = flow.name !== "" && rules.outbounds[this.outbound]?.resolvesNames === true;
    if (mayChange || (this.outbound !== REJECT && !isHandedOver)) this.step = "resolve";
    else this.step = this.outbound === REJECT ? "reject" : "hand-over";
  }

  /** Index of the rule that decided so far; NO_RULE: none matched. */
  get rule(): number {
    return indexOf(this.#best);
  }

  /** Judges one address; see {@linkcode Rules.checkDatagram} for what it returns. */
  check(ip: Uint8Array, at: number, out: CheckedTarget): number {
    return judge(this.#rules, this.#best, this.#flow, ip, at, out);
  }

  /** Judges every address of a name. */
  decideAfterResolution(addresses: readonly Uint8Array[]): Candidates {
    const allowed: CheckedTarget[] = [];
    let rejected = 0;
    let refusedAddresses = 0;
    let rule: number | undefined;
    for (const ip of addresses) {
      const target = new CheckedTarget();
      const verdict = this.check(ip, 0, target);
      rule ??= target.rule;
      if (verdict === Verdict.REJECTED) rejected += 1;
      else if (verdict === Verdict.REFUSED_ADDRESS) refusedAddresses += 1;
      else allowed.push(target);
    }
    return { allowed, rejected, refusedAddresses, rule: rule ?? this.rule };
  }
}

export type CompiledRules =
  | { readonly rules: Rules }
  | { readonly problems: readonly RuleProblem[]; readonly omitted: number };

/** Compiles rules, or says everything that is wrong with them. */
export function compileRules(options: RulesOptions): CompiledRules {
  return new Compiler(options).compile();
}

class Compiler {
  readonly #options: RulesOptions;
  readonly #outbounds: Required<OutboundSpec>[];
  readonly #sets = new RuleSets();
  readonly #domains = new DomainTable(this.#sets);
  readonly #cidrs = new CidrBuilder();
  readonly #problems: RuleProblem[] = [];
  #omitted = 0;
  #entries = 0;
  #anywhere = 0;
  #withCidr = 0;

  constructor(options: RulesOptions) {
    this.#options = options;
    this.#outbounds = ["direct", "reject"].map((name) => ({ name, resolvesNames: false }));
  }

  compile(): CompiledRules {
    const { rules, outbounds = [], fallback = "direct" } = this.#options;
    for (const { name, resolvesNames = false } of outbounds) {
      if (this.#outboundIndex(name) !== -1) {
        this.#fail(-1, "outbounds", `"${name}" is there twice, or a name that is taken`);
      }
      this.#outbounds.push({ name, resolvesNames });
    }
    const fallbackIndex = this.#outboundIndex(fallback);
    if (fallbackIndex === -1) this.#fail(-1, "fallback", `"${fallback}" is no outbound`);
    if (rules.length > RULES_MAX) {
      this.#fail(-1, "rules", `there are more than ${RULES_MAX} rules`);
      return this.#failure();
    }
    const conditions = rules.map((rule, i) => this.#rule(rule, i));
    if (this.#problems.length > 0) return this.#failure();
    const tables = {
      conditions,
      outbounds: this.#outbounds,
      fallback: fallbackIndex,
      sets: this.#sets,
      domains: this.#domains,
      cidrs: this.#cidrs.build(this.#sets),
      anywhere: this.#anywhere,
      withCidr: this.#withCidr,
      own: this.#options.own ?? NO_ADDRESSES,
    };
    return { rules: new Rules(tables) };
  }

  #failure(): CompiledRules {
    return { problems: this.#problems, omitted: this.#omitted };
  }

  #outboundIndex(name: string): number {
    return this.#outbounds.findIndex((outbound) => outbound.name === name);
  }

  #rule(rule: RuleSpec, index: number): Condition {
    const { domain = [], domainSuffix = [], domainKeyword = [], cidr = [], lists = [] } = rule;
    const outbound = this.#outboundIndex(rule.outbound);
    if (outbound === -1) this.#fail(index, "outbound", `"${rule.outbound}" is no outbound`);
    this.#condition(index, "exact", "domain", domain);
    this.#condition(index, "suffix", "domainSuffix", domainSuffix);
    this.#condition(index, "keyword", "domainKeyword", domainKeyword);
    this.#condition(index, "cidr", "cidr", cidr);
    for (const [i, { text }] of lists.entries()) this.#list(index, `lists[${i}]`, text);
    // An empty list is a destination that nothing matches, and not the absence of one.
    const names = [rule.domain, rule.domainSuffix, rule.domainKeyword, rule.cidr, rule.lists];
    if (names.every((list) => list === undefined)) {
      this.#anywhere = this.#sets.with(this.#anywhere, itemOf(index, Level.NONE));
    }
    return {
      outbound,
      networks: rule.network === undefined ? BOTH_NETWORKS : NETWORK_BIT[rule.network],
      users: rule.user === undefined ? undefined : new Set(rule.user),
      ports: rule.port === undefined ? undefined : this.#ports(index, rule.port),
    };
  }

  #condition(rule: number, kind: Entry["kind"], key: string, texts: readonly string[]): void {
    for (const [i, text] of texts.entries()) {
      this.#entry(rule, `${key}[${i}]`, parseEntry(kind, text));
    }
  }

  #list(rule: number, place: string, text: string): void {
    if (text.length > LIST_CHARS_MAX) {
      return this.#fail(rule, place, `is longer than ${LIST_CHARS_MAX} characters`);
    }
    let line = 1;
    for (let at = 0; at <= text.length; line++) {
      const newline = text.indexOf("\n", at);
      const end = newline === -1 ? text.length : newline;
      const entry = parseListLine(text.slice(at, end));
      if (entry !== undefined) this.#entry(rule, `${place}:${line}`, entry);
      at = end + 1;
    }
  }

  #entry(rule: number, place: string, entry: Entry | string): void {
    if (typeof entry === "string") return this.#fail(rule, place, entry);
    this.#entries += 1;
    if (this.#entries > ENTRIES_MAX) {
      return this.#fail(rule, place, `is one of more than ${ENTRIES_MAX} entries`);
    }
    switch (entry.kind) {
      case "exact":
        return this.#domains.addExact(entry.name, rule);
      case "suffix":
        return this.#domains.addSuffix(entry.name, rule);
      case "keyword":
        this.#domains.addKeyword(entry.name, rule);
        if (this.#domains.keywords > KEYWORDS_MAX) {
          this.#fail(rule, place, `is one of more than ${KEYWORDS_MAX} keywords`);
        }
        return;
      case "cidr":
        this.#cidrs.add(entry.cidr, rule);
        this.#withCidr = this.#sets.with(this.#withCidr, itemOf(rule, Level.NONE));
    }
  }

  #ports(rule: number, texts: readonly string[]): Uint16Array {
    const ranges: number[] = [];
    if (texts.length > PORTS_MAX) this.#fail(rule, "port", `has more than ${PORTS_MAX} entries`);
    for (const [i, text] of texts.slice(0, PORTS_MAX).entries()) {
      const range = parsePorts(text);
      if (typeof range === "string") this.#fail(rule, `port[${i}]`, range);
      else ranges.push(...range);
    }
    return Uint16Array.from(ranges);
  }

  #fail(rule: number, place: string, text: string): void {
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push({ rule, place, text });
    else this.#omitted += 1;
  }
}

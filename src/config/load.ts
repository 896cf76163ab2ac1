// Configuration text → Config, or every problem of it at once. Pure: files, their modes and the
// environment come in through the sources.

import { messageOf } from "../base/errors.ts";
import { besides, type ConfigSources, findPsk, KeyFinder, type Loaded, openText } from "./keys.ts";
import type { Report } from "./problem.ts";
import { checkRelays } from "./relay_settings.ts";
import { KEY_MISSING } from "./psk.ts";
import { listAdvice, ruleAdvice } from "./rule_advice.ts";
import { read, type Reading } from "./schema.ts";
import {
  type Config,
  CREDENTIAL_BYTES_MAX,
  type ListConfig,
  type RoutingConfig,
  type RuleConfig,
  SETTINGS,
  type UserConfig,
} from "./settings.ts";
import { type Surroundings, warnOf } from "./warnings.ts";

/** What is wrong with one rule, by who compiles them. */
export interface RuleFault {
  /** Index of the rule; -1 is no rule's. */
  readonly rule: number;
  /** `domain[3]`. */
  readonly place: string;
  readonly text: string;
}

export interface ServerSources extends ConfigSources, Surroundings {
  /** Compiles the rules; without it only their form is checked. */
  readonly checkRules?: (routing: RoutingConfig) => readonly RuleFault[];
}

const UNPRINTABLE = /[\p{C}\u2028\u2029]/u;

/** What is no rule's, by who compiles them → its setting. */
const GENERAL_PLACES = new Map([["fallback", "default_outbound"]]);
/** Names of outbounds are judged here, each at its place. */
const JUDGED_HERE = "outbounds";

export type LoadedConfig = Loaded<Config>;

/** Reads a configuration. Throws a ConfigError that lists every problem by position. */
export function loadConfig(text: string, sources: ServerSources): LoadedConfig {
  const { report, tree, variable } = openText(text, sources);
  const reading = read(SETTINGS, tree.root, report, tree.broken);
  const finder = new KeyFinder(sources, report, reading.offsets);
  const psk = findPsk(finder, variable, reading.settings, tree.broken);
  const users = findUsers(reading, finder, report, tree.broken);
  const rules = readLists(reading, sources, report);
  checkOutbounds(reading, report);
  checkRelays(reading, report);
  checkRules({ ...reading.settings, rules }, reading, sources, report);
  if (report.failed || psk === undefined) {
    psk?.wipe();
    for (const { key } of users) key.wipe();
    throw report.error();
  }
  const config: Config = Object.freeze({
    ...reading.settings,
    rules,
    psk,
    users: Object.freeze(users),
  });
  warnOf(config, reading.offsets, sources, report);
  return { config, warnings: report.warnings() };
}

/** The users with their keys; what is wrong with their names and keys is reported. */
function findUsers(
  { settings, offsets }: Reading<typeof SETTINGS>,
  finder: KeyFinder,
  report: Report,
  partial: boolean,
): UserConfig[] {
  const users: UserConfig[] = [];
  const names = new Set<string>();
  const start = offsets.get("users") ?? 0;
  for (const [i, { key: text, ...user }] of settings.users.entries()) {
    const path = `users[${i}]`;
    const nameOffset = offsets.get(`${path}.name`) ?? offsets.get(path) ?? start;
    const isSought = !partial && !report.hasProblem(path);
    const key = finder.find({
      path: `${path}.key`,
      text,
      file: user.keyFile,
      offset: nameOffset,
      ...(isSought ? { missing: KEY_MISSING_HERE } : {}),
    });
    if (names.has(user.name) && user.name !== "") {
      report.fail(nameOffset, `${path}.name`, "is another user's too", "Write another name.");
    }
    names.add(user.name);
    if (key !== undefined) users.push(Object.freeze({ ...user, key }));
  }
  // Without users the psk alone lets in; that must not come about by turning the last one off.
  if (settings.users.length > 0 && !settings.users.some(({ enabled }) => enabled)) {
    const remedy = "Enable one, or remove them all to let in whoever has the psk.";
    report.fail(start, "users", "has no user that is enabled", remedy);
  }
  reportSharedKeys(users, start, report);
  return users;
}

const KEY_MISSING_HERE = {
  rule: KEY_MISSING.rule,
  remedy:
    "Run `phantom keygen` and write the key as key, or name a file that holds it in key_file.",
};

function reportSharedKeys(users: readonly UserConfig[], offset: number, report: Report): void {
  // Looked up by their bytes and not compared one by one: these are all keys of one operator.
  const owners = new Map<string, string>();
  for (const { name, key } of users) {
    const bytes = key.expose().join();
    const owner = owners.get(bytes);
    if (owner !== undefined) {
      const shown = `${report.show(owner)} and ${report.show(name)}`;
      report.fail(offset, "users", `${shown} have the same key`, "Give each a key of their own.");
    }
    owners.set(bytes, name);
  }
}

/** The rules with the texts of their lists. */
function readLists(
  { settings, offsets }: Reading<typeof SETTINGS>,
  { file, readFile }: ConfigSources,
  report: Report,
): readonly RuleConfig[] {
  return settings.rules.map(({ list, ...rule }, i) => {
    const path = `rules[${i}].list`;
    const lists = list.flatMap((name): ListConfig[] => {
      try {
        return [{ name, text: readFile(besides(file, name)) }];
      } catch (error) {
        const cause = messageOf(error);
        const at = offsets.get(path) ?? 0;
        const remedy = listAdvice(name) ?? "Correct the path.";
        report.fail(at, path, `can't read ${report.show(name)}: ${cause}`, remedy);
        return [];
      }
    });
    return Object.freeze({ ...rule, lists });
  });
}

function checkOutbounds({ settings, offsets }: Reading<typeof SETTINGS>, report: Report): void {
  for (const [i, outbound] of settings.outbounds.entries()) {
    const { name, type, address, user, password, passNames } = outbound;
    const path = `outbounds[${i}]`;
    const at = (key: string) => offsets.get(`${path}.${key}`) ?? offsets.get(path) ?? 0;
    const fail = (key: string, rule: string, remedy: string): void => {
      const place = `${path}.${key}`;
      // What was written and is wrong has its problem already, as has what is no section.
      const isKnown = report.hasProblem(place) || report.hasProblem(path);
      if (!isKnown) report.fail(at(key), place, rule, remedy);
    };
    const isTaken = name === "direct" || name === "reject" ||
      settings.outbounds.findIndex((one) => one.name === name) < i;
    if (isTaken && name !== "") fail("name", "is taken", "Write another name.");
    if (type === "direct") {
      const isProxys = address !== undefined || user !== "" || password !== "" || passNames;
      if (isProxys) fail("type", "is direct, and has settings of a proxy", "Remove those.");
    } else if (address === undefined) {
      fail("address", "is missing", 'Write the proxy, such as address: "192.0.2.7:1080".');
    }
    if ((user === "") !== (password === "") && !report.hasProblem(`${path}.password`)) {
      fail("user", "and password must be set together", "Write both, or neither.");
    }
    if (new TextEncoder().encode(password).length > CREDENTIAL_BYTES_MAX) {
      fail("password", `is longer than ${CREDENTIAL_BYTES_MAX} bytes`, "Use a shorter one.");
    }
  }
}

function checkRules(
  routing: RoutingConfig,
  { offsets }: Reading<typeof SETTINGS>,
  { checkRules: check }: ServerSources,
  report: Report,
): void {
  const outbounds = routing.outbounds.map(({ name }) => name);
  for (const { rule, place, text } of check?.(routing) ?? []) {
    if (place === JUDGED_HERE) continue;
    const name = place.replace(/^lists/, "list")
      .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const general = GENERAL_PLACES.get(place) ?? "rules";
    const path = rule < 0 ? general : `rules[${rule}].${name}`;
    const item = path.replace(/:\d+$/, "");
    const places = [item, item.replace(/\[\d+\]$/, ""), `rules[${rule}]`, general];
    const at = places.map((one) => offsets.get(one)).find((one) => one !== undefined) ?? 0;
    const value = valueAt(routing, rule, place);
    const key = rule < 0 ? general : name.replace(/\[.*$/, "");
    const advice = value === undefined || report.hides(value) || UNPRINTABLE.test(value)
      ? undefined
      : ruleAdvice(key, value, outbounds);
    const isShown = value === undefined || text.startsWith(JSON.stringify(value));
    const current = isShown ? "" : `: current value is ${report.show(value)}`;
    report.fail(at, path, `${text}${current}`, advice ?? "Correct it, or remove it.");
  }
}

/** What stands where the compiler of the rules points: `outbound`, `domain[3]`, `lists[0]:7`. */
function valueAt({ rules, defaultOutbound }: RoutingConfig, index: number, place: string) {
  if (place === "fallback") return defaultOutbound;
  const rule = rules[index];
  const [, key = "", item, line] = /^(\w+)(?:\[(\d+)\](?::(\d+))?)?$/.exec(place) ?? [];
  const value: unknown = rule !== undefined && Object.hasOwn(rule, key)
    ? rule[key as keyof RuleConfig]
    : undefined;
  if (typeof value === "string") return value;
  const found: unknown = Array.isArray(value) ? value[Number(item)] : undefined;
  if (typeof found === "string") return found;
  return line === undefined
    ? undefined
    : rule?.lists[Number(item)]?.text.split("\n")[Number(line) - 1];
}

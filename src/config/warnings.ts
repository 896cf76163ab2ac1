// What is unwise about a configuration that can be used as it is.

import { nearest } from "../base/nearest.ts";
import type { Report } from "./problem.ts";
import type { Config, RuleConfig, UserConfig } from "./settings.ts";

/** What warnings ask of the machine; without it they are not given. */
export interface Surroundings {
  /** The time, in milliseconds of Unix. */
  readonly now?: () => number;
  /** Names of the machine's network interfaces. */
  readonly interfaces?: () => readonly string[];
}

/** Warns of all that is unwise. */
export function warnOf(
  config: Config,
  offsets: ReadonlyMap<string, number>,
  surroundings: Surroundings,
  report: Report,
): void {
  new Warnings(offsets, report).all(config, surroundings);
}

class Warnings {
  readonly #offsets: ReadonlyMap<string, number>;
  readonly #report: Report;

  constructor(offsets: ReadonlyMap<string, number>, report: Report) {
    this.#offsets = offsets;
    this.#report = report;
  }

  all(config: Config, { now, interfaces }: Surroundings): void {
    this.#mode(config);
    this.#publicHost(config);
    this.#relays(config);
    this.#rules(config);
    if (now !== undefined) this.#expired(config.users, now());
    const present = interfaces?.() ?? [];
    if (present.length > 0) this.#interfaces(config, present);
  }

  #warn(path: string, rule: string, remedy: string): void {
    // A list of one value may be written as that value.
    const written = this.#offsets.has(path) ? path : path.replace(/\[\d+\]$/, "");
    this.#report.warn(this.#offsets.get(written) ?? 0, written, rule, remedy);
  }

  #mode({ mode, ebpf }: Config): void {
    if (mode !== "ebpf" || ebpf.enabled) return;
    const remedy = 'Set ebpf.enabled to true, or mode to "auto".';
    this.#warn("mode", "asks for a carrier that ebpf.enabled turns off", remedy);
  }

  #publicHost({ publicHost }: Config): void {
    if (publicHost === "" || /[.:]/.test(publicHost)) return;
    const rule = `is ${this.#report.show(publicHost)}, a name that other networks don't know`;
    this.#warn(
      "public_host",
      rule,
      "Write the whole name, as in proxy.example.org, or an address.",
    );
  }

  #relays({ relays }: Config): void {
    for (const [i, { only, check, to }] of relays.entries()) {
      const isOurs = only === "phantom" || check === "phantom";
      if (!isOurs || to.length < 2) continue;
      const rule = `leads to ${to.length} servers that share the psk: none of them knows of ` +
        "a HELLO that another has had, so that its first data can be replayed once at each";
      this.#warn(`relays[${i}]`, rule, "Give each its own psk where that matters.");
    }
  }

  #rules({ rules, users }: Config): void {
    const known = new Set(users.map(({ name }) => name));
    for (const [i, rule] of rules.entries()) {
      for (const name of rule.user.filter((one) => !known.has(one))) {
        const near = nearest(name, known);
        const remedy = near === undefined
          ? "Correct the name, or add the user."
          : `Did you mean ${this.#report.show(near)}?`;
        this.#warn(
          `rules[${i}].user[${rule.user.indexOf(name)}]`,
          `names ${this.#report.show(name)}, which is no user`,
          remedy,
        );
      }
      if (hasCondition(rule)) continue;
      const isLast = i === rules.length - 1;
      const rest = isLast ? "" : ", and the rules after it are never asked";
      const remedy = isLast
        ? `Give it one, or write default_outbound: "${rule.outbound}" instead.`
        : "Give it one, or put it last.";
      this.#warn(`rules[${i}]`, `has no condition: it takes all traffic${rest}`, remedy);
    }
  }

  #expired(users: readonly UserConfig[], now: number): void {
    for (const [i, { name, enabled, expiresAtMs }] of users.entries()) {
      if (!enabled || expiresAtMs === 0 || expiresAtMs > now) continue;
      const rule = `is over: ${this.#report.show(name)} is let in no more`;
      this.#warn(`users[${i}].expires`, rule, "Write a later date, or remove the user.");
    }
  }

  #interfaces({ ebpf, outbounds }: Config, present: readonly string[]): void {
    const named = ebpf.enabled ? [...ebpf.interface.entries()] : [];
    for (const [i, name] of named) {
      if (present.includes(name)) continue;
      const rule = `names ${this.#report.show(name)}, which this machine does not have`;
      const later = "one that comes later is taken then";
      this.#warn(`ebpf.interface[${i}]`, rule, `${whichInterface(name, present)}; ${later}.`);
    }
    for (const [i, { name: outbound, interface: name }] of outbounds.entries()) {
      if (name === "" || present.includes(name)) continue;
      const rule = `names ${this.#report.show(name)}, which this machine does not have: ` +
        `what goes by ${outbound} fails until it does`;
      this.#warn(`outbounds[${i}].interface`, rule, `${whichInterface(name, present)}.`);
    }
  }
}

function whichInterface(name: string, present: readonly string[]): string {
  const near = nearest(name, present);
  if (near !== undefined) return `Perhaps "${near}" is meant`;
  const SHOWN_MAX = 8;
  const more = present.length > SHOWN_MAX ? ", ..." : "";
  return `It has ${present.slice(0, SHOWN_MAX).join(", ")}${more}`;
}

function hasCondition({ outbound: _, network, ...conditions }: RuleConfig): boolean {
  return network !== "any" || Object.values(conditions).some((list) => list.length > 0);
}

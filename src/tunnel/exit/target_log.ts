/**
 * Tells the log, at DEBUG and never above, what became of each target that somebody asked for: who,
 * what the rules said and by which rule, how it ended, bytes and time. What users visit is nobody's
 * affair: where nobody reads DEBUG not even a text is made of it.
 */

import type { Log } from "../../base/log.ts";
import type { ByteEnd } from "../../outbound/byte_end.ts";
import { Outcome, tellingOf } from "../../proxy/outcome.ts";
import type { Network } from "../../proxy/rule_form.ts";
import { NO_RULE } from "../../proxy/rules.ts";
import { Target } from "../../proxy/target.ts";
import { RstCode } from "../../wire/frames.ts";

/** Targets of one association that are told apart; beyond, the oldest is told of. */
const DATAGRAM_TARGETS_MAX = 64;

const RESETS: Readonly<Record<number, string>> = {
  [RstCode.targetReset]: "reset by the target",
  [RstCode.timedOut]: "the target fell silent",
};

export class TargetLog {
  readonly #log: Log;
  readonly #now: () => number;

  constructor(log: Log, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  get isOn(): boolean {
    return this.#log.tellsDebug;
  }

  get now(): number {
    return this.#now();
  }

  /** Of a stream's target; undefined where nobody will read it. */
  story(user: string, target: Target): TargetStory | undefined {
    return this.isOn ? new TargetStory(this, user, target.toString(), "tcp") : undefined;
  }

  /** Of all that an association's datagrams go to. */
  datagrams(user: string): DatagramStory | undefined {
    return this.isOn ? new DatagramStory(this, user) : undefined;
  }

  tell(story: TargetStory, cause: string): void {
    const { user, target, network, outbound, rule, bytesIn, bytesOut, begunAt } = story;
    this.#log.debug("target", "a target's end", {
      ...(user === "" ? {} : { user }),
      ...{ target, network, verdict: outbound },
      rule: rule === NO_RULE ? "none" : `rules[${rule}]`,
      cause,
      ...{ in: bytesIn, out: bytesOut, ms: Math.round(this.#now() - begunAt) },
    });
  }
}

/** One target, from the request to the end. */
export class TargetStory {
  readonly user: string;
  readonly target: string;
  readonly network: Network;
  readonly begunAt: number;
  /** What the rules chose: an outbound's name, or "refused"; "none": they were not asked. */
  outbound = "none";
  /** The rule that decided; NO_RULE: none matched. */
  rule: number = NO_RULE;
  /** From the client, and to it. */
  bytesIn = 0;
  bytesOut = 0;
  readonly #log: TargetLog;
  #cause = "ended";
  #isTold = false;

  constructor(log: TargetLog, user: string, target: string, network: Network) {
    this.#log = log;
    this.user = user;
    this.target = target;
    this.network = network;
    this.begunAt = log.now;
  }

  judged(outbound: string, rule: number): void {
    this.outbound = outbound === "" || outbound === "reject" ? "refused" : outbound;
    this.rule = rule;
  }

  /** How it will have ended, if nothing else is said. */
  set cause(words: string) {
    this.#cause = words;
  }

  failed(outcome: number): void {
    this.ended(outcome === Outcome.ok ? "ended" : tellingOf(outcome).words);
  }

  /** Tells, once. */
  ended(cause: string = this.#cause): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#log.tell(this, cause);
  }
}

/** The end that a target's bytes are written to, counting them. */
export class CountedEnd implements ByteEnd {
  readonly #story: TargetStory;
  readonly #end: ByteEnd;

  constructor(story: TargetStory, end: ByteEnd) {
    this.#story = story;
    this.#end = end;
  }

  write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    const taken = this.#end.write(bytes, at, length);
    this.#story.bytesOut += taken;
    return taken;
  }

  room(): number {
    return this.#end.room();
  }

  finish(): void {
    this.#end.finish();
  }

  reset(code: number): void {
    this.#story.cause = RESETS[code] ?? "broken off";
    this.#end.reset(code);
  }

  resume(): void {
    this.#end.resume();
  }
}

/** The targets of an association: a line each, when it ends or there are too many. */
export class DatagramStory {
  readonly #log: TargetLog;
  readonly #user: string;
  readonly #targets = new Map<string, TargetStory>();
  /** By the address that a name led to, which answers come from. */
  readonly #byAddress = new Map<string, TargetStory>();
  readonly #address = new Target();

  constructor(log: TargetLog, user: string) {
    this.#log = log;
    this.#user = user;
  }

  /** A datagram is sent to an address, which `name` led to where there is one; or it is not. */
  sent(
    ip: Uint8Array,
    port: number,
    name: string | undefined,
    verdict: { readonly outbound: string; readonly rule: number; readonly refused?: number },
    bytes: number,
  ): void {
    this.#address.setIp(ip, 0, port);
    const address = this.#address.toString();
    const story = this.#of(name ?? address);
    this.#byAddress.set(address, story);
    story.judged(verdict.outbound, verdict.rule);
    if (verdict.refused === undefined) story.bytesIn += bytes;
    else story.cause = tellingOf(verdict.refused).words;
  }

  /** A name led nowhere. */
  lost(name: string, outcome: number): void {
    this.#of(name).cause = tellingOf(outcome).words;
  }

  received(source: Uint8Array, length: number, bytes: number): void {
    if (this.#address.readSocks(source, 0, length) <= 0) return;
    const story = this.#byAddress.get(this.#address.toString());
    if (story !== undefined) story.bytesOut += bytes;
  }

  ended(): void {
    for (const story of this.#targets.values()) story.ended();
    this.#targets.clear();
    this.#byAddress.clear();
  }

  #of(target: string): TargetStory {
    let story = this.#targets.get(target);
    if (story !== undefined) return story;
    if (this.#targets.size >= DATAGRAM_TARGETS_MAX) this.ended();
    story = new TargetStory(this.#log, this.#user, target, "udp");
    this.#targets.set(target, story);
    return story;
  }
}

/** On the loopback interface, which is always there, with hooks that only note what they do. */

import assert from "node:assert/strict";
import type { Interface } from "../../ffi/interfaces.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { Log } from "../base/log.ts";
import { KernelEvents } from "./events.ts";
import type { FailedLevel, Held, HeldState, Hook } from "./hook.ts";
import { HookedInterfaces } from "./hooked_interfaces.ts";

const libs = libraries();
const FAILED: readonly FailedLevel[] = [{ level: "tcx", cause: "none here", remedy: "another" }];

class NotedHook implements Hook {
  readonly name: string;
  readonly title: string;
  readonly pins = undefined;
  readonly follows?: string;
  readonly noted: string[];
  state: HeldState = "attached";
  works = true;

  constructor(noted: string[], name: string, follows?: string) {
    this.noted = noted;
    this.name = this.title = name;
    if (follows !== undefined) this.follows = follows;
  }

  attach({ name }: Interface): Held | readonly FailedLevel[] {
    this.#note(`attach to ${name}`);
    if (!this.works) return FAILED;
    this.state = "attached";
    const note = (text: string) => () => this.#note(text);
    return {
      ...{ level: "tcx", programId: 1, swapped: false, failed: [], pinFault: "" },
      state: () => this.state,
      restore: note("restore"),
      keepPin: () => true,
      unpin: note("unpin"),
      rename: note("rename"),
      detach: note("detach"),
      forget: note("forget"),
      close: note("close"),
    };
  }

  takeOff(): void {}

  #note(text: string): void {
    this.noted.push(`${this.name}: ${text}`);
  }
}

interface Bench {
  readonly hooks: readonly [NotedHook, NotedHook, NotedHook];
  readonly interfaces: HookedInterfaces;
  /** What the hooks did since the last call. */
  took(): string[];
  /** Events of the log. */
  readonly told: string[];
}

function bench(prepare: (hooks: Bench["hooks"]) => void = () => {}): Bench {
  const [noted, told]: [string[], string[]] = [[], []];
  const hooks = [
    new NotedHook(noted, "one"),
    new NotedHook(noted, "two", "one"),
    new NotedHook(noted, "three"),
  ] as const;
  prepare(hooks);
  const log = new Log(({ event }) => told.push(event));
  const events = new KernelEvents(log);
  const interfaces = new HookedInterfaces({ libs, hooks, configured: ["lo"], log, events });
  interfaces.start(0);
  return { hooks, interfaces, told, took: () => noted.splice(0) };
}

Deno.test("hooks attach in their order, and are let go of together", () => {
  const { interfaces, took } = bench();
  assert.deepEqual(took(), ["one: attach to lo", "two: attach to lo", "three: attach to lo"]);
  assert.deepEqual(interfaces.states("three").map(({ level }) => level), ["tcx"]);
  assert.equal(interfaces.health.attached, 2);
  interfaces.close();
  assert.deepEqual(took(), ["one: close", "two: close", "three: close"]);
});

Deno.test("a hook that is refused leaves others alone, and those that follow it wait", () => {
  const { hooks, interfaces, took, told } = bench(([one]) => one.works = false);
  assert.deepEqual(took(), ["one: attach to lo", "three: attach to lo"]);
  assert.deepEqual(interfaces.states("one").map(({ failed }) => failed), [FAILED]);
  assert.deepEqual(interfaces.states("two"), []);
  assert.deepEqual(told, ["one_level_failed"]);
  // It is tried again after half a minute, and no sooner.
  interfaces.check(20_000);
  assert.deepEqual(took(), []);
  hooks[0].works = true;
  interfaces.check(40_000);
  assert.deepEqual(took(), ["one: attach to lo", "two: attach to lo"]);
  interfaces.close();
});

Deno.test("a lost hook is attached anew, and what follows it stays", () => {
  const { hooks, interfaces, took } = bench();
  took();
  hooks[0].state = "lost";
  interfaces.check(2000);
  assert.deepEqual(took(), ["one: forget", "one: attach to lo"]);
  const { lost, reattached, dropped } = interfaces.health;
  assert.deepEqual({ lost, reattached, dropped }, { lost: 1, reattached: 1, dropped: 0 });
  interfaces.close();
});

Deno.test("a hook that can't be attached anew takes along what follows it", () => {
  const { hooks, interfaces, took } = bench();
  took();
  hooks[0].state = "lost";
  hooks[0].works = false;
  interfaces.check(2000);
  assert.deepEqual(took(), ["one: forget", "one: attach to lo", "two: detach"]);
  assert.equal(interfaces.health.dropped, 1);
  interfaces.close();
});

Deno.test("a replaced program is put back", () => {
  const { hooks, interfaces, took, told } = bench();
  took();
  hooks[2].state = "replaced";
  interfaces.check(2000);
  assert.deepEqual(took(), ["three: restore"]);
  assert.deepEqual(told, ["three_replaced"]);
  interfaces.close();
});

Deno.test("a hook that comes later finds the interfaces that are there", () => {
  const { interfaces, took } = bench();
  took();
  const noted: string[] = [];
  interfaces.add(new NotedHook(noted, "four", "one"), 1000);
  assert.deepEqual(noted, ["four: attach to lo"]);
  assert.deepEqual(took(), []);
  interfaces.close();
});

import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import { type Part, Parts } from "./part.ts";

interface Status {
  readonly a: number;
  readonly b: number;
}

function logTo(events: string[]): Log {
  return new Log(({ event, fields }) => events.push(`${event} ${fields.part} ${fields.cause}`));
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function part(name: string, log: string[], over: Partial<Part<string, Status>> = {}) {
  return { name, stop: () => void log.push(`stop ${name}`), ...over };
}

Deno.test("parts stop in reverse, one after the other, and only once", async () => {
  const log: string[] = [];
  const parts = new Parts(logTo(log));
  parts.add(part("a", log));
  parts.add(part("b", log, {
    async stop() {
      await new Promise((resolve) => setTimeout(resolve, 10));
      log.push("stop b");
    },
  }));
  parts.add(part("c", log));
  await parts.stop();
  await parts.stop();
  assert.deepEqual(log, ["stop c", "stop b", "stop a"]);
});

Deno.test("a part that can't stop keeps none from it, and is told of", async () => {
  const log: string[] = [];
  const parts = new Parts(logTo(log));
  parts.add(part("a", log));
  parts.add(part("b", log, { stop: () => Promise.reject(new Error("stuck")) }));
  await assert.rejects(parts.stop(), /stuck/);
  assert.deepEqual(log, ["stop a"]);
});

Deno.test("a status is made of what the parts say", () => {
  const parts = new Parts<string, Status>(logTo([]));
  parts.add(part("a", [], { status: () => ({ a: 1 }) }));
  parts.add(part("silent", []));
  parts.add(part("b", [], { status: () => ({ b: 2 }) }));
  assert.deepEqual(parts.status(), { a: 1, b: 2 });
});

Deno.test("settings taken are those that any part took", async () => {
  const parts = new Parts<string, Status>(logTo([]));
  const heard: string[] = [];
  parts.add(part("a", [], { apply: (config) => (heard.push(config), ["users"]) }));
  parts.add(part("silent", []));
  parts.add(part("b", [], { apply: (config) => (heard.push(config), Promise.resolve(["rules"])) }));
  assert.deepEqual(await parts.apply("new"), ["users", "rules"]);
  assert.deepEqual(heard, ["new", "new"]);
});

Deno.test("ticks come until the stop, and a fault is told once", async () => {
  const log: string[] = [];
  let [ticks, faults] = [0, 0];
  const parts = new Parts(logTo(log));
  parts.add(part("bad", [], {
    tick() {
      faults++;
      throw new Error("no map");
    },
  }));
  parts.add(part("good", [], { tick: () => void ticks++ }));
  parts.begin();
  assert.equal(ticks, 0);
  await until(() => ticks === 3);
  await parts.stop();
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([ticks, faults], [3, 3]);
  assert.deepEqual(log, ["part_fault bad no map"]);
});

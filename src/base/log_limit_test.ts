import assert from "node:assert/strict";
import type { LogRecord } from "./log.ts";
import { LineLimit } from "./log_limit.ts";

class Bench {
  now = 1000;
  readonly records: LogRecord[] = [];
  readonly limit = new LineLimit((record) => this.records.push(record), () => this.now);
  readonly log = this.limit.log("net");

  count(event: string): number {
    return this.records.filter((one) => one.event === event).length;
  }
}

Deno.test("LineLimit passes on some lines of an event, and others' all the while", () => {
  const bench = new Bench();
  const { log } = bench;
  for (let i = 0; i < 100_000; i++) log.warn("refused", "a stranger is refused", { i });
  assert.equal(bench.count("refused"), 100);
  assert.equal(log.with({ component: "other" }).limit?.heldBack, 100_000 - 100);
  log.info("ready", "ready");
  log.with({ component: "kernel" }).warn("refused", "another part's");
  assert.equal(bench.count("ready"), 1);
  assert.equal(bench.count("refused"), 101);
  assert.equal(bench.count("lines_held_back"), 0);
});

Deno.test("LineLimit tells how many were held back, with the next line after a while", () => {
  const bench = new Bench();
  const { log } = bench;
  for (let i = 0; i < 130; i++) log.warn("refused", "a stranger is refused");
  bench.now += 10_000;
  log.info("ready", "ready");
  const { level, component, fields } = bench.records.at(-2)!;
  assert.deepEqual([level, component, fields], ["warn", "net", { of: "refused", count: 30 }]);
  // Told once, and the event has lines again.
  log.warn("refused", "a stranger is refused");
  bench.now += 10_000;
  log.info("ready", "ready");
  assert.equal(bench.count("lines_held_back"), 1);
  assert.equal(bench.count("refused"), 101);
});

Deno.test("of a line that is held back no text is made, and it is counted", () => {
  const bench = new Bench();
  let made = 0;
  const say = () => bench.log.often("info", "client_in", "client in", () => ({ made: ++made }));
  for (let i = 0; i < 130; i++) say();
  assert.deepEqual([made, bench.count("client_in"), bench.limit.heldBack], [100, 100, 30]);
  bench.now += 10_000;
  say();
  assert.deepEqual(bench.records.at(-2)!.fields, { of: "client_in", count: 30 });
  assert.equal(made, 101);
});

Deno.test("LineLimit goes on when the clock is set back", () => {
  const bench = new Bench();
  const { log } = bench;
  bench.now = 1e12;
  for (let i = 0; i < 130; i++) log.warn("refused", "a stranger is refused");
  bench.now = 5e11;
  for (let i = 0; i < 5; i++) log.warn("refused", "a stranger is refused");
  assert.equal(bench.count("refused"), 105);
  assert.equal(bench.count("lines_held_back"), 1);
});

Deno.test("LineLimit passes on what another one has counted", () => {
  const bench = new Bench();
  const worker = new LineLimit((record) => bench.log.put(record), () => bench.now).log("worker");
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 125; i++) worker.warn("refused", "a stranger is refused");
    bench.now += 10_000;
  }
  worker.info("ready", "ready");
  const told = bench.records.filter(({ event }) => event === "lines_held_back");
  const lines = bench.count("refused") +
    told.reduce((sum, { fields }) => sum + Number(fields["count"]), 0);
  assert.equal(lines, 30 * 125);
});

Deno.test("LineLimit holds lines for debugging back twenty times later", () => {
  const bench = new Bench();
  for (let i = 0; i < 3000; i++) bench.log.debug("target", "a target's end");
  assert.equal(bench.count("target"), 2000);
});

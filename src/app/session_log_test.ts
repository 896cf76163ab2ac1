import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import type { SessionReport } from "../tunnel/protocol.ts";
import { CloseCode } from "../wire/frames.ts";
import { SessionLog, TOLD_AFTER_MS, TOLD_EVERY_MS } from "./session_log.ts";

class Bench {
  lines: string[] = [];
  #now = 0;
  #call: { readonly at: number; readonly call: () => void } | undefined;
  readonly log: SessionLog = new SessionLog({
    log: Log.to({
      ...{ level: "info", format: "text", now: () => 0 },
      write: (line) => void this.lines.push(line.trim().split("phantom: ")[1]!),
    }),
    server: "a.example:443",
    unixMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    after: (ms, call) => {
      assert.equal(this.#call, undefined, "one at a time");
      this.#call = { at: this.#now + ms, call };
      return () => this.#call = undefined;
    },
  });

  heard(state: SessionReport["state"], closeCode: number = CloseCode.done): this {
    this.log.heard({ state, closeCode, rttMs: 12.34 } as SessionReport);
    return this;
  }

  pass(ms: number): this {
    const end = this.#now + ms;
    while (this.#call !== undefined && this.#call.at <= end) {
      const { at, call } = this.#call;
      this.#now = at;
      this.#call = undefined;
      call();
    }
    this.#now = end;
    return this;
  }

  /** Since it was asked last. */
  get events(): string[] {
    return this.lines.splice(0).map((line) => /event=(\w+)/.exec(line)![1]!);
  }
}

Deno.test("a server that answers is told of once, and again when it comes back", () => {
  const bench = new Bench().heard("connecting").pass(100).heard("open").pass(600_000);
  assert.match(bench.lines[0]!, /^connected server=a\.example:443 rttMs=12\.3 /);
  assert.deepEqual(bench.events, ["connected"]);
  bench.heard("lost").heard("connecting").pass(100).heard("open");
  assert.deepEqual(bench.events, ["connection_lost", "connected"]);
});

Deno.test("one that does not is told of within 2 s, with likely causes, and each minute", () => {
  const bench = new Bench().heard("connecting").pass(TOLD_AFTER_MS - 1);
  assert.deepEqual(bench.lines, []);
  bench.pass(1);
  assert.match(
    bench.lines[0]!,
    /\(1\) the server does not run, .*\(4\) a clock .* 2026-01-02T03:04:05Z/,
  );
  assert.deepEqual(bench.events, ["no_answer"]);
  // Attempts end and begin.
  for (let i = 0; i < 5; i++) bench.heard("lost").pass(1000).heard("connecting").pass(9000);
  assert.deepEqual(bench.events, []);
  bench.pass(TOLD_EVERY_MS - 50_000);
  assert.deepEqual(bench.events, ["no_answer"]);
  bench.heard("open");
  assert.deepEqual(bench.events, ["connected"]);
  bench.heard("lost").heard("connecting").pass(TOLD_AFTER_MS);
  assert.deepEqual(bench.events, ["connection_lost", "no_answer"]);
});

Deno.test("nobody is told of a silence while nothing is wanted of the server", () => {
  const bench = new Bench().heard("connecting").pass(TOLD_AFTER_MS).heard("lost");
  assert.deepEqual(bench.events, ["no_answer"]);
  bench.pass(600_000);
  assert.deepEqual(bench.events, []);
  bench.heard("connecting").pass(TOLD_AFTER_MS);
  assert.deepEqual(bench.events, ["no_answer"]);
});

Deno.test("a refusal is told with its cause, and no guesses beside it", () => {
  const bench = new Bench().heard("connecting").pass(100).heard("lost", CloseCode.expired);
  assert.match(bench.lines[0]!, /cause="the account has expired"/);
  bench.pass(600_000);
  assert.deepEqual(bench.events, ["refused"]);
});

Deno.test("what a stop ends is not told of as lost", () => {
  const bench = new Bench().heard("connecting").heard("open");
  bench.log.stop();
  bench.heard("lost").pass(600_000);
  assert.deepEqual(bench.events, ["connected"]);
});

import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import type { SessionReport, Silence } from "../tunnel/protocol.ts";
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

  heard(
    state: SessionReport["state"],
    closeCode: number = CloseCode.done,
    silence: Silence | undefined = undefined,
  ): this {
    this.log.heard({ state, closeCode, rttMs: 12.34, silence } as SessionReport);
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

Deno.test("what ICMP says of the silence is told in place of what it may be, also late", () => {
  const silence: Silence = { why: "refused", peer: "192.0.2.1", by: "192.0.2.1" };
  const words =
    /causes="the host answers that nothing listens on that port of 192\.0\.2\.1 \(ICMP\)/;
  const early = new Bench().heard("connecting").heard("connecting", 0, silence);
  early.pass(TOLD_AFTER_MS);
  assert.match(early.lines[0]!, words);
  assert.equal(early.lines.length, 1);
  const late = new Bench().heard("connecting").pass(TOLD_AFTER_MS);
  assert.match(late.lines[0]!, /causes="\(1\) the server does not run/);
  late.heard("connecting", 0, silence);
  assert.match(late.lines[1]!, words);
  // Once: two addresses may say two things by turns.
  const other: Silence = { why: "prohibited", peer: "2001:db8::1", by: "192.0.2.9" };
  for (let i = 0; i < 5; i++) late.heard("connecting", 0, i % 2 === 0 ? other : silence);
  assert.equal(late.lines.length, 2);
  late.pass(TOLD_EVERY_MS);
  assert.match(late.lines[2]!, /causes="192\.0\.2\.9 answers that a firewall prohibits/);
  // In an open session ICMP means nothing.
  const open = new Bench().heard("connecting").heard("open").heard("open", 0, silence);
  open.pass(10 * TOLD_EVERY_MS);
  assert.deepEqual(open.events, ["connected"]);
});

import assert from "node:assert/strict";
import {
  Log,
  LOG_LEVELS,
  type LogOptions,
  type LogRecord,
  LogThreshold,
  type LogValues,
  printable,
} from "./log.ts";

const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

/** What a log with these options writes. */
function written(options: Partial<LogOptions>, use: (log: Log) => void): string {
  let text = "";
  const write = (line: string) => text += line;
  use(Log.to({ level: "debug", format: "text", now: () => TIME, write, ...options }));
  return text;
}

function info(format: "text" | "json", message: string, fields?: LogValues): string {
  return written({ format }, (log) => log.info("said", message, fields));
}

Deno.test("Log writes a line of time, level, component, message, fields and event", () => {
  const fields = { interface: "eth0", swapped: true, ms: 12, mode: undefined };
  assert.equal(
    written({}, (log) => {
      log.with({ component: "kernel" }).info("xdp_attached", "XDP is attached", fields);
    }),
    "2026-01-02T03:04:05.678Z INFO  kernel: XDP is attached " +
      "interface=eth0 swapped=true ms=12 event=xdp_attached\n",
  );
  assert.match(
    info("text", "m", { a: "two words", b: "", c: 'say "x"', d: "k=v" }),
    / a="two words" b="" c="say \\"x\\"" d="k=v" event=said\n$/,
  );
});

Deno.test("Log writes for the journal: a priority, and no time of its own", () => {
  const text = written({ journal: true, color: true }, (log) => {
    for (const level of LOG_LEVELS) log[level]("said", "two\nlines", { a: 1 });
  });
  const line = "phantom: two\\x0alines a=1 event=said\n";
  assert.equal(text, [3, 4, 6, 7].map((priority) => `<${priority}>${line}`).join(""));
  const json = written({ journal: true, format: "json" }, (log) => log.warn("said", "m"));
  assert.match(json, /^<4>{"time":"2026-01-02T03:04:05\.678Z","level":"warn","message":"m",/);
});

Deno.test("Log writes JSON that reads back", () => {
  const line = info("json", 'a "b"\n', { port: 9, on: false, none: undefined });
  assert.equal(line.indexOf("\n"), line.length - 1);
  // What people look for stands first.
  assert.match(line, /^{"time":"2026-01-02T03:04:05\.678Z","level":"info","message":"a /);
  assert.deepEqual(JSON.parse(line), {
    time: "2026-01-02T03:04:05.678Z",
    level: "info",
    component: "phantom",
    event: "said",
    message: 'a "b"\n',
    port: 9,
    on: false,
  });
});

Deno.test("Log keeps back what is below its level, also of another log's records", () => {
  for (const [rank, level] of LOG_LEVELS.entries()) {
    const text = written({ level, format: "json" }, (log) => {
      const worker = new Log((record) => log.put(record), "worker");
      for (const one of LOG_LEVELS) {
        log[one](one, "here");
        worker[one](one, "there");
      }
    });
    const seen = text.trim().split("\n").map((line) => JSON.parse(line).level);
    assert.deepEqual(seen, LOG_LEVELS.slice(0, rank + 1).flatMap((one) => [one, one]));
  }
});

Deno.test("a worker's records keep their component and fields on the way to main's log", () => {
  const records: LogRecord[] = [];
  const worker = new Log((record) => records.push(structuredClone(record)), "tunnel");
  worker.warn("packet_refused", "the kernel refuses packets", { count: 3 });
  const line = written({ format: "json" }, (log) => log.put(records[0]!));
  assert.deepEqual(JSON.parse(line), {
    time: "2026-01-02T03:04:05.678Z",
    level: "warn",
    component: "tunnel",
    event: "packet_refused",
    message: "the kernel refuses packets",
    count: 3,
  });
});

Deno.test("Log paints the level only when it is told to", () => {
  const painted = written({ color: true }, (log) => log.warn("x", "x"));
  assert.ok(painted.includes("\x1b[33mWARN \x1b[0m phantom: x"));
  assert.ok(!written({}, (log) => log.warn("x", "x")).includes("\x1b"));
});

Deno.test("nothing from outside forges a line or moves the cursor", () => {
  const controls = Array.from({ length: 160 }, (_, i) => String.fromCharCode(i)).join("");
  for (const format of ["text", "json"] as const) {
    for (const line of [info(format, controls), info(format, "m", { field: controls })]) {
      assert.equal(line.indexOf("\n"), line.length - 1);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(line.slice(0, -1), /[\x00-\x1f\x7f-\x9f]/);
    }
  }
  assert.equal(JSON.parse(info("json", controls)).message, controls);
  assert.equal(printable("a\n\x9b\u00e9"), "a\\x0a\\x9b\u00e9");
});

Deno.test("no field takes the place of time, level, component, event or message", () => {
  const forged = {
    ...{ time: "never", level: "error", component: "none", event: "none" },
    message: "all is well",
  };
  // The types refuse it; a record of another thread has no types.
  assert.deepEqual(JSON.parse(info("json", "truth", forged as unknown as LogValues)), {
    time: "2026-01-02T03:04:05.678Z",
    level: "info",
    component: "phantom",
    event: "said",
    message: "truth",
  });
});

Deno.test("a debug line that nobody reads is not even made, in any part of the program", () => {
  let made = 0;
  const threshold = new LogThreshold("info");
  const log = new Log(() => void made++, "worker", undefined, threshold)
    .with({ component: "target" });
  assert.equal(log.tellsDebug, false);
  log.debug("target", "somebody's");
  assert.equal(made, 0);
  log.info("ready", "ready");
  assert.equal(made, 1);
  // Main changes it, and the worker sees that.
  new LogThreshold(threshold.memory).level = "debug";
  log.debug("target", "somebody's");
  assert.equal(made, 2);
});

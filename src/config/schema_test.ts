import assert from "node:assert/strict";
import { decimal, duration, flag, integer, listOf, measured, oneOf, rate, size } from "./leaves.ts";
import { Report } from "./problem.ts";
import { entriesOf, type Infer, read, section } from "./schema.ts";
import { parseTree } from "./tree.ts";

const SCHEMA = section("Test", {
  idle_timeout: duration({ doc: "d", default: 30_000, min: 1000, max: 3_600_000 }),
  buffer: size({ doc: "d", default: 65_536, min: 0, max: 1 << 30 }),
  limit: rate({ doc: "d", default: 1e8, min: 0, max: 1e12 }),
  wait_ms: measured({ unit: "ms", doc: "d", default: 100, min: 0, max: 5000 }),
  up_mbps: measured({ unit: "mbps", doc: "d", default: 1, min: 0, max: 1000 }),
  keep_s: measured({ unit: "s", doc: "d", default: 1, min: 0, max: 1000 }),
  queue_bytes: measured({ unit: "bytes", doc: "d", default: 1, min: 0, max: 1e9 }),
  part: decimal({ doc: "d", default: 0.5, min: 0, max: 1 }),
  count: integer({ doc: "d", default: 1, min: -5, max: 5 }),
  on: flag({ doc: "d", default: false }),
  inner: section("Inner", {
    word: oneOf(["one", "two"], { doc: "d", default: "one" }),
    words: listOf(["one", "two"], { doc: "d", default: ["two"] }),
  }),
});

type Read = Infer<typeof SCHEMA>;

// Compiles only while inference gives exactly these names and types.
const DEFAULTS: Read = {
  idleTimeoutMs: 30_000,
  bufferBytes: 65_536,
  limitBps: 1e8,
  waitMs: 100,
  upMbps: 1,
  keepS: 1,
  queueBytes: 1,
  part: 0.5,
  count: 1,
  on: false,
  inner: { word: "one", words: ["two"] },
};

function readText(text: string): { value: Read; problems: string[] } {
  const report = new Report("t", text);
  const tree = parseTree(text, report);
  assert.ok(tree !== undefined);
  const value = read(SCHEMA, tree.root, report).settings;
  const problems = report.error().problems.map((p) =>
    `${p.line}:${p.column} ${p.path} ${p.rule}. ${p.remedy}`
  );
  return { value, problems };
}

function ok(text: string): Read {
  const { value, problems } = readText(text);
  assert.deepEqual(problems, [], text);
  return value;
}

function fault(text: string): string {
  const { problems } = readText(text);
  assert.equal(problems.length, 1, problems.join("\n"));
  return problems[0] ?? "";
}

Deno.test("read() fills in every default and freezes the result", () => {
  const value = ok("");
  assert.deepEqual(value, DEFAULTS);
  assert.ok(Object.isFrozen(value) && Object.isFrozen(value.inner));
  assert.ok(Object.isFrozen(value.inner.words));
  assert.deepEqual(ok("inner:\n"), DEFAULTS);
});

Deno.test("read() takes quantities with units, quoted or not", () => {
  assert.equal(ok("idle_timeout: 1m30s").idleTimeoutMs, 90_000);
  assert.equal(ok('idle_timeout: "2 s"').idleTimeoutMs, 2000);
  assert.equal(ok("buffer: 1MB").bufferBytes, 1_000_000);
  assert.equal(ok("limit: 1gbps").limitBps, 1e9);
});

Deno.test("read() demands a unit where the key's name has none", () => {
  assert.equal(
    fault("idle_timeout: 30"),
    '1:15 idle_timeout needs a unit: current value is "30". ' +
      'Add one of ns, us, ms, s, m, h, d, as in "30s" or "1m30s".',
  );
  assert.match(fault("buffer: 100"), /^1:9 buffer needs a unit/);
  assert.match(fault('limit: "100"'), /^1:8 limit needs a unit/);
  assert.match(fault("limit: 100MBps"), /limit must be a rate: current value is "100MBps"/);
  assert.match(fault("idle_timeout: 500ms"), /must be between 1s and 1h: current value is "500ms"/);
  assert.match(fault("idle_timeout: 2h"), /Write 1s to 1h\.$/);
});

Deno.test("read() takes a bare number or a unit where the key's name has one", () => {
  assert.equal(ok("wait_ms: 250").waitMs, 250);
  assert.equal(ok('wait_ms: "250"').waitMs, 250);
  assert.equal(ok("wait_ms: 1.5s").waitMs, 1500);
  assert.equal(ok("keep_s: 1m30s").keepS, 90);
  assert.equal(ok("up_mbps: 1gbps").upMbps, 1000);
  assert.equal(ok("up_mbps: 1500kbps").upMbps, 1.5);
  assert.equal(ok("up_mbps: 0.3").upMbps, 0.3);
  assert.equal(ok("queue_bytes: 64KiB").queueBytes, 65_536);
  assert.match(fault("wait_ms: 250us"), /must be in steps of 1 ms/);
  assert.match(fault("keep_s: 1500ms"), /must be in steps of 1 s/);
  assert.match(fault("up_mbps: 1bps"), /must be in steps of 0.001 mbps/);
  assert.match(fault("wait_ms: 6s"), /must be between 0 and 5000 ms: current value is "6s"/);
  assert.match(fault("wait_ms: -1"), /Write 0 ms or more\.$/);
  assert.match(fault("wait_ms: 1gbps"), /must be a number of ms: current value is "1gbps"/);
});

Deno.test("read() checks numbers and booleans as written", () => {
  assert.equal(ok("part: .25").part, 0.25);
  assert.equal(ok("part: 5e-1").part, 0.5);
  assert.equal(ok("count: -5").count, -5);
  assert.ok(Object.is(ok("count: -0").count, 0));
  assert.equal(ok("on: true").on, true);
  for (
    const text of ["0x10", "0o17", "1_000", "1.0", "1e1", "010", "+1", ".", "nan", ".inf"]
  ) {
    assert.match(fault(`count: ${text}`), /count must be a whole number: current value is "/, text);
  }
  assert.match(fault('count: "1"'), /must not be in quotes: current value is "1"\. Remove the/);
  assert.match(fault("count: 6"), /must be between -5 and 5: current value is "6"/);
  assert.match(fault("part: 1e999"), /must be between 0 and 1: current value is "1e999"/);
  for (const text of ["yes", "True", "on", '"true"', "1"]) {
    assert.match(fault(`on: ${text}`), /on must be true or false: current value is "/, text);
  }
});

Deno.test("read() checks words and lists with the item's place", () => {
  assert.equal(ok("inner: {word: two}").inner.word, "two");
  assert.deepEqual(ok("inner: {words: [two, one]}").inner.words, ["two", "one"]);
  assert.equal(
    fault("inner: {word: tow}"),
    '1:15 inner.word must be one of one, two: current value is "tow". Did you mean "two"?',
  );
  assert.match(fault("inner: {words: [one, one]}"), /^1:22 inner.words\[1\] names one a second/);
  assert.match(
    fault("inner: {words: [one, {}]}"),
    /^1:22 inner.words\[1\] must be one of one, two\./,
  );
  assert.match(fault("inner: {words: []}"), /^1:16 inner.words must not be empty\. Name at least/);
  assert.match(
    fault("inner: {words: one}"),
    /must be a list: found a single value\. Write it as \[/,
  );
  assert.match(fault("inner: {words: {}}"), /must be a list: found a section/);
  assert.equal(readText(`inner: {words: [${"x, ".repeat(1000)}]}`).problems.length, 3);
});

Deno.test("read() reports the wrong shape and the missing value", () => {
  assert.match(fault("count: [1]"), /^1:8 count must be a whole number: found a list/);
  assert.match(fault("count: {a: 1}"), /^1:8 count must be a whole number: found a section/);
  assert.match(
    fault("on: true\ncount:\n"),
    /^2:1 count has no value\. Write a whole number, or remove the line: the default is 1\.$/,
  );
  assert.match(
    fault("inner: {words: ~}"),
    /^1:16 inner.words has no value\. Write a list of words/,
  );
  assert.equal(
    fault("inner: true"),
    '1:8 inner must be a section: found a single value. Write its keys indented below "inner:", ' +
      'such as "word".',
  );
  assert.match(fault("inner: [word]"), /must be a section: found a list/);
});

Deno.test("read() names the nearest key and the right section", () => {
  const cases: [string, string][] = [
    ["cuont: 1", 'is not a known key at the top level. Did you mean "count"?'],
    ["inner: {wrod: one}", 'is not a known key in section inner. Did you mean "word"?'],
    ["word: one", 'is not a known key at the top level. Move it: "word" in section inner.'],
    ["inner.word: one", 'is not a known key at the top level. Move it: "word" in section inner.'],
    [
      "inner: {count: 1}",
      'is not a known key in section inner. Move it: "count" at the top level.',
    ],
    ["inner: {cuont: 1}", 'in section inner. Did you mean "count" at the top level?'],
    ["upMbps: 1", 'Did you mean "up_mbps"?'],
    ["bandwidth: 1", "Remove it, or look up the name in docs/CONFIG.md."],
    ["<<: {count: 1}", "Merge keys are not supported: write the keys out."],
    ['"": 1', "Remove it, or look up the name in docs/CONFIG.md."],
  ];
  for (const [text, end] of cases) {
    const found = fault(text);
    assert.ok(found.endsWith(end), `${text}\n${found}`);
  }
});

Deno.test("read() lets no key reach a prototype", () => {
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    assert.match(fault(`${name}: {polluted: 1}`), /is not a known key at the top level/);
    assert.match(fault(`inner: {${name}: 1}`), /is not a known key in section inner/);
  }
  assert.equal(Object.hasOwn(Object.prototype, "polluted"), false);
  assert.equal(Object.getPrototypeOf(ok("on: true")), Object.prototype);
});

Deno.test("entriesOf() lists parents before children", () => {
  const paths = entriesOf(SCHEMA).map(({ path }) => path);
  assert.deepEqual(paths.slice(-4), ["on", "inner", "inner.word", "inner.words"]);
});

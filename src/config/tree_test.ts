import assert from "node:assert/strict";
import { PROBLEMS_MAX, Report } from "./problem.ts";
import {
  ALIASES_MAX,
  DEPTH_MAX,
  FILE_BYTES_MAX,
  type Node,
  parseTree,
  PIECES_MAX,
} from "./tree.ts";

function parse(text: string): { plain: unknown; problems: string[]; omitted: number } {
  const report = new Report("t", text);
  const tree = parseTree(text, report);
  const { problems, omitted } = report.error();
  return {
    plain: tree === undefined ? undefined : toPlain(tree.root),
    problems: problems.map((p) => `${p.line}:${p.column} ${p.path}: ${p.rule}`),
    omitted,
  };
}

function toPlain(node: Node): unknown {
  if (node.kind === "scalar") return node.text;
  if (node.kind === "list") return node.items.map(toPlain);
  return node.entries.map(({ name, value }) => [name, toPlain(value)]);
}

Deno.test("parseTree() leaves every value a text", () => {
  const { plain, problems } = parse("a: 0x10\nb: yes\nc: 2001-01-01\nd: [1_000, ~, 'x']\ne: {f: }");
  assert.deepEqual(problems, []);
  assert.deepEqual(plain, [
    ["a", "0x10"],
    ["b", "yes"],
    ["c", "2001-01-01"],
    ["d", ["1_000", "~", "x"]],
    ["e", [["f", ""]]],
  ]);
});

Deno.test("parseTree() takes an empty file as one without keys", () => {
  for (const text of ["", "\n\n", "# nothing\n", "---\n", "---\n...\n", "~\n", "null"]) {
    assert.deepEqual(parse(text), { plain: [], problems: [], omitted: 0 }, text);
  }
});

Deno.test("parseTree() demands keys at the top", () => {
  const rule = "the file must be a list of keys: found a";
  assert.deepEqual(parse("# x\n- a\n").problems, [`2:1 : ${rule} list`]);
  assert.deepEqual(parse("hello").problems, [`1:1 : ${rule} single value`]);
  assert.deepEqual(parse("\0").problems, [`1:1 : ${rule} single value`]);
});

Deno.test("parseTree() reports syntax errors with their place", () => {
  const cases: [string, string][] = [
    ["a: [1, 2", "1:9 : the indentation does not fit, or a bracket is not closed"],
    ["a: 'x", "1:6 : a quoted value is not closed"],
    ['a: 1\nb: "x', "2:6 : a quoted value is not closed"],
    ["a:\n\t- 1", "2:1 : a tab is used to indent"],
    ["a: @x", "1:4 : a value starts with a sign that YAML keeps for itself"],
    ['a: "\\q"', "1:5 : a backslash in double quotes starts no known escape"],
    ["a: 1\n b: 2", '1:4 : a second "name:" stands in one value'],
    ["a: b: c", '1:4 : a second "name:" stands in one value'],
    ["a: 1\nb\n", "2:1 : a sign is missing"],
    ["a: 1\r\nb: [::]:443\r\n", "2:8 : something here does not belong to the value"],
    [`${"k".repeat(1100)}: 1`, "1:1 : a name is longer than 1024 characters"],
  ];
  for (const [text, problem] of cases) {
    const { problems } = parse(text);
    assert.deepEqual(problems, [problem], text);
  }
});

Deno.test("parseTree() keeps what stands before the first syntax error", () => {
  const report = new Report("t", "");
  const tree = parseTree("a: 1\nb: [1\nc: 2\n", report);
  assert.equal(tree?.broken, true);
  assert.deepEqual(tree?.root.entries.map(({ name }) => name), ["a"]);
});

Deno.test("parseTree() reports one syntax error a line and counts those beyond the cap", () => {
  assert.equal(parse("a: } } } } }").problems.length, 1);
  const { problems, omitted } = parse("a: 'b'c\n".repeat(1000));
  assert.equal(problems.length, PROBLEMS_MAX);
  assert.ok(omitted >= 1000 - PROBLEMS_MAX);
});

Deno.test("parseTree() refuses a second document", () => {
  assert.deepEqual(parse("a: 1\n---\nb: 2\n---\nc: 3").problems, [
    "2:1 : a second YAML document starts here",
  ]);
});

Deno.test("parseTree() reports duplicate keys with both lines", () => {
  const { problems, plain } = parse("a: 1\nb: {c: 1, c: 2}\n\na: 2\n");
  assert.deepEqual(problems, [
    "2:11 b.c: is written twice: first in line 2",
    "4:1 a: is written twice: first in line 1",
  ]);
  assert.deepEqual(plain, [["a", "1"], ["b", [["c", "1"]]]]);
  assert.equal(parse("k: 1\n".repeat(14_000)).omitted, 13_999 - PROBLEMS_MAX);
});

Deno.test("parseTree() refuses tags and keys that are no names", () => {
  assert.deepEqual(parse("a: !!str 1\nb: !x {c: 1}\n").problems, [
    "1:10 a: YAML tags are not supported",
    "2:7 b: YAML tags are not supported",
  ]);
  assert.deepEqual(parse("? [a]\n: 1\n{}: 2\n").problems, [
    "1:3 : a list or section stands where a name must",
    "3:1 : a list or section stands where a name must",
  ]);
});

Deno.test("parseTree() resolves aliases to what stands above, at the place of use", () => {
  const { plain, problems } = parse("a: &x [1, 2]\nb: *x\n");
  assert.deepEqual(problems, []);
  assert.deepEqual(plain, [["a", ["1", "2"]], ["b", ["1", "2"]]]);
  assert.deepEqual(parse("a: *x\nb: &b [*b]\n").problems, [
    "1:4 a: the alias names no anchor above it",
    "2:8 b[0]: the alias names no anchor above it",
  ]);
});

Deno.test("parseTree() bounds aliases, so that no bomb goes off", () => {
  const uses = (count: number) => `a: &x 1\nb: [${"*x, ".repeat(count)}]\n`;
  assert.deepEqual(parse(uses(ALIASES_MAX)).problems, []);
  assert.deepEqual(parse(uses(ALIASES_MAX + 5)).problems, [
    `2:${5 + 4 * ALIASES_MAX} b[${ALIASES_MAX}]: there are more than ${ALIASES_MAX} aliases`,
  ]);
  let bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x]\n";
  for (let i = 1; i < 10; i++) bomb += `l${i}: &l${i} [${`*l${i - 1}, `.repeat(9)}]\n`;
  const start = performance.now();
  parseTree(bomb, new Report("t", bomb));
  assert.ok(performance.now() - start < 1000);
});

Deno.test("parseTree() bounds nesting in every style", () => {
  const rule = `the nesting is deeper than ${DEPTH_MAX} levels`;
  const flow = (depth: number) => `a: ${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}`;
  assert.deepEqual(parse(flow(DEPTH_MAX)).problems, []);
  assert.match(parse(flow(DEPTH_MAX + 1)).problems[0] ?? "", new RegExp(rule));
  const indented = Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}a:\n`).join("");
  for (const text of ["[".repeat(1e6), "{a: ".repeat(2e5), "- ".repeat(5e5), indented]) {
    assert.match(parse(text).problems[0] ?? "", new RegExp(rule));
  }
});

Deno.test("parseTree() bounds the file in bytes and in pieces", () => {
  const comment = (bytes: number) => `#${"x".repeat(bytes - 1)}`;
  assert.deepEqual(parse(comment(FILE_BYTES_MAX)).problems, []);
  const rule = `1:1 : the file is larger than ${FILE_BYTES_MAX} bytes`;
  assert.deepEqual(parse(comment(FILE_BYTES_MAX + 1)).problems, [rule]);
  assert.deepEqual(parse("é".repeat(FILE_BYTES_MAX / 2 + 1)).problems, [rule]);
  const start = performance.now();
  const { problems } = parse("a: 1\n".repeat(FILE_BYTES_MAX / 5));
  assert.match(problems[0] ?? "", new RegExp(`more than ${PIECES_MAX} words and signs`));
  assert.ok(performance.now() - start < 5000);
});

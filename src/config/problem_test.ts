import assert from "node:assert/strict";
import { ConfigError, formatProblem, PROBLEMS_MAX, Report } from "./problem.ts";

Deno.test("formatProblem() is file:line:column: path: rule. remedy", () => {
  const base = { file: "a.yaml", path: "x.y", line: 2, column: 3, rule: "is odd", remedy: "Fix." };
  assert.equal(formatProblem(base), "a.yaml:2:3: x.y: is odd. Fix.");
  assert.equal(formatProblem({ ...base, path: "" }), "a.yaml:2:3: is odd. Fix.");
  const outside = { ...base, file: "environment", line: 0, column: 0 };
  assert.equal(formatProblem(outside), "environment: x.y: is odd. Fix.");
});

Deno.test("Report orders by position, whatever the order of finding", () => {
  const report = new Report("a.yaml", "one\ntwo\r\nthree");
  report.fail(9, "c", "c", "C.");
  report.fail(4, "b", "b", "B.");
  report.fail(4, "a", "a", "A.");
  report.failOutside("VARIABLE", "v", "V.");
  report.fail(3, "e", "e", "E.");
  const places = report.error().problems.map((p) => `${p.line}:${p.column} ${p.path}`);
  assert.deepEqual(places, ["0:0 VARIABLE", "1:4 e", "2:1 a", "2:1 b", "3:1 c"]);
});

Deno.test("Report lists as many problems as PROBLEMS_MAX and counts the rest", () => {
  for (const [count, omitted] of [[PROBLEMS_MAX, 0], [PROBLEMS_MAX + 1, 1]] as const) {
    const report = new Report("a.yaml", "");
    for (let i = 0; i < count; i++) report.fail(0, `p${i}`, "r", "R.");
    const error = report.error();
    assert.ok(error instanceof ConfigError);
    assert.equal(error.problems.length, PROBLEMS_MAX);
    assert.equal(error.omitted, omitted);
    assert.equal(error.message.endsWith("\nand 1 more"), omitted === 1);
  }
});

Deno.test("Report.show() quotes, cuts, escapes and hides", () => {
  const report = new Report("a.yaml", "");
  assert.equal(report.show("eth0"), '"eth0"');
  assert.equal(report.show("a b ".repeat(50)), `"${"a b ".repeat(15)}…"`);
  assert.equal(report.show("\x1b[31m\u202e"), '"\\u001b[31m\\u{202e}"');
  assert.match(report.show("Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RF"), /hidden/);
  assert.match(report.show("0123456789abcdef".repeat(4)), /hidden/);
  assert.equal(
    report.show("/opt/phantom/a/long/path/with/many/parts"),
    '"/opt/phantom/a/long' +
      '/path/with/many/parts"',
  );
  report.hide("hunter22");
  assert.match(report.show("my hunter22"), /hidden/);
  assert.match(report.show("hunter2"), /hidden/);
  assert.equal(report.show("hunt"), '"hunt"');
});

Deno.test("Report.showName() shows names and nothing longer", () => {
  const report = new Report("a.yaml", "");
  assert.equal(report.showName("check_interval_milliseconds"), "check_interval_milliseconds");
  assert.equal(report.showName("a b"), '"a b"');
  assert.equal(report.showName("x".repeat(41)), "[a long name]");
});

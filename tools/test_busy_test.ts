import assert from "node:assert/strict";
import { failedTests, parseOptions } from "./test_busy.ts";

Deno.test("parseOptions() reads a count and files, and has both where none are given", () => {
  assert.deepEqual(parseOptions(["--count=3", "a_test.ts"]), { count: 3, files: ["a_test.ts"] });
  const { count, files } = parseOptions([]);
  assert.equal(count, 20);
  for (const path of files) assert.ok(Deno.statSync(path).isFile, path);
  for (const count of ["0", "-1", "x", ""]) {
    assert.throws(() => parseOptions([`--count=${count}`]), RangeError);
  }
});

Deno.test("failedTests() names each test that failed, and not its steps' summary", () => {
  const output = [
    "one ... ok (1ms)",
    "two: of three ... FAILED (2s)",
    "FAILED | 1 passed | 1 failed (3s)",
  ].join("\n");
  assert.deepEqual(failedTests(output), ["two: of three"]);
});

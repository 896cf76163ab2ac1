import { parseSummary, type Part, plan, tallyPart } from "./run_tests.ts";

function assertEquals(got: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`got ${a}, wanted ${b}`);
}

const SUITE: Part = { name: "suite", command: ["x"], suite: true };
const CHECK: Part = { name: "check", command: ["x"], suite: false };

Deno.test("parseSummary() reads each form of Deno's summary line, and adds them up", () => {
  const output = [
    "ok | 12 passed | 0 failed (35ms)",
    "\x1b[0m\x1b[32mok\x1b[0m | 3 passed (7 steps) | 0 failed | 2 ignored (1s)",
    "FAILED | 1 passed (2 steps) | 4 failed (5 steps) (9ms)",
    "a test said: ok | 99 passed | 0 failed",
  ].join("\n");
  assertEquals(parseSummary(output), { passed: 16, failed: 4, ignored: 2 });
  assertEquals(parseSummary("error: No test modules found"), undefined);
});

Deno.test("tallyPart() never loses a failure", () => {
  assertEquals(tallyPart(CHECK, true, "ok | 5 passed | 0 failed"), {
    passed: 1,
    failed: 0,
    ignored: 0,
  });
  assertEquals(tallyPart(CHECK, false, ""), { passed: 0, failed: 1, ignored: 0 });
  assertEquals(tallyPart(SUITE, false, "it crashed"), { passed: 0, failed: 1, ignored: 0 });
  assertEquals(tallyPart(SUITE, false, "ok | 5 passed | 0 failed (1s)\nit leaked"), {
    passed: 5,
    failed: 1,
    ignored: 0,
  });
});

Deno.test("plan() leaves the kernel's tests to root, and says so", () => {
  const folders = ["netns", "fuzz", "bench", "bpf"];
  const names = (isRoot: boolean): string[] =>
    plan("deno", folders, isRoot).parts.map((part) => part.name).filter((name) =>
      name.startsWith("tests/")
    );
  assertEquals(names(true), ["tests/bpf", "tests/fuzz", "tests/netns"]);
  assertEquals(names(false), ["tests/fuzz"]);
  assertEquals(plan("deno", folders, false).skipped, [
    "tests/bpf: needs root",
    "tests/netns: needs root",
  ]);
});

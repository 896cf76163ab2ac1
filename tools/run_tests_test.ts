import {
  cpuSeconds,
  parseSummary,
  type Part,
  plan,
  runParts,
  tallyPart,
  type TestFile,
} from "./run_tests.ts";

function assertEquals(got: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`got ${a}, wanted ${b}`);
}

const SUITE: Part = { name: "suite", command: ["x"], suite: true, lane: "work" };
const CHECK: Part = { name: "check", command: ["x"], suite: false, lane: "work" };
const FILES: readonly TestFile[] = [
  { path: "tests/bench/some_test.ts", text: "" },
  { path: "tests/bpf/map_test.ts", text: "" },
  { path: "tests/fuzz/one_test.ts", text: "" },
  { path: "tests/fuzz/two_test.ts", text: "" },
  { path: "tests/interop/interop_test.ts", text: "" },
  { path: "tests/netns/app/leak_test.ts", text: "" },
  { path: "tests/security/flood_test.ts", text: 'measuredTest("a flood", body);' },
];

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
  assertEquals(tallyPart(SUITE, true, "ok | 0 passed | 0 failed | 2 ignored (1s)").failed, 0);
  assertEquals(tallyPart(SUITE, true, "ok | 0 passed | 0 failed | 0 ignored (1s)").failed, 1);
  assertEquals(tallyPart(SUITE, false, "ok | 5 passed | 0 failed (1s)\nit leaked"), {
    passed: 5,
    failed: 1,
    ignored: 0,
  });
});

Deno.test("cpuSeconds() reads what a shell says of its children", () => {
  assertEquals(cpuSeconds("0m0.01s 0m0.02s\n2m3.50s 1m0.25s\n"), 183.75);
  assertEquals(cpuSeconds(""), 0);
});

function inLane(parts: readonly Part[], lane: Part["lane"]): string[] {
  return parts.filter((part) => part.lane === lane).map(({ name }) => name);
}

Deno.test("plan() has each file in one part, those that measure in a lane of their own", () => {
  const { parts, skipped } = plan("deno", FILES, { isRoot: true });
  assertEquals(skipped, []);
  assertEquals(inLane(parts, "work"), [
    ...["layout:check", "check", "fmt:check", "lint", "lint:layers"],
    ...["tests/fuzz", "tests/netns/app/leak_test.ts", "sanitize"],
  ]);
  assertEquals(inLane(parts, "measured"), ["tests/security/flood_test.ts"]);
  // The longest first.
  assertEquals(inLane(parts, "waiting"), [
    ...["other units", "units of src/tunnel"],
    ...["tests/interop/interop_test.ts", "tests/bpf/map_test.ts"],
  ]);
});

Deno.test("plan() leaves the kernel's tests to root, and says so", () => {
  const { parts, skipped } = plan("deno", FILES, { isRoot: false });
  const names = parts.map(({ name }) => name).filter((name) => name.startsWith("tests/"));
  assertEquals(names, ["tests/fuzz", "tests/interop/interop_test.ts"]);
  assertEquals(skipped, [
    "tests/bpf: needs root",
    "tests/netns: needs root",
    "tests/security: needs root",
  ]);
});

Deno.test("plan() of --quick is what needs no root, with few cases, for root as for others", () => {
  const quick = (isRoot: boolean) => plan("deno", FILES, { isRoot, isQuick: true });
  assertEquals(quick(true), quick(false));
  const { parts, skipped } = quick(true);
  assertEquals(skipped, []);
  assertEquals(parts.map(({ name }) => name).slice(-2), [
    "tests/fuzz",
    "tests/interop/interop_test.ts",
  ]);
  for (const { suite, env } of parts) assertEquals("PHANTOM_FUZZ_CASES" in (env ?? {}), suite);
});

Deno.test("runParts() runs each part once, and what is measured one after the other", async () => {
  const lanes = ["work", "measured", "waiting"] as const;
  const parts = lanes.flatMap((lane) =>
    Array.from({ length: 4 }, (_, i): Part => ({ ...SUITE, name: `${lane} ${i}`, lane }))
  );
  const running: string[] = [];
  const seen: string[] = [];
  let most = 0;
  await runParts(parts, async ({ name, lane }) => {
    seen.push(name);
    running.push(lane);
    most = Math.max(most, running.length);
    if (running.filter((one) => one === "measured").length > 1) throw new Error("two at once");
    await new Promise((resolve) => setTimeout(resolve, 1));
    running.splice(running.indexOf(lane), 1);
  });
  assertEquals(seen.toSorted(), parts.map(({ name }) => name).toSorted());
  if (most < 2) throw new Error("nothing ran beside anything");
});

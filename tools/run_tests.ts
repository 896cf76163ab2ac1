/**
 * Everything `make test` checks, some parts side by side; the last line is the sum: `N passed, N
 * failed`. With --quick what `deno task ok` checks: all that needs no root, fuzzed for less long.
 *
 * @module
 */

/**
 * What runs beside what. `work` computes, and gives way to all else. `measured` holds what is told
 * from times and rates of its own, one after the other. `waiting` is the rest, which mostly sleeps.
 */
export type Lane = "work" | "measured" | "waiting";

/** One command. A check counts as one test; a suite as what Deno's own summary says. */
export interface Part {
  readonly name: string;
  readonly command: readonly string[];
  readonly suite: boolean;
  readonly lane: Lane;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Tally {
  passed: number;
  failed: number;
  ignored: number;
}

/** A file with tests: its path, and what is in it. */
export interface TestFile {
  readonly path: string;
  readonly text: string;
}

/** Folders below tests/ whose tests load BPF or make network namespaces. */
const NEED_ROOT = ["bpf", "netns", "security"];
/** Folders below tests/ that `make test` leaves alone: run by commands of their own. */
const ELSEWHERE = ["bench", "kernels", "fixtures"];
/** Folders below tests/ whose tests compute and wait for nothing: each is one part. */
const COMPUTE = ["sim", "fuzz"];
/** Files elsewhere that do so for a minute and more. */
const LONG_WORK = ["tests/netns/app/leak_test.ts", "tests/security/pay_once_test.ts"];
/** Files that take longest go first, so that no lane is left with one of them. */
const LONG_WAIT = [
  "tests/interop/interop_test.ts",
  "tests/netns/tunnel/causes_test.ts",
  "tests/security/foreign_traffic_test.ts",
  "tests/netns/app/server_test.ts",
  "tests/netns/relay/relay_test.ts",
];
/**
 * What a file that measures calls: of tests/security/stage.ts, of tests/fixtures/under_load.ts and
 * scenario.ts, and what says how soon traffic goes on.
 */
const MEASURES = /\b(?:measuredTest|underLoad|recovery|atRate)\(/;
/** Units beside their source, in two parts of about one size. */
const UNITS = ["src/tunnel", "src"] as const;
/** Parts of a lane that run at once. */
const RUNNERS: Readonly<Record<Lane, number>> = { work: 2, measured: 1, waiting: 3 };
/** Of `work`: it gets a third of a core that somebody else wants, too. */
const NICE = ["nice", "-n", "3"];
/** Of --quick: few cases, and without what waits for a minute and a half or needs many cases. */
const QUICK = { PHANTOM_QUICK: "1", PHANTOM_FUZZ_CASES: "100", PHANTOM_SIM_SEEDS: "3" };
const NOT_QUICK: Readonly<Record<string, readonly string[]>> = {
  "tests/fuzz": ["--ignore=tests/fuzz/server_fuzz_test.ts"],
};

const SUMMARY = new RegExp(
  String.raw`^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed` +
    String.raw`(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?`,
);

/** The sum of the summaries that `deno test` printed, or undefined when there is none. */
export function parseSummary(output: string): Tally | undefined {
  let sum: Tally | undefined;
  for (const line of output.split("\n")) {
    // deno-lint-ignore no-control-regex
    const match = SUMMARY.exec(line.replace(/\x1b\[[0-9;]*m/g, ""));
    if (match === null) continue;
    sum ??= { passed: 0, failed: 0, ignored: 0 };
    sum.passed += Number(match[1]);
    sum.failed += Number(match[2]);
    sum.ignored += Number(match[3] ?? 0);
  }
  return sum;
}

/** What a finished part adds: no failure is lost, and a suite without a test is one. */
export function tallyPart(part: Part, success: boolean, output: string): Tally {
  const summary = part.suite ? parseSummary(output) : undefined;
  if (summary === undefined) {
    return { passed: success ? 1 : 0, failed: success ? 0 : 1, ignored: 0 };
  }
  const isEmpty = summary.passed + summary.failed + summary.ignored === 0;
  const failed = success && !isEmpty ? summary.failed : Math.max(1, summary.failed);
  return { ...summary, failed };
}

/** The folder below tests/ of a file. */
function folderOf(path: string): string {
  return path.split("/")[1]!;
}

/** Those that are in a list come first, in its order. */
function byPlaceIn(list: readonly string[]): (a: Part, b: Part) => number {
  const place = ({ name }: Part) => list.includes(name) ? list.indexOf(name) : list.length;
  return (a, b) => place(a) - place(b);
}

/** The parts, each lane's in their order, and what is left out with the reason. */
export function plan(
  deno: string,
  files: readonly TestFile[],
  { isRoot, isQuick = false }: { readonly isRoot: boolean; readonly isQuick?: boolean },
): { readonly parts: Part[]; readonly skipped: string[] } {
  // Types are checked by a part of its own.
  const suite = (name: string, lane: Lane, ...args: string[]): Part => ({
    ...{ name, lane, suite: true },
    command: [deno, "test", "-A", "--no-check", ...isQuick ? NOT_QUICK[name] ?? [] : [], ...args],
    ...(isQuick ? { env: QUICK } : {}),
  });
  const task = (name: string): Part => {
    return { name, command: [deno, "task", "-q", name], suite: false, lane: "work" };
  };
  const checks = ["layout:check", "check", "fmt:check", "lint", "lint:layers"].map(task);
  const [half, all] = UNITS;
  // Some compare one time with another: they give way to nobody.
  const units = [
    suite("other units", "waiting", `--ignore=${half}`, all, "ffi", "tools"),
    suite(`units of ${half}`, "waiting", half),
  ];
  const work: Part[] = [];
  const waiting: Part[] = [];
  const skipped: string[] = [];
  const folders = [...new Set(files.map(({ path }) => folderOf(path)))].toSorted();
  for (const folder of folders.filter((name) => !ELSEWHERE.includes(name))) {
    const name = `tests/${folder}`;
    if (NEED_ROOT.includes(folder) && isQuick) continue;
    if (NEED_ROOT.includes(folder) && !isRoot) skipped.push(`${name}: needs root`);
    else if (COMPUTE.includes(folder)) work.push(suite(name, "work", `${name}/`));
    else {
      for (const { path, text } of files.filter((file) => folderOf(file.path) === folder)) {
        if (LONG_WORK.includes(path)) work.push(suite(path, "work", path));
        else waiting.push(suite(path, MEASURES.test(text) ? "measured" : "waiting", path));
      }
    }
  }
  const parts = [...checks, ...units, ...work, ...waiting.toSorted(byPlaceIn(LONG_WAIT))];
  const command = ["make", "-s", "sanitize"];
  if (!isQuick) parts.push({ name: "sanitize", command, suite: true, lane: "work" });
  return { parts, skipped };
}

/** The files with tests below a folder. */
function testFiles(folder: string): TestFile[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return testFiles(path);
    return name.endsWith("_test.ts") ? [{ path, text: Deno.readTextFileSync(path) }] : [];
  }).toSorted((a, b) => a.path < b.path ? -1 : 1);
}

/** Both outputs in one, in their order; what it took of the CPU goes to stderr. */
const SHELL = '"$@" 2>&1; status=$?; times >&2; exit $status';

/** Seconds of CPU that a shell's children took, from the second line that `times` prints. */
export function cpuSeconds(times: string): number {
  const parts = (times.split("\n")[1] ?? "").matchAll(/(\d+)m([\d.]+)s/g);
  return [...parts].reduce((sum, [, minutes, seconds]) => sum + 60 * +minutes! + +seconds!, 0);
}

async function runPart(part: Part): Promise<Tally> {
  const started = performance.now();
  const command = [...part.lane === "work" ? NICE : [], ...part.command];
  const child = new Deno.Command("sh", {
    args: ["-c", SHELL, "sh", ...command],
    stdin: "null",
    env: { DENO_NO_PROMPT: "1", ...part.env },
  });
  const { success, stdout, stderr } = await child.output();
  const [output, times] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  const tally = tallyPart(part, success, output!);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const ignored = tally.ignored > 0 ? `, ${tally.ignored} ignored` : "";
  const took = `${seconds} s, ${cpuSeconds(times!).toFixed(1)} s of CPU`;
  // Whole, and not before its end: others run beside it.
  console.log(
    `\n── ${part.name}: ${part.command.join(" ")}\n${output!.trimEnd()}\n` +
      `── ${part.name}: ${tally.passed} passed, ${tally.failed} failed${ignored} (${took})`,
  );
  return tally;
}

/** Runs the parts of a lane in their order, so many at once. */
async function runLane(
  parts: readonly Part[],
  width: number,
  run: (part: Part) => Promise<void>,
): Promise<void> {
  const left = [...parts];
  const runner = async () => {
    for (let part = left.shift(); part !== undefined; part = left.shift()) await run(part);
  };
  await Promise.all(Array.from({ length: width }, runner));
}

/** Runs parts, each lane beside the others. */
export async function runParts(
  parts: readonly Part[],
  run: (part: Part) => Promise<void>,
): Promise<void> {
  const lanes = Object.entries(RUNNERS) as [Lane, number][];
  await Promise.all(lanes.map(([lane, width]) => {
    return runLane(parts.filter((part) => part.lane === lane), width, run);
  }));
}

async function main(isQuick: boolean): Promise<number> {
  const options = { isRoot: Deno.uid() === 0, isQuick };
  const { parts, skipped } = plan(Deno.execPath(), testFiles("tests"), options);
  const sum: Tally = { passed: 0, failed: 0, ignored: 0 };
  const failures: string[] = [];
  await runParts(parts, async (part) => {
    const tally = await runPart(part);
    sum.passed += tally.passed;
    sum.failed += tally.failed;
    sum.ignored += tally.ignored;
    if (tally.failed > 0) failures.push(part.name);
  });
  console.log("");
  for (const reason of skipped) console.log(`skipped ${reason} (sudo make test runs it)`);
  if (sum.ignored > 0) console.log(`ignored ${sum.ignored} tests: see the parts above`);
  if (failures.length > 0) console.log(`failed: ${failures.join(", ")}`);
  console.log(`${sum.passed} passed, ${sum.failed} failed`);
  return sum.failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args.includes("--quick")));

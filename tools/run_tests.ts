/**
 * Everything `make test` checks, part by part; the last line is the sum: `N passed, N failed`.
 *
 * @module
 */

/** One command. A check counts as one test; a suite as what Deno's own summary says. */
export interface Part {
  readonly name: string;
  readonly command: readonly string[];
  readonly suite: boolean;
}

export interface Tally {
  passed: number;
  failed: number;
  ignored: number;
}

/** Folders below tests/ whose tests load BPF or make network namespaces. */
const NEED_ROOT = ["bpf", "netns", "security"];
/** Folders below tests/ that `make test` leaves alone: run by commands of their own. */
const ELSEWHERE = ["bench", "kernels", "fixtures"];

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

/** What a finished part adds: a failure is never lost, whatever the output says. */
export function tallyPart(part: Part, success: boolean, output: string): Tally {
  const summary = part.suite ? parseSummary(output) : undefined;
  if (summary === undefined) {
    return { passed: success ? 1 : 0, failed: success ? 0 : 1, ignored: 0 };
  }
  const failed = success ? summary.failed : Math.max(1, summary.failed);
  return { ...summary, failed };
}

/** The parts in their order, and what is left out with the reason. */
export function plan(
  deno: string,
  folders: readonly string[],
  isRoot: boolean,
): { readonly parts: Part[]; readonly skipped: string[] } {
  const task = (name: string): Part => ({ name, command: [deno, "task", name], suite: false });
  const parts = ["fmt:check", "lint", "check", "lint:layers", "layout:check"].map(task);
  parts.push({ ...task("test:unit"), suite: true });
  const skipped: string[] = [];
  for (const folder of folders.filter((name) => !ELSEWHERE.includes(name)).toSorted()) {
    const name = `tests/${folder}`;
    if (NEED_ROOT.includes(folder) && !isRoot) skipped.push(`${name}: needs root`);
    else parts.push({ name, command: [deno, "test", "-A", `${name}/`], suite: true });
  }
  parts.push({ name: "sanitize", command: ["make", "-s", "sanitize"], suite: true });
  return { parts, skipped };
}

function containsTests(folder: string): boolean {
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory ? containsTests(path) : entry.name.endsWith("_test.ts")) return true;
  }
  return false;
}

/** Copies a stream to a writer as it comes, and returns it whole. */
async function tee(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  out: { writeSync(data: Uint8Array): number },
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    for (let done = 0; done < chunk.length;) done += out.writeSync(chunk.subarray(done));
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

async function runPart(part: Part): Promise<Tally> {
  console.log(`\n── ${part.name}: ${part.command.join(" ")}`);
  const started = performance.now();
  const [program, ...args] = part.command;
  const child = new Deno.Command(program!, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { DENO_NO_PROMPT: "1" },
  }).spawn();
  const [out, err, status] = await Promise.all([
    tee(child.stdout, Deno.stdout),
    tee(child.stderr, Deno.stderr),
    child.status,
  ]);
  const tally = tallyPart(part, status.success, `${out}\n${err}`);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const ignored = tally.ignored > 0 ? `, ${tally.ignored} ignored` : "";
  console.log(
    `── ${part.name}: ${tally.passed} passed, ${tally.failed} failed${ignored} (${seconds} s)`,
  );
  return tally;
}

async function main(): Promise<number> {
  const folders = [...Deno.readDirSync("tests")]
    .filter((entry) => entry.isDirectory && containsTests(`tests/${entry.name}`))
    .map((entry) => entry.name);
  const { parts, skipped } = plan(Deno.execPath(), folders, Deno.uid() === 0);
  const sum: Tally = { passed: 0, failed: 0, ignored: 0 };
  const failures: string[] = [];
  for (const part of parts) {
    const tally = await runPart(part);
    sum.passed += tally.passed;
    sum.failed += tally.failed;
    sum.ignored += tally.ignored;
    if (tally.failed > 0) failures.push(part.name);
  }
  console.log("");
  for (const reason of skipped) console.log(`skipped ${reason} (sudo make test runs it)`);
  if (sum.ignored > 0) console.log(`ignored ${sum.ignored} tests: see the parts above`);
  if (failures.length > 0) console.log(`failed: ${failures.join(", ")}`);
  console.log(`${sum.passed} passed, ${sum.failed} failed`);
  return sum.failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());

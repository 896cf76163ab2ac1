/**
 * `make test-busy`: tests over and over beside loops that take every core. What holds here does not
 * depend on how soon it gets to run.
 *
 *     deno run -A tools/test_busy.ts [--count=20] [FILES]
 *
 * @module
 */

/** Those that measure, or whose subject goes by a clock. As root; some load BPF. */
const SUITES = [
  "tests/bpf/ffi/ring_test.ts",
  "tests/bpf/tunnel/tables_test.ts",
  "tests/bpf/tunnel/xdp_filter_test.ts",
  "src/reliability/garbage_test.ts",
  "src/session/garbage_test.ts",
];
const COUNT = 20;

/** What the command line asks for. */
export interface Options {
  readonly count: number;
  readonly files: readonly string[];
}

export function parseOptions(args: readonly string[]): Options {
  const files = args.filter((arg) => !arg.startsWith("--"));
  const count = args.find((arg) => arg.startsWith("--count="))?.slice("--count=".length);
  if (count !== undefined && !/^[1-9]\d{0,5}$/.test(count)) {
    throw new RangeError(`Cannot run the tests as --count must be a number from 1: it is ${count}`);
  }
  return { count: Number(count ?? COUNT), files: files.length > 0 ? files : SUITES };
}

/** The names of the tests that failed, from what `deno test` printed. */
export function failedTests(output: string): string[] {
  return [...output.matchAll(/^(.+) \.\.\. FAILED \(/gm)].map((match) => match[1]!);
}

/** A thread a core that never rests. They end with this process, however that ends. */
function takeCores(): number {
  const url = URL.createObjectURL(new Blob(["for (;;);"], { type: "text/javascript" }));
  const cores = navigator.hardwareConcurrency;
  for (let i = 0; i < cores; i++) new Worker(url, { type: "module" });
  return cores;
}

async function runOnce(files: readonly string[]): Promise<readonly string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", ...files],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { success, stdout, stderr } = await child.output();
  if (success) return [];
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  console.error(output);
  const failed = failedTests(output);
  return failed.length > 0 ? failed : ["what is no test"];
}

async function main({ count, files }: Options): Promise<number> {
  console.log(`${files.length} files, ${count} times, beside ${takeCores()} busy loops`);
  const failures = new Map<string, number>();
  let failed = 0;
  for (let run = 1; run <= count; run++) {
    const began = performance.now();
    const names = await runOnce(files);
    if (names.length > 0) failed++;
    for (const name of names) failures.set(name, (failures.get(name) ?? 0) + 1);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(`run ${run}: ${names.length > 0 ? names.join("; ") : "passed"} (${seconds} s)`);
  }
  for (const [name, times] of failures) console.log(`failed ${times} of ${count}: ${name}`);
  console.log(`${count - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(parseOptions(Deno.args)));

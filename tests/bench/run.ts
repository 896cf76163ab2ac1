/** `make bench`: every benchmark in turn, each in a process of its own. */

const BENCHMARKS = [
  "native_bench.ts",
  "bpf_bench.ts",
  "session_bench.ts",
  "start_bench.ts",
] as const;

const here = new URL(".", import.meta.url).pathname;
const cpu = /^model name\s*:\s*(.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1];
console.log(`Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} × ${cpu ?? "CPU"}\n`);

let failed = 0;
for (const name of BENCHMARKS) {
  console.log(`── ${name}`);
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${here}${name}`],
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync();
  if (!success) failed++;
  console.log();
}
Deno.exit(failed === 0 ? 0 : 1);

/**
 * The tunnel over loopback, one way, client and server in a thread each:
 * `deno run -A tests/bench/tunnel_bench.ts [--json] [--seconds=N]`.
 */

import { type Figure, printFigures } from "./figures.ts";
import { type Role, Word } from "./tunnel_bench_end.ts";

const WARM_MS = 1000;
const TICKS_A_SECOND = 100;

const memory = new SharedArrayBuffer(8 * Word.count);
const words = new Float64Array(memory);

/** Seconds of processor that this process has used. */
function cpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

function startWorker(role: Role): void {
  const url = new URL("./tunnel_bench_worker.ts", import.meta.url);
  new Worker(url, { type: "module" }).postMessage({ role, memory });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const seconds = Number(Deno.args.find((arg) => arg.startsWith("--seconds="))?.slice(10) ?? 5);
startWorker("server");
while (words[Word.port] === 0) await sleep(10);
startWorker("client");
await sleep(WARM_MS);
const before = words.slice();
const cpu = cpuSeconds();
const began = performance.now();
await sleep(1000 * seconds);
const after = words.slice();
const took = (performance.now() - began) / 1000;
const used = cpuSeconds() - cpu;
words[Word.stop] = 1;

const grew = (word: number) => after[word]! - before[word]!;
const bytes = grew(Word.received);
const packets = grew(Word.packets);
const figures: Figure[] = [
  { name: "throughput, one way", value: bytes * 8 / took / 1e9, unit: "Gbit/s", aim: "≥ 3" },
  { name: "packets received", value: grew(Word.datagrams) / took, unit: "a second" },
  { name: "packets sent", value: packets / took, unit: "a second" },
  { name: "CPU, both ends", value: used / (bytes / 1e9), unit: "s/GB" },
  { name: "lost", value: 100 * grew(Word.lost) / packets, unit: "%" },
  { name: "round trip", value: after[Word.rttMs]!, unit: "ms" },
  { name: "heap growth of the sender", value: grew(Word.heapBytes) / packets, unit: "B/packet" },
];
printFigures(figures);
// The workers say CLOSE and end.
await sleep(200);
Deno.exit(0);

/**
 * The tunnel over loopback, one way, client and server in a thread each:
 * `deno run -A tests/bench/tunnel_bench.ts [--json] [--main=client|server] [--seconds=N]`.
 * `--main` runs that end in the main thread, where `--cpu-prof` sees it.
 */

import { testNative } from "../native.ts";
import { type Figure, printFigures } from "./figures.ts";
import { type Role, runEnd, Word } from "./tunnel_bench_end.ts";

const WARM_MS = 1000;
const TICKS_A_SECOND = 100;

function option(name: string): string | undefined {
  return Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.split("=")[1];
}

/** Seconds of processor that this process has used. */
function cpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

const memory = new SharedArrayBuffer(8 * Word.count);
const words = new Float64Array(memory);

function startWorker(role: Role): void {
  const url = new URL("./tunnel_bench_worker.ts", import.meta.url);
  new Worker(url, { type: "module" }).postMessage({ role, memory });
}

function startMeter(seconds: number): void {
  const code = `onmessage = ({ data: { memory, ms, stop } }) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    new Float64Array(memory)[stop] = 1;
    close();
  };`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  new Worker(url, { type: "module" }).postMessage({
    memory,
    ms: WARM_MS + 1000 * seconds,
    stop: Word.stop,
  });
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const seconds = Number(option("seconds") ?? 5);
const main = option("main") as Role | undefined;
const native = testNative();
if (main !== undefined) {
  if (main === "server") {
    // The port is known once the server runs, which is in this thread: the client waits for it.
    throw new RangeError("Cannot run the server in the main thread");
  }
  startWorker("server");
  while (words[Word.port] === 0) await sleep(10);
  startMeter(seconds);
  const begin = performance.now();
  runEnd(native, main, words);
  const s = (performance.now() - begin) / 1000;
  console.log(`${(words[Word.received]! * 8 / s / 1e9).toFixed(2)} Gbit/s with the warm-up`);
} else {
  startWorker("server");
  while (words[Word.port] === 0) await sleep(10);
  startWorker("client");
  await sleep(WARM_MS);
  const before = words.slice();
  const cpu = cpuSeconds();
  const begin = performance.now();
  await sleep(1000 * seconds);
  const after = words.slice();
  const s = (performance.now() - begin) / 1000;
  const used = cpuSeconds() - cpu;
  words[Word.stop] = 1;
  const grew = (word: number) => after[word]! - before[word]!;
  const bytes = grew(Word.received);
  const figures: Figure[] = [
    { name: "throughput, one way", value: bytes * 8 / s / 1e9, unit: "Gbit/s", aim: "≥ 3" },
    { name: "packets received", value: grew(Word.datagrams) / s, unit: "a second" },
    { name: "packets sent", value: grew(Word.packets) / s, unit: "a second" },
    { name: "CPU, both ends", value: used / (bytes / 1e9), unit: "s/GB" },
    { name: "lost", value: 100 * grew(Word.lost) / grew(Word.packets), unit: "%" },
    { name: "round trip", value: after[Word.rttMs]!, unit: "ms" },
    {
      name: "heap of the sender",
      value: grew(Word.heapBytes) / grew(Word.packets),
      unit: "B/packet",
    },
  ];
  printFigures(figures);
  await sleep(300);
  Deno.exit(0);
}
Deno.exit(0);

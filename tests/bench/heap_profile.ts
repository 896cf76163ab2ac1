/**
 * What a packet allocates, and where: the tunnel over loopback, one way, both workers under V8's
 * sampling heap profiler: `deno run -A tests/bench/heap_profile.ts [--json] [--seconds=N]`. What
 * they allocate before the code is compiled is not in it.
 */

import { type Figure, printFigures } from "./figures.ts";
import type { Sites } from "./heap_profile_worker.ts";
import { type Role, Word } from "./tunnel_bench_end.ts";

const SITES = 8;
const WAIT_MS = 10;
const WARM_MS = 5000;

const memory = new SharedArrayBuffer(8 * Word.count);
const words = new Float64Array(memory);

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Starts an end; what it allocated, once it has stopped. */
function start(role: Role): Promise<Sites> {
  const url = new URL("./heap_profile_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  worker.postMessage({ role, memory });
  return new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
}

function figuresOf(name: string, packets: number, sites: Sites): Figure[] {
  const total = sites.reduce((sum, [, bytes]) => sum + bytes, 0);
  const row = (of: string, bytes: number) => ({
    name: of,
    value: bytes / packets,
    unit: "B a packet",
  });
  return [
    { ...row(`${name}, in all`, total), aim: "0" },
    ...sites.slice(0, SITES).map(([site, bytes]) => row(`  ${site}`, bytes)),
  ];
}

const seconds = Number(Deno.args.find((arg) => arg.startsWith("--seconds="))?.slice(10) ?? 15);
const server = start("server");
while (words[Word.port] === 0) await sleep(WAIT_MS);
const client = start("client");
await sleep(WARM_MS);
const before = words.slice();
words[Word.isWarm] = 1;
await sleep(1000 * seconds);
const after = words.slice();
words[Word.stop] = 1;
const grew = (word: number) => after[word]! - before[word]!;
const [ofServer, ofClient] = await Promise.all([server, client]);
printFigures([
  { name: "packets", value: grew(Word.packets) / 1e6, unit: "M" },
  ...figuresOf("sender", grew(Word.packets), ofClient),
  ...figuresOf("receiver", grew(Word.datagrams), ofServer),
]);
Deno.exit(0);

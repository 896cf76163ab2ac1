/**
 * Benchmark: one stream through two sessions in memory, with neither keys nor a link between.
 *
 *     deno run -A tests/bench/session_bench.ts [--json]
 */
import { SessionPair } from "../fixtures/session_pair.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const WARM_BYTES = 200e6;
const TOTAL_BYTES = 1e9;

function measure(shared: boolean): Figure[] {
  const pair = new SessionPair(shared);
  pair.run(WARM_BYTES);
  const packets = pair.packets;
  const start = performance.now();
  pair.run(TOTAL_BYTES);
  const seconds = (performance.now() - start) / 1000;
  const name = shared ? "one arena" : "arrays apart";
  const rate = (pair.packets - packets) / seconds;
  return [
    { name: `${name}: build and receive`, value: rate / 1e6, unit: "M packets/s", aim: "1" },
    { name: `${name}: payload`, value: TOTAL_BYTES / seconds / 1e6, unit: "MB/s" },
    { name: `${name}: garbage`, value: garbage(pair), unit: "B a packet", aim: "0" },
  ];
}

/** By how much the heap grows with each packet, where no collection comes between. */
function garbage(pair: SessionPair): number {
  const grown: number[] = [];
  for (let i = 0; i < 50; i++) {
    const packets = pair.packets;
    const before = Deno.memoryUsage().heapUsed;
    pair.run(4e6);
    const bytes = Deno.memoryUsage().heapUsed - before;
    if (bytes >= 0) grown.push(bytes / (pair.packets - packets));
  }
  return median(grown);
}

printFigures([...measure(true), ...measure(false)]);

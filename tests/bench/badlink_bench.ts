/**
 * Goodput over a bad line: 100 ms round trip, 100 Mbit/s with a queue of one bandwidth-delay
 * product, and frames lost at random both ways: `deno run -A tests/bench/badlink_bench.ts [--json]
 * [--seconds N] [--loss PERCENT] [--only WORD]`, as root, after `make build`. About six
 * minutes. kcptun stands beside it where it is installed.
 *
 * The rate is that of whole Ethernet frames, and frames are lost before the queue, as netem does:
 * what is lost takes no room on the line. A tunnel's full packets leave at most 94 of 100 Mbit/s to
 * what they carry.
 */

import type { Running } from "../fixtures/process.ts";
import { BenchNet, isInstalled, option, SERVER_IP, sleep, word } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";

const IPERF_PORT = 5201;
const TUNNEL = 15_201;
const KCPTUN = 15_203;
const MBPS = 100;
const DELAY_MS = 50;
const QUEUE_BYTES = MBPS * 1e6 / 8 * 2 * DELAY_MS / 1000;
const WARM_SECONDS = 4;
const SETTLE_MS = 300;
const SHARES = [0.02, 0.05, 0.1];
const seconds = option("seconds", 10);

interface Contender {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** From the server to the client. */
  readonly isDown?: boolean;
  readonly aim?: string;
  start(net: BenchNet): Promise<Running[]>;
}

const rate = `${MBPS}mbps`;
const stated = { hysteria2: { enabled: true, up_mbps: MBPS, down_mbps: MBPS } };

function phantom(settings: object, client: object): (net: BenchNet) => Promise<Running[]> {
  return async (net) => [
    await net.startServer({ ...settings }),
    await net.startClient([[TUNNEL, IPERF_PORT]], { ...client }),
  ];
}

const brutal = phantom(stated, { up: rate, down: rate });
const adaptive = phantom({}, {});
const here = { host: "127.0.0.1", port: TUNNEL };

const CONTENDERS: readonly Contender[] = [
  {
    name: "plain TCP (cubic)",
    host: SERVER_IP,
    port: IPERF_PORT,
    start: () => Promise.resolve([]),
  },
  { name: "phantom, brutal, up", ...here, aim: "≥ 90", start: brutal },
  { name: "phantom, brutal, down", ...here, aim: "≥ 90", isDown: true, start: brutal },
  { name: "phantom, bbr, up", ...here, aim: "≥ 80", start: adaptive },
  { name: "phantom, bbr, down", ...here, aim: "≥ 80", isDown: true, start: adaptive },
  {
    ...{ name: "kcptun fast3", host: "127.0.0.1", port: KCPTUN },
    start: (net) => net.startKcptun(KCPTUN, IPERF_PORT),
  },
];

/** Mbit/s that arrived after the warm-up. */
async function goodput(net: BenchNet, { host, port, isDown = false }: Contender): Promise<number> {
  const args = ["-c", host, "-p", String(port), "-t", String(seconds + WARM_SECONDS)];
  const text = await net.output(
    ...[net.client, "iperf3", ...args, "-O", String(WARM_SECONDS), "-J"] as const,
    ...(isDown ? ["-R"] : []),
    ...(host === SERVER_IP ? ["-C", "cubic"] : []),
  );
  const report = JSON.parse(text) as { end?: { sum_received?: { bits_per_second: number } } };
  return (report.end?.sum_received?.bits_per_second ?? 0) / 1e6;
}

async function measure(net: BenchNet, loss: number, one: Contender): Promise<Figure> {
  await net.setLine({ delayMs: DELAY_MS, mbps: MBPS, queueBytes: QUEUE_BYTES, loss });
  // An iperf3 server that a broken test left busy would refuse the next one.
  const iperf = await net.start(net.server, "iperf3", ["-s", "-p", String(IPERF_PORT)]);
  await net.listens(net.server, IPERF_PORT);
  const running = await one.start(net);
  await sleep(SETTLE_MS);
  let value = 0;
  try {
    value = await goodput(net, one);
  } catch (error) {
    console.error(`${one.name}: ${error instanceof Error ? error.message : error}`);
  }
  for (const process of [...running.reverse(), iperf]) await net.stop(process);
  const counted = await net.endLine();
  if (Deno.args.includes("--line")) console.error(`${one.name}, ${loss}: ${counted}`);
  const { name, aim } = one;
  return { name: `${name}, ${loss * 100} % loss`, value, unit: "Mbit/s", ...(aim && { aim }) };
}

async function main(): Promise<void> {
  await using net = new BenchNet(true);
  const only = option("loss", NaN) / 100;
  const figures: Figure[] = [];
  for (const loss of Number.isNaN(only) ? SHARES : [only]) {
    for (const one of CONTENDERS) {
      if (!one.name.includes(word("only"))) continue;
      if (one.name.startsWith("kcptun") && !isInstalled("kcptun-client", "kcptun-server")) continue;
      figures.push(await measure(net, loss, one));
    }
  }
  printFigures(figures);
}

await main();

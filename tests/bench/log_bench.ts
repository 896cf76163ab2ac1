/**
 * What the log costs a server: `deno run -A tests/bench/log_bench.ts [--json]`, as root, after
 * `make build`; two minutes. One process whose log SIGHUP switches between `info` and `error`, by
 * turns, so that nothing but the log differs: CPU a handshake, CPU a byte of iperf3.
 */

import { endpoint } from "../../ffi/endpoint.ts";
import { libraries } from "../fixtures/libraries.ts";
import { medianInterval } from "../../tools/pairs.ts";
import { BenchNet, TUNNEL_PORT } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";
import { HelloGenerator } from "./hello_generator.ts";

const LOOPBACK = endpoint(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1), 0);
const HANDSHAKE_PAIRS = 40;
const HANDSHAKES = 500;
const WARM_HANDSHAKES = 8000;
const STREAM_PAIRS = 20;
const STREAM_S = 1;
const IPERF_PORT = 5201;
const FORWARD_PORT = 15_201;

/** Nanoseconds of CPU that all threads of a process have used. */
function cpuNs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return [...Deno.readDirSync(folder)]
    .map(({ name }) => Number(Deno.readTextFileSync(`${folder}/${name}/schedstat`).split(" ")[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

/** CPU with the log beside CPU without, of so many pairs; which is first changes. */
async function ratios(pairs: number, cost: () => Promise<number> | number): Promise<number[]> {
  const found: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const spent: Record<string, number> = {};
    for (const level of pair % 2 === 0 ? ["error", "info"] : ["info", "error"]) {
      await net.logAt(level, server);
      spent[level] = await cost();
    }
    found.push(spent["info"]! / spent["error"]!);
  }
  return found;
}

function figuresOf(name: string, found: readonly number[]): Figure[] {
  const { low, median, high } = medianInterval(found);
  return [
    { name, value: median, unit: "× without log", aim: "≤ 1.01" },
    { name: "... 95 %, from", value: low, unit: "×" },
    { name: "... to", value: high, unit: "×" },
  ];
}

async function handshakes(): Promise<Figure[]> {
  using generator = net.server.enter(() =>
    new HelloGenerator(libraries().native, {
      psk: Uint8Array.fromBase64(net.psk),
      server: { ...LOOPBACK, port: TUNNEL_PORT },
      ...{ window: 256, confirms: true },
    })
  );
  generator.connect(generator.prepare(WARM_HANDSHAKES));
  const found = await ratios(HANDSHAKE_PAIRS, () => {
    const clients = generator.prepare(HANDSHAKES);
    const before = cpuNs(server.pid);
    generator.connect(clients);
    return cpuNs(server.pid) - before;
  });
  return figuresOf("CPU a handshake", found);
}

async function streams(): Promise<Figure[]> {
  const target = await net.start(net.server, "iperf3", ["-s", "-p", `${IPERF_PORT}`]);
  await net.listens(net.server, IPERF_PORT);
  await net.startClient([[FORWARD_PORT, IPERF_PORT]]);
  const found = await ratios(STREAM_PAIRS, async () => {
    const before = cpuNs(server.pid);
    const args = ["-c", "127.0.0.1", "-p", `${FORWARD_PORT}`, "-t", `${STREAM_S}`, "-J"];
    const { stdout } = await net.client.command("iperf3", args, { stdin: "null" }).output();
    const { end } = JSON.parse(new TextDecoder().decode(stdout));
    return (cpuNs(server.pid) - before) / end.sum_received.bytes;
  });
  await net.stop(target);
  return figuresOf("CPU a byte of iperf3, up", found);
}

await using net = new BenchNet();
const server = await net.startServer();
printFigures([...await streams(), ...await handshakes()]);

/**
 * What the log costs a server: `deno run -A tests/bench/log_bench.ts [--json]`, as root, after
 * `make build`; two minutes. One process whose log SIGHUP switches between `info` and `error`, by
 * turns, so that nothing but the log differs: CPU a handshake, CPU a byte of iperf3.
 */

import { endpoint } from "../../ffi/endpoint.ts";
import { libraries } from "../fixtures/libraries.ts";
import type { Running } from "../fixtures/process.ts";
import { medianInterval } from "../../tools/pairs.ts";
import { BenchNet, executable, sleep, TUNNEL_PORT } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";
import { HelloGenerator } from "./hello_generator.ts";

const LOOPBACK = endpoint(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1), 0);
const HANDSHAKE_PAIRS = 40;
const HANDSHAKES = 500;
const WARM_HANDSHAKES = 8000;
const STREAM_PAIRS = 20;
const STREAM_S = 1;
const RELOAD_MS = 300;
const IPERF_PORT = 5201;
const FORWARD_PORT = 15_201;

/** Nanoseconds of CPU that all threads of a process have used. */
function cpuNs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return [...Deno.readDirSync(folder)]
    .map(({ name }) => Number(Deno.readTextFileSync(`${folder}/${name}/schedstat`).split(" ")[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

class Switched {
  readonly #path: string;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly server: Running;

  private constructor(path: string, settings: Switched["settings"], server: Running) {
    this.#path = path;
    this.#settings = settings;
    this.server = server;
  }

  get settings(): Readonly<Record<string, unknown>> {
    return this.#settings;
  }

  static async start(net: BenchNet): Promise<Switched> {
    const settings = {
      ...{ listen: `:${TUNNEL_PORT}`, psk: net.psk, workers: 1 },
      ...{ state_dir: `${net.folder}/state`, ebpf: { enabled: false } },
      hysteria2: { enabled: false },
      rules: [{ cidr: ["127.0.0.0/8"], outbound: "direct" }],
    };
    const path = net.file(settings);
    const server = await net.start(net.server, executable, ["run", "-c", path], " ready ");
    return new Switched(path, settings, server);
  }

  async become(level: string): Promise<void> {
    const text = JSON.stringify({ ...this.#settings, log_level: level });
    Deno.writeTextFileSync(this.#path, text, { mode: 0o600 });
    this.server.signal("SIGHUP");
    await sleep(RELOAD_MS);
  }

  /** CPU with the log beside CPU without, of so many pairs; which is first changes. */
  async ratios(pairs: number, cost: () => Promise<number> | number): Promise<number[]> {
    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      const spent: Record<string, number> = {};
      for (const level of pair % 2 === 0 ? ["error", "info"] : ["info", "error"]) {
        await this.become(level);
        spent[level] = await cost();
      }
      ratios.push(spent["info"]! / spent["error"]!);
    }
    return ratios;
  }
}

function figuresOf(name: string, ratios: readonly number[]): Figure[] {
  const { low, median, high } = medianInterval(ratios);
  return [
    { name, value: median, unit: "× without log", aim: "≤ 1.01" },
    { name: "... 95 %, from", value: low, unit: "×" },
    { name: "... to", value: high, unit: "×" },
  ];
}

async function handshakes(net: BenchNet, bench: Switched): Promise<Figure[]> {
  using generator = net.server.enter(() =>
    new HelloGenerator(libraries().native, {
      psk: Uint8Array.fromBase64(net.psk),
      server: { ...LOOPBACK, port: TUNNEL_PORT },
      ...{ window: 256, confirms: true },
    })
  );
  generator.connect(generator.prepare(WARM_HANDSHAKES));
  const ratios = await bench.ratios(HANDSHAKE_PAIRS, () => {
    const clients = generator.prepare(HANDSHAKES);
    const before = cpuNs(bench.server.pid);
    generator.connect(clients);
    return cpuNs(bench.server.pid) - before;
  });
  return figuresOf("CPU a handshake", ratios);
}

async function streams(net: BenchNet, bench: Switched): Promise<Figure[]> {
  const target = await net.start(net.server, "iperf3", ["-s", "-p", `${IPERF_PORT}`]);
  await net.listens(net.server, IPERF_PORT);
  await net.startClient([[FORWARD_PORT, IPERF_PORT]]);
  const ratios = await bench.ratios(STREAM_PAIRS, async () => {
    const before = cpuNs(bench.server.pid);
    const args = ["-c", "127.0.0.1", "-p", `${FORWARD_PORT}`, "-t", `${STREAM_S}`, "-J"];
    const { stdout } = await net.client.command("iperf3", args, { stdin: "null" }).output();
    const { end } = JSON.parse(new TextDecoder().decode(stdout));
    return (cpuNs(bench.server.pid) - before) / end.sum_received.bytes;
  });
  await net.stop(target);
  return figuresOf("CPU a byte of iperf3, up", ratios);
}

await using net = new BenchNet();
const bench = await Switched.start(net);
const figures = [...await streams(net, bench), ...await handshakes(net, bench)];
printFigures(figures);

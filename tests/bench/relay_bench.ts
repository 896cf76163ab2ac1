/**
 * The relay in XDP, beside the kernel's own forwarding (nftables DNAT) and nginx's UDP proxy:
 * `deno run -A tests/bench/relay_bench.ts [--json] [--only xdp|nft|nginx]`, as root, after
 * `make bpf lib`, with nginx, libnginx-mod-stream and nftables installed. About a minute.
 *
 * Frames of 64 bytes come from the kernel (live frames) on one core, out of 64 ports; every one is
 * written anew. What counts is what arrives at the backend's end, whole. XDP and forwarding do all
 * their work on the core that sends; nginx has the other core for itself.
 */

import { RelayLimit } from "../../ffi/bpf/layout.gen.ts";
import { BpfMapType } from "../../ffi/bpf/libbpf.gen.ts";
import { type BpfMap, createMap } from "../../ffi/bpf/map.ts";
import type { BpfObject } from "../../ffi/bpf/object.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { bringPart } from "../../src/kernel/object_plane.ts";
import { KernelRelay, relayPart, type RelayPlan } from "../../src/relay/kernel_relay.ts";
import { claim } from "../fixtures/claim.ts";
import { libraries } from "../fixtures/libraries.ts";
import { piped, Running } from "../fixtures/process.ts";
import { isInstalled, sleep, word } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";
import { BACKEND, type Counting, type Generator, LISTEN, RelayNet, V4, V6 } from "./relay_net.ts";

const FLOWS = 64;
const RATE_FRAMES = 1_000_000;
const RATE_ROUNDS = 5;
const BURST = 32;
const PACE_MS = 1000;
const GENERATOR_CORE = "0";
const OTHER_CORE = "1";

/** What carries datagrams from the sender to the receiver. */
interface Carrier {
  readonly frames: number;
  readonly net: RelayNet;
  stop(): Promise<void> | void;
}

/** xdp_phantom with a relay in it, in the relay's namespace; not attached. */
function relayProgram(net: RelayNet, family: 4 | 6): BpfObject {
  const { receiver, relayIn, relayOut } = family === 4 ? V4 : V6;
  const bytes = (ip: string) => Uint8Array.from(ipBytes(ip));
  const plan: RelayPlan = {
    services: [{
      ...{ first: LISTEN, last: LISTEN },
      backends: [{ ip: bytes(receiver), port: BACKEND, weight: 1 }],
    }],
    ports: { first: 20_000, count: 12_768 },
    idleMs: 60_000,
    flowsMax: 16_384,
  };
  const part = relayPart(plan);
  const program = net.load("xdp_phantom", (object) => {
    bringPart(object, part);
    object.reuse("relay_devices", net.relay.enter(makeDevices));
  });
  const relay = new KernelRelay({ map: (name) => program.map(name), plan });
  claim((name) => program.map(name), { own: [relayIn, relayOut] });
  const devices = ["in", "out"].map((name) => net.index(net.relay, name));
  net.relay.enter(() => {
    for (const index of devices) setProgram(program, index, 0);
  });
  relay.update([[{ state: "up", source: bytes(relayOut) }]]);
  part.prepare!((name) => program.map(name));
  return program;
}

/** Mpps that arrive, the best of some rounds. */
async function rate(generator: Generator, counting: Counting, frames: number): Promise<number> {
  let best = 0;
  for (let round = 0; round <= RATE_ROUNDS; round++) {
    const before = counting.arrived;
    const start = performance.now();
    generator.send(frames);
    const ms = performance.now() - start;
    await sleep(30);
    // The first round resolves neighbours and opens flows.
    if (round > 0) best = Math.max(best, (counting.arrived - before) / ms / 1e3);
  }
  return best;
}

/** What arrives of frames sent at a rate, in bursts, for some time: Mpps. */
async function pace(
  net: RelayNet,
  counting: Counting,
  mpps: number,
  stamped: boolean,
): Promise<number> {
  const paced = { burst: BURST, mpps };
  const generator = net.generate(4, { flows: FLOWS, stamped, pace: paced });
  const before = counting.arrived;
  const start = performance.now();
  generator.send(Math.round(mpps * 1e3 * PACE_MS), BURST);
  const ms = performance.now() - start;
  await sleep(50);
  return (counting.arrived - before) / ms / 1e3;
}

async function delaysAt(net: RelayNet, mpps: number, name: string): Promise<Figure[]> {
  const counting = net.receive(4, true);
  const came = await pace(net, counting, mpps, true);
  const { p50, p99, count } = counting.delays();
  counting.close();
  if (count < 1000) throw new Error(`only ${count} frames came through ${name}`);
  const at = `${name}: delay at ${came.toFixed(2)} Mpps`;
  return [
    { name: `${at}, P50`, unit: "µs", value: p50 },
    { name: `${at}, P99`, unit: "µs", value: p99 },
  ];
}

/** As a network card would feed it: the frames come straight into the program. */
async function directFigures(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const family of [4, 6] as const) {
    using net = new RelayNet();
    const program = relayProgram(net, family);
    const generator = net.generate(family, { flows: FLOWS, into: program });
    const standIn = net.standIn(family);
    setDevice(net, program, standIn.fd);
    const toDevice = await rate(generator, standIn.counting, RATE_FRAMES);
    setDevice(net, program, 0);
    const counting = net.receive(family, false);
    const toVeth = await rate(generator, counting, RATE_FRAMES);
    figures.push(
      {
        name: `XDP relay, IPv${family}: frames in, rewritten, counted where they leave`,
        unit: "Mpps",
        value: toDevice,
        ...(family === 4 ? { aim: "≥ 5" } : {}),
      },
      {
        name: "... through a veth pair to a receiver, on the same core",
        unit: "Mpps",
        value: toVeth,
      },
    );
  }
  return figures;
}

/** The program of the way out, or none. */
function setDevice(net: RelayNet, program: BpfObject, fd: number): void {
  const index = net.index(net.relay, "out");
  net.relay.enter(() => setProgram(program, index, fd));
}

/** Unlike the relay's own, with room for programs. It ends with the process. */
function makeDevices(): BpfMap {
  const shape = { name: "devices", keySize: 4, valueSize: 8, maxEntries: RelayLimit.devices };
  return createMap(libraries(), { ...shape, type: BpfMapType.devmapHash });
}

function setProgram(program: BpfObject, index: number, fd: number): void {
  const value = new Uint8Array(Int32Array.of(index, fd === 0 ? -1 : fd).buffer);
  program.map("relay_devices").set(value.slice(0, 4), value);
}

type Name = "xdp" | "nft" | "nginx" | "bare";

/** Sets one of them up in a network of its own. */
async function carrier(name: Name): Promise<Carrier> {
  const net = new RelayNet();
  const gro = () => net.relay.run("ethtool", "-K", "in", "gro", "on");
  if (name === "xdp") {
    net.attach(relayProgram(net, 4), "xdp_phantom", net.relay, "in");
    return { net, frames: RATE_FRAMES, stop: () => net[Symbol.dispose]() };
  }
  gro();
  if (name === "nft") {
    net.relay.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    const rules = `table ip nat {
      chain in { type nat hook prerouting priority -100;
        udp dport ${LISTEN} dnat to ${V4.receiver}:${BACKEND}; }
      chain out { type nat hook postrouting priority 100; oif "out" masquerade; }
    }`;
    const path = Deno.makeTempFileSync();
    Deno.writeTextFileSync(path, rules);
    net.relay.run("nft", "-f", path);
    Deno.removeSync(path);
    return { net, frames: RATE_FRAMES, stop: () => net[Symbol.dispose]() };
  }
  const folder = Deno.makeTempDirSync({ prefix: "phantom-nginx-" });
  Deno.writeTextFileSync(`${folder}/nginx.conf`, nginxConfig(folder));
  const args = ["-c", OTHER_CORE, "nginx", "-c", `${folder}/nginx.conf`, "-g", "daemon off;"];
  const running = new Running(net.relay.command("taskset", args, piped));
  await sleep(500);
  return {
    net,
    frames: RATE_FRAMES,
    async stop() {
      await running.kill("SIGTERM");
      Deno.removeSync(folder, { recursive: true });
      net[Symbol.dispose]();
    },
  };
}

function nginxConfig(folder: string): string {
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root; worker_processes 1; pid ${folder}/pid; error_log ${folder}/log crit;
events { worker_connections 16384; }
stream {
  server { listen ${LISTEN} udp rcvbuf=8m sndbuf=8m; proxy_pass ${V4.receiver}:${BACKEND};
    proxy_timeout 60s; }
}`;
}

/** From the sender's interface to the receiver's, through the relay's two. */
async function throughFigures(name: Name, title: string): Promise<[Figure[], number]> {
  const { net, frames, stop } = await carrier(name);
  try {
    const counting = net.receive(4, false);
    const best = name === "nginx"
      ? await sustained(net, counting)
      : await rate(net.generate(4, { flows: FLOWS }), counting, frames);
    counting.close();
    const delays = await delaysAt(net, best / 2, title);
    return [
      [{ name: `${title}: through both veth pairs`, unit: "Mpps", value: best }, ...delays],
      best,
    ];
  } finally {
    await stop();
  }
}

/** What goes through a process that is offered ever more: the most of all rates. */
async function sustained(net: RelayNet, counting: Counting): Promise<number> {
  let best = 0;
  for (const mpps of [0.05, 0.1, 0.15, 0.2, 0.3, 0.5]) {
    best = Math.max(best, await pace(net, counting, mpps, false));
  }
  return best;
}

async function all(): Promise<Figure[]> {
  const only = word("only");
  const figures: Figure[] = [];
  if (only === "" || only === "direct") figures.push(...await directFigures());
  const rates: Partial<Record<Name, number>> = {};
  const titles = { xdp: "XDP relay", nft: "nftables DNAT", nginx: "nginx stream" } as const;
  for (const name of ["xdp", "nft", "nginx"] as const) {
    if (only !== "" && only !== name) continue;
    if (name !== "xdp" && !isInstalled(name)) {
      console.error(`${name} is not installed: left out`);
      continue;
    }
    const [own, best] = await throughFigures(name, titles[name]);
    figures.push(...own);
    rates[name] = best;
  }
  const { xdp, nft, nginx } = rates;
  if (xdp && nft) {
    figures.push({ name: "XDP to nftables", unit: "×", value: xdp / nft, aim: "≥ 3" });
  }
  if (xdp && nginx) {
    figures.push({ name: "XDP to nginx", unit: "×", value: xdp / nginx, aim: "≥ 15" });
  }
  return figures;
}

// Else the sending thread wanders, and with it what it feeds.
new Deno.Command("taskset", { args: ["-a", "-p", "-c", GENERATOR_CORE, String(Deno.pid)] })
  .outputSync();
printFigures(await all());

/**
 * How much a server of one worker stands: handshakes a second, streams of one session, idle
 * sessions, a flood of junk beside a session: `deno run -A tests/bench/scale_bench.ts [--json]
 * [handshakes] [streams] [idle] [flood]`, as root, after `make build`; without a name all of them,
 * in about two minutes.
 */

import { endpoint } from "../../ffi/endpoint.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/object.ts";
import { compiled } from "../fixtures/compiled.ts";
import { bpfObject, freshPinPath, libraries } from "../fixtures/libraries.ts";
import {
  BenchNet,
  cpuSeconds,
  option,
  residentBytes,
  sleep,
  TUNNEL_PORT,
  word,
} from "./bench_net.ts";
import { type Figure, median, printFigures } from "./figures.ts";
import { HelloGenerator } from "./hello_generator.ts";

const ECHO_PORT = 7000;
const IPERF_PORT = 5201;
const TUNNEL = 17_000;
const LOOPBACK = endpoint(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1), 0);
const WARM_HANDSHAKES = 10_000;
const HANDSHAKES = 24_000;
const WINDOW = 256;
const STREAMS = 10_000;
const IDLE_SESSIONS = 50_000;
const IDLE_BATCH = 5000;
const IDLE_MS = 20_000;
const SAMPLE = 1000;
const MIB = 1 << 20;
const JUNK_PPS = 500_000;
const JUNK_BYTES = 64;
const FLOOD_SECONDS = option("seconds", 4);
const FLOOD_ROUNDS = option("rounds", 3);
/** One of LEVELS, or all. */
const FLOOD_ONLY = word("level");
const BURST_MS = 2;

function generatorOf(net: BenchNet, confirms: boolean): HelloGenerator {
  return net.server.enter(() =>
    new HelloGenerator(libraries().native, {
      psk: Uint8Array.fromBase64(net.psk),
      server: { ...LOOPBACK, port: TUNNEL_PORT },
      window: WINDOW,
      confirms,
    })
  );
}

/** Puts a process, or this one, on one processor. */
function pin(pid: number, cpu: number): void {
  const args = ["-apc", String(cpu), String(pid)];
  new Deno.Command("taskset", { args, stdout: "null", stderr: "null" }).outputSync();
}

function unpin(pid: number): void {
  const all = `0-${navigator.hardwareConcurrency - 1}`;
  const args = ["-apc", all, String(pid)];
  new Deno.Command("taskset", { args, stdout: "null", stderr: "null" }).outputSync();
}

/** The server on one processor, what asks it on another. */
async function handshakes(): Promise<Figure[]> {
  await using net = new BenchNet();
  const server = await net.startServer();
  using generator = generatorOf(net, false);
  pin(server.pid, 1);
  pin(Deno.pid, 0);
  try {
    generator.connect(generator.prepare(WARM_HANDSHAKES));
    const clients = generator.prepare(HANDSHAKES);
    const cpu = cpuSeconds(server.pid);
    const ms = generator.connect(clients);
    const used = cpuSeconds(server.pid) - cpu;
    return [
      { name: "handshakes", value: HANDSHAKES / ms * 1000, unit: "a second" },
      {
        name: "handshakes, by the server's CPU time",
        value: HANDSHAKES / used,
        unit: "a CPU second",
        aim: "≥ 8000",
      },
    ];
  } finally {
    unpin(Deno.pid);
  }
}

async function idle(): Promise<Figure[]> {
  await using net = new BenchNet();
  const server = await net.startServer();
  await sleep(1000);
  const before = residentBytes(server.pid);
  using generator = generatorOf(net, true);
  const sample = generator.prepare(SAMPLE);
  generator.connect(sample);
  const begin = performance.now();
  for (let made = SAMPLE; made < IDLE_SESSIONS;) {
    const count = Math.min(IDLE_BATCH, IDLE_SESSIONS - made);
    generator.connect(generator.prepare(count));
    made += count;
  }
  const ms = performance.now() - begin;
  await sleep(IDLE_MS);
  const after = residentBytes(server.pid);
  const cpu = cpuSeconds(server.pid);
  await sleep(5000);
  const used = cpuSeconds(server.pid) - cpu;
  const answered = generator.ping(sample);
  return [
    { name: `${IDLE_SESSIONS} sessions, made in`, value: ms / 1000, unit: "s" },
    { name: "memory of the server before", value: before / MIB, unit: "MiB" },
    { name: "... with all of them idle", value: after / MIB, unit: "MiB", aim: "≤ 1024" },
    { name: "... a session", value: (after - before) / IDLE_SESSIONS / 1024, unit: "KiB" },
    { name: "CPU of the server meanwhile", value: used * 20, unit: "%" },
    { name: `of the first ${SAMPLE}, answer a PING`, value: answered, unit: "", aim: `${SAMPLE}` },
  ];
}

async function streams(): Promise<Figure[]> {
  await using net = new BenchNet();
  const echo = compiled("echo");
  await net.start(net.server, echo, ["serve", String(ECHO_PORT)], "echo ready");
  const server = await net.startServer();
  const client = await net.startClient([[TUNNEL, ECHO_PORT]]);
  const text = await net.output(
    ...[net.client, echo, "hold", "127.0.0.1", String(TUNNEL), String(STREAMS)] as const,
  );
  const told = JSON.parse(text) as Record<
    "echoed" | "again" | "openMs" | "echoMs" | "againMs",
    number
  >;
  return [
    { name: "streams at a time that echo", value: told.echoed, unit: "", aim: `${STREAMS}` },
    { name: "... and once more", value: told.again, unit: "", aim: `${STREAMS}` },
    { name: "opened and echoed in", value: told.openMs + told.echoMs, unit: "ms" },
    { name: "echoed once more in", value: told.againMs, unit: "ms" },
    { name: "memory of the server", value: residentBytes(server.pid) / MIB, unit: "MiB" },
    { name: "memory of the client", value: residentBytes(client.pid) / MIB, unit: "MiB" },
  ];
}

/** A frame of junk from the router to the server's port. */
function junkFrame(net: BenchNet): Uint8Array<ArrayBuffer> {
  const mac = (text: string) =>
    text.match(/link\/ether (\S+)/)![1]!.split(":").map((x) => parseInt(x, 16));
  const bytes = new Uint8Array(14 + 20 + 8 + JUNK_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(mac(net.server.ip("link", "show", "wan")), 0);
  bytes.set(mac(net.router.ip("link", "show", "s")), 6);
  view.setUint16(12, 0x0800);
  bytes.set([0x45, 0, 0, bytes.length - 14, 0, 0, 0x40, 0, 64, 17], 14);
  bytes.set([10, 91, 1, 77, 10, 91, 2, 2], 26);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(24, ~sum & 0xffff);
  view.setUint16(34, 4711);
  view.setUint16(36, TUNNEL_PORT);
  view.setUint16(38, 8 + JUNK_BYTES);
  crypto.getRandomValues(bytes.subarray(42));
  return bytes;
}

/** Sends junk at its rate for a time, in bursts; how many a second it was. */
async function junk(send: (frames: number) => void, seconds: number): Promise<number> {
  const begin = performance.now();
  const end = begin + 1000 * seconds;
  let sent = 0;
  for (let now = begin; now < end; now = performance.now()) {
    const due = Math.floor((now - begin) * JUNK_PPS / 1000) - sent;
    // What could not be sent in time is not made up for in one go.
    const frames = Math.min(due, JUNK_PPS * BURST_MS * 20 / 1000);
    if (frames > 0) send(frames);
    sent += frames;
    await sleep(BURST_MS);
  }
  return sent / (performance.now() - begin) * 1000;
}

/** Mbit/s of an iperf3 through the tunnel while `beside` runs. */
async function rateBeside<T>(
  net: BenchNet,
  limit: string,
  beside: () => Promise<T>,
): Promise<readonly [number, T]> {
  const args = ["-c", "127.0.0.1", "-p", String(TUNNEL), "-J", "-O", "1", "-b", limit];
  const running = net.output(net.client, "iperf3", ...args, "-t", String(FLOOD_SECONDS + 1));
  await sleep(500);
  const result = await beside();
  const report = JSON.parse(await running) as {
    end: { sum_received: { bits_per_second: number } };
  };
  return [report.end.sum_received.bits_per_second / 1e6, result];
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Who meets junk first: the server's own code, programs on its sockets, or XDP. */
const LEVELS = { none: undefined, sockets: "nothere0", xdp: "wan" } as const;

async function flood(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const level of Object.keys(LEVELS) as (keyof typeof LEVELS)[]) {
    if (FLOOD_ONLY !== "" && FLOOD_ONLY !== level) continue;
    for (const figure of await floodAt(LEVELS[level])) {
      figures.push({ ...figure, name: `${level}: ${figure.name}` });
    }
  }
  return figures;
}

async function floodAt(device: string | undefined): Promise<Figure[]> {
  const pins = freshPinPath();
  await using net = new BenchNet();
  using _pins = { [Symbol.dispose]: () => removeIfThere(pins) };
  // What is redirected to a veth needs its peer to poll.
  net.server.run("ethtool", "-K", "wan", "gro", "on");
  net.router.run("ethtool", "-K", "s", "gro", "on");
  await net.start(net.server, "iperf3", ["-s", "-p", String(IPERF_PORT)]);
  await net.listens(net.server, IPERF_PORT);
  const server = await net.startServer(
    device === undefined ? {} : { ebpf: { interface: device, pin_path: pins } },
  );
  await net.startClient([[TUNNEL, IPERF_PORT]]);
  const data = junkFrame(net);
  const { router } = net;
  using generator = new BpfObject(libraries(), "bench", bpfObject("bench"));
  const out = router.enter(() => libraries().native.symbols.ph_ifindex(cString("s")));
  generator.setConstant("out_ifindex", out);
  generator.load();
  const program = generator.program("send");
  const send = (frames: number) =>
    router.enter(() => program.run({ data, live: true, repeat: frames, batch: 64 }));
  const cpu = cpuSeconds(server.pid);
  const alone = await junk(send, FLOOD_SECONDS);
  const used = (cpuSeconds(server.pid) - cpu) / FLOOD_SECONDS;
  const figures: Figure[] = [
    { name: "junk alone", value: alone / 1000, unit: "kpps" },
    { name: "... CPU of the server's process", value: 1e9 * used / alone, unit: "ns a packet" },
  ];
  for (const [name, limit] of [["as fast as it can", "0"], ["of 500 Mbit/s", "500M"]] as const) {
    const quiet: number[] = [];
    const flooded: number[] = [];
    const rates: number[] = [];
    for (let round = 0; round < FLOOD_ROUNDS; round++) {
      quiet.push((await rateBeside(net, limit, () => sleep(1)))[0]);
      const [rate, pps] = await rateBeside(net, limit, () => junk(send, FLOOD_SECONDS + 1));
      flooded.push(rate);
      rates.push(pps);
    }
    const cost = 100 * (1 - median(flooded) / median(quiet));
    figures.push(
      { name: `a session ${name}`, value: median(quiet), unit: "Mbit/s" },
      { name: "... beside junk", value: median(flooded), unit: "Mbit/s" },
      { name: "... of which so much came", value: median(rates) / 1000, unit: "kpps", aim: "500" },
      { name: "... which costs", value: cost, unit: "%", aim: "≤ 20" },
    );
  }
  return figures;
}

const PARTS = { handshakes, streams, idle, flood } as const;

const wanted = Object.entries(PARTS).filter(([name]) => Deno.args.includes(name));
const figures: Figure[] = [];
for (const [name, part] of wanted.length > 0 ? wanted : Object.entries(PARTS)) {
  try {
    figures.push(...await part());
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.stack : error}`);
    Deno.exitCode = 1;
  }
}
printFigures(figures);

/**
 * How much a server of one worker stands: handshakes a second, streams of one session, idle
 * sessions: `deno run -A tests/bench/scale_bench.ts [--json] [handshakes] [streams] [idle]`, as
 * root, after `make build`; without a name all of them, in about two minutes.
 */

import { endpoint } from "../../ffi/endpoint.ts";
import { compiled } from "../fixtures/compiled.ts";
import { libraries } from "../fixtures/libraries.ts";
import { BenchNet, cpuSeconds, residentBytes, sleep, TUNNEL_PORT } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";
import { HelloGenerator } from "./hello_generator.ts";

const ECHO_PORT = 7000;
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

const PARTS = { handshakes, streams, idle } as const;

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

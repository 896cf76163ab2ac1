/** `phantom bench` */

import { type ClientConfig, formatAddress, type HostPort, parseHostPort } from "../config/mod.ts";
import { BENCH_HOST, BENCH_MS_MAX, BenchPort } from "../proxy/bench.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig } from "./client_config.ts";
import { Exit } from "./exit.ts";
import { ProbeClient } from "./probe_client.ts";

const SINK: HostPort = { host: BENCH_HOST, port: BenchPort.sink };
const SOURCE: HostPort = { host: BENCH_HOST, port: BenchPort.source };
/** Below what the server allows, which counts what is still under way, too. */
const SECONDS_MAX = BENCH_MS_MAX / 1000 - 10;
const STREAMS_MAX = 64;
const LOOPBACK = "127.0.0.1";
const PINGS = 5;
const CHUNK_BYTES = 256 << 10;
/** For what was sent to arrive, after the time is over. */
const DRAIN_MS = 15_000;
const LOOK_MS = 1000;

interface Flow {
  readonly bytes: number;
  readonly ms: number;
}

interface Result {
  readonly server: string;
  readonly rttMs: number;
  readonly downMbps: number;
  readonly upMbps: number;
  /** Of the packets that this side sent. */
  readonly lostShare: number;
}

export const command: Command = {
  name: "bench",
  summary: "measure speed, round trip and loss through the tunnel",
  options: [
    ...CLIENT_OPTIONS,
    {
      name: "seconds",
      value: "SECONDS",
      help: `for each direction (default: 5, at most ${SECONDS_MAX})`,
    },
    { name: "streams", value: "COUNT", help: "at a time (default: 4)" },
    { name: "sink", value: "HOST:PORT", help: "what reads all to its end (default: the server)" },
    { name: "source", value: "HOST:PORT", help: "what sends without end (default: the server)" },
    { name: "json", help: "print JSON" },
    { name: "verbose", short: "v", help: "log what happens" },
  ],
  async run(given, { root }) {
    const seconds = numberOf(given, "seconds", 5, SECONDS_MAX);
    const streams = numberOf(given, "streams", 4, STREAMS_MAX);
    const targets = [targetOf(given, "sink", SINK), targetOf(given, "source", SOURCE)] as const;
    const config = clientConfig(given);
    try {
      const probe = await ProbeClient.start({
        config: forwarding(config, targets),
        root,
        verbose: given.has("verbose"),
        inbounds: true,
      });
      try {
        const server = formatAddress(config.server);
        const result = await measure(probe, server, 1000 * seconds, streams);
        print(result, given.has("json"));
      } finally {
        await probe.stop();
      }
    } finally {
      config.psk.wipe();
      config.key?.wipe();
    }
    return Exit.ok;
  },
};

function numberOf(given: Given, name: string, fallback: number, max: number): number {
  const text = given.value(name) ?? String(fallback);
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw new UsageError(`--${name} wants a number from 1 to ${max}`);
}

function targetOf(given: Given, name: string, fallback: HostPort): HostPort {
  const text = given.value(name);
  if (text === undefined) return fallback;
  const parsed = parseHostPort(text);
  if ("value" in parsed) return parsed.value;
  throw new UsageError(`--${name}: ${parsed.rule}. ${parsed.remedy}`);
}

/** Two ports of this machine, any that are free: to the sink, and to the source. */
function forwarding(config: ClientConfig, targets: readonly HostPort[]): ClientConfig {
  const listen = { host: LOOPBACK, port: 0 };
  const forwards = targets.map((target) => ({ listen, target, network: "tcp" as const }));
  return { ...config, mixed: [], socks5: [], http: [], forwards };
}

async function measure(
  probe: ProbeClient,
  server: string,
  ms: number,
  streams: number,
): Promise<Result> {
  const [sink, source] = probe.ports;
  let rttMs = Infinity;
  for (let i = 0; i < PINGS; i++) {
    const report = await probe.measure();
    if (report === undefined) throw new Error(`Cannot measure ${server} as there is no answer`);
    rttMs = Math.min(rttMs, report.rttMs);
  }
  const downMbps = await rateOf(streams, () => download(source!, ms));
  const watch = new Watch(probe);
  const upMbps = await rateOf(streams, () => upload(sink!, ms, watch))
    .finally(() => watch.stop());
  const lostShare = (await probe.measure())?.lostShare ?? NaN;
  return { server, rttMs, downMbps, upMbps, lostShare };
}

/** Of several flows side by side, from the first's begin to the last's end. */
async function rateOf(streams: number, flow: () => Promise<Flow>): Promise<number> {
  const flows = await Promise.all(Array.from({ length: streams }, flow));
  const bytes = flows.reduce((sum, one) => sum + one.bytes, 0);
  const ms = Math.max(...flows.map((one) => one.ms));
  return bytes * 8 / 1000 / ms;
}

async function download(port: number, ms: number): Promise<Flow> {
  using connection = await Deno.connect({ hostname: LOOPBACK, port });
  const buffer = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  let bytes = 0;
  try {
    while (performance.now() < start + ms) {
      const length = await connection.read(buffer);
      if (length === null) break;
      bytes += length;
    }
  } catch (cause) {
    throw unreachable("source", cause);
  }
  if (bytes === 0) throw unreachable("source");
  return { bytes, ms: performance.now() - start };
}

/** Counts until the sink has seen the end: what only left this machine is not sent. */
async function upload(port: number, ms: number, watch: Watch): Promise<Flow> {
  using connection = await Deno.connect({ hostname: LOOPBACK, port });
  const buffer = crypto.getRandomValues(new Uint8Array(64 << 10));
  const start = performance.now();
  let bytes = 0;
  try {
    while (performance.now() < start + ms) bytes += await connection.write(buffer);
    await connection.closeWrite();
    await untilEnd(connection, watch);
  } catch (cause) {
    throw unreachable("sink", cause);
  }
  return { bytes, ms: performance.now() - start };
}

async function untilEnd(connection: Deno.Conn, watch: Watch): Promise<void> {
  const buffer = new Uint8Array(1024);
  while (await Promise.race([connection.read(buffer), watch.stall]) !== null);
}

/** Whether what was sent goes on: a slow line takes its time for what stands in front of it. */
class Watch {
  /** Rejects when nothing went on for too long. */
  readonly stall: Promise<never>;
  #isStopped = false;

  constructor(probe: ProbeClient) {
    this.stall = this.#look(probe);
    // Somebody may stop before anybody waits for it.
    this.stall.catch(() => {});
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #look(probe: ProbeClient): Promise<never> {
    let [bytes, since] = [0, performance.now()];
    while (!this.#isStopped) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const report = await probe.measure();
      const now = performance.now();
      if (report !== undefined && report.bytesUp > bytes) [bytes, since] = [report.bytesUp, now];
      if (now - since > DRAIN_MS) break;
    }
    throw new Error("it did not end");
  }
}

function unreachable(what: string, cause?: unknown): Error {
  const message = `Cannot measure as the ${what} can't be reached through the server`;
  const remedy = `has it "bench: false"? Name another one with --${what} HOST:PORT`;
  return new Error(`${message}: ${remedy}`, { cause });
}

function print(result: Result, isJson: boolean): void {
  if (isJson) return console.log(JSON.stringify(result));
  const { server, rttMs, downMbps, upMbps, lostShare } = result;
  console.log(`server      ${server}`);
  console.log(`round trip  ${rttMs.toFixed(1)} ms`);
  console.log(`down        ${downMbps.toFixed(1)} Mbit/s`);
  console.log(`up          ${upMbps.toFixed(1)} Mbit/s`);
  console.log(`lost        ${(100 * lostShare).toFixed(2)} %`);
}

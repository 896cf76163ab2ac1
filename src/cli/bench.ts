/** `phantom bench` */

import { type ClientConfig, formatAddress, type HostPort, parseHostPort } from "../config/mod.ts";
import { BENCH_HOST, BENCH_MS_MAX, BenchPort } from "../proxy/bench.ts";
import { pause } from "../base/pause.ts";
import { causesOfSilence } from "../app/session_log.ts";
import type { SessionReport } from "../tunnel/protocol.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig } from "./client_config.ts";
import { Exit } from "./exit.ts";
import { interrupted, ProbeClient, STOPPED } from "./probe_client.ts";

const SINK: HostPort = { host: BENCH_HOST, port: BenchPort.sink };
const SOURCE: HostPort = { host: BENCH_HOST, port: BenchPort.source };
/** Below what the server allows, which counts what is still under way, too. */
const SECONDS_MAX = BENCH_MS_MAX / 1000 - 10;
const STREAMS_MAX = 64;
const LOOPBACK = "127.0.0.1";
const REASON_MS = 500;
const PINGS = 5;
const CHUNK_BYTES = 256 << 10;
/** What a proxy says before a stream's bytes is shorter. */
const ANSWER_BYTES_MAX = 4096;
const COUNT_BYTES = 8;
const NOTHING = new Uint8Array(0);

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
        config: proxied(config),
        root,
        verbose: given.has("verbose"),
        inbounds: true,
      });
      try {
        const server = formatAddress(config.server);
        const measuring = measure(probe, server, targets, { ms: 1000 * seconds, streams });
        const result = await Promise.race([measuring, interrupted()]);
        if (result === STOPPED) {
          measuring.catch(() => {});
          throw new Error("Cannot measure on as it was stopped");
        }
        print(result, given.has("json"));
      } catch (error) {
        throw await withCause(error, probe);
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

/** A connection that breaks off tells nothing: its session's end does, a little later. */
async function withCause(error: unknown, probe: ProbeClient): Promise<unknown> {
  if (!(error instanceof Deno.errors.ConnectionReset)) return error;
  await pause(REASON_MS);
  const cause = probe.refusal === undefined
    ? "the connection broke off"
    : `the server lets this user in no more: ${probe.refusal}`;
  return new Error(`Cannot measure on as ${cause}`);
}

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

/** With a proxy on any port that is free: it says why a target can't be had, as a forward can't. */
function proxied(config: ClientConfig): ClientConfig {
  const http = [{ host: LOOPBACK, port: 0 }];
  return { ...config, mixed: [], socks5: [], http, inboundUsers: [], forwards: [] };
}

interface Length {
  readonly ms: number;
  readonly streams: number;
}

async function measure(
  probe: ProbeClient,
  server: string,
  [sink, source]: readonly [HostPort, HostPort],
  length: Length,
): Promise<Result> {
  let rttMs = Infinity;
  for (let i = 0; i < PINGS; i++) rttMs = Math.min(rttMs, (await reportOf(probe, server)).rttMs);
  const downMbps = await download(await connections(probe, source, "source", length), length);
  const counters = await countersOf(probe, sink, length);
  const upMbps = counters !== undefined
    ? await uploadCounted(counters, length)
    : await upload(await connections(probe, sink, "sink", length), length, async () => {
      const { bytesArrived } = await reportOf(probe, server);
      return { bytes: bytesArrived, at: performance.now() };
    });
  const { lostShare } = await reportOf(probe, server);
  return { server, rttMs, downMbps, upMbps, lostShare };
}

async function reportOf(probe: ProbeClient, server: string): Promise<SessionReport> {
  const report = await probe.measure();
  if (report !== undefined) return report;
  const causes = probe.refusal ?? causesOfSilence(Date.now(), probe.silence).join("; or ");
  throw new Error(`Cannot measure ${server} as there is no answer: ${causes}`);
}

/** A stream to a target, and what has come of it with the proxy's answer. */
interface Connection {
  readonly socket: Deno.Conn;
  readonly early: number;
}

function connections(
  probe: ProbeClient,
  target: HostPort,
  what: "sink" | "source",
  { streams }: Length,
): Promise<Connection[]> {
  const [port] = probe.ports;
  return Promise.all(Array.from({ length: streams }, () => connect(port!, target, what)));
}

async function connect(
  port: number,
  target: HostPort,
  what: "sink" | "source",
): Promise<Connection> {
  const socket = await Deno.connect({ hostname: LOOPBACK, port });
  const name = formatAddress(target);
  await socket.write(new TextEncoder().encode(`CONNECT ${name} HTTP/1.1\r\nHost: ${name}\r\n\r\n`));
  let answer = NOTHING;
  let text = "";
  const buffer = new Uint8Array(ANSWER_BYTES_MAX);
  // A refusal has words behind its head, and ends.
  while (!isGranted(text)) {
    const length = await socket.read(buffer);
    if (length === null || answer.length > ANSWER_BYTES_MAX) break;
    const all = new Uint8Array(answer.length + length);
    all.set(answer);
    all.set(buffer.subarray(0, length), answer.length);
    answer = all;
    text = new TextDecoder("latin1").decode(answer);
  }
  if (isGranted(text)) return { socket, early: text.length - headOf(text).length };
  socket.close();
  throw unreachable(what, target, text);
}

function headOf(text: string): string {
  const end = text.indexOf("\r\n\r\n");
  return end < 0 ? "" : text.slice(0, end + 4);
}

function isGranted(text: string): boolean {
  return / 200 /.test(headOf(text).split("\r\n")[0]!);
}

/** With what the proxy says of it. */
function unreachable(what: "sink" | "source", target: HostPort, answer: string): Error {
  const words = answer.slice(headOf(answer).length).trim().replace(/\.$/, "");
  const cause = words === "" ? "the connection ended" : words[0]!.toLowerCase() + words.slice(1);
  const isServer = target.host === BENCH_HOST;
  const isDenied = isServer && / 403 /.test(headOf(answer).split("\r\n")[0]!);
  const remedy = isDenied
    ? `. Has it "bench: false"? Name another one with --${what} HOST:PORT`
    : "";
  return new Error(`Cannot measure by the ${what} as ${cause}${remedy}`);
}

/** Has something go on until the time is over, whatever it waits for then. */
async function during(
  ms: number,
  all: readonly Connection[],
  go: (connection: Connection, isOver: () => boolean) => Promise<void>,
): Promise<void> {
  let isOver = false;
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    isOver = true;
    over.resolve();
  }, ms);
  const going = Promise.all(all.map((one) => go(one, () => isOver)));
  // What still waits when its socket is closed fails by that.
  going.catch(() => {});
  try {
    await Promise.race([going, over.promise]);
  } finally {
    clearTimeout(timer);
    isOver = true;
  }
}

function close(all: readonly Connection[]): void {
  for (const { socket } of all) socket.close();
}

/** Mbit/s of what has come, from the first stream's begin to the end of the time. */
async function download(all: readonly Connection[], { ms }: Length): Promise<number> {
  const began = performance.now();
  let bytes = all.reduce((sum, { early }) => sum + early, 0);
  try {
    await during(ms, all, async ({ socket }, isOver) => {
      const buffer = new Uint8Array(CHUNK_BYTES);
      while (!isOver()) {
        const length = await socket.read(buffer);
        if (length === null) throw new Error("Cannot measure on as the source has ended too early");
        bytes += length;
      }
    });
  } finally {
    close(all);
  }
  return bytes * 8 / 1000 / (performance.now() - began);
}

/** The server's own sink says what it has read, where it is new enough for that. */
async function countersOf(
  probe: ProbeClient,
  sink: HostPort,
  length: Length,
): Promise<Connection[] | undefined> {
  if (sink !== SINK) return undefined;
  try {
    return await connections(probe, { ...SINK, port: BenchPort.counter }, "sink", length);
  } catch {
    // What else it is the sink without a word tells.
    return undefined;
  }
}

/** Mbit/s of what has arrived, as the sinks say. */
async function uploadCounted(all: readonly Connection[], { ms }: Length): Promise<number> {
  const began = performance.now();
  const rates = new Map<Connection, number>();
  const listen = async (one: Connection): Promise<void> => {
    const count = new Uint8Array(COUNT_BYTES);
    for (let filled = 0;;) {
      const length = await one.socket.read(count.subarray(filled));
      if (length === null) return;
      filled = (filled + length) % COUNT_BYTES;
      if (filled > 0) continue;
      const bytes = new DataView(count.buffer).getFloat64(0);
      rates.set(one, bytes * 8 / 1000 / (performance.now() - began));
    }
  };
  try {
    await during(ms, all, async (one, isOver) => {
      const buffer = crypto.getRandomValues(new Uint8Array(64 << 10));
      listen(one).catch(() => {});
      while (!isOver()) await one.socket.write(buffer);
    });
    return [...rates.values()].reduce((sum, rate) => sum + rate, 0);
  } finally {
    close(all);
  }
}

/** Mbit/s of what has arrived, as the server acknowledges it: what waits here does not count. */
async function upload(
  all: readonly Connection[],
  { ms }: Length,
  arrived: () => Promise<{ bytes: number; at: number }>,
): Promise<number> {
  try {
    const before = await arrived();
    await during(ms, all, async ({ socket }, isOver) => {
      const buffer = crypto.getRandomValues(new Uint8Array(64 << 10));
      while (!isOver()) await socket.write(buffer);
    });
    const after = await arrived();
    return Math.max(0, after.bytes - before.bytes) * 8 / 1000 / (after.at - before.at);
  } finally {
    close(all);
  }
}

function print(result: Result, isJson: boolean): void {
  if (isJson) return console.log(JSON.stringify(result));
  const { server, rttMs, downMbps, upMbps, lostShare } = result;
  console.log(`server      ${server}`);
  console.log(`round trip  ${rttMs.toFixed(1)} ms`);
  console.log(`down        ${downMbps.toFixed(1)} Mbit/s`);
  console.log(`up          ${upMbps.toFixed(1)} Mbit/s`);
  console.log(`lost, up    ${(100 * lostShare).toFixed(2)} %`);
}

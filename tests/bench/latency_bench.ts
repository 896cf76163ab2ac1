/**
 * What a tunnel adds to a round trip of 64 bytes on an idle path, and when the first byte of a new
 * session's answer comes on a long one: `deno run -A tests/bench/latency_bench.ts [--json]
 * [--rounds N] [--warm N] [idle [low]]`, as root, after `make build`. With `idle` only the first,
 * with `low` under `low_latency: true` (others gain from it too). About two minutes: a server
 * without a record of earlier HELLOs holds 0-RTT data back for 90 seconds. shadowsocks-libev stands
 * beside it where it is installed.
 */

import { compiled } from "../fixtures/compiled.ts";
import { BenchNet, isInstalled, option, quantile, SERVER_IP, sleep } from "./bench_net.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const ECHO_PORT = 7000;
const TUNNEL = 17_000;
const SHADOWSOCKS = 17_001;
const PINGS = 500;
const PAUSE_US = 2000;
/** One behind the other, so that the code of both ends is compiled. */
const WARM_PINGS = option("warm", 30_000);
/** Both ends warm up by themselves first, as they do before any user comes. */
const SETTLE_MS = 2500;
const DELAY_MS = 50;
const FIRSTS = 7;
const BLIND_MS = 92_000;

/** Name, host and port of each way to the same echo. */
type Way = readonly [name: string, host: string, port: number];

async function idlePath(isLow = false): Promise<Figure[]> {
  await using net = new BenchNet();
  const echo = compiled("echo");
  await net.start(net.server, echo, ["serve", String(ECHO_PORT)], "echo ready");
  const settings = isLow ? { low_latency: true } : {};
  await net.startServer(settings);
  await net.startClient([[TUNNEL, ECHO_PORT]], settings);
  const ways: Way[] = [["direct", SERVER_IP, ECHO_PORT], ["phantom", "127.0.0.1", TUNNEL]];
  if (isInstalled("ss-server", "ss-tunnel")) {
    await net.startShadowsocks(SHADOWSOCKS, ECHO_PORT);
    ways.push(["shadowsocks-libev", "127.0.0.1", SHADOWSOCKS]);
  }
  const taken = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  const ping = async ([, host, port]: Way, count: number, pauseUs: number) => {
    const args = ["ping", host, String(port), String(count), String(pauseUs)];
    const text = await net.output(net.client, echo, ...args);
    return text.trim().split("\n").map((ns) => Number(ns) / 1000);
  };
  await sleep(SETTLE_MS);
  const cold = median(await ping(ways[1]!, PINGS, PAUSE_US));
  const busy: number[] = [];
  for (const way of ways) {
    await ping(way, WARM_PINGS, 0);
    busy.push(median(await ping(way, WARM_PINGS / 3, 0)));
  }
  // In turn, so that a busy moment of the machine hits each alike.
  for (let round = 0; round < option("rounds", 6); round++) {
    for (const way of ways) taken.get(way[0])!.push(...await ping(way, PINGS, PAUSE_US));
  }
  const [p50, p99] = [0.5, 0.99].map((q) =>
    ways.map(([name]) => quantile(taken.get(name)!.toSorted((a, b) => a - b), q))
  );
  return ways.flatMap(([name], i) => {
    const figures: Figure[] = [
      ...(i === 1 ? [{ name: `${name}, its first ${PINGS}, P50`, value: cold, unit: "µs" }] : []),
      { name: `${name}, one behind the other, P50`, value: busy[i]!, unit: "µs" },
      { name: `${name}, P50`, value: p50![i]!, unit: "µs" },
      { name: `${name}, P99`, value: p99![i]!, unit: "µs" },
    ];
    if (i === 0) return figures;
    const aims = name === "phantom" ? [{ aim: "≤ 80" }, { aim: "≤ 250" }] : [{}, {}];
    return [
      ...figures,
      { name: `${name}, added, P50`, value: p50![i]! - p50![0]!, unit: "µs", ...aims[0]! },
      { name: `${name}, added, P99`, value: p99![i]! - p99![0]!, unit: "µs", ...aims[1]! },
    ];
  });
}

/** A server behind a long link. */
async function farServer(net: BenchNet): Promise<void> {
  await net.setLine({ delayMs: DELAY_MS });
  const echo = compiled("echo");
  await net.start(net.server, echo, ["serve", String(ECHO_PORT)], "echo ready");
  await net.startServer();
}

/** The first stream of a new session: ms until the first byte of its answer. */
async function newSession(net: BenchNet): Promise<Figure[]> {
  const echo = compiled("echo");
  const ways: Way[] = [["plain TCP", SERVER_IP, ECHO_PORT], ["phantom", "127.0.0.1", TUNNEL]];
  if (isInstalled("ss-server", "ss-tunnel")) {
    await net.startShadowsocks(SHADOWSOCKS, ECHO_PORT);
    ways.push(["shadowsocks-libev", "127.0.0.1", SHADOWSOCKS]);
  }
  // Neighbours are found before, as on any path that is in use.
  await net.output(net.client, echo, "first", SERVER_IP, String(ECHO_PORT));
  const taken = new Map<string, number[]>(ways.map(([name]) => [name, []]));
  for (let round = 0; round < FIRSTS; round++) {
    for (const [name, host, port] of ways) {
      const client = name === "phantom" ? await net.startClient([[TUNNEL, ECHO_PORT]]) : undefined;
      if (client !== undefined) await sleep(200);
      const text = await net.output(net.client, echo, "first", host, String(port));
      taken.get(name)!.push(Number(text.trim().split(" ")[1]) / 1000);
      if (client !== undefined) await net.stop(client);
    }
  }
  return ways.map(([name]) => ({
    name: `${name}, first byte of a first answer (round trip: ${2 * DELAY_MS} ms)`,
    value: median(taken.get(name)!),
    unit: "ms",
    ...(name === "phantom" && { aim: "one round trip" }),
  }));
}

/** What else happens while a new server may take 0-RTT data for a replay. */
async function first(meanwhile: () => Promise<Figure[]>): Promise<Figure[]> {
  await using far = new BenchNet(true);
  await farServer(far);
  const startedAt = performance.now();
  const figures = await meanwhile();
  await sleep(Math.max(0, startedAt + BLIND_MS - performance.now()));
  return [...figures, ...await newSession(far)];
}

const isLow = Deno.args.includes("low");
printFigures(await (Deno.args.includes("idle") ? idlePath(isLow) : first(idlePath)));

/**
 * Hours of use in minutes: streams opened, closed, half closed, reset and read slowly, datagrams,
 * clients that come and go, while memory and open files of server and client are watched:
 * `deno run -A tests/bench/soak.ts [--json] [--minutes 20] [--sample SECONDS] [--slope MIB]`, as
 * root, after `make build`. Fails when echoes fail, or when memory or files grow: by the slope of a
 * line through the second half, when the warm-up (buffers used for the first time, compiled code,
 * the heap's limits) is over. Says of what kind the memory is.
 */

import { compiled } from "../fixtures/compiled.ts";
import type { Running } from "../fixtures/process.ts";
import { BenchNet, openFiles, option, residentBytes, sleep } from "./bench_net.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const ECHO_PORT = 7000;
const TUNNEL = 17_000;
const GUEST = 17_001;
const THREADS = 40;
const GUEST_THREADS = 4;
const GUEST_SECONDS = 4;
const SAMPLE_MS = option("sample", 10) * 1000;
/** A run has to last this long for its second half to be behind the warm-up. */
const JUDGED_MINUTES_MIN = 15;
/**
 * Bytes an hour that memory may seem to grow by. A heap is a saw with teeth of 20 to 40 MiB that
 * are a minute or more long: through ten minutes of them lines of no growth slope this much.
 */
const SLOPE_MAX = option("slope", 48) * (1 << 20);
/** Sockets of datagrams come and go by hundreds: what may be added to them in the second half. */
const FILES_GROWTH_MAX = 0.2;
/** Files that may be left at the end. */
const FILES_MAX = 20;
const LOST_SHARE_MAX = 0.01;
/** Longer than an association of datagrams is kept idle. */
const SETTLE_MS = 75_000;
const MIB = 1 << 20;
const HOUR_MS = 3_600_000;
/** glibc's and V8's own. */
const ARENA_BYTES = 64 << 20;
const V8_PAGE_BYTES = 256 << 10;

interface Sample {
  /** ms since the start. */
  readonly at: number;
  readonly resident: number;
  readonly files: number;
}

interface Churned {
  closed: number;
  reset: number;
  half: number;
  slow: number;
  datagrams: number;
  /** Datagrams that no answer came to. */
  lost: number;
  /** Streams whose bytes did not all come back. */
  failed: number;
}

const sampleOf = ({ pid }: Running, since = 0): Sample => ({
  at: performance.now() - since,
  resident: residentBytes(pid),
  files: openFiles(pid),
});

/** A client that comes, is used and goes, again and again; how often. */
async function guests(net: BenchNet, echo: string, until: number): Promise<number> {
  let visits = 0;
  while (performance.now() < until) {
    const client = await net.startClient([[GUEST, ECHO_PORT]]);
    const work = [
      "churn",
      "127.0.0.1",
      String(GUEST),
      String(GUEST_THREADS),
      String(GUEST_SECONDS),
    ];
    const churn = net.output(net.client, echo, ...work);
    // Every second one goes without a word, with its streams open.
    if (visits % 2 === 1) {
      await sleep(GUEST_SECONDS * 500);
      await client.kill("SIGKILL");
    }
    await churn;
    await net.stop(client);
    visits++;
  }
  return visits;
}

/** The median of the slopes between any two: single peaks don't move it (Theil, Sen). */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const slopes: number[] = [];
  for (let i = 0; i < points.length; i++) {
    for (let k = 0; k < i; k++) {
      const [[x, y], [x0, y0]] = [points[i]!, points[k]!];
      slopes.push((y - y0) / (x - x0));
    }
  }
  return median(slopes);
}

/** Of the second half. */
interface Trend {
  /** Bytes an hour. */
  readonly memory: number;
  /** Files in all of it, as a share of what there are. */
  readonly files: number;
}

function trendOf(samples: readonly Sample[]): Trend {
  const late = samples.slice(Math.floor(samples.length / 2));
  const files = slopeOf(late.map(({ at, files }) => [at, files]));
  const ms = late.at(-1)!.at - late[0]!.at;
  return {
    memory: HOUR_MS * slopeOf(late.map(({ at, resident }) => [at, resident])),
    files: files * ms / median(late.map((one) => one.files)),
  };
}

/** What grew; empty: nothing. */
function growth(name: string, { memory, files }: Trend): string[] {
  const grew: string[] = [];
  if (memory > SLOPE_MAX) {
    const [is, most] = [memory, SLOPE_MAX].map((bytes) => (bytes / MIB).toFixed(0));
    grew.push(`${name}: memory grows by ${is} MiB an hour; ${most} are allowed`);
  }
  if (files > FILES_GROWTH_MAX) grew.push(`${name}: files grew by ${(100 * files).toFixed(0)} %`);
  return grew;
}

/**
 * Resident MiB by what they are: code and data of files; V8's pages; malloc's arenas; larger pieces
 * that are mapped on their own, which most buffers are.
 */
function memoryKinds(pid: number): string {
  const sums = { files: 0, pages: 0, arenas: 0, large: 0 };
  let kind: keyof typeof sums = "files";
  let arenaEnd = 0;
  for (const line of Deno.readTextFileSync(`/proc/${pid}/smaps`).split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$/.exec(line);
    if (range !== null) {
      const [from, to] = [parseInt(range[1]!, 16), parseInt(range[2]!, 16)];
      const startsArena = from % ARENA_BYTES === 0 && to - from <= ARENA_BYTES;
      if (startsArena) arenaEnd = from + ARENA_BYTES;
      if (range[3] === "[heap]" || (range[3] === "" && from < arenaEnd)) kind = "arenas";
      else if (range[3] !== "") kind = "files";
      else kind = to - from <= V8_PAGE_BYTES ? "pages" : "large";
    }
    const resident = /^Rss: +(\d+)/.exec(line)?.[1];
    if (resident !== undefined) sums[kind] += Number(resident) / 1024;
  }
  return Object.entries(sums).map(([name, mib]) => `${name} ${mib.toFixed(0)}`).join(", ");
}

async function main(): Promise<boolean> {
  await using net = new BenchNet();
  const echo = compiled("echo");
  await net.start(net.server, echo, ["serve", String(ECHO_PORT)], "echo ready");
  // Sessions of clients that went without a word are to end within the warm-up.
  const server = await net.startServer({ idle: "30s" });
  const client = await net.startClient([[TUNNEL, ECHO_PORT]]);
  await net.output(net.client, echo, "ping", "127.0.0.1", String(TUNNEL), "100", "0");
  const idle = { server: sampleOf(server), client: sampleOf(client) };
  const seconds = Math.round(option("minutes", 20) * 60);
  const start = performance.now();
  const until = start + 1000 * seconds;
  const work = ["churn", "127.0.0.1", String(TUNNEL), String(THREADS), String(seconds)];
  const churn = net.output(net.client, echo, ...work);
  const coming = guests(net, echo, until - 1000 * (GUEST_SECONDS + 2));
  const samples: Record<"server" | "client", Sample[]> = { server: [], client: [] };
  while (performance.now() < until - 1000) {
    await sleep(Math.min(SAMPLE_MS, until - performance.now()));
    const told = Object.entries({ server, client }).map(([name, running]) => {
      const sample = sampleOf(running, start);
      samples[name as keyof typeof samples].push(sample);
      const mib = (sample.resident / MIB).toFixed(1);
      return `${name} ${mib} MiB (${memoryKinds(running.pid)}), ${sample.files} files`;
    });
    console.error(`${((performance.now() - start) / 1000).toFixed(0)} s: ${told.join("; ")}`);
  }
  const churned = JSON.parse(await churn) as Churned;
  const visits = await coming;
  await sleep(SETTLE_MS);
  const end = { server: sampleOf(server), client: sampleOf(client) };
  const trends = { server: trendOf(samples.server), client: trendOf(samples.client) };
  const isJudged = seconds >= 60 * JUDGED_MINUTES_MIN;
  const problems = isJudged
    ? [...growth("server", trends.server), ...growth("client", trends.client)]
    : [];
  if (!isJudged) console.error(`under ${JUDGED_MINUTES_MIN} minutes: growth is not judged`);
  if (churned.failed > 0) problems.push(`${churned.failed} streams failed`);
  if (churned.lost > churned.datagrams * LOST_SHARE_MAX) {
    problems.push(`${churned.lost} datagrams had no answer`);
  }
  for (const name of ["server", "client"] as const) {
    if (end[name].files <= idle[name].files + FILES_MAX) continue;
    problems.push(`${name}: files from ${idle[name].files} to ${end[name].files}`);
  }
  const figures: Figure[] = [
    ...(["server", "client"] as const).flatMap((name) => [
      { name: `memory of the ${name} before`, value: idle[name].resident / MIB, unit: "MiB" },
      { name: "... at the end", value: end[name].resident / MIB, unit: "MiB" },
      { name: "... slope of the second half", value: trends[name].memory / MIB, unit: "MiB/h" },
      { name: `files of the ${name} before`, value: idle[name].files, unit: "" },
      { name: "... at the end", value: end[name].files, unit: "" },
    ]),
    ...Object.entries(churned).map(([name, value]) => ({ name, value, unit: "" })),
    { name: "clients that came and went", value: visits, unit: "" },
  ];
  printFigures(figures);
  for (const problem of problems) console.error(problem);
  return problems.length === 0;
}

if (!await main()) Deno.exit(1);

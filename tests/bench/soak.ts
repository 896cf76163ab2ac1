/**
 * Hours of use in minutes: streams opened, closed, half closed, reset and read slowly, datagrams,
 * clients that come and go, while memory and open files of server and client are watched:
 * `deno run -A tests/bench/soak.ts [--json] [--minutes 20] [--sample SECONDS]`, as root, after
 * `make build`. Fails when they grow after the warm-up, or when echoes fail.
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
const SAMPLE_MS = option("sample", 30) * 1000;
/** In this time memory may still grow: buffers are used for the first time, code is compiled. */
const WARM_MS = 240_000;
/** ... but not in more than this share of all. */
const WARM_SHARE_MAX = 0.5;
/** The last third's median may be so far above the first one's after the warm-up. */
const GROWTH_MAX = 0.1;
const GROWTH_BYTES = 16 << 20;
const FILES_MAX = 20;
const LOST_SHARE_MAX = 0.01;
/** Longer than an association of datagrams is kept idle. */
const SETTLE_MS = 75_000;
const MIB = 1 << 20;

interface Sample {
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

const sampleOf = ({ pid }: Running): Sample => ({
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

/** What grew after the warm-up; empty: nothing. */
function growth(name: string, samples: readonly Sample[]): string[] {
  const warm = Math.min(WARM_MS / SAMPLE_MS, samples.length * WARM_SHARE_MAX);
  const calm = samples.slice(Math.ceil(warm));
  const third = Math.max(1, Math.floor(calm.length / 3));
  const [first, last] = [calm.slice(0, third), calm.slice(-third)];
  const grew: string[] = [];
  const [before, after] = [first, last].map((some) => median(some.map(({ resident }) => resident)));
  if (after! > before! * (1 + GROWTH_MAX) && after! > before! + GROWTH_BYTES) {
    grew.push(
      `${name}: memory from ${(before! / MIB).toFixed(0)} to ${(after! / MIB).toFixed(0)} MiB`,
    );
  }
  return grew;
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
  const until = performance.now() + 1000 * seconds;
  const work = ["churn", "127.0.0.1", String(TUNNEL), String(THREADS), String(seconds)];
  const churn = net.output(net.client, echo, ...work);
  const coming = guests(net, echo, until - 1000 * (GUEST_SECONDS + 2));
  const samples: Record<"server" | "client", Sample[]> = { server: [], client: [] };
  while (performance.now() < until - 1000) {
    await sleep(Math.min(SAMPLE_MS, until - performance.now()));
    samples.server.push(sampleOf(server));
    samples.client.push(sampleOf(client));
    const told = Object.entries(samples).map(([name, all]) => {
      const { resident, files } = all.at(-1)!;
      return `${name} ${(resident / MIB).toFixed(1)} MiB, ${files} files`;
    });
    console.error(
      `${(seconds - (until - performance.now()) / 1000).toFixed(0)} s: ${told.join("; ")}`,
    );
  }
  const churned = JSON.parse(await churn) as Churned;
  const visits = await coming;
  await sleep(SETTLE_MS);
  const end = { server: sampleOf(server), client: sampleOf(client) };
  const problems = [...growth("server", samples.server), ...growth("client", samples.client)];
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

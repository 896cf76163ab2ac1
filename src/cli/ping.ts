/** `phantom ping` */

import { causesOfSilence } from "../app/session_log.ts";
import { type ClientConfig, formatAddress } from "../config/mod.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig } from "./client_config.ts";
import { Exit } from "./exit.ts";
import { ProbeClient } from "./probe_client.ts";

const COUNT_MAX = 1000;
const EVERY_MS = 500;

export const command: Command = {
  name: "ping",
  summary: "connect to a server and measure the round trip through the tunnel",
  options: [
    ...CLIENT_OPTIONS,
    { name: "count", short: "n", value: "COUNT", help: "how often (default: 4)" },
    { name: "json", help: "print JSON" },
    { name: "verbose", short: "v", help: "log what happens" },
  ],
  async run(given, { root }) {
    const count = countOf(given);
    const isJson = given.has("json");
    const config = clientConfig(given);
    const server = formatAddress(config.server);
    const rtts: number[] = [];
    try {
      for await (const rttMs of measure(config, given.has("verbose"), root, count)) {
        rtts.push(rttMs);
        if (!isJson) console.log(`${server}: ${rttMs.toFixed(1)} ms`);
      }
    } finally {
      config.psk.wipe();
      config.key?.wipe();
    }
    const summary = summaryOf(rtts);
    if (isJson) {
      const causes = rtts.length === 0 ? { causes: causesOfSilence(Date.now()) } : {};
      console.log(JSON.stringify({ server, asked: count, ...summary, ...causes }));
    } else if (rtts.length === 0) {
      console.log(`${server}: no answer. A server answers only its keys; the likely causes:`);
      for (const cause of causesOfSilence(Date.now())) console.log(`  - ${cause}`);
    } else {
      const { minMs, meanMs, maxMs } = summary;
      const figures = [minMs, meanMs, maxMs].map((ms) => ms?.toFixed(1)).join("/");
      console.log(`${rtts.length} of ${count} answered, min/mean/max ${figures} ms`);
    }
    return rtts.length === count ? Exit.ok : Exit.failed;
  },
};

function countOf(given: Given): number {
  const text = given.value("count") ?? "4";
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > COUNT_MAX) {
    throw new UsageError(`--count wants a number from 1 to ${COUNT_MAX}`);
  }
  return count;
}

interface Summary {
  readonly answered: number;
  readonly minMs?: number;
  readonly meanMs?: number;
  readonly maxMs?: number;
}

function summaryOf(rtts: readonly number[]): Summary {
  const answered = rtts.length;
  if (answered === 0) return { answered };
  const meanMs = rtts.reduce((sum, rtt) => sum + rtt, 0) / answered;
  return { answered, minMs: Math.min(...rtts), meanMs, maxMs: Math.max(...rtts) };
}

/** Round trips as they are told; ends early when there is no answer. */
async function* measure(
  config: ClientConfig,
  verbose: boolean,
  root: URL,
  count: number,
): AsyncGenerator<number> {
  const probe = await ProbeClient.start({ config, root, verbose, inbounds: false });
  try {
    for (let i = 0; i < count; i++) {
      if (i > 0) await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      const answer = await probe.measure();
      if (answer === undefined) return;
      yield answer.rttMs;
    }
  } finally {
    await probe.stop();
  }
}

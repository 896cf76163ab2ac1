/** `phantom ping` */

import { causesOfSilence } from "../app/session_log.ts";
import { type ClientConfig, formatAddress } from "../config/mod.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig } from "./client_config.ts";
import { Exit } from "./exit.ts";
import type { Silence } from "../tunnel/protocol.ts";
import { pause } from "../base/pause.ts";
import { interrupted, ProbeClient, STOPPED } from "./probe_client.ts";

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
    let failure: Failure = {};
    try {
      const rounds = measure({ config, verbose: given.has("verbose"), root, count }, interrupted());
      for (;;) {
        const { value, done } = await rounds.next();
        if (done) {
          failure = value;
          break;
        }
        rtts.push(value);
        if (!isJson) console.log(`${server}: ${value.toFixed(1)} ms`);
      }
    } finally {
      config.psk.wipe();
      config.key?.wipe();
    }
    const summary = summaryOf(rtts);
    const { refusal, silence, asked = count } = failure;
    const isSilent = rtts.length === 0 && refusal === undefined;
    const causes = causesOfSilence(Date.now(), silence);
    if (isJson) {
      const why = refusal !== undefined ? { refusal } : isSilent ? { causes } : {};
      console.log(JSON.stringify({ server, asked, ...summary, ...why }));
    } else if (refusal !== undefined) {
      console.log(`${server}: the server answers, and lets this user in no more: ${refusal}`);
    } else if (isSilent) {
      const [cause] = causes;
      if (causes.length === 1) console.log(`${server}: no answer: ${cause}`);
      else {
        console.log(`${server}: no answer. A server answers only its keys; the likely causes:`);
        for (const one of causes) console.log(`  - ${one}`);
      }
    } else {
      const { minMs, meanMs, maxMs } = summary;
      const figures = [minMs, meanMs, maxMs].map((ms) => ms?.toFixed(1)).join("/");
      console.log(`${rtts.length} of ${asked} answered, min/mean/max ${figures} ms`);
    }
    return rtts.length > 0 && rtts.length === asked ? Exit.ok : Exit.failed;
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

/** Why there were no more answers, where that is known. */
interface Failure {
  readonly refusal?: string | undefined;
  readonly silence?: Silence | undefined;
  /** Where it was stopped: how many were to be answered until then. */
  readonly asked?: number;
}

interface Course {
  readonly config: ClientConfig;
  readonly verbose: boolean;
  readonly root: URL;
  readonly count: number;
}

/** Round trips as they are told; ends early when there is no answer, with why that may be. */
async function* measure(
  { config, verbose, root, count }: Course,
  stopped: Promise<typeof STOPPED>,
): AsyncGenerator<number, Failure> {
  const probe = await ProbeClient.start({ config, root, verbose, inbounds: false });
  try {
    for (let i = 0; i < count; i++) {
      const due = i === 0 ? undefined : pause(EVERY_MS);
      if (await Promise.race([due, stopped]) === STOPPED) return { asked: i };
      const answer = await Promise.race([probe.measure(), stopped]);
      if (answer === STOPPED) return { asked: i };
      if (answer === undefined) return { refusal: probe.refusal, silence: probe.silence };
      yield answer.rttMs;
    }
    return {};
  } finally {
    await probe.stop();
  }
}

/** Attacks by many sessions at a time, and by one that goes on and on, beside an honest client. */

import type { Client } from "../interop/client.ts";
import type { Frame } from "../interop/frames.ts";
import { repeatedly } from "./attacker.ts";
import {
  assertMemoryReturns,
  assertUnharmed,
  beside,
  delay,
  isLong,
  type SpanOptions,
  Stage,
} from "./stage.ts";

/** Sessions of an attacker who acknowledges nothing. */
async function quietSessions(stage: Stage, count: number): Promise<Client[]> {
  const sessions: Client[] = [];
  for (let i = 0; i < count; i++) {
    const client = await stage.attacker();
    client.quiet = true;
    sessions.push(client);
  }
  return sessions;
}

/** Runs `attack` beside an honest client, in as many sessions; after it they fall silent. */
export async function attackWith(
  count: number,
  attack: (client: Client, stage: Stage) => Promise<void>,
  options: SpanOptions & { readonly memory?: boolean } = {},
): Promise<void> {
  await using stage = await Stage.set();
  let memory = 0;
  const begin = async () => {
    // Once honest clients have been served.
    memory = stage.memory();
    const sessions = await quietSessions(stage, count);
    const isDone = Promise.all(sessions.map((client) => attack(client, stage).catch(() => {})));
    return async () => {
      await isDone;
      for (const client of sessions) await client.close();
    };
  };
  assertUnharmed(await beside(stage, begin, { settleMs: 0, ...options }));
  if (isLong && options.memory === true) await assertMemoryReturns(stage, memory);
}

/** One session sends so many packets a second, each with frames of its own. */
export async function churn(
  frames: (client: Client) => Frame[],
  packetsPerSecond: number,
): Promise<void> {
  await using stage = await Stage.set();
  const spans = await beside(stage, async () => {
    const client = await stage.attacker();
    let at = performance.now();
    const stop = repeatedly(async () => {
      const now = performance.now();
      // What this process could not send in time is not sent in one go.
      at = Math.max(at, now - 50);
      for (; at < now; at += 1000 / packetsPerSecond) client.raw(client.seal(frames(client)));
      await delay(2);
    });
    return async () => {
      await stop();
      await client.close();
    };
  });
  assertUnharmed(spans);
}

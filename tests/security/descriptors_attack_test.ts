/** Finding 6: a client that takes all descriptors there are, and what goes on without them. */

import assert from "node:assert/strict";
import { outcomeOf, piped } from "../fixtures/process.ts";
import type { Client } from "../interop/client.ts";
import { TREE, within } from "../interop/peers.ts";
import { pour, sealed, times } from "./attacker.ts";
import { delay, either, securityTest, Stage } from "./stage.ts";

const LIMITS = either([64, 256], [64, 256, 4096]);
const USERS = ["honest", "greedy"].map((name) => ({
  name,
  key: crypto.getRandomValues(new Uint8Array(32)),
}));
const SESSIONS = 4;
/** More than any of the limits, over all sessions. */
const STREAMS = 1500;

/** `phantom status` of the stage's server. */
async function status(stage: Stage): Promise<string> {
  const args = ["run", "-A", "main.ts", "status", "-c", `${stage.server.folder}/config.yaml`];
  const command = new Deno.Command(Deno.execPath(), { ...piped, args, cwd: TREE });
  const { stdout, stderr } = await outcomeOf(command);
  return stdout + stderr;
}

/** Streams and associations of one user, held for ever. */
async function takeAll(stage: Stage): Promise<Client[]> {
  const sessions: Client[] = [];
  const { stuck, echo } = stage.ports;
  for (let i = 0; i < SESSIONS; i++) {
    const client = await stage.attacker({ user: stage.user("greedy") });
    sessions.push(client);
    const frames = times(STREAMS, (n) => [
      { type: "open", stream: n, kind: 1, address: { host: "127.0.0.1", port: stuck } } as const,
      {
        ...{ type: "datagram", assoc: n, data: new Uint8Array(1) } as const,
        address: { host: "127.0.0.1", port: echo },
      },
    ]);
    await pour(sealed(client, frames), (bytes) => client.raw(bytes));
  }
  return sessions;
}

async function isServed(stage: Stage): Promise<void> {
  const client = await stage.attacker({ user: stage.user("honest") });
  try {
    await client.ping();
    for (let i = 0; i < 3; i++) {
      const stream = client.open("127.0.0.1", stage.ports.echo);
      const opened = await within(stream.opened, 3000, `OPENED of stream ${i}`);
      assert.equal(opened.code, 0, `stream ${i}`);
      stream.write(Uint8Array.of(1));
      await within(stream.readExactly(1), 3000, `echo ${i}`);
    }
    client.datagram(0, "127.0.0.1", stage.ports.echo, Uint8Array.of(1));
    assert.ok(await client.receiveDatagram(0, 3000) !== undefined, "no association");
  } finally {
    await client.close();
  }
}

for (const limit of LIMITS) {
  securityTest(`descriptors: at most ${limit}, and one user takes all`, async () => {
    const prefix = ["prlimit", `--nofile=${limit}:${limit}`];
    await using stage = await Stage.set({ users: USERS, prefix });
    const sessions = await takeAll(stage);
    await delay(500);
    for (let i = 0; i < 3; i++) assert.match(await status(stage), /^running since /);
    await isServed(stage);
    for (const client of sessions) await client.close();
    await delay(500);
    await isServed(stage);
    const lines = stage.server.log.split("\n").filter((line) => / ERROR /.test(line));
    assert.deepEqual(lines, []);
    // Writes its state, and ends in order.
    assert.equal(await stage.server.kill("SIGTERM"), 0);
  });
}

/** Who may move a session: who answered the challenge that went to the address, nobody else. */

import assert from "node:assert/strict";
import type { Frame } from "../interop/frames.ts";
import { Stranger } from "./attacker.ts";
import { delay, securityTest, Stage } from "./stage.ts";

const SILENCE_MS = 1200;

securityTest(
  "paths: a PATH_RESPONSE proves the address its challenge went to, no other",
  async () => {
    await using stage = await Stage.set();
    const client = await stage.attacker();
    const victim = await Stranger.bind("127.0.0.77");
    try {
      await client.ping();
      const stream = client.open("127.0.0.1", stage.ports.download);
      await stream.read();
      // A second challenge for the client's own address: answered from the victim's.
      const tokens = client.challenges;
      const status: Frame = { type: "path_status", sequence: 1, status: 1 };
      for (let i = 0; i < 5; i++) {
        const answers = tokens.map((token): Frame => ({ type: "path_response", token }));
        victim.send(stage.server, client.seal([...answers, status]));
        await delay(100);
      }
      await delay(SILENCE_MS);
      assert.ok(victim.gotBytes <= 3 * victim.sentBytes, `${victim.gotBytes} B`);
      // And the session went on where it was.
      await client.ping();
    } finally {
      victim.close();
      await client.close();
    }
  },
);

securityTest("paths: a copy of a packet that came first from elsewhere moves nothing", async () => {
  await using stage = await Stage.set();
  const client = await stage.attacker();
  const thief = await Stranger.bind("127.0.0.78");
  try {
    const stream = client.open("127.0.0.1", stage.ports.download);
    await stream.read();
    for (let i = 0; i < 30; i++) {
      const packet = client.seal([{ type: "ping", id: 1000n + BigInt(i) }]);
      // Faster than the client's own copy.
      thief.send(stage.server, packet);
      client.raw(packet);
      await delay(20);
    }
    await delay(SILENCE_MS);
    assert.ok(thief.gotBytes <= 3 * thief.sentBytes, `${thief.gotBytes} B`);
    await client.ping();
  } finally {
    thief.close();
    await client.close();
  }
});

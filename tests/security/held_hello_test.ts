/** HELLOs that a censor held back or changed tell it nothing. */

import assert from "node:assert/strict";
import { Client } from "../interop/client.ts";
import { Server } from "../interop/peers.ts";
import { Stranger } from "./attacker.ts";
import { delay, either, securityTest } from "./stage.ts";

const SILENCE_MS = 1200;
const HELD_S = either([1, 3], [1, 10, 30, 60, 90, 100]);

/** A session, and HELLOs of it that a censor held back. */
async function withHeld(
  act: (server: Server, client: Client, held: Uint8Array[], censor: Stranger) => Promise<void>,
): Promise<void> {
  const server = await Server.run({ settings: { workers: 2 } });
  const client = new Client(server.options);
  const censor = await Stranger.bind();
  try {
    const held = Array.from({ length: 200 }, () => client.hello());
    await client.handshake();
    await client.ping();
    await act(server, client, held, censor);
  } finally {
    censor.close();
    await client.close();
    await server.end();
  }
}

securityTest(
  `paths: a HELLO held back for ${HELD_S.join(", ")} s tells nothing`,
  () =>
    withHeld(async (server, client, held, censor) => {
      let waited = 0;
      for (const seconds of HELD_S) {
        await delay((seconds - waited) * 1000);
        waited = seconds;
        for (let i = 0; i < 5; i++) censor.send(server, held.pop()!);
        await delay(300);
        assert.equal(censor.got, 0, `after ${seconds} s`);
      }
      await client.ping();
      await client.close();
      // The session's end changes nothing.
      for (let i = 0; i < 5; i++) censor.send(server, held.pop()!);
      await delay(SILENCE_MS);
      assert.equal(censor.got, 0, "after the session's end");
    }),
);

securityTest(
  "paths: a HELLO with any part of its ciphertext changed is silent, and costs nothing",
  () =>
    withHeld(async (server, client, held, censor) => {
      const [hello] = held;
      for (let at = 40; at < hello!.length; at += 3) {
        const changed = hello!.slice();
        changed[at]! ^= 1 << at % 8;
        censor.send(server, changed);
      }
      await delay(SILENCE_MS);
      assert.equal(censor.got, 0);
      await client.ping();
    }),
);

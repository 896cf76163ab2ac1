/** Finding 5e: one user's sessions don't take all UDP associations. */

import type { Client } from "../interop/client.ts";
import { pour, sealed, times } from "./attacker.ts";
import { assertUnharmed, beside, measuredTest, Stage } from "./stage.ts";

const SESSIONS = 17;
const ASSOCIATIONS = 1000;
const USERS = ["honest", "greedy"].map((name) => ({
  name,
  key: crypto.getRandomValues(new Uint8Array(32)),
}));

measuredTest("associations: 17 sessions of one user ask for all there are", async () => {
  await using stage = await Stage.set({ users: USERS });
  const spans = await beside(stage, async () => {
    const address = { host: "127.0.0.1", port: stage.ports.echo };
    const sessions: Client[] = [];
    for (let i = 0; i < SESSIONS; i++) {
      const client = await stage.attacker({ user: stage.user("greedy") });
      sessions.push(client);
      const frames = times(ASSOCIATIONS, (assoc) => ({
        ...{ type: "datagram", assoc, address },
        data: new Uint8Array(0),
      }));
      await pour(sealed(client, frames), (bytes) => client.raw(bytes));
    }
    return async () => {
      for (const client of sessions) await client.close();
    };
  }, { honestUser: "honest" });
  assertUnharmed(spans);
});

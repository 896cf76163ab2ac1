/** Finding 5c: answers that nobody acknowledges take no records from others. */

import { closedPort } from "../interop/peers.ts";
import { payloadsOf, pour, sealedAgain, times } from "./attacker.ts";
import { attackWith } from "./sessions.ts";
import { either, measuredTest } from "./stage.ts";

const SESSIONS = 45;
const STREAMS = either(5000, 25_000);
/** Of each session: 75,000 OPENs a second of all. */
const PACE = { burst: 1, everyMs: 60 };

measuredTest("streams: refused by the thousand, and no answer acknowledged", () => {
  const address = { host: "127.0.0.1", port: closedPort() };
  const frames = times(STREAMS, (stream) => ({ type: "open", stream, kind: 1, address }));
  const payloads = payloadsOf(frames);
  return attackWith(SESSIONS, async (client) => {
    await pour(sealedAgain(client, payloads), (bytes) => client.raw(bytes), PACE);
  }, { memory: true });
});

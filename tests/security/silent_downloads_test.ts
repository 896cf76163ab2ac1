/** Downloads by the thousand that nobody takes: what is kept for them is nobody else's. */

import { times } from "./attacker.ts";
import { attackWith } from "./sessions.ts";
import { delay, measuredTest } from "./stage.ts";

const SESSIONS = 40;
const STREAMS = 120;
const AT_ONCE = 30;

measuredTest(
  "downloads: of many sessions of one key, which fall silent",
  () =>
    attackWith(SESSIONS, async (client, { ports }) => {
      const address = { host: "127.0.0.1", port: ports.parcel };
      for (let from = 0; from < STREAMS; from += AT_ONCE) {
        client.raw(client.seal(
          [...times(
            AT_ONCE,
            (i) => ({ type: "open" as const, stream: from + i, kind: 1, address }),
          )],
        ));
        await delay(50);
      }
    }, { settleMs: 3000, memory: true }),
);

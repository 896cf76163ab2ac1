/** Finding 5b: a byte at the end of a window costs what was received, not the window. */

import { pour, sealed, times } from "./attacker.ts";
import { attackWith } from "./sessions.ts";
import { measuredTest } from "./stage.ts";

const SESSIONS = 24;
const WINDOW = 2 ** 20;

measuredTest(
  "streams: holes of a whole window for a byte each",
  () =>
    attackWith(SESSIONS, async (client, stage) => {
      const address = { host: "127.0.0.1", port: stage.ports.echo };
      const frames = times(16, (stream) => [
        { type: "open", stream, kind: 1, address } as const,
        { type: "stream", stream, offset: WINDOW - 1, data: new Uint8Array(1) } as const,
      ]);
      await pour(sealed(client, frames), (bytes) => client.raw(bytes));
    }, { settleMs: 1000, memory: true }),
);

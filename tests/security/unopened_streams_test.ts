/** Finding 4: streams that nobody opened cost almost nothing, however many are named. */

import type { Frame } from "../interop/frames.ts";
import { payloadsOf, pour, sealedAgain, times } from "./attacker.ts";
import { attackWith } from "./sessions.ts";
import { either, measuredTest } from "./stage.ts";

/** Of one session, as many as its packets can name in a while. */
const NEVER_OPENED = 66_560;
const SESSIONS = either(12, 74);
/** Of each session: not so much that the buffer of a socket is full, which is no finding. */
const PACE = { burst: 1, everyMs: 16 };

const NEVER_OPENED_FRAMES: Readonly<Record<string, (stream: number) => Frame>> = {
  MAX_STREAM: (stream) => ({ type: "max_stream", stream, max: 2 ** 21 }),
  STREAM: (stream) => ({ type: "stream", stream, offset: 0, data: new Uint8Array(1) }),
  FIN: (stream) => ({ type: "fin", stream, final: 0 }),
  RST: (stream) => ({ type: "rst", stream, code: 0 }),
};

for (const [name, frame] of Object.entries(NEVER_OPENED_FRAMES)) {
  const longOnly = name !== "MAX_STREAM" && name !== "STREAM";
  measuredTest(`streams: ${name} for streams that were never opened`, () => {
    const payloads = payloadsOf(times(either(20_000, NEVER_OPENED), frame));
    return attackWith(SESSIONS, async (client) => {
      await pour(sealedAgain(client, payloads), (bytes) => client.raw(bytes), PACE);
    }, { memory: true });
  }, { longOnly });
}

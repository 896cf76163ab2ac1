import assert from "node:assert/strict";
import { garbage } from "../../tests/fixtures/garbage.ts";
import { Bbr } from "./congestion/bbr.ts";
import { NO_RECORD } from "./frame_records.ts";
import { Path } from "./path.ts";
import { PathMtu } from "./pmtu.ts";
import { SentPackets, State } from "./sent.ts";

const PACKET = 1200;
const ROUND = 2000;
const BYTES_MAX = 4;

/** Bytes of garbage a call. */
function garbageOf(call: () => void): number {
  return garbage(BYTES_MAX, () => {
    for (let i = 0; i < ROUND; i++) call();
    return ROUND;
  });
}

Deno.test("a packet that is sent makes no garbage", () => {
  const path = new Path(0, new Bbr(32, PACKET, () => 0.5), new PathMtu());
  const sent = new SentPackets();
  // Not in a plain variable: reading a fraction from that could be what makes garbage.
  const clock: unknown[] = [1000.5, "an array of any kind"];
  const bytes = garbageOf(() => {
    const now = clock[0] as number;
    path.canSend(now);
    path.onSent(now, sent, sent.push(0, 0, State.inFlight, NO_RECORD), PACKET);
    if (sent.size < 8) return;
    path.onDelivered(now, sent, sent.base);
    path.unlink(sent, sent.base++);
  });
  assert.ok(bytes < BYTES_MAX, `${bytes} bytes a packet`);
  assert.ok(garbageOf(() => void clock.slice()) > BYTES_MAX, "garbage is seen");
});

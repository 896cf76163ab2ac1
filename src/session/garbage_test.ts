import assert from "node:assert/strict";
import { garbage } from "../../tests/fixtures/garbage.ts";
import { SessionPair } from "../../tests/fixtures/session_pair.ts";
import { SENT_SLOTS_MIN } from "../reliability/params.ts";
import { SHRINK_IDLE_MS } from "./limits.ts";

/** From here on offsets are no small integers to V8: each that is passed on might be an object. */
const LARGE_OFFSET = 2 ** 31;
const ROUND_BYTES = 5e6;
/** One number that a packet makes an object of is 16. */
const BYTES_MAX = 9;

Deno.test("sessions make no garbage for packets, nor where offsets are large", () => {
  const pair = new SessionPair(true);
  pair.run(LARGE_OFFSET + 100e6);
  const warm = pair.packets;
  const bytes = garbage(BYTES_MAX, () => {
    const before = pair.packets;
    pair.run(ROUND_BYTES);
    return pair.packets - before;
  });
  assert.ok(pair.packets - warm > 150_000, `${pair.packets - warm} packets`);
  assert.ok(bytes < BYTES_MAX, `${bytes} bytes a packet`);
});

Deno.test("a session that was busy gives its memory back when it is idle", () => {
  const pair = new SessionPair(true);
  pair.run(10e6);
  pair.rest(SHRINK_IDLE_MS / 2);
  assert.ok(pair.client.recovery.slots > SENT_SLOTS_MIN);
  pair.rest(SHRINK_IDLE_MS);
  assert.equal(pair.client.recovery.slots, 0);
  assert.equal(pair.server.recovery.slots, 0);
  pair.run(10e6);
});

/** An id's former holder: its packets end nobody's session, and what was seen gets no answer. */

import assert from "node:assert/strict";
import type { Frame } from "../interop/frames.ts";
import { captured, Stranger } from "./attacker.ts";
import { delay, securityTest, Stage } from "./stage.ts";

const SILENCE_MS = 1200;

securityTest("paths: the former holder of an id ends nobody's session", async () => {
  await using stage = await Stage.set();
  const { client: former, events } = await captured(stage.server.options);
  await former.ping();
  const id = former.accepts[0]!.serverSession;
  const late = [former.seal([{ type: "ping", id: 1n }]), former.seal([{ type: "ping", id: 2n }])];
  await former.close();
  const stranger = await Stranger.bind();
  const others = await Promise.all(Array.from({ length: 30 }, () => stage.attacker()));
  try {
    const ids = others.map(({ accepts }) => accepts[0]!.serverSession);
    assert.ok(!ids.includes(id), "an id is given out again at once");
    // What the server has seen gets nothing; what it has not, one RESET at most each second.
    for (const { direction, bytes } of events) {
      if (direction === "sent") stranger.send(stage.server, bytes);
    }
    await delay(SILENCE_MS);
    assert.equal(stranger.got, 0, "seen packets of an ended session");
    for (const packet of late) stranger.send(stage.server, packet);
    await delay(300);
    assert.ok(stranger.got <= 1, `${stranger.got} answers`);
    // The former holder seals for the ids of others: nothing opens, nobody hears of it.
    const before = stranger.got;
    await delay(SILENCE_MS);
    for (const session of ids) {
      const close: Frame = { type: "close", code: 0, reason: "" };
      stranger.send(stage.server, former.seal([close], { session }));
    }
    await delay(SILENCE_MS);
    assert.equal(stranger.got, before, "packets sealed by somebody else");
    for (const other of others) await other.ping();
  } finally {
    stranger.close();
    for (const other of others) await other.close();
  }
});

import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import { Rng } from "../../tests/fuzz/rng.ts";
import { ownerMask, ownerOf } from "../wire/session_id.ts";
import { SessionIds } from "./session_ids.ts";

const primitives = seededPrimitives(1);
const secret = new Uint8Array(32).fill(7);

function idsOf({ generation = 8, worker = 0, workers = 1, secret: own = secret } = {}): SessionIds {
  return new SessionIds(primitives, { secret: own, generation, worker, workers });
}

Deno.test("ids are of 48 bits, name their worker, and none comes twice in a generation", () => {
  for (const [worker, workers] of [[0, 1], [1, 2], [255, 256]] as const) {
    const ids = idsOf({ worker, workers });
    const count = workers === 256 ? 2 ** 14 : 20_000;
    const seen = new Set(Array.from({ length: count }, () => ids.next()));
    assert.equal(seen.size, count);
    for (const id of seen) {
      assert.ok(Number.isInteger(id) && id > 0 && id < 2 ** 48);
      assert.equal(ownerOf(id, ownerMask(workers)), worker);
      assert.ok(ids.isOurs(id));
    }
    if (workers === 256) assert.ok(!seen.has(ids.next()), "the next generation");
  }
});

Deno.test("of ids that were made up one in 4,096 is taken for ours", () => {
  const ids = idsOf();
  const rng = new Rng(4);
  let taken = 0;
  const tries = 200_000;
  for (let i = 0; i < tries; i++) {
    if (ids.isOurs(rng.u32() * 0x1_0000 + rng.int(0, 0xffff))) taken++;
  }
  assert.ok(taken > 20 && taken < 100, `${taken}`);
  const other = idsOf({ secret: new Uint8Array(32).fill(8) });
  const ours = Array.from({ length: 1000 }, () => ids.next());
  assert.ok(ours.filter((id) => other.isOurs(id)).length < 10);
  assert.ok(!ids.isOurs(0));
});

Deno.test("a token is the same after restarts with any number of workers", () => {
  const ids = idsOf({ generation: 40, worker: 1, workers: 2 });
  const id = ids.next();
  const token = ids.token(id);
  for (const start of [40, 48, 64, 96]) {
    const later = idsOf({ generation: start, workers: 16 });
    assert.ok(later.isOurs(id));
    assert.deepEqual(later.token(id), token, `generation ${start}`);
  }
});

Deno.test("an id's next holder has another token than its former one", () => {
  // The count's place is the same for the same worker: 64 generations on the id comes again.
  const before = idsOf({ generation: 5 });
  const after = idsOf({ generation: 5 + 64 });
  const id = before.next();
  assert.equal(after.next(), id);
  assert.notDeepEqual(after.token(id), before.token(id));
});

import assert from "node:assert/strict";
import { PMTU_HOLE_LOSSES, PMTU_RAISE_MS } from "./params.ts";
import { PathMtu } from "./pmtu.ts";

/** Searches on a path that carries up to `limit`; returns the number of probes. */
function search(pmtu: PathMtu, limit: number): number {
  let probes = 0;
  for (let size = pmtu.probe(0); size !== 0; size = pmtu.probe(0)) {
    probes += 1;
    pmtu.onProbeSent();
    if (size <= limit) pmtu.onAcked(0, size, true, probes);
    else pmtu.onLost(0, size, true, probes);
    assert.ok(probes < 50);
  }
  return probes;
}

Deno.test("PathMtu finds the size, at once where the path carries the most", () => {
  const best = new PathMtu(1200, 1452);
  assert.equal(search(best, 9000), 1);
  assert.equal(best.size, 1452);
  for (const limit of [1200, 1201, 1280, 1392, 1400, 1451]) {
    const pmtu = new PathMtu(1200, 1452);
    search(pmtu, limit);
    assert.ok(pmtu.size <= limit && pmtu.size > limit - 20, `${limit}: ${pmtu.size}`);
    assert.equal(pmtu.probe(9000), 0, "the search is over");
  }
});

Deno.test("PathMtu sends one probe at a time, and looks again later", () => {
  const pmtu = new PathMtu(1200, 1452);
  assert.equal(pmtu.probe(0), 1452);
  pmtu.onProbeSent();
  assert.equal(pmtu.probe(0), 0);
  pmtu.onLost(0, 1452, true, 0);
  search(pmtu, 1300);
  const { size } = pmtu;
  assert.equal(pmtu.probe(PMTU_RAISE_MS - 1), 0);
  assert.equal(pmtu.probe(PMTU_RAISE_MS + 1), 1452);
  pmtu.onProbeSent();
  pmtu.onAcked(PMTU_RAISE_MS + 1, 1452, true, 99);
  assert.ok(pmtu.size > size);
});

Deno.test("PathMtu falls back when large packets vanish and small ones arrive", () => {
  const pmtu = new PathMtu(1200, 1452);
  search(pmtu, 1452);
  for (let i = 0; i < PMTU_HOLE_LOSSES; i++) pmtu.onLost(0, 1452, false, 10 + i);
  assert.equal(pmtu.size, 1452, "the path may be down altogether");
  pmtu.onAcked(0, 100, false, 20);
  assert.equal(pmtu.size, 1200);
  assert.equal(pmtu.holes, 1);
  search(pmtu, 1300);
  assert.ok(pmtu.size > 1280 && pmtu.size <= 1300);
});

Deno.test("PathMtu takes no random loss for a hole", () => {
  const pmtu = new PathMtu(1200, 1452);
  search(pmtu, 1452);
  pmtu.onAcked(0, 1452, false, 100);
  for (let i = 0; i < 20; i++) pmtu.onLost(0, 1452, false, 50 + i);
  pmtu.onAcked(0, 100, false, 101);
  assert.equal(pmtu.holes, 0, "larger numbers of that size arrived");
});

Deno.test("PathMtu with one size searches nothing, and refuses nonsense", () => {
  const pmtu = new PathMtu(16_384, 16_384);
  assert.equal(pmtu.probe(0), 0);
  assert.equal(pmtu.probe(10 * PMTU_RAISE_MS), 0);
  assert.throws(() => new PathMtu(1200, 1199), RangeError);
});

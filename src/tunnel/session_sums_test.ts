import assert from "node:assert/strict";
import { SessionCounters } from "../session/counters.ts";
import { SessionSums } from "./session_sums.ts";

function session(packetsBuilt: number) {
  return { isOpen: true, counters: Object.assign(new SessionCounters(), { packetsBuilt }) };
}

Deno.test("what sessions count is summed up, and stays when they are over", () => {
  const sums = new SessionSums();
  const built = (now: number, ...all: ReturnType<typeof session>[]) =>
    (sums.of(now, () => all) as SessionCounters).packetsBuilt;
  const [one, two] = [session(1), session(10)];
  assert.equal(built(0, one, two), 11);
  one.isOpen = false;
  sums.closed(one);
  two.counters.packetsBuilt++;
  // It may still be in the table while its last words are under way.
  assert.equal(built(1, one, two), 12);
  assert.equal(built(2, two), 12);
  assert.equal(built(3), 1);
});

Deno.test("many sessions are not walked with every tick", () => {
  const sums = new SessionSums();
  const many = Array.from({ length: 4000 }, () => session(1));
  let walks = 0;
  for (let now = 0; now <= 2000; now += 250) sums.of(now, () => (walks++, many));
  assert.equal(walks, 3);
});

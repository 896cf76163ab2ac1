/** One client has a thousand names looked up that nobody answers for: another's are found. */

import assert from "node:assert/strict";
import { close, EchoTarget, GreedyBench, isEchoed, throughSocks } from "../fixtures/greedy.ts";
import { NameServer } from "../fixtures/name_server.ts";

const DEAD_NAMES = 1000;
const HONEST_NAMES = 12;
/** Of a machine that is busy; what it was before: 43 s, all in vain. */
const FOUND_MS = 2000;

Deno.test("a thousand names that nobody answers for don't delay another's look-ups", async () => {
  const known = Array.from({ length: HONEST_NAMES }, (_, i) => [`good${i}.test`, [127, 0, 0, 1]]);
  using names = await NameServer.start(Object.fromEntries(known));
  using target = new EchoTarget();
  await using bench = new GreedyBench(["greedy", "modest"], {
    resolver: [`127.0.0.1:${names.port}`],
  });
  await bench.startServer(4096);
  const [greedy, modest] = [await bench.startClient("greedy"), await bench.startClient("modest")];
  const dead = Array.from(
    { length: DEAD_NAMES },
    (_, i) => throughSocks(greedy, target.port, `dead${i}.test`),
  );
  while (names.asked.size === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  for (let i = 0; i < HONEST_NAMES; i++) {
    const begun = performance.now();
    const connection = await throughSocks(modest, target.port, `good${i}.test`);
    assert.ok(connection !== undefined, `good${i}.test was not found`);
    assert.ok(performance.now() - begun < FOUND_MS);
    assert.ok(await isEchoed(connection));
    close(connection);
  }
  const { names: counts, services } = await bench.status();
  // The others still wait, or were given up.
  assert.ok(counts.known > 100 || counts.abandoned > 0);
  assert.equal(services["loop"]!["faults"], 0);
  for (const connection of await Promise.all(dead)) assert.equal(connection, undefined);
});

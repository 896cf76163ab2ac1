/**
 * Much data over a bad line: 5 % lost, others late and doubled, each way. 100 MB each way, or with
 * PHANTOM_LONG=1 1 GB, of which the times are printed.
 */

import assert from "node:assert/strict";
import {
  atRate,
  BAD_LINE,
  download,
  MIXED,
  SOCKS,
  tunnelTest as test,
} from "../../fixtures/scenario.ts";
import { TARGET } from "../../fixtures/topology.ts";
import { patternHash } from "../../fixtures/tunnel_probe.ts";

const isLong = Deno.env.get("PHANTOM_LONG") === "1";
const BYTES = isLong ? 1_000_000_000 : 100_000_000;
const BOTH_BYTES = BYTES / 5;
const MAX_S = BYTES / 1e6;
const LINE = { ...BAD_LINE, copy: 51 };

/** What `act` gives, and Mbit/s. */
async function timed<T>(
  what: string,
  bytes: number,
  act: () => Promise<T>,
): Promise<{ readonly result: T; readonly rate: number }> {
  const began = performance.now();
  const result = await act();
  const seconds = (performance.now() - began) / 1000;
  const rate = 8 * bytes / seconds / 1e6;
  if (isLong) console.log(`${what}: ${bytes} B in ${seconds.toFixed(1)} s, ${rate | 0} Mbit/s`);
  return { result, rate };
}

test("bulk arrives whole over a bad line: down, up, and both at once", {
  line: LINE,
  client: {
    mixed: MIXED,
    forwards: [
      { listen: 9009, target: `${TARGET.name}:9` },
      { listen: 7007, target: `[${TARGET.v6}]:7` },
    ],
  },
}, async ({ topology }) => {
  const hash = await patternHash(BYTES);
  const limit = `--max-time ${MAX_S}`;
  const down = await timed("down", BYTES, () => download(topology, SOCKS, BYTES, limit));
  assert.equal(down.result, hash);
  const probe = (what: string, port: string, bytes: number) =>
    topology.probe(what, "127.0.0.1", port, String(bytes));
  const up = await timed("up", BYTES, () => probe("upload", "9009", BYTES));
  assert.equal(up.result, `${BYTES} ${hash}`);
  const both = await timed("both", 2 * BOTH_BYTES, () => probe("echo", "7007", BOTH_BYTES));
  assert.equal(both.result, await patternHash(BOTH_BYTES));
});

test("what the line carries is stated: both ways keep to it over a bad line", {
  line: LINE,
  server: { hysteria2: { enabled: true, up_mbps: 100, down_mbps: 100 } },
  client: {
    mixed: MIXED,
    up: "100mbps",
    down: "100mbps",
    forwards: [{ listen: 9009, target: `${TARGET.name}:9` }],
  },
}, async ({ topology }) => {
  const bytes = BYTES / 5;
  const hash = await patternHash(bytes);
  const send = () => topology.probe("upload", "127.0.0.1", "9009", String(bytes));
  const rateOf = ({ rate }: { readonly rate: number }) => rate;
  const up = await atRate(40, rateOf, () => timed("up at 100 Mbit/s", bytes, send));
  assert.equal(up.result, `${bytes} ${hash}`);
  assert.ok(up.rate > 40 && up.rate < 110, `${up.rate} Mbit/s`);
  const get = () => download(topology, SOCKS, bytes);
  const down = await atRate(40, rateOf, () => timed("down at 100 Mbit/s", bytes, get));
  assert.equal(down.result, hash);
  assert.ok(down.rate > 40 && down.rate < 110, `${down.rate} Mbit/s`);
});

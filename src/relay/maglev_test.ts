import assert from "node:assert/strict";
import { type Candidate, clientHash, maglevTable, NOBODY } from "./maglev.ts";

const SIZE = 16_381;

function backends(count: number, weight = 1): Candidate[] {
  return Array.from({ length: count }, (_, i) => ({ name: `192.0.2.${i}:443`, weight }));
}

function shares(table: Uint16Array, count: number): number[] {
  const places = new Array<number>(count).fill(0);
  for (const backend of table) places[backend]!++;
  return places.map((one) => one / table.length);
}

Deno.test("maglevTable gives every place to somebody, in equal shares", () => {
  for (const count of [1, 2, 3, 10, 64]) {
    const got = shares(maglevTable(backends(count), SIZE), count);
    for (const share of got) assert.ok(Math.abs(share * count - 1) < 0.01, `${count}: ${share}`);
  }
});

Deno.test("maglevTable gives places by weight, and none for weight 0", () => {
  const weights = [1, 2, 5, 0, 12];
  const table = maglevTable(weights.map((weight, i) => ({ name: `b${i}`, weight })), SIZE);
  const got = shares(table, weights.length);
  weights.forEach((weight, i) => assert.ok(Math.abs(got[i]! - weight / 20) < 0.005, `${got}`));
});

Deno.test("maglevTable has nobody where there is no backend, or none with a weight", () => {
  for (const candidates of [[], backends(3, 0)]) {
    assert.ok(maglevTable(candidates, SIZE).every((one) => one === NOBODY));
  }
});

Deno.test("maglevTable moves little but the places of the backend that goes", () => {
  for (const count of [2, 5, 20]) {
    const before = maglevTable(backends(count), SIZE);
    for (const gone of [0, count - 1]) {
      const left = backends(count).map((one, i) => ({ ...one, weight: i === gone ? 0 : 1 }));
      const after = maglevTable(left, SIZE);
      let moved = 0;
      before.forEach((one, at) => moved += Number(one !== gone && one !== after[at]));
      assert.ok(moved / SIZE < 0.03, `${moved} of ${SIZE} places of others moved, of ${count}`);
      assert.ok(!after.includes(gone));
    }
  }
});

Deno.test("maglevTable is the same whatever the order of the backends", () => {
  const all = backends(7);
  const names = (candidates: Candidate[]) =>
    [...maglevTable(candidates, 1021)].map((one) => candidates[one]!.name);
  const [one, other] = [names(all), names(all.toReversed())];
  const differ = one.filter((name, at) => name !== other[at]).length;
  // Who comes first takes a contested place: a few differ.
  assert.ok(differ / one.length < 0.35, `${differ}`);
});

Deno.test("clientHash spreads neighbours, and takes the port when told to", () => {
  const counts = new Array<number>(16).fill(0);
  const ip = new Uint8Array(16);
  ip.set([255, 255], 10);
  for (let i = 0; i < 65_536; i++) {
    ip.set([10, 0, i >> 8, i & 255], 12);
    counts[clientHash(ip) % 16]!++;
  }
  for (const count of counts) assert.ok(Math.abs(count / 4096 - 1) < 0.1, `${counts}`);
  const byPort = new Set(Array.from({ length: 1000 }, (_, port) => clientHash(ip, port)));
  assert.ok(byPort.size > 990);
});

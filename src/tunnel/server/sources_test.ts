import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../../ffi/endpoint.ts";
import { Rng } from "../../../tests/fuzz/rng.ts";
import { ipBytes } from "../../base/ip.ts";
import { ResetLimit, SourceTable } from "./sources.ts";

const rng = new Rng(3);
const random = () => rng.int(0, 0xffff_ffff);

function route(ip: string, port = 1) {
  return routeTo(endpoint(ipBytes(ip), port));
}

Deno.test("sessions are counted by IPv4 address, and by IPv6 network of 64 bits", () => {
  const table = new SourceTable(8, 2, random);
  const first = table.enter(route("192.0.2.1", 1));
  assert.ok(first >= 0 && table.enter(route("192.0.2.1", 2)) === first);
  assert.equal(table.enter(route("192.0.2.1", 3)), -1);
  assert.ok(table.enter(route("192.0.2.2")) >= 0);
  assert.ok(table.enter(route("2001:db8::1")) >= 0);
  assert.ok(table.enter(route("2001:db8::ffff:2")) >= 0);
  assert.equal(table.enter(route("2001:db8::3")), -1);
  assert.ok(table.enter(route("2001:db8:0:1::3")) >= 0);
  assert.equal(table.refused, 2);
  table.leave(first);
  assert.equal(table.enter(route("192.0.2.1", 4)), first);
});

Deno.test("a full source still takes those who are sure of a place", () => {
  const table = new SourceTable(8, 2, random);
  const slot = table.enter(route("192.0.2.1"));
  assert.equal(table.enter(route("192.0.2.1")), slot);
  assert.equal(table.enter(route("192.0.2.1")), -1);
  assert.equal(table.enter(route("192.0.2.1"), true), slot);
  for (let i = 0; i < 3; i++) table.leave(slot);
  assert.ok(table.enter(route("192.0.2.1")) >= 0);
});

Deno.test("sources come and go at random, and the counts stay right", () => {
  const max = 3;
  const table = new SourceTable(64, max, random);
  const held = new Map<string, number[]>();
  for (let i = 0; i < 20_000; i++) {
    const ip = `198.51.100.${rng.int(0, 30)}`;
    const slots = held.get(ip) ?? [];
    held.set(ip, slots);
    const total = [...held.values()].reduce((sum, { length }) => sum + length, 0);
    if (rng.chance(0.5) && slots.length > 0) table.leave(slots.pop()!);
    else if (total < 64) {
      const slot = table.enter(route(ip));
      assert.equal(slot < 0, slots.length === max);
      if (slot >= 0) slots.push(slot);
    }
  }
});

Deno.test("a source gets one RESET in a while", () => {
  const limit = new ResetLimit(1000, random);
  assert.ok(limit.admits(route("192.0.2.1", 1), 0));
  assert.ok(!limit.admits(route("192.0.2.1", 2), 999));
  assert.ok(limit.admits(route("192.0.2.9", 2), 999));
  assert.ok(limit.admits(route("192.0.2.1", 2), 1000));
  // However many sources there are, the table does not grow: some share a place.
  let admitted = 0;
  for (let i = 0; i < 100_000; i++) {
    admitted += Number(limit.admits(route(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`), 1001));
  }
  assert.ok(admitted > 3000 && admitted <= 4096, `${admitted}`);
});

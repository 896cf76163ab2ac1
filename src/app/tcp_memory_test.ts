import assert from "node:assert/strict";
import { tcpMemory } from "./tcp_memory.ts";

const total = () => 16 * 2 ** 30;

Deno.test("tcpMemory() is half of where the kernel begins to save, and never nothing", () => {
  assert.equal(tcpMemory({ total, read: () => "287901\t383869\t575802\n" }), 383_869 * 2048);
  assert.equal(tcpMemory({ total, read: () => "1 2 3" }), 32 << 20);
});

Deno.test("tcpMemory() reckons by the machine's memory where a namespace has no figure", () => {
  const read = () => {
    throw new Deno.errors.NotFound("no such file");
  };
  assert.equal(tcpMemory({ total, read }), 2 ** 29);
  assert.equal(tcpMemory({ total, read: () => "odd" }), 2 ** 29);
  assert.equal(tcpMemory({ total: () => 2 ** 29, read }), 32 << 20);
  assert.ok(tcpMemory() >= 32 << 20);
});

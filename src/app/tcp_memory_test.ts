import assert from "node:assert/strict";
import { tcpMemory } from "./tcp_memory.ts";

Deno.test("tcpMemory() is half of where the kernel begins to save, and never nothing", () => {
  assert.equal(tcpMemory(() => "287901\t383869\t575802\n"), 383_869 * 2048);
  assert.equal(tcpMemory(() => "1 2 3"), 32 << 20);
  assert.equal(tcpMemory(() => "odd"), 32 << 20);
  assert.ok(tcpMemory() >= 32 << 20);
});

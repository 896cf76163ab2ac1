import assert from "node:assert/strict";
import { testNative } from "../tests/native.ts";
import { releasePages } from "./unused_memory.ts";

const native = testNative();
const MIB = 1 << 20;

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]) * 1024;
}

Deno.test("memory that is not in use goes back to the system, and what is beside it stays", () => {
  const bytes = new Uint8Array(128 * MIB).fill(1);
  const before = residentBytes();
  releasePages(native, bytes.subarray(MIB, 127 * MIB));
  assert(before - residentBytes() > 100 * MIB);
  assert.equal(bytes[MIB - 1], 1);
  assert.equal(bytes[127 * MIB], 1);
  assert.equal(bytes[64 * MIB], 0);
});

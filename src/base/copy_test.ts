import assert from "node:assert/strict";
import { copyBytes } from "./copy.ts";

Deno.test("copyBytes() copies so many bytes and no other, short and long", () => {
  for (const length of [0, 1, 48, 49, 300]) {
    const source = Uint8Array.from({ length: length + 1 }, (_, i) => i);
    const target = new Uint8Array(length + 2);
    copyBytes(target, 1, source, 1, length);
    assert.deepEqual(target.slice(1, 1 + length), source.slice(1));
    assert.equal(target[0]! + target[length + 1]!, 0);
  }
});

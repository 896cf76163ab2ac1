import assert from "node:assert/strict";

import { checkLength, getBytes, setBytes, setZero } from "./layout_io.ts";

Deno.test("getBytes() returns a copy from where the view is", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5);
  const copy = getBytes(new DataView(bytes.buffer, 1, 3), 1, 2);
  assert.deepEqual(copy, Uint8Array.of(3, 4));
  bytes.fill(0);
  assert.deepEqual(copy, Uint8Array.of(3, 4));
});

Deno.test("setBytes() and setZero() write within the view only", () => {
  const bytes = new Uint8Array(5).fill(9);
  const view = new DataView(bytes.buffer, 1, 3);
  setBytes(view, 1, Uint8Array.of(7, 8), 2, "X.y");
  setZero(view, 0, 1);
  assert.deepEqual(bytes, Uint8Array.of(9, 0, 7, 8, 9));
  for (const at of [-1, 2, 3, 1e9]) {
    assert.throws(() => setBytes(view, at, Uint8Array.of(7, 8), 2, "X.y"), RangeError);
    assert.throws(() => setZero(view, at, 2), RangeError);
    assert.throws(() => getBytes(view, at, 2), RangeError);
  }
  assert.deepEqual(bytes, Uint8Array.of(9, 0, 7, 8, 9));
});

Deno.test("checkLength() throws RangeError with field and both lengths", () => {
  checkLength(4, 4, "X.y");
  const message = "Cannot write X.y as its length must be 4: current value is 3";
  assert.throws(() => checkLength(3, 4, "X.y"), { name: "RangeError", message });
  const view = new DataView(new ArrayBuffer(4));
  assert.throws(() => setBytes(view, 0, new Uint8Array(3), 4, "X.y"), { message });
});

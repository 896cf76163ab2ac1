import assert from "node:assert/strict";
import { Reader, Writer } from "../wire/cursor.ts";
import { Parameters, parametersBytes, readParameters, writeParameters } from "./parameters.ts";

function read(list: readonly number[], declared = list.length): Parameters | undefined {
  const found = new Parameters();
  const bytes = Uint8Array.of(declared >> 8, declared, ...list);
  return readParameters(new Reader(bytes), found) ? found : undefined;
}

Deno.test("what is written is read, and has the size that is said", () => {
  for (const [ciphers, frames] of [[1, 0], [0x83, 1], [2, 0x3fff], [0xff, 2 ** 40]] as const) {
    const bytes = new Uint8Array(40);
    const w = new Writer(bytes);
    writeParameters(w, ciphers, frames);
    assert.equal(w.at, 2 + parametersBytes(frames));
    const found = new Parameters();
    assert.ok(readParameters(new Reader(bytes, 0, w.at), found));
    assert.deepEqual({ ...found }, { ciphers, frames });
  }
});

Deno.test("parameters that are missing have their defaults, and unknown ones are skipped", () => {
  assert.deepEqual({ ...read([]) }, { ciphers: 1, frames: 0 });
  assert.deepEqual({ ...read([9, 3, 1, 2, 3, 1, 1, 2]) }, { ciphers: 2, frames: 0 });
  assert.deepEqual({ ...read([2, 2, 0x40, 5, 0x7f, 0xff, 0]) }, { ciphers: 1, frames: 5 });
});

Deno.test("parameters that contradict themselves are refused", () => {
  const bad = [
    ...[[1], [1, 1], [1, 2, 1], [1, 0], [1, 2, 1, 1], [2, 1, 0x40], [2, 2, 1, 1], [2, 0]],
    ...[[1, 1, 1, 1, 1, 1], [9, 0, 9, 0], [9, 5, 1]],
  ];
  for (const list of bad) assert.equal(read(list), undefined, list.join());
  assert.equal(read([1, 1, 1], 4), undefined, "longer than the packet");
});

import assert from "node:assert/strict";
import { bytesOf, numberOf, readVectors } from "../../tests/fixtures/vectors/read.ts";
import { type Direction, maskHeader, unmaskHeader } from "./packet.ts";
import { SIP_KEY_WORDS, sipHash, sipHashWith, sipKey } from "./siphash.ts";

function keyOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(SIP_KEY_WORDS);
  sipKey(bytes, 0, words);
  return words;
}

function hexOf(output: Uint32Array): string {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, output[0]!, true);
  view.setUint32(4, output[1]!, true);
  return bytes.toHex();
}

const vectors = await readVectors("siphash");

Deno.test("sipHash() agrees with the 64 vectors of the reference implementation", () => {
  assert.equal(vectors.length, 64);
  const output = new Uint32Array(2);
  for (const vector of vectors) {
    const key = keyOf(bytesOf(vector, "key"));
    const message = bytesOf(vector, "message");
    sipHash(key, 0, message, 0, message.length, output);
    assert.equal(hexOf(output), vector["hash"]);
    const inside = new Uint8Array([1, 2, 3, ...message, 4]);
    sipHash(Uint32Array.of(9, ...key), 1, inside, 3, message.length, output);
    assert.equal(hexOf(output), vector["hash"], "at any offset");
  }
});

Deno.test("sipHashWith() hashes one byte more than there is", () => {
  const output = new Uint32Array(2);
  for (const vector of vectors.slice(1)) {
    const message = bytesOf(vector, "message");
    const last = message.length - 1;
    const key = keyOf(bytesOf(vector, "key"));
    sipHashWith(key, 0, message, 0, last, message[last]!, output);
    assert.equal(hexOf(output), vector["hash"]);
  }
});

Deno.test("header masks and checks agree with their vectors", async () => {
  for (const vector of await readVectors("mask")) {
    const key = keyOf(bytesOf(vector, "maskKey"));
    const direction = numberOf(vector, "direction") as Direction;
    const packet = bytesOf(vector, "packet");
    assert.equal(unmaskHeader(packet, 0, packet.length, direction, key, 1), 0);
    assert.equal(packet.toHex(), vector["clear"]);
    maskHeader(packet, 0, direction, key, 0);
    assert.equal(packet.toHex(), vector["packet"]);
    for (const text of vector["junk"] as unknown as string[]) {
      const junk = Uint8Array.fromHex(text);
      assert.equal(unmaskHeader(junk, 0, junk.length, direction, key, 1), -1);
    }
  }
});

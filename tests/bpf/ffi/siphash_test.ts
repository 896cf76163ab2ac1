/** bpf/lib/siphash.h by the published vectors, and by the implementation of src/wire. */

import assert from "node:assert/strict";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { SIP_KEY_WORDS, sipHash, sipKey } from "../../../src/wire/siphash.ts";
import { bpfObject, libraries, repository } from "../../fixtures/libraries.ts";
import { fuzz } from "../../fuzz/rng.ts";
import { hex } from "../packets.ts";

interface Vector {
  readonly key: string;
  readonly message: string;
  readonly hash: string;
}

const MESSAGE_BYTES = 17;

// Loaded before a test counts what it opens: a library stays.
libraries();

function open(): BpfObject {
  return new BpfObject(libraries(), "siphash", bpfObject("siphash")).load();
}

function hashOf(object: BpfObject, key: Uint8Array, message: Uint8Array): string {
  const data = new Uint8Array(16 + MESSAGE_BYTES + 8);
  data.set(key);
  data.set(message, 16);
  return hex(object.program("hash").run({ data }).data.subarray(16 + MESSAGE_BYTES));
}

Deno.test("bpf/lib/siphash.h agrees with the published vector of 17 bytes", () => {
  const path = `${repository}tests/fixtures/vectors/siphash.json`;
  const vectors = JSON.parse(Deno.readTextFileSync(path)) as Vector[];
  const fitting = vectors.filter(({ message }) => message.length === 2 * MESSAGE_BYTES);
  assert.ok(fitting.length > 0);
  using object = open();
  for (const { key, message, hash } of fitting) {
    assert.equal(hashOf(object, Uint8Array.fromHex(key), Uint8Array.fromHex(message)), hash);
  }
});

Deno.test("bpf/lib/siphash.h agrees with the implementation in TypeScript", () => {
  using object = open();
  const words = new Uint32Array(SIP_KEY_WORDS);
  const output = new Uint32Array(2);
  fuzz({ cases: 2000 }, (rng) => {
    const key = rng.bytes(16);
    const message = rng.bytes(MESSAGE_BYTES);
    sipKey(key, 0, words);
    sipHash(words, 0, message, 0, MESSAGE_BYTES, output);
    assert.equal(hashOf(object, key, message), hex(new Uint8Array(output.slice().buffer)));
  });
});

import assert from "node:assert/strict";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import { HELD_BYTES_MAX, READ_ROUND_BYTES, type Reader, Splicer } from "./splicer.ts";

const native = testNative();

/** A socket with data without end. */
class Endless implements Reader {
  bytes = 0;
  readonly #splicer: Splicer;

  constructor(splicer: Splicer) {
    this.#splicer = splicer;
  }

  readAgain(): void {
    const count = Math.min(READ_ROUND_BYTES, this.#splicer.readLeft);
    if (count > 0) this.#splicer.hasRead(count);
    this.bytes += Math.max(0, count);
    this.#splicer.readLater(this);
  }
}

Deno.test("Splicer gives all who read their turns, however many there are", () => {
  const loop = new Loop(native);
  const splicer = new Splicer(loop);
  const readers = Array.from({ length: 50 }, () => new Endless(splicer));
  for (const reader of readers) splicer.readLater(reader);
  for (let round = 0; round < 100; round++) loop.round(0);
  const read = readers.map(({ bytes }) => bytes).sort((a, b) => a - b);
  assert.ok(read[0]! > 0.5 * read.at(-1)!, read.join());
  loop.close();
});

Deno.test("Splicer: nobody may hold more than what is left for the others", () => {
  const loop = new Loop(native);
  const splicer = new Splicer(loop);
  const piece = 64 << 10;
  const fill = (holder: { asker?: object; user: string }) => {
    let bytes = 0;
    for (; splicer.mayHold(holder); bytes += piece) splicer.hold(holder, piece);
    return bytes;
  };
  assert.equal(fill({ asker: {}, user: "a" }), HELD_BYTES_MAX / 2);
  assert.equal(fill({ asker: {}, user: "a" }), 0);
  assert.equal(fill({ asker: {}, user: "b" }), HELD_BYTES_MAX / 4);
  // Of sessions of one key each has its own part.
  assert.equal(fill({ asker: {}, user: "" }), HELD_BYTES_MAX / 8);
  assert.equal(fill({ asker: {}, user: "" }), HELD_BYTES_MAX / 16);
  loop.close();
});

import assert from "node:assert/strict";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import {
  HELD_BYTES_MAX,
  HELD_BYTES_SURE,
  READ_ROUND_BYTES,
  type Reader,
  Splicer,
} from "./splicer.ts";

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

Deno.test("Splicer: nobody may hold more than is left for others, but a sure part", () => {
  const loop = new Loop(native);
  const splicer = new Splicer(loop);
  const fill = (holder: { asker?: object; user: string }) => {
    let bytes = 0;
    for (let piece; (piece = splicer.holdable(holder)) > 0; bytes += piece) {
      splicer.hold(holder, piece);
    }
    return bytes;
  };
  const isAbout = (bytes: number, expected: number) =>
    assert.ok(bytes > 0.9 * expected && bytes <= expected + HELD_BYTES_SURE, `${bytes}`);
  isAbout(fill({ asker: {}, user: "a" }), HELD_BYTES_MAX / 2);
  assert.equal(fill({ asker: {}, user: "a" }), HELD_BYTES_SURE);
  isAbout(fill({ asker: {}, user: "b" }), HELD_BYTES_MAX / 4);
  // Of sessions of one key each has its own part.
  isAbout(fill({ asker: {}, user: "" }), HELD_BYTES_MAX / 8);
  isAbout(fill({ asker: {}, user: "" }), HELD_BYTES_MAX / 16);
  loop.close();
});

Deno.test("Splicer: many sessions that give nothing back leave each newcomer its sure part", () => {
  const loop = new Loop(native);
  const splicer = new Splicer(loop);
  for (let i = 0; i < 500; i++) {
    const holder = { asker: {} };
    for (let piece; (piece = splicer.holdable(holder)) > 0;) splicer.hold(holder, piece);
  }
  assert.ok(splicer.held < HELD_BYTES_MAX + 500 * HELD_BYTES_SURE);
  assert.ok(splicer.holdable({ asker: {} }) >= HELD_BYTES_SURE);
  loop.close();
});

Deno.test("Splicer tries again a part of those that wait at a time, and all in the end", () => {
  const loop = new Loop(native);
  const splicer = new Splicer(loop);
  let tried = 0;
  for (let i = 0; i < 1000; i++) splicer.retryLater({ retry: () => void tried++ });
  let most = 0;
  while (tried < 1000) {
    const before = tried;
    loop.round(50);
    most = Math.max(most, tried - before);
  }
  assert.ok(most <= 256, `${most}`);
  loop.close();
});

import assert from "node:assert/strict";
import { ringMemory, RingReader, RingWriter } from "../base/ring.ts";
import { type Envelope, Inbox, PART_BYTES_MAX, piecesOf } from "./inbox.ts";

Deno.test("messages of any length come whole, in their order", () => {
  const memory = ringMemory(1 << 17);
  const writer = new RingWriter(memory);
  const inbox = new Inbox(new RingReader(memory));
  const long: Envelope = { to: "a", message: { text: "ü".repeat(PART_BYTES_MAX) } };
  const short: Envelope = { to: "b", message: 7 };
  assert.equal(piecesOf(short).length, 1);
  assert.equal(piecesOf(long).length, 3);
  for (const piece of [short, long, short].flatMap(piecesOf)) assert.ok(writer.write(piece));
  assert.deepEqual([inbox.read(), inbox.read(), inbox.read()], [short, long, short]);
  assert.equal(inbox.read(), undefined);
  // A part alone is no message yet.
  const [first, ...rest] = piecesOf(long);
  writer.write(first!);
  assert.equal(inbox.read(), undefined);
  for (const piece of rest) writer.write(piece);
  assert.deepEqual(inbox.read(), long);
});

Deno.test("a message that is no JSON is told of, and the next one is read", () => {
  const memory = ringMemory(1024);
  const writer = new RingWriter(memory);
  const inbox = new Inbox(new RingReader(memory));
  writer.write(new TextEncoder().encode("rubbish"));
  writer.write(new TextEncoder().encode('{"to":"a","message":1}'));
  assert.throws(() => inbox.read(), SyntaxError);
  assert.deepEqual(inbox.read(), { to: "a", message: 1 });
});

Deno.test("nothing of a message is left in the ring's copies, in parts or whole", () => {
  const key = "6b".repeat(PART_BYTES_MAX);
  for (const message of [key, "6b6b"]) {
    const ring = { pieces: piecesOf({ to: "a", message }), read: () => ring.pieces.shift() };
    const pieces = [...ring.pieces];
    const inbox = new Inbox(ring as unknown as RingReader);
    assert.deepEqual(inbox.read(), { to: "a", message });
    for (const piece of pieces) assert.ok(piece.subarray(1).every((byte) => byte === 0));
  }
});

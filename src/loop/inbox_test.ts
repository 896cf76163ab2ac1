import assert from "node:assert/strict";
import { ringMemory, RingReader, RingWriter } from "../base/ring.ts";
import { Inbox, PART_BYTES_MAX, piecesOf } from "./inbox.ts";
import type { ToWorker } from "../tunnel/protocol.ts";

Deno.test("messages of any length come whole, in their order", () => {
  const memory = ringMemory(1 << 17);
  const writer = new RingWriter(memory);
  const inbox = new Inbox(new RingReader(memory));
  const long: ToWorker = {
    kind: "rules",
    rules: [{ domain: ["ü".repeat(PART_BYTES_MAX)], outbound: "direct" }],
  };
  const short: ToWorker = { kind: "resolved", id: 7, addresses: ["::1"] };
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
  writer.write(new TextEncoder().encode('{"kind":"report"}'));
  assert.throws(() => inbox.read(), SyntaxError);
  assert.deepEqual(inbox.read(), { kind: "report" });
});

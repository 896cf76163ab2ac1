import assert from "node:assert/strict";
import { ringMemory, RingReader, RingWriter } from "./ring.ts";

Deno.test("what RingWriter writes RingReader reads, in order, around the end", () => {
  const memory = ringMemory(256);
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)];
  let [sent, got] = [0, 0];
  for (let round = 0; round < 2000; round++) {
    while (writer.write(new Uint8Array((sent * 7) % 61).fill(sent))) sent++;
    for (let i = 0; i <= round % 3; i++) {
      const message = reader.read();
      if (message === undefined) break;
      assert.deepEqual(message, new Uint8Array((got * 7) % 61).fill(got));
      got++;
    }
  }
  while (reader.read() !== undefined) got++;
  assert.equal(got, sent);
  assert(sent > 2000 && writer.refused > 0);
});

Deno.test("a ring's counters wrap without losing a message", () => {
  const memory = ringMemory(64);
  new Int32Array(memory).fill(0x7fff_ffe0, 0, 2);
  const [writer, reader] = [new RingWriter(memory), new RingReader(memory)];
  for (let i = 0; i < 100; i++) {
    assert(writer.write(Uint8Array.of(i, i, i)));
    assert.deepEqual(reader.read(), Uint8Array.of(i, i, i));
  }
});

Deno.test("ringMemory() wants a power of two", () => {
  assert.throws(() => ringMemory(100), RangeError);
});

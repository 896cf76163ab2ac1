import assert from "node:assert/strict";
import { BodyReader, CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX } from "./http_body.ts";

function chunked(text: string, step = Infinity): { state: string; used: number } {
  const body = new BodyReader();
  body.start("chunked", 0);
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  let used = 0;
  while (used < bytes.length && body.state === "open") {
    used += body.feed(bytes, used, Math.min(step, bytes.length - used));
  }
  return { state: body.state, used };
}

Deno.test("chunks end where they say, at any split", () => {
  const cases = [
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    'A;ext="v"\r\n0123456789\r\n00\r\nTrailer: x\r\nB: y\r\n\r\n',
    "1\r\n\n\r\n2\r\n\r\n\r\n0;last\r\n\r\n",
  ];
  for (const text of cases) {
    for (const step of [1, 2, 3, Infinity]) {
      assert.deepEqual(chunked(`${text}GET`, step), { state: "done", used: text.length }, text);
    }
  }
});

Deno.test("what is no chunk is refused", () => {
  const bad = [
    ...[
      "\r\n",
      "g\r\n",
      "-1\r\n",
      "+1\r\n",
      " 1\r\n",
      "1 \r\n",
      "0x1\r\n",
      "1\n",
      "1\rx",
      "1;a\nb",
    ],
    ...[
      "1\r\nab",
      "1\r\na\n",
      "1\r\na\rx",
      "0\r\n\n",
      "0\r\n\rx",
      "0\r\nA\n",
      "0\r\nA\rx",
      "0\r\n x",
    ],
    ...["1;\0", "0\r\nA\x01", "1;\x7f", `${"0".repeat(13)}1`, "fffffffffffffff\r\n"],
    `1;${"a".repeat(CHUNK_EXTENSION_BYTES_MAX + 1)}`,
    `0\r\n${"Abcd: f\r\n".repeat(TRAILER_BYTES_MAX / 8 + 1)}`,
  ];
  for (const text of bad) assert.equal(chunked(text).state, "malformed", JSON.stringify(text));
});

Deno.test("a length is counted down, across calls", () => {
  const body = new BodyReader();
  const bytes = new Uint8Array(10);
  body.start("length", 25);
  assert.equal(body.feed(bytes, 0, 10), 10);
  assert.equal(body.feed(bytes, 0, 10), 10);
  assert.equal(body.end(), false);
  assert.equal(body.feed(bytes, 0, 10), 5);
  assert.equal(body.state, "done");
  assert.equal(body.end(), true);
  body.start("none", 0);
  assert.equal(body.feed(bytes, 0, 10), 0);
  body.start("length", 0);
  assert.equal(body.state, "done");
});

Deno.test("a body without length ends with its connection", () => {
  const body = new BodyReader();
  body.start("close", 0);
  assert.equal(body.feed(new Uint8Array(10), 0, 10), 10);
  assert.equal(body.state, "open");
  assert.equal(body.end(), true);
  assert.equal(body.state, "done");
});

import assert from "node:assert/strict";
import {
  connectionOptions,
  FIELDS_MAX,
  framingOf,
  type Head,
  HEAD_BYTES_MAX,
  HeadReader,
  HeadWriter,
  isToken,
  parseHead,
} from "./http_head.ts";

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function read(text: string, skipsBlank = false): { reader: HeadReader; used: number } {
  const reader = new HeadReader(skipsBlank);
  const bytes = bytesOf(text);
  return { reader, used: reader.feed(bytes, 0, bytes.length) };
}

function parse(text: string): Head | string {
  const { reader } = read(text);
  return reader.state === "done" ? parseHead(reader.bytes) : reader.state;
}

function headOf(...fields: string[]): Head {
  const head = parse(["X", ...fields, "", ""].join("\r\n"));
  assert.ok(typeof head !== "string", fields.join());
  return head;
}

Deno.test("a head ends at its empty line", () => {
  const text = "GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
  const { reader, used } = read(text);
  assert.equal(reader.state, "done");
  assert.equal(used, text.length - 4);
  assert.equal(reader.bytes.length, used);
  assert.equal(reader.feed(bytesOf("x"), 0, 1), 0);
  reader.reset();
  assert.ok(reader.isEmpty);
});

Deno.test("bare CR, bare LF and NUL are refused, wherever they stand", () => {
  const bad = [
    "a\nb",
    "\n",
    "a\r\r\n",
    "\ra",
    "a\0",
    "a\r\nb: c\n\r\n",
    "a\r\nb: c\rd\r\n",
    "a\r\n\n",
  ];
  for (const text of bad) assert.equal(read(text).reader.state, "malformed", JSON.stringify(text));
});

Deno.test("one empty line may stand in front of a request, none before a response", () => {
  assert.equal(read("\r\nGET\r\n\r\n", true).reader.state, "done");
  assert.equal(read("\r\n\r\nGET\r\n\r\n", true).reader.state, "malformed");
  assert.equal(read("\r\nGET\r\n\r\n", false).reader.state, "malformed");
});

Deno.test("a head has a longest length", () => {
  const fits = `X\r\nA: ${"b".repeat(HEAD_BYTES_MAX - 10)}\r\n\r\n`;
  assert.equal(fits.length, HEAD_BYTES_MAX);
  assert.equal(read(fits).reader.state, "done");
  const { reader, used } = read(fits.replace("A", "AA"));
  assert.equal(reader.state, "too-large");
  assert.equal(used, HEAD_BYTES_MAX + 1);
});

Deno.test("parseHead() cuts fields and refuses what is malformed", () => {
  const head = headOf("Name:  some value \t", "empty:", "x-y:\u00ff");
  assert.deepEqual(head.fields.map(({ name }) => name), ["name", "empty", "x-y"]);
  const [field] = head.fields;
  assert.equal(head.bytes.subarray(field?.valueAt, field?.valueEnd).length, "some value".length);
  const bad = [
    "A : b",
    " A: b",
    "\tfold",
    "A",
    ": b",
    "A\u00e9: b",
    "A: b\u0001",
    "A: \x7f",
    "A(: b",
  ];
  for (const line of bad) {
    assert.equal(parse(`X\r\nOk: 1\r\n${line}\r\n\r\n`), "malformed", JSON.stringify(line));
  }
  const many = (count: number) => parse(`X\r\n${"a: b\r\n".repeat(count)}\r\n`);
  assert.notEqual(many(FIELDS_MAX), "too-large");
  assert.equal(many(FIELDS_MAX + 1), "too-large");
});

Deno.test("framingOf() takes one plain statement only", () => {
  const good: [string[], string, number][] = [
    [[], "none", 0],
    [["Content-Length: 0"], "length", 0],
    [["content-length: 999999999999999"], "length", 999_999_999_999_999],
    [["Transfer-Encoding: Chunked"], "chunked", 0],
  ];
  for (const [fields, framing, length] of good) {
    assert.deepEqual(framingOf(headOf(...fields), true, "none"), { framing, length });
  }
  const bad = [
    ["Content-Length: 1", "Content-Length: 1"],
    ["Content-Length: 1", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ...["1, 1", "+1", "-1", "0x1", "", "1a", "1.0", "1 1", "9999999999999999"]
      .map((value) => [`Content-Length: ${value}`]),
    ...["gzip, chunked", "chunked, identity", "identity", "xchunked", "", '"chunked"']
      .map((value) => [`Transfer-Encoding: ${value}`]),
  ];
  for (const fields of bad) {
    assert.equal(framingOf(headOf(...fields), true, "none"), undefined, fields.join());
  }
  assert.equal(framingOf(headOf("Transfer-Encoding: chunked"), false, "none"), undefined);
});

Deno.test("Connection options take fields along, but not those that matter", () => {
  const head = headOf("Connection: close , X-Gone,", "Connection: te", "X-Gone: 1", "X-Stays: 1");
  const options = connectionOptions(head);
  assert.ok(options);
  assert.equal(options.close, true);
  const writer = new HeadWriter(200);
  writer.fields(head, options, "");
  const text = new TextDecoder().decode(writer.finish());
  assert.equal(text, "X-Stays: 1\r\n\r\n");
  for (const name of ["content-length", "Transfer-Encoding", "host", "a b", "x:y"]) {
    assert.equal(connectionOptions(headOf(`Connection: ${name}`)), undefined, name);
  }
});

Deno.test("isToken() knows the signs of tokens", () => {
  for (const text of ["GET", "M-SEARCH", "!#$%&'*+-.^_`|~09az"]) assert.ok(isToken(text));
  for (const text of ["", "a b", "a:", "(", "é", "a\0"]) assert.ok(!isToken(text));
});

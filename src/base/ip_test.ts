import assert from "node:assert/strict";
import { ipBytes } from "./ip.ts";

const hex = (text: string) =>
  [...ipBytes(text)].map((b) => b.toString(16).padStart(2, "0")).join("");

Deno.test("ipBytes() keeps IPv4 as IPv4-mapped", () => {
  assert.equal(hex("192.0.2.1"), "00000000000000000000ffffc0000201");
});

Deno.test("ipBytes() expands :: wherever it stands", () => {
  assert.equal(hex(""), "0".repeat(32));
  assert.equal(hex("::"), "0".repeat(32));
  assert.equal(hex("::1"), `${"0".repeat(31)}1`);
  assert.equal(hex("2001:db8::1"), "20010db8000000000000000000000001");
  assert.equal(hex("fe80::"), "fe800000000000000000000000000000");
  assert.equal(hex("1:2:3:4:5:6:7:8"), "00010002000300040005000600070008");
  assert.equal(hex("::ffff:192.0.2.1"), "00000000000000000000ffffc0000201");
});

Deno.test("ipBytes() refuses what is no address", () => {
  for (
    const text of [
      "1.2.3",
      "1.2.3.256",
      "1:2",
      "1:2:3:4:5:6:7:8:9",
      "g::",
      "1:2:3:4:5:6:7::8:9",
      "a.b.c.d",
    ]
  ) {
    assert.throws(() => ipBytes(text), SyntaxError, text);
  }
});

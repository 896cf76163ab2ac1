import assert from "node:assert/strict";
import { endpoint, formatEndpoint, readEndpoint, routeTo, writeEndpoint } from "./endpoint.ts";

function ipv6(...groups: number[]): Uint8Array {
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
}

Deno.test("formatEndpoint() writes IPv4, and IPv6 as RFC 5952 has it", () => {
  const cases: readonly (readonly [Uint8Array, string])[] = [
    [ipv6(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201), "192.0.2.1:53"],
    [ipv6(0, 0, 0, 0, 0, 0, 0, 0), "[::]:53"],
    [ipv6(0, 0, 0, 0, 0, 0, 0, 1), "[::1]:53"],
    [ipv6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), "[2001:db8::]:53"],
    [ipv6(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1), "[2001:db8:0:1:1:1:1:1]:53"],
    [ipv6(0x2001, 0, 0, 1, 0, 0, 0, 1), "[2001:0:0:1::1]:53"],
    [ipv6(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1), "[2001:db8::1:0:0:1]:53"],
    [ipv6(1, 2, 3, 4, 5, 6, 7, 8), "[1:2:3:4:5:6:7:8]:53"],
  ];
  for (const [ip, text] of cases) assert.equal(formatEndpoint(endpoint(ip, 53)), text);
  assert.equal(formatEndpoint(endpoint(ipv6(0xfe80, 0, 0, 0, 0, 0, 0, 1), 1, 2)), "[fe80::1%2]:1");
});

Deno.test("readEndpoint() reads what writeEndpoint() wrote, and keeps to its six words", () => {
  const words = new Uint32Array(10).fill(0xffff_ffff);
  const given = endpoint(ipv6(1, 2, 3, 4, 5, 6, 7, 8), 65535, 7);
  writeEndpoint(words, 2, given);
  assert.deepEqual(readEndpoint(words, 2), given);
  assert.deepEqual([words[1], words[8]], [0xffff_ffff, 0xffff_ffff]);
});

Deno.test("routeTo() leaves the local side zero unless it is given", () => {
  const peer = endpoint(ipv6(1, 2, 3, 4, 5, 6, 7, 8), 53);
  assert.deepEqual([...routeTo(peer).subarray(6)], [0, 0, 0, 0, 0, 0]);
  assert.deepEqual(readEndpoint(routeTo(peer, peer), 6), peer);
});

Deno.test("endpoint() throws a RangeError for a wrong length or port", () => {
  assert.throws(() => endpoint(new Uint8Array(4), 1), RangeError);
  for (const port of [-1, 65536, 1.5]) {
    assert.throws(() => endpoint(new Uint8Array(16), port), RangeError);
  }
});

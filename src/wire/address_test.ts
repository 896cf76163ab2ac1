import assert from "node:assert/strict";
import { addressText, parseAddress } from "../../tests/fixtures/address_text.ts";
import {
  ADDRESS_BYTES_MAX,
  addressBytes,
  addressPort,
  encodeAddress,
  readIpAddress,
  writeIpAddress,
} from "./address.ts";

const PAIRS: readonly (readonly [string, string])[] = [
  ["192.0.2.1:80", "01c00002010050"],
  ["255.255.255.255:65535", "01ffffffffffff"],
  ["[::]:0", "04" + "00".repeat(16) + "0000"],
  ["[2001:db8::1]:443", "0420010db8000000000000000000000001" + "01bb"],
  ["[1:0:0:2::3]:9", "0400010000000000020000000000000003" + "0009"],
  ["[1:2:3:4:5:6:7:8]:9", "0400010002000300040005000600070008" + "0009"],
  ["[1:0:3:4:5:6:7:8]:9", "0400010000000300040005000600070008" + "0009"],
  ["[1::]:9", "0400010000000000000000000000000000" + "0009"],
  ["example.org:8080", "030b6578616d706c652e6f7267" + "1f90"],
  ["_a-b:1", "03045f612d620001"],
];

Deno.test("addresses are written and read as in SOCKS5", () => {
  for (const [text, hex] of PAIRS) {
    const bytes = parseAddress(text);
    assert.equal(bytes?.toHex(), hex, text);
    const padded = Uint8Array.fromHex("ff" + hex + "ff");
    const length = addressBytes(padded, 1, padded.length);
    assert.equal(length, hex.length / 2, text);
    assert.equal(addressText(padded, 1, length), text);
    assert.equal(addressPort(padded, 1, length), Number(text.slice(text.lastIndexOf(":") + 1)));
  }
});

Deno.test("encodeAddress() refuses what nobody could look up", () => {
  const hosts = [
    ...[
      "",
      "1.2.3",
      "1.2.3.256",
      "1.2.3.4.5",
      "300.1.1.1",
      "1:2",
      "1::2::3",
      ":::",
      "1:2:3:4:5:6:7:8:9",
    ],
    ...["fe80::1%eth0", "1.2.3.4::", "g::1", "a b", "a\nb", "ä.de", "x".repeat(256), "1::1.2.3"],
  ];
  for (const host of hosts) assert.equal(encodeAddress(host, 1), undefined, host);
  for (const port of [-1, 65_536, 1.5, NaN]) assert.equal(encodeAddress("a", port), undefined);
  const longest = encodeAddress("x".repeat(255), 1)!;
  assert.equal(longest.length, ADDRESS_BYTES_MAX);
  assert.equal(addressBytes(longest, 0, longest.length), ADDRESS_BYTES_MAX);
  for (
    const text of ["a", "a:", ":1", "[a]:1", "[1.2.3.4]:1", "::1:1", "[::1]", "a:123456", "[a:1"]
  ) {
    assert.equal(parseAddress(text), undefined, text);
  }
});

Deno.test("addressBytes() wants a whole address of a known type", () => {
  for (const [text, hex] of PAIRS) {
    const bytes = Uint8Array.fromHex(hex);
    for (let end = 0; end < bytes.length; end++) assert.equal(addressBytes(bytes, 0, end), 0, text);
    assert.equal(addressBytes(bytes, 0, bytes.length + 1), 0);
    assert.equal(addressBytes(bytes, -1, bytes.length), 0);
  }
  for (const hex of ["00c00002010050", "02c00002010050", "05c00002010050", "0300000000000000"]) {
    const bytes = Uint8Array.fromHex(hex);
    assert.equal(addressBytes(bytes, 0, bytes.length), 0, hex);
  }
});

Deno.test("encodeAddress() keeps an IPv4-mapped text an IPv6 address", () => {
  const bytes = encodeAddress("::ffff:7f00:1", 1);
  assert.equal(bytes?.toHex(), "0400000000000000000000ffff7f000001" + "0001");
});

Deno.test("IPs of 16 bytes become addresses and come back, IPv4 as IPv4", () => {
  const mapped = Uint8Array.fromHex("00000000000000000000ffffc0000201");
  const six = Uint8Array.fromHex("20010db8000000000000000000000001");
  for (const [ip, text] of [[mapped, "192.0.2.1:53"], [six, "[2001:db8::1]:53"]] as const) {
    const bytes = new Uint8Array(30);
    const length = writeIpAddress(bytes, 3, 30, ip, 0, 53);
    assert.equal(addressText(bytes, 3, length), text);
    assert.equal(writeIpAddress(bytes, 3, 3 + length - 1, ip, 0, 53), 0);
    const back = new Uint8Array(17);
    assert.equal(readIpAddress(bytes, 3, back, 1), true);
    assert.deepEqual(back.slice(1), ip);
  }
  assert.equal(readIpAddress(encodeAddress("a", 1)!, 0, new Uint8Array(16), 0), false);
});

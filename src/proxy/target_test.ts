import assert from "node:assert/strict";
import { parseIp } from "../base/ip.ts";
import { ADDRESS_BYTES_MAX, BAD_ADDRESS, BAD_TYPE, CUT_SHORT } from "../wire/address.ts";
import { DOMAIN_BYTES_MAX, LABEL_BYTES_MAX, normalizeDomainText, Target } from "./target.ts";

Deno.test("a name has one form", () => {
  const cases: [string, string][] = [
    ["Example.COM", "example.com"],
    ["example.com.", "example.com"],
    ["xn--mnchen-3ya.DE", "xn--mnchen-3ya.de"],
    ["_dmarc.r3---sn-a.x-", "_dmarc.r3---sn-a.x-"],
    ["localhost", "localhost"],
    ["1.2.3.4a", "1.2.3.4a"],
    ["0xg", "0xg"],
  ];
  for (const [text, name] of cases) assert.equal(normalizeDomainText(text), name);
});

Deno.test("what is no name, or a number to a resolver, is refused", () => {
  const bad = [
    ...[
      "",
      ".",
      "..",
      "a..b",
      ".a",
      "a..",
      "a b",
      "a\0b",
      "a\nb",
      "a/b",
      "a@b",
      "a:1",
      "[a]",
      "a%00",
    ],
    ...[
      "münchen.de",
      "a\u0100",
      "127.1",
      "2130706433",
      "0x7f000001",
      "0177.0.0.1",
      "1.2.3.4",
      "a.0x",
    ],
    ...["a.1", "0X7F.1", "1.2.3.4.", "a.08", "\u212a.com", "a*b"],
  ];
  for (const text of bad) assert.equal(normalizeDomainText(text), undefined, JSON.stringify(text));
});

Deno.test("names and labels are taken up to their longest", () => {
  const label = "a".repeat(LABEL_BYTES_MAX);
  const longest = `${label}.${label}.${label}.${"a".repeat(61)}`;
  assert.equal(longest.length, DOMAIN_BYTES_MAX);
  assert.equal(normalizeDomainText(longest), longest);
  assert.equal(normalizeDomainText(`${longest}.`), longest);
  assert.equal(normalizeDomainText(`${longest}a`), undefined);
  assert.equal(normalizeDomainText(`${label}a.b`), undefined);
});

Deno.test("setText() reads host and port, and toString() writes them", () => {
  const cases: [string, string][] = [
    ["Example.com.:443", "example.com:443"],
    ["192.0.2.1:80", "192.0.2.1:80"],
    ["[2001:DB8::1]:65535", "[2001:db8::1]:65535"],
    ["[::ffff:10.0.0.1]:1", "10.0.0.1:1"],
    ["example.com", "example.com:8080"],
    ["[::1]", "[::1]:8080"],
  ];
  const target = new Target();
  for (const [text, shown] of cases) {
    assert.ok(target.setText(text, 8080), text);
    assert.equal(target.toString(), shown);
  }
  const bad = [
    ...["", ":80", "a:", "a:0", "a:080", "a:65536", "a:99999", "a:8a", "a: 80", "a:-1", "::1:80"],
    ...[
      "[::1",
      "::1]",
      "[::1]80",
      "[1.2.3.4]:80",
      "[a]:80",
      "[]:80",
      "a:b:80",
      "u@a:80",
      "2001:db8::1",
    ],
    ...["a\u0161:80", "0x7f.1:80", "127.1:80", `${"a".repeat(400)}:80`, "[fe80::1%eth0]:80"],
  ];
  for (const text of bad) {
    assert.equal(target.setText(text, 8080), false, text);
    assert.deepEqual([target.isDomain, target.port], [false, 0], text);
  }
  assert.equal(target.setText("example.com"), false);
});

Deno.test("addresses go to the wire and back", () => {
  const from = new Target();
  const to = new Target();
  const wire = new Uint8Array(ADDRESS_BYTES_MAX + 10);
  for (const text of ["a.example:1", "192.0.2.1:65535", "[2001:db8::1]:53"]) {
    assert.ok(from.setText(text));
    const length = from.writeSocks(wire, 5);
    assert.equal(length, from.socksLength);
    assert.equal(to.readSocks(wire, 5, wire.length - 5), length);
    assert.equal(to.toString(), text);
    for (let cut = 0; cut < length; cut++) assert.equal(to.readSocks(wire, 5, cut), CUT_SHORT);
    const copy = new Target();
    copy.copyFrom(to);
    assert.equal(copy.toString(), text);
  }
});

Deno.test("an address on the wire is checked like any other", () => {
  const target = new Target();
  const domain = (name: string) => {
    const bytes = new TextEncoder().encode(name);
    return Uint8Array.of(3, bytes.length, ...bytes, 0, 80);
  };
  for (const type of [0, 2, 5, 255]) {
    assert.equal(target.readSocks(Uint8Array.of(type, 1, 2, 3, 4, 0, 1), 0, 7), BAD_TYPE);
  }
  for (const name of ["", "a b", "a\0", "127.1", ".", "a:80", "ü"]) {
    const wire = domain(name);
    assert.equal(target.readSocks(wire, 0, wire.length), BAD_ADDRESS, name);
  }
  for (const name of ["127.0.0.1", "::1", "[::1]"]) {
    const wire = domain(name);
    assert.equal(target.readSocks(wire, 0, wire.length), wire.length);
    assert.equal(target.isDomain, false);
    assert.deepEqual(target.ip, parseIp(name.replace(/[[\]]/g, "")));
  }
});

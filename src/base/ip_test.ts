import assert from "node:assert/strict";
import { parseAddress as parseListenAddress, parseHost } from "../config/address.ts";
import { Target } from "../proxy/target.ts";
import { parseCidr } from "../proxy/rule_cidrs.ts";
import { encodeAddress, readIpAddress } from "../wire/address.ts";
import { formatIp, ipBytes, isIpv4, isIpv6, parseIp } from "./ip.ts";

const hex = (text: string): string => ipBytes(text).toHex();

Deno.test("parseIp() and formatIp() agree, in the form of RFC 5952", () => {
  const cases: [string, string][] = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ];
  for (const [text, shown] of cases) {
    const ip = parseIp(text);
    assert.ok(ip, text);
    assert.equal(formatIp(ip), shown);
    assert.deepEqual(parseIp(shown), ip);
  }
});

Deno.test("parseIp() refuses what is no address, or only to some resolvers", () => {
  const bad = [
    ...["", ".", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "0x7f.0.0.1", "2130706433"],
    ...["127.1", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "1.2.3.4.", ":", ":::", "1::2::3", "::1%lo"],
    ...["1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "g::", "12345::", "[::1]"],
    ...["::1.2.3", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", ":1", "1:", "1".repeat(99)],
    ...["010.1.2.3", "1:2:3:4:5:6:7::8:9", "a.b.c.d", "fe80::1%eth0"],
  ];
  for (const text of bad) {
    assert.equal(parseIp(text), undefined, text);
    if (text !== "") assert.throws(() => ipBytes(text), SyntaxError, text);
  }
});

Deno.test("ipBytes() keeps IPv4 as IPv4-mapped, and takes no text for every address", () => {
  assert.equal(hex("192.0.2.1"), "00000000000000000000ffffc0000201");
  assert.equal(hex("2001:db8::1"), "20010db8000000000000000000000001");
  assert.equal(hex("1:2:3:4:5:6:7:8"), "00010002000300040005000600070008");
  assert.equal(hex(""), "0".repeat(32));
  assert.equal(hex("::"), "0".repeat(32));
});

Deno.test("isIpv4() and isIpv6() tell the two apart", () => {
  for (const text of ["0.0.0.0", "255.255.255.255"]) {
    assert.deepEqual([isIpv4(text), isIpv6(text)], [true, false], text);
  }
  for (const text of ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::1.2.3.4"]) {
    assert.deepEqual([isIpv4(text), isIpv6(text)], [false, true], text);
  }
  for (const text of ["", ":", "1.2.3", "1.2.3.", "01.2.3.4", "1.2.3.4::", "12345::", "a"]) {
    assert.deepEqual([isIpv4(text), isIpv6(text)], [false, false], text);
  }
});

/** What each reader of an address makes of a text: its bytes, or undefined. */
const READERS: Readonly<Record<string, (text: string) => Uint8Array | undefined>> = {
  ipBytes: (text) => {
    try {
      return ipBytes(text);
    } catch {
      return undefined;
    }
  },
  "a listener's address": (text) => {
    const parsed = parseListenAddress(text.includes(":") ? `[${text}]:1` : `${text}:1`);
    return "value" in parsed && parsed.value.host !== "" ? ipBytes(parsed.value.host) : undefined;
  },
  "a host": (text) => {
    const host = parseHost(text.includes(":") ? `[${text}]` : text);
    return host === undefined ? undefined : parseIp(host);
  },
  "a target": (text) => {
    const target = new Target();
    const isRead = target.setText(text.includes(":") ? `[${text}]:1` : `${text}:1`);
    return isRead && !target.isDomain ? target.ip : undefined;
  },
  "a CIDR block": (text) => {
    const block = parseCidr(text);
    return typeof block === "string" ? undefined : block.ip;
  },
  "an address on the wire": (text) => {
    const bytes = encodeAddress(text, 1);
    const ip = new Uint8Array(16);
    if (bytes === undefined || !readIpAddress(bytes, 0, ip, 0)) return undefined;
    return ip;
  },
};

/** A generator of numbers that is the same in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** A text that is an address, or nearly one. */
function nearAddress(below: (max: number) => number): string {
  const pick = (from: readonly string[]): string => from[below(from.length)]!;
  const octet = (): string => pick(["0", "1", "9", "10", "010", "99", "255", "256", "", "1e1"]);
  const dotted = (): string => Array.from({ length: 3 + below(8) % 3 }, octet).join(".");
  if (below(3) === 0) return dotted();
  const group = (): string => pick(["0", "0", "1", "ffff", "FFFF", "00a", "12345", "", "g"]);
  const count = below(10);
  const groups = Array.from({ length: count }, () => below(6) === 0 ? "" : group());
  if (below(4) === 0) groups.push(dotted());
  const text = groups.join(":");
  return below(2) === 0 ? text : text.replace(/:0(:0)*:|:|^/, "::");
}

Deno.test("every reader of addresses refuses a text, or reads the same bytes as the others", () => {
  const below = numbers(1);
  let read = 0;
  const texts = Array.from({ length: 30_000 }, () => nearAddress(below));
  texts.push("1::2::3", "010.1.2.3", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::", "0:0:0:0:0:0:0:0");
  for (const text of texts) {
    if (text === "") continue;
    const ip = parseIp(text);
    if (ip !== undefined) read += 1;
    for (const [name, reader] of Object.entries(READERS)) {
      // A dotted text that is no address may be a name to who looks names up.
      assert.deepEqual(reader(text), ip, `${name}: ${text}`);
    }
  }
  assert.ok(read > 1_000, `${read} addresses of ${texts.length} texts`);
});

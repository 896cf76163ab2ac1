import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { parseIp } from "../base/ip.ts";
import { type Cidr, CidrBuilder, parseCidr } from "./rule_cidrs.ts";
import { Level, levelOf, ruleOf, RuleSets } from "./rule_sets.ts";

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(typeof parsed !== "string", text);
  return parsed;
}

function ip(text: string): Uint8Array {
  const bytes = parseIp(text);
  assert.ok(bytes, text);
  return bytes;
}

Deno.test("parseCidr() reads blocks and single addresses", () => {
  assert.equal(cidr("10.0.0.0/8").bits, 104);
  assert.equal(cidr("10.0.0.1").bits, 128);
  assert.equal(cidr("2001:db8::/32").bits, 32);
  assert.equal(cidr("0.0.0.0/0").bits, 96);
  assert.equal(cidr("::/0").bits, 0);
  const bad = [
    ...["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "::/129", "10.0.0/8"],
    ...["10.0.0.1/8", "2001:db8::1/32", "a/8", "10.0.0.0/8/8", "10.0.0.0/8 ", "::ffff:0:0/90"],
  ];
  for (const text of bad) assert.equal(typeof parseCidr(text), "string", text);
});

Deno.test("nested blocks give every rule, IPv4 and IPv6 apart", () => {
  const sets = new RuleSets();
  const builder = new CidrBuilder();
  const blocks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "2001:db8::/32"];
  for (const [i, text] of [...blocks, "255.255.255.255", "ffff::/16"].entries()) {
    builder.add(cidr(text), i);
  }
  const table = builder.build(sets);
  const rules = (text: string) => [...sets.items(table.lookup(ip(text), 0))].map(ruleOf);
  assert.deepEqual(rules("9.255.255.255"), [0]);
  assert.deepEqual(rules("10.0.0.0"), [0, 1]);
  assert.deepEqual(rules("10.1.2.3"), [0, 1, 2, 3]);
  assert.deepEqual(rules("10.1.2.4"), [0, 1, 2]);
  assert.deepEqual(rules("11.0.0.0"), [0]);
  assert.deepEqual(rules("255.255.255.255"), [0, 6]);
  assert.deepEqual(rules("2001:db8::1"), [4, 5]);
  assert.deepEqual(rules("2001:db9::"), [4]);
  assert.deepEqual(rules("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), [4, 7]);
  const empty = new CidrBuilder().build(sets);
  assert.equal(sets.items(empty.lookup(ip("1.2.3.4"), 0)).length, 0);
  assert.equal(sets.items(empty.lookup(ip("::1"), 0)).length, 0);
});

Deno.test("only a block inside one refused class, or one address, is explicit", () => {
  const cases: [string, string, number][] = [
    ["10.0.0.0/8", "10.1.1.1", Level.CLASS],
    ["127.0.0.1", "127.0.0.1", Level.HOST],
    ["192.168.0.0/16", "192.168.1.1", Level.CLASS],
    ["169.254.0.0/16", "169.254.169.254", Level.CLASS],
    ["169.254.169.254/32", "169.254.169.254", Level.HOST],
    ["0.0.0.0/0", "10.1.1.1", Level.NONE],
    ["8.0.0.0/5", "10.1.1.1", Level.NONE],
    ["1.1.1.0/24", "1.1.1.1", Level.NONE],
    ["1.1.1.1", "1.1.1.1", Level.HOST],
    ["fc00::/7", "fd00::1", Level.CLASS],
    ["::/0", "fd00::1", Level.NONE],
  ];
  for (const [block, address, level] of cases) {
    const sets = new RuleSets();
    const builder = new CidrBuilder();
    builder.add(cidr(block), 5);
    const item = sets.items(builder.build(sets).lookup(ip(address), 0))[0] ?? 0;
    assert.equal(levelOf(item), level, block);
  }
});

Deno.test("a random table agrees with a look at every block", () => {
  const rng = new Rng(7);
  const random = (isIpv4: boolean) => {
    const bytes = new Uint8Array(16);
    if (isIpv4) bytes.fill(0xff, 10, 12);
    // Few different values, so that blocks nest and meet.
    for (let i = isIpv4 ? 12 : 0; i < 16; i++) bytes[i] = rng.pick([0, 0, 1, 0x80, 0xff]);
    return bytes;
  };
  const covers = (block: Cidr, address: Uint8Array) => {
    for (let bit = 0; bit < block.bits; bit++) {
      const difference = (block.ip[bit >> 3] ?? 0) ^ (address[bit >> 3] ?? 0);
      if ((difference & (0x80 >> (bit & 7))) !== 0) return false;
    }
    return true;
  };
  for (let round = 0; round < 200; round++) {
    const isIpv4 = rng.chance(0.5);
    const builder = new CidrBuilder();
    const sets = new RuleSets();
    const blocks: Cidr[] = [];
    for (let i = 0; i < 20; i++) {
      const bits = isIpv4 ? rng.int(96, 128) : rng.int(0, 128);
      const first = random(isIpv4);
      for (let bit = bits; bit < 128; bit++) {
        first[bit >> 3] = (first[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7));
      }
      blocks.push({ ip: first, bits });
      builder.add({ ip: first, bits }, i);
    }
    const table = builder.build(sets);
    for (let i = 0; i < 50; i++) {
      const address = random(isIpv4);
      const found = [...sets.items(table.lookup(address, 0))].map(ruleOf);
      const expected = [...blocks.keys()].filter((key) => covers(blocks[key]!, address));
      assert.deepEqual(found, expected);
    }
  }
});

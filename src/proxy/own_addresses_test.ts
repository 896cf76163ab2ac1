import assert from "node:assert/strict";
import { ipBytes } from "../base/ip.ts";
import { OwnAddresses, ownBlock } from "./own_addresses.ts";

const block = (ip: string, bits = 128) => ownBlock(ipBytes(ip), bits);

function ownOf(...blocks: ReturnType<typeof block>[]): OwnAddresses {
  const own = new OwnAddresses();
  own.set(blocks);
  return own;
}

Deno.test("OwnAddresses knows whole addresses of both families, wherever they stand", () => {
  const own = ownOf(block("45.2.0.2"), block("2a00:2::2"), block("2a00:3::2"));
  const bytes = new Uint8Array(20);
  for (const ip of ["45.2.0.2", "2a00:2::2", "2a00:3::2"]) {
    bytes.set(ipBytes(ip), 4);
    assert.equal(own.has(bytes, 4), true, ip);
  }
  for (const ip of ["45.2.0.3", "2a00:4::2", "::2", "2.0.2.45"]) {
    assert.equal(own.has(ipBytes(ip), 0), false, ip);
  }
  assert.equal(own.hasIpv4(0x2d020002), true);
  assert.equal(own.hasIpv4(0x2d020003), false);
});

Deno.test("OwnAddresses knows what local routes lead to, to the bit", () => {
  const own = ownOf(block("203.0.112.0", 96 + 21), block("2001:db9::", 33));
  assert.equal(own.has(ipBytes("203.0.119.255"), 0), true);
  assert.equal(own.has(ipBytes("203.0.120.0"), 0), false);
  assert.equal(own.has(ipBytes("2001:db9:7fff::1"), 0), true);
  assert.equal(own.has(ipBytes("2001:db9:8000::1"), 0), false);
});

Deno.test("OwnAddresses has those of the last list alone", () => {
  const own = ownOf(block("45.2.0.2"));
  own.set([block("45.2.0.9")]);
  assert.equal(own.has(ipBytes("45.2.0.2"), 0), false);
  assert.equal(own.has(ipBytes("45.2.0.9"), 0), true);
});

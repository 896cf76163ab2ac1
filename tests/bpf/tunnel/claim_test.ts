/** What PortClaim writes for xdp_phantom, in this machine's own network. */

import assert from "node:assert/strict";
import { Claim } from "../../../ffi/bpf/layout.gen.ts";
import { ownAddresses } from "../../../ffi/interfaces.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { Log } from "../../../src/base/log.ts";
import { PortClaim } from "../../../src/kernel/port_claim.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { hex } from "../packets.ts";
import { XdpHarness } from "./xdp_harness.ts";

// Loaded before a test counts what it opens: a library stays.
const libs = libraries();

function claimOf(harness: XdpHarness, host: string): PortClaim {
  const map = (name: string) => harness.map(name);
  return new PortClaim({ libs, map, ip: ipBytes(host), log: new Log(() => {}) });
}

function written(harness: XdpHarness): Claim {
  const value = harness.map("claim").get(new Uint8Array(4))!;
  return Claim.read(new DataView(value.buffer, value.byteOffset), 0);
}

Deno.test("PortClaim claims for a grace, and lets go when it is told to", () => {
  using harness = new XdpHarness([443]);
  const claim = claimOf(harness, "");
  const leftMs = () => Number(written(harness).aliveUntilNs) / 1e6 - monotonicMs(libs.native);
  assert.ok(leftMs() > 10_000 && leftMs() <= 30_000, `${leftMs()} ms`);
  claim.letGo();
  assert.equal(written(harness).aliveUntilNs, 0n);
  claim.renew();
  assert.ok(leftMs() > 10_000, `${leftMs()} ms`);
  claim.close();
});

Deno.test("PortClaim at all addresses of a family claims those of this machine", () => {
  using harness = new XdpHarness([443]);
  for (
    const [host, families] of [["", 1 << 4 | 1 << 6], ["::", 80], ["0.0.0.0", 1 << 4]] as const
  ) {
    const claim = claimOf(harness, host);
    assert.equal(written(harness).families, families, host);
    const own = new Set(ownAddresses().map(({ ip }) => hex(ip)));
    assert.deepEqual(new Set([...harness.map("own_addresses").keys()].map(hex)), own);
    assert.ok(own.has(hex(ipBytes("127.0.0.1"))));
    claim.close();
  }
});

Deno.test("PortClaim at one address claims it alone, and only while the machine has it", () => {
  using harness = new XdpHarness([443]);
  for (const [host, expected] of [["127.0.0.1", 0x7f00_0001], ["192.0.2.123", 0]] as const) {
    const claim = claimOf(harness, host);
    const { families, first4, first6 } = written(harness);
    assert.equal(families, 0);
    assert.deepEqual([...first4], Array(first4.length).fill(expected));
    assert.ok(first6.every(({ ip }) => ip.every((byte) => byte === 0)));
    claim.close();
  }
});

/** A whole server whose packets take AF_XDP. */

import assert from "node:assert/strict";
import { SessionValue } from "../../../ffi/bpf/layout.gen.ts";
import { openPinnedMap } from "../../../ffi/bpf/map.ts";
import { PinFolder } from "../../../src/kernel/pins.ts";
import { planeMapsFolder } from "../../../src/tunnel/kernel/plane.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { download, sleep, SOCKS, tunnelTest } from "../../fixtures/scenario.ts";
import { patternHash } from "../../fixtures/tunnel_probe.ts";

/** Of all sessions, in the kernel's table. */
function bytesOut(pinPath: string): number {
  const libs = libraries();
  const folder = planeMapsFolder(new PinFolder(libs, pinPath, "default"));
  using map = openPinnedMap(libs, `${folder}/sessions`)!;
  let sum = 0n;
  for (const rows of map.batches()) {
    const view = new DataView(rows.values.buffer);
    for (let row = 0; row < rows.count; row++) {
      sum += SessionValue.read(view, row * SessionValue.size).bytesOut;
    }
  }
  return Number(sum);
}

const BYTES = 20_000_000;
/** Counters are told twice a second. */
const COUNTED_MS = 1200;

tunnelTest("curl through a server whose packets take AF_XDP", {
  xdp: true,
  delivery: "af_xdp",
}, async ({ topology, server }) => {
  assert.match(await server.until("event=af_xdp_open"), /interface=sv queues=0 zeroCopy=false/);
  assert.equal(await download(topology, SOCKS, BYTES), await patternHash(BYTES));
  await sleep(COUNTED_MS);
  const status = await topology.phantom(
    topology.server,
    "status",
    "-c",
    topology.writeServer({
      ebpf: { ...topology.xdp, delivery: "af_xdp" },
    }),
    "--json",
  );
  const { xskReceived, xskSent } = JSON.parse(status.stdout).server.counters;
  assert.ok(xskReceived > 30 && xskSent > 0, `${xskReceived} ${xskSent}`);
  // What it sends goes past the program that counts what leaves.
  const out = bytesOut(topology.xdp.pin_path);
  assert.ok(out > BYTES, `${out} of ${BYTES} bytes are counted`);
});

/** A whole server whose packets take AF_XDP. */

import assert from "node:assert/strict";
import { download, sleep, SOCKS, tunnelTest } from "../../fixtures/scenario.ts";
import { patternHash } from "../../fixtures/tunnel_probe.ts";

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
});

/** Finding 1: strangers and copied, turned and torn packets get no answer of any kind. */

import assert from "node:assert/strict";
import { SERVER, Topology } from "../fixtures/topology.ts";
import { Server } from "../interop/peers.ts";
import { silence, type SilenceReport } from "./silence.ts";
import { Program, securityTest } from "./stage.ts";

const LEAST = 5000;

function assertSilent({ sent, answers, kinds, control }: SilenceReport): void {
  assert.deepEqual({ answers, kinds }, { answers: {}, kinds: [] });
  assert.ok(sent >= LEAST, `${sent} packets`);
  assert.ok(control, "not even an honest HELLO is answered");
}

for (const workers of [1, 2]) {
  securityTest(`silence, ${workers} workers`, async () => {
    const server = await Server.run({ settings: { workers } });
    try {
      assertSilent(await silence(server.options, server.psk));
    } finally {
      await server.end();
    }
  });
}

for (const delivery of ["socket", "af_xdp"]) {
  securityTest(`silence, behind XDP, delivery ${delivery}`, async () => {
    using topology = new Topology();
    const ebpf = { ...topology.xdp, delivery };
    await using _server = await topology.startServer({ workers: 2, ebpf });
    const psk = Uint8Array.fromBase64(topology.key).toHex();
    const prefix = ["nsenter", `--net=/run/netns/${topology.client.name}`];
    const args = [SERVER.v4, String(SERVER.port), psk];
    await using attack = new Program("silence.ts", args, prefix);
    assertSilent(JSON.parse(await attack.line(60_000)));
  }, { needsRoot: true });
}

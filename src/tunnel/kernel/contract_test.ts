import assert from "node:assert/strict";

import { PacketKind as KernelKind, TunnelLimit } from "../../../ffi/bpf/layout.gen.ts";
import { PACKET_BYTES_MIN, WINDOW_MS } from "../../wire/limits.ts";
import { PacketKind } from "../../wire/packet.ts";

Deno.test("the BPF programs have the protocol's numbers", () => {
  assert.equal(TunnelLimit.windowMs, WINDOW_MS);
  assert.equal(TunnelLimit.packetBytes, PACKET_BYTES_MIN);
  const { hello, accept, data, reset, max } = KernelKind;
  assert.deepEqual(
    { hello, accept, data0: data, reset, data1: max },
    { ...PacketKind },
  );
});

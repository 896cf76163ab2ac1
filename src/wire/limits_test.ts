// What the wire says, and what the kernel's programs and our C say of it: each side is free of the
// other, and here they are held to the same numbers.

import assert from "node:assert/strict";
import { aeadKeyBytes, aeadTagBytes } from "../../ffi/aead.ts";
import { PacketKind as KernelPacketKind, TunnelLimit } from "../../ffi/bpf/layout.gen.ts";
import { maskKeyBytes, packetBytesMin, toClient, toServer } from "../../ffi/mask.ts";
import { x25519Bytes } from "../../ffi/primitives.ts";
import { udpPayloadMax } from "../../ffi/udp.ts";
import * as session from "../session/limits.ts";
import * as limits from "./limits.ts";
import { Direction, PacketKind } from "./packet.ts";

Deno.test("the kernel's programs know the protocol's windows, sizes and kinds", () => {
  assert.equal(TunnelLimit.windowMs, limits.WINDOW_MS);
  assert.equal(TunnelLimit.packetBytes, limits.PACKET_BYTES_MIN);
  // Powers of two, with the windows that are accepted and those on their way.
  assert.ok(TunnelLimit.maskKeys >= 4 && (TunnelLimit.maskKeys & (TunnelLimit.maskKeys - 1)) === 0);
  assert.deepEqual({ ...KernelPacketKind }, { ...PacketKind });
});

Deno.test("the native library knows the protocol's keys, tags and sizes", () => {
  assert.equal(packetBytesMin, limits.PACKET_BYTES_MIN);
  assert.deepEqual(Direction, { toServer, toClient });
  assert.equal(maskKeyBytes, limits.MASK_KEY_BYTES);
  assert.equal(aeadKeyBytes, limits.KEY_BYTES);
  assert.equal(x25519Bytes, limits.KEY_BYTES);
  assert.equal(aeadTagBytes, limits.TAG_BYTES);
  assert.equal(udpPayloadMax, session.PACKET_BYTES_MAX);
});

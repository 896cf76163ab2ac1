import assert from "node:assert/strict";
import { detectInbound } from "./inbound_detect.ts";

Deno.test("the first byte tells SOCKS5 from HTTP", () => {
  assert.equal(detectInbound(5), "socks5");
  for (const method of ["GET", "CONNECT", "ZAP", "A"]) {
    assert.equal(detectInbound(method.charCodeAt(0)), "http");
  }
  for (const byte of [0, 4, 0x0d, 0x16, 0x20, 0x40, 0x5b, 0x67, 0xff]) {
    assert.equal(detectInbound(byte), "unknown");
  }
});

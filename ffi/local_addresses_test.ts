import assert from "node:assert/strict";
import { testNative } from "../tests/native.ts";
import { formatIp } from "../src/base/ip.ts";
import { localAddresses } from "./local_addresses.ts";

const native = testNative();

Deno.test("localAddresses() has what interfaces have, and the loopback's whole net", () => {
  const blocks = localAddresses(native).map(({ ip, bits }) => `${formatIp(ip)}/${bits}`);
  assert.ok(blocks.includes("127.0.0.1/128"));
  assert.ok(blocks.includes("127.0.0.0/104"));
  for (const { address } of Deno.networkInterfaces()) {
    const [ip] = address.split("%");
    assert.ok(blocks.includes(`${ip}/128`), `${ip} is not among ${blocks}`);
  }
});

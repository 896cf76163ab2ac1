import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { ipBytes } from "../base/ip.ts";
import { Workers } from "./workers.ts";

const libs = libraries();
const ip = ipBytes("127.0.0.1");
const REAL = new URL("worker.ts", import.meta.url);

/** A worker that says this to its first message. */
function saying(...messages: unknown[]): URL {
  const code = `self.onmessage = () => { for (const one of ${JSON.stringify(messages)}) ` +
    "self.postMessage(one); }";
  return new URL(`data:application/javascript,${encodeURIComponent(code)}`);
}

/** One that nothing listens on. */
function freePort(): number {
  using socket = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  return socket.local.port;
}

Deno.test("Workers share a port, count its datagrams and stop", async () => {
  const port = freePort();
  const workers = await Workers.start({ libs, code: REAL, count: 3, ip, port });
  try {
    assert.equal(workers.count, 3);
    using sender = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
    for (let i = 0; i < 20; i++) {
      const outbox = new UdpOutbox(new Uint8Array(9));
      outbox.add(routeTo(endpoint(ip, port)), 0, 9);
      sender.send(outbox);
    }
    for (let i = 0; i < 100 && workers.datagrams < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(workers.datagrams, 20);
  } finally {
    await workers.stop();
  }
  // The port is free again.
  new UdpSocket(libs.native, { local: endpoint(ip, port) }).close();
});

Deno.test("Workers that can't start say why, and none is left", async () => {
  using taken = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  const { port } = taken.local;
  await assert.rejects(Workers.start({ libs, code: REAL, count: 2, ip, port }), /EADDRINUSE/);
  const code = saying({ kind: "failed", reason: "no wings" });
  await assert.rejects(Workers.start({ libs, code, count: 2, ip, port }), /^Error: no wings$/);
});

Deno.test("a worker that fails later is told of", async () => {
  const messages = [{ kind: "ready", port: 9, features: 0 }, { kind: "failed", reason: "fell" }];
  const workers = await Workers.start({ libs, code: saying(...messages), count: 2, ip, port: 9 });
  await assert.rejects(workers.failure, /^Error: fell$/);
  await workers.stop();
});

import assert from "node:assert/strict";
import { ipBytes } from "../src/base/ip.ts";
import { libraries } from "../tests/fixtures/libraries.ts";
import { endpoint, routeTo } from "./endpoint.ts";
import { Echo, PathWatch } from "./icmp.ts";
import { UdpOutbox, UdpSocket } from "./udp.ts";

const { native } = libraries();
const isRoot = Deno.uid() === 0;
const WAIT_MS = 2000;

async function until(isSo: () => boolean): Promise<boolean> {
  const deadline = performance.now() + WAIT_MS;
  while (!isSo()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
}

for (const host of ["127.0.0.1", "::1"]) {
  const ip = ipBytes(host);

  Deno.test({
    name: `Echo is answered by ${host}`,
    ignore: !isRoot,
    async fn() {
      using echo = new Echo(native, endpoint(ip, 7000));
      assert.ok(await until(() => echo.heard()));
      assert.equal(echo.heard(), false, "one answer");
    },
  });

  Deno.test({
    name: `PathWatch hears of ports at ${host} that nobody has, whoever sent there`,
    ignore: !isRoot,
    async fn() {
      using watch = new PathWatch(native, endpoint(ip, 0));
      using taken = new UdpSocket(native, { local: endpoint(ip, 0) });
      const gone = new UdpSocket(native, { local: endpoint(ip, 0) });
      gone.close();
      using sender = new UdpSocket(native, { local: endpoint(ip, 0) });
      const outbox = new UdpOutbox(new Uint8Array(4));
      for (const { port } of [taken.local, gone.local]) {
        outbox.add(routeTo(endpoint(ip, port)), 0, 4);
      }
      sender.send(outbox);
      let refused: ReadonlySet<number> = new Set();
      await until(() => (refused = watch.take().refused).size > 0);
      assert.deepEqual([...refused], [gone.local.port]);
      assert.deepEqual(watch.take(), { refused: new Set(), mtu: undefined });
    },
  });
}

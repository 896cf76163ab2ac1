/** The place where tunnels are tested is what it says: without a tunnel, good and bad. */

import assert from "node:assert/strict";
import { libraries } from "../fixtures/libraries.ts";
import { SERVER, TARGET, Topology } from "../fixtures/topology.ts";
import { type Burst, patternHash } from "../fixtures/tunnel_probe.ts";

libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("topology_test.ts: skipped, network namespaces need root");

Deno.test({
  name: "client and server reach each other over IPv4 and IPv6, the target is out of reach",
  ignore,
  async fn() {
    using topology = new Topology();
    await using _target = await topology.startTarget();
    const { client, server } = topology;
    await using _server = await topology.startTarget(server);
    for (const host of [SERVER.v4, `[${SERVER.v6}]`]) {
      assert.match(client.run("curl", "-s", `http://${host}/`), /^hello from /);
    }
    assert.throws(() => client.run("curl", "-s", "--max-time", "1", `http://${TARGET.v4}/`));
    assert.match(server.run("curl", "-s", `http://${TARGET.v4}/`), /^hello from .*45\.3\.0\.1\n$/);
    assert.match(server.run("curl", "-s", `http://[${TARGET.v6}]/`), /^hello from 2a00:3::1\n$/);
  },
});

Deno.test({
  name: "a bad link loses, doubles and delays, and TCP gets through all the same",
  ignore,
  async fn() {
    using topology = new Topology();
    topology.impair({ drop: 51, copy: 51, late: 102 });
    await using _target = await topology.startTarget(topology.server);
    const count = 1000;
    const burst: Burst = JSON.parse(
      await topology.probe("udp-burst", SERVER.v4, "7", String(count)),
    );
    // Each way 5 % are lost and 5 % doubled: 90 % are expected back, and 10 % of those twice.
    assert.ok(burst.distinct > 800 && burst.distinct < 980, JSON.stringify(burst));
    assert.ok(burst.doubled > 30 && burst.doubled < 200, JSON.stringify(burst));
    assert.ok(burst.overtaken > 0, JSON.stringify(burst));
    const url = `http://${SERVER.v4}/bytes/1000000`;
    const curl = `curl -sS --max-time 60 ${url} | sha256sum`;
    const sum = topology.client.run("bash", "-o", "pipefail", "-c", curl);
    assert.equal(sum.split(" ")[0], await patternHash(1_000_000));
  },
});

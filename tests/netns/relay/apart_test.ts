/**
 * The relay by the program itself between two networks: clients on one interface, backends on
 * another, the second of them behind a hop that leaves no checksum to hardware.
 */

import assert from "node:assert/strict";
import { attachXdp } from "../../../ffi/bpf/xdp_link.ts";
import { cString } from "../../../ffi/memory.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { bpfObject, libraries, repository } from "../../fixtures/libraries.ts";
import { outcomeOf, piped } from "../../fixtures/process.ts";
import {
  assertWhole,
  BACKEND_PORT,
  PORT,
  RelayHosts,
  statusOf,
} from "../../fixtures/relay_hosts.ts";

libraries();

/** So many that by chance all go to one backend once in millions of runs. */
const FLOWS = 24;
const PORT_V6 = PORT + 1;
const FAMILIES = [4, 6] as const;
const HEARERS = ["client", "a", "b"] as const;

/** A relay for both families, with a backend of each on each side of the hop. */
function relays(net: RelayHosts): unknown[] {
  return FAMILIES.map((family) => ({
    listen: family === 4 ? `${PORT}` : `${PORT_V6}`,
    affinity: "port",
    to: (["a", "b"] as const).map((host) => ({ address: net.place(host, family, BACKEND_PORT) })),
  }));
}

async function startBackends(net: RelayHosts): Promise<void> {
  for (const family of FAMILIES) {
    for (const host of ["a", "b"] as const) await net.backend(host, family);
  }
}

/** Datagrams of both families go there and come back, with sums that their receivers find right. */
async function checkBoth(net: RelayHosts, bytes: number): Promise<void> {
  for (const family of FAMILIES) {
    const port = family === 4 ? PORT : PORT_V6;
    const numbers = { flows: FLOWS, count: 5, bytes, port };
    const report = await net.client(net.address("relay", family), numbers);
    assertWhole(report, bytes);
    const names = new Set(report.answers.map(({ backend }) => backend));
    assert.deepEqual([...names].toSorted(), ["a", "b"]);
    const seen = `${net.relayAddress(family)} `;
    assert.ok(report.answers.every((one) => one.seen.startsWith(seen)), report.answers[0]?.seen);
  }
  for (const host of HEARERS) assert.equal(net.wrongSums(host), 0, `wrong sums at ${host}`);
}

/** Who leaves checksums to hardware: the client, and the backends. */
function setOffload(net: RelayHosts, client: boolean, backends: boolean): void {
  const { hosts } = net;
  hosts.client.run("ethtool", "-K", "wan", "tx", client ? "on" : "off");
  for (const one of [hosts.a, hosts.b]) {
    one.run("ethtool", "-K", "lan", "tx", backends ? "on" : "off");
  }
}

Deno.test("the relay carries both families from one interface to another in XDP", async (t) => {
  await using net = new RelayHosts({ apart: true });
  await startBackends(net);
  const relay = await net.relay("relay", { relays: relays(net) });
  assert.match(await relay.until("event=relay_started"), /native XDP on wan, native XDP on lan/);
  for (const [client, backends] of [[true, true], [false, false]] as const) {
    const name = `checksums left to hardware: ${client}`;
    await t.step(name, async () => {
      setOffload(net, client, backends);
      for (const bytes of [5, 1200]) await checkBoth(net, bytes);
    });
  }
  const { backends, counts } = await statusOf(net);
  assert.equal(backends.length, 4);
  for (const { packetsOut, packetsIn } of backends) {
    // Not the first ones, whose neighbour was not known.
    assert.ok(packetsOut > 20 && packetsIn > 20, JSON.stringify({ backends, counts }));
  }
  assert.ok(counts["completed"]! > 0, JSON.stringify(counts));
});

Deno.test("generic XDP carries all, whoever leaves checksums to hardware", async (t) => {
  await using net = new RelayHosts({ apart: true });
  await startBackends(net);
  const relay = await net.relay("relay", {
    ebpf: { xdp_mode: "generic" },
    relays: relays(net),
  });
  assert.match(await relay.until("event=relay_started"), /generic XDP on wan, generic XDP on lan/);
  for (const client of [false, true]) {
    for (const backends of [false, true]) {
      await t.step(`hardware's: of the client ${client}, of backends ${backends}`, async () => {
        setOffload(net, client, backends);
        for (const bytes of [5, 1200]) await checkBoth(net, bytes);
      });
    }
  }
  const { backends, counts } = await statusOf(net);
  for (const { packetsOut, packetsIn } of backends) {
    assert.ok(packetsOut > 50 && packetsIn > 50, JSON.stringify({ backends, counts }));
  }
  assert.ok(counts["completed"]! > 0, JSON.stringify(counts));
});

Deno.test("where another's program is on the interface, the relay works and says how", async () => {
  await using net = new RelayHosts();
  await net.backend("a", 4);
  using object = new BpfObject(libraries(), "bench", bpfObject("bench")).load();
  using _link = net.hosts.relay.enter(() => {
    const index = libraries().native.symbols.ph_ifindex(cString("wan"));
    return attachXdp(libraries(), object.program("pass"), index, "native");
  });
  const relay = await net.relay("relay", {
    relays: [{ listen: `${PORT}`, to: [{ address: net.place("a", 4, BACKEND_PORT) }] }],
  });
  assert.match(await relay.until("event=relay_started"), /where="?user space/);
  assert.match(await relay.until("event=relay_user_space"), /doctor/);
  assertWhole(await net.client(net.address("relay", 4), { flows: 4, count: 5, bytes: 999 }), 999);
});

Deno.test("a veth that would lose frames is named, and generic XDP loses none", async () => {
  for (const mode of ["native", "generic"]) {
    await using net = new RelayHosts({ takesFrames: false });
    await net.backend("a", 4);
    const relay = await net.relay("relay", {
      ebpf: { xdp_mode: mode },
      relays: [{ listen: `${PORT}`, to: [{ address: net.place("a", 4, BACKEND_PORT) }] }],
    });
    await relay.until("event=relay_started");
    if (mode === "native") {
      const told = await relay.until("event=relay_veth_no_xdp");
      assert.match(told, /interface=wan other_end=relay .*generic/);
      const args = ["run", "-A", `${repository}main.ts`, "doctor", "--json"];
      const doctor = net.hosts.relay.command(Deno.execPath(), args, piped);
      assert.match((await outcomeOf(doctor)).stdout, /XDP at the other end of wan/);
    } else {
      // On a busy machine the first may find user space faster than the kernel's part.
      const inXdp = async () => (await statusOf(net)).backends[0]!.packetsOut;
      for (let i = 0; i < 5 && await inXdp() <= 10; i++) {
        assertWhole(await net.client(net.address("relay", 4), { flows: 4, count: 5 }), 32);
      }
      assert.ok(await inXdp() > 10, "not in XDP");
      assert.ok(!relay.output.includes("event=relay_veth_no_xdp"), relay.output);
      assert.match(await relay.until("(GSO)"), /interface=wan other_end=relay /);
    }
  }
});

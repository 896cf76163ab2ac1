/**
 * The relay by the program itself, in XDP and in user space. What a relay sends from XDP has no
 * checksum left to hardware: the backends' kernels check it.
 */

import assert from "node:assert/strict";
import { libraries, repository } from "../../fixtures/libraries.ts";
import { outcomeOf, piped } from "../../fixtures/process.ts";
import type { Answer } from "../../fixtures/relay_ends.ts";
import {
  assertWhole,
  BACKEND_PORT,
  PORT,
  RelayHosts,
  statusOf,
} from "../../fixtures/relay_hosts.ts";

libraries();

/** So often new clients come until one of them is at a backend that is back. */
const BACK_TRIES = 10;

/** What each of the backends got, as a share. */
function shareOf(answers: readonly Answer[], name: string): number {
  return answers.filter(({ backend }) => backend === name).length / answers.length;
}

function backendsOf(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ backend }) => backend))].toSorted();
}

async function checkStatus(net: RelayHosts): Promise<void> {
  const { backends, counts } = await statusOf(net);
  assert.equal(backends.length, 2);
  for (const { state, flows, packetsOut, packetsIn } of backends) {
    assert.equal(state, "up");
    assert.ok(flows > 10 && packetsOut > 50 && packetsIn > 50, JSON.stringify(backends));
  }
  assert.ok(counts["completed"]! > 0, "no client had left its checksums to hardware");
}

for (const level of ["XDP", "user space"] as const) {
  const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };
  for (const family of [4, 6] as const) {
    Deno.test(`the relay carries IPv${family} to two backends in ${level}`, async (t) => {
      await using net = new RelayHosts();
      await net.backend("a", family);
      await net.backend("b", family);
      const to = (["a", "b"] as const).map((host) => ({
        address: net.place(host, family, BACKEND_PORT),
      }));
      const relay = await net.relay("relay", {
        ...ebpf,
        relays: [{ listen: `${PORT}-${PORT + 1}`, to, affinity: "port" }],
      });
      const log = await relay.until("event=relay_started");
      assert.ok(log.includes(level === "XDP" ? "native XDP" : "user space"), log);
      const there = net.address("relay", family);
      for (const offload of ["on", "off"]) {
        await t.step(`with the client's checksum offload ${offload}`, async () => {
          net.hosts.client.run("ethtool", "-K", "wan", "tx", offload);
          for (const bytes of [4, 33, 1200]) {
            const report = await net.client(there, { flows: 16, count: 5, bytes, port: PORT + 1 });
            assertWhole(report, bytes);
            assert.deepEqual(backendsOf(report.answers), ["a", "b"]);
            for (const answer of report.answers) {
              assert.ok(answer.seen.startsWith(there), answer.seen);
            }
            for (let flow = 0; flow < 16; flow++) {
              const own = report.answers.filter((one) => one.flow === flow);
              assert.equal(backendsOf(own).length, 1, "a flow changed its backend");
            }
          }
        });
      }
      for (const host of ["client", "relay", "a", "b"] as const) {
        assert.equal(net.wrongSums(host), 0, host);
      }
      if (level === "XDP") await checkStatus(net);
    });
  }
}

Deno.test("two relays in a row carry datagrams, and name the last one to the backend", async () => {
  for (const levels of [["XDP", "XDP"], ["XDP", "user space"]] as const) {
    await using net = new RelayHosts();
    await net.backend("a", 4);
    const hop = (level: string, to: string) => ({
      ...(level === "XDP" ? {} : { ebpf: { enabled: false } }),
      relays: [{ listen: `${PORT}`, to: [{ address: to }] }],
    });
    await net.relay("relay2", hop(levels[1], net.place("a", 4, BACKEND_PORT)));
    await net.relay("relay", hop(levels[0], net.place("relay2", 4, PORT)));
    const report = await net.client(net.address("relay", 4), { flows: 8, count: 10, bytes: 700 });
    assertWhole(report, 700);
    const last = net.address("relay2", 4);
    assert.ok(report.answers.every(({ seen }) => seen.startsWith(`${last} `)), `${levels}`);
  }
});

for (const level of ["XDP", "user space"] as const) {
  const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };

  Deno.test(`a backend that fails loses its clients to the other, in ${level}`, async () => {
    await using net = new RelayHosts();
    const a = await net.backend("a", 4);
    await net.backend("b", 4);
    const to = (["a", "b"] as const).map((host) => ({
      address: net.place(host, 4, BACKEND_PORT),
    }));
    const check = { check: "udp", check_interval: "100ms", check_timeout: "800ms" };
    const counts = { check_fall: 2, check_rise: 2 };
    const relay = await net.relay("relay", {
      ...ebpf,
      relays: [{ listen: `${PORT}`, to, affinity: "port", ...check, ...counts }],
    });
    // The same flows go on while the backend fails.
    const going = net.client(net.address("relay", 4), { flows: 12, count: 60, gapMs: 60 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await a.kill("SIGKILL");
    await relay.until("event=backend_down");
    const { answers } = await going;
    for (let flow = 0; flow < 12; flow++) {
      const own = answers.filter((one) => one.flow === flow).toSorted((x, y) =>
        x.number - y.number
      );
      assert.equal(own.at(-1)?.backend, "b", `flow ${flow} did not move`);
      assert.equal(own.at(-1)?.number, 59);
    }
    assert.ok(answers.some(({ backend }) => backend === "a"), "a had no clients");
    await net.backend("a", 4);
    await relay.until("event=backend_up");
    // On a busy machine it may be down once more before it stays.
    const back: string[] = [];
    for (let tries = 0; tries < BACK_TRIES && back.length < 2; tries++) {
      const again = await net.client(net.address("relay", 4), { flows: 24, count: 1 });
      back.splice(0, 2, ...backendsOf(again.answers));
    }
    assert.deepEqual(back, ["a", "b"]);
  });

  Deno.test(`clients go by weight, none to a backend that drains, in ${level}`, async () => {
    await using net = new RelayHosts();
    await net.backend("a", 4);
    await net.backend("b", 4);
    const [a, b] = (["a", "b"] as const).map((host) => net.place(host, 4, BACKEND_PORT));
    await net.relay("relay", {
      ...ebpf,
      relays: [
        {
          ...{ listen: `${PORT}`, affinity: "port" },
          to: [{ address: a, weight: 3 }, { address: b, weight: 1 }],
        },
        {
          ...{ listen: `${PORT + 10}`, affinity: "port" },
          to: [{ address: a, drain: true }, { address: b }],
        },
        { listen: `${PORT + 20}`, to: [{ address: a }, { address: b }] },
      ],
    });
    const there = net.address("relay", 4);
    const weighted = await net.client(there, { flows: 120, count: 1, gapMs: 20 });
    const share = shareOf(weighted.answers, "a");
    assert.ok(share > 0.6 && share < 0.9, `a has ${share} of the clients`);
    const draining = await net.client(there, { port: PORT + 10, flows: 20, count: 1 });
    assert.deepEqual(backendsOf(draining.answers), ["b"]);
    const bound = await net.client(there, { port: PORT + 20, flows: 20, count: 1 });
    assert.equal(backendsOf(bound.answers).length, 1, "an address has one backend");
  });
}

for (const level of ["XDP", "user space"] as const) {
  Deno.test(`a tunnel goes through a relay that takes only its kind, in ${level}`, async () => {
    await using net = new RelayHosts();
    const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };
    await net.backend("b", 4);
    await net.relay("a", { ebpf: { enabled: false } });
    await net.relay("relay", {
      ...ebpf,
      relays: [
        { listen: `${PORT}`, only: "phantom", to: [{ address: net.place("a", 4, 54_321) }] },
        {
          listen: `${PORT + 1}`,
          only: "phantom",
          to: [{ address: net.place("b", 4, BACKEND_PORT) }],
        },
      ],
    });
    const server = net.place("relay", 4, PORT);
    const path = `${net.folder}/client.yaml`;
    Deno.writeTextFileSync(path, JSON.stringify({ server, psk: net.psk }), { mode: 0o600 });
    const args = ["run", "-A", `${repository}main.ts`, "ping", "-c", path, "--json", "-n", "5"];
    const command = net.hosts.client.command(Deno.execPath(), args, piped);
    const { code, stdout, stderr } = await outcomeOf(command);
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).answered, 5, stdout);
    // What is none of ours gets nowhere.
    const { answers } = await net.client(net.address("relay", 4), { port: PORT + 1, count: 5 });
    assert.equal(answers.length, 0);
    if (level !== "XDP") return;
    const { backends, counts } = await statusOf(net);
    assert.ok(backends[0]!.packetsOut > 5 && backends[0]!.packetsIn > 5, "not in XDP");
    assert.equal(counts["junk"], 5);
    assert.equal(counts["no_keys"], undefined);
  });
}

for (const signal of ["SIGUSR1", "SIGKILL"] as const) {
  Deno.test(`a relay in XDP that is started anew after ${signal} loses nothing`, async () => {
    await using net = new RelayHosts();
    await net.backend("a", 4);
    const to = [{ address: net.place("a", 4, BACKEND_PORT) }];
    const settings = { relays: [{ listen: `${PORT}`, to, affinity: "port" }] };
    const first = await net.relay("relay", settings);
    await first.until("event=relay_started");
    const there = net.address("relay", 4);
    // From now on the neighbours are known: all that follows is XDP's.
    assertWhole(await net.client(there, { flows: 2, count: 3 }), 32);
    const going = net.client(there, { flows: 8, count: 100, gapMs: 50 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await first.kill(signal);
    const second = await net.relay("relay", { ...settings, ebpf: { pin_path: net.pins } });
    await second.until("event=relay_started");
    assertWhole(await going, 32);
  });
}

Deno.test("a relay that was stopped relays nothing any more, in XDP neither", async () => {
  await using net = new RelayHosts();
  await net.backend("a", 4);
  const to = [{ address: net.place("a", 4, BACKEND_PORT) }];
  const relay = await net.relay("relay", { relays: [{ listen: `${PORT}`, to }] });
  await relay.until("event=relay_started");
  const there = net.address("relay", 4);
  for (let i = 0; i < 2; i++) assertWhole(await net.client(there, { flows: 2, count: 3 }), 32);
  assert.equal(await relay.kill("SIGTERM"), 0);
  assert.deepEqual((await net.client(there, { flows: 2, count: 3 })).answers, []);
});

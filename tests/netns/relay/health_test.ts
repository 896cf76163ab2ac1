/**
 * How the relay by the program itself comes to know of its backends: whether they are there, by
 * checks of each kind, and what the path to them takes, by ICMP.
 */

import assert from "node:assert/strict";
import { libraries } from "../../fixtures/libraries.ts";
import type { Running } from "../../fixtures/process.ts";
import { BACKEND_PORT, PORT, RelayHosts, statusOf } from "../../fixtures/relay_hosts.ts";

libraries();

const LEVELS = ["XDP", "user space"] as const;
const PHANTOM_PORT = 54_321;
const QUICK = {
  ...{ check_interval: "100ms", check_timeout: "800ms" },
  ...{ check_fall: 2, check_rise: 2 },
};
/** Of the link behind the hop. */
const NARROW_MTU = 1300;
/** Longer than that link takes, shorter than all the others do. */
const LONG = 1350;
/** Within which a path's MTU is learnt: a second until it is heard, and some. */
const LEARNT_MS = 4000;
const GAP_MS = 100;

function settingsOf(level: typeof LEVELS[number]): Record<string, unknown> {
  return level === "XDP" ? {} : { ebpf: { enabled: false } };
}

for (const level of LEVELS) {
  Deno.test(`a path that takes shorter packets loses none for long, in ${level}`, async () => {
    await using net = new RelayHosts({ apart: true });
    net.hosts.hop.ip("link", "set", "dev", "far", "mtu", String(NARROW_MTU));
    net.hosts.b.ip("link", "set", "dev", "lan", "mtu", String(NARROW_MTU));
    const families = [4, 6] as const;
    for (const family of families) await net.backend("b", family);
    const relay = await net.relay("relay", {
      ...settingsOf(level),
      relays: families.map((family, at) => ({
        listen: `${PORT + at}`,
        to: [{ address: net.place("b", family, BACKEND_PORT) }],
      })),
    });
    await Promise.all(families.map(async (family, at) => {
      const there = net.address("relay", family);
      const numbers = { port: PORT + at, flows: 2, bytes: LONG, gapMs: GAP_MS };
      const count = 2 * LEARNT_MS / GAP_MS;
      const { answers } = await net.client(there, { ...numbers, count });
      const late = answers.filter(({ number }) => number >= LEARNT_MS / GAP_MS);
      assert.equal(late.length, count, `IPv${family}: ${answers.length} of ${2 * count} came back`);
      assert.ok(late.every(({ bytes }) => bytes === LONG), "a datagram came back changed");
      if (level !== "XDP") return;
      // The client itself was told.
      assert.match(net.hosts.client.ip("route", "get", there), new RegExp(`mtu ${NARROW_MTU}`));
      const short = await net.client(there, { port: PORT + at, flows: 4, count: 5 });
      assert.equal(short.answers.length, 20);
    }));
    if (level === "XDP") assert.match(await relay.until("event=backend_mtu"), /mtu=1300/);
  });
}

for (
  const { says, more, mtu } of [
    { says: "come in parts", more: 4000, mtu: 1500 },
    // The backend is told so, and sends them in parts from then on.
    { says: "are too long for the clients' link", more: LONG, mtu: NARROW_MTU },
  ]
) {
  Deno.test(`answers to flows in XDP that ${says} reach the clients`, async () => {
    await using net = new RelayHosts({ apart: true });
    for (const host of ["client", "relay"] as const) {
      net.hosts[host].ip("link", "set", "dev", "wan", "mtu", String(mtu));
    }
    const families = [4, 6] as const;
    for (const family of families) {
      for (const host of ["a", "b"] as const) await net.backend(host, family, more);
    }
    await net.relay("relay", {
      relays: families.map((family, at) => ({
        listen: `${PORT + at}`,
        affinity: "port",
        to: (["a", "b"] as const).map((host) => ({
          address: net.place(host, family, BACKEND_PORT),
        })),
      })),
    });
    for (const [at, family] of families.entries()) {
      const there = net.address("relay", family);
      // Neighbours become known, and what the link takes.
      await net.client(there, { port: PORT + at, flows: 8, count: 5, gapMs: 50 });
      const { sent, answers } = await net.client(there, { port: PORT + at, flows: 8, count: 10 });
      assert.equal(answers.length, sent, `IPv${family}`);
      assert.ok(answers.every(({ bytes }) => bytes === 32 + more), "an answer came back changed");
    }
    const { backends } = await statusOf(net);
    // There in XDP, back in user space.
    for (const { packetsOut } of backends) assert.ok(packetsOut > 10, JSON.stringify(backends));
    for (const host of ["client", "a", "b"] as const) assert.equal(net.wrongSums(host), 0);
  });
}

Deno.test("an echo, and no refused port, keep a backend up", async () => {
  await using net = new RelayHosts();
  const a = await net.backend("a", 4);
  const b = await net.backend("b", 6);
  const relay = await net.relay("relay", {
    relays: [
      { listen: `${PORT}`, to: [{ address: net.place("a", 4, BACKEND_PORT) }], ...checks("icmp") },
      {
        listen: `${PORT + 1}`,
        to: [{ address: net.place("b", 6, BACKEND_PORT) }],
        ...checks("icmp"),
      },
    ],
  });
  for (const [backend, host, family] of [[a, "a", 4], [b, "b", 6]] as const) {
    const name = net.place(host, family, BACKEND_PORT);
    assert.ok(!relay.output.includes(`is down, its clients move to others backend=${name}`));
    // The host answers, the port does not: it is refused.
    await backend.kill("SIGKILL");
    await untilBackend(relay, "is down", name);
    await net.backend(host, family);
    await untilBackend(relay, "is up again", name);
  }
  // The port is there, its host does not answer.
  net.hosts.a.ip("link", "set", "dev", "wan", "down");
  await untilBackend(relay, "is down", net.place("a", 4, BACKEND_PORT), 2);
});

Deno.test("a HELLO that is answered keeps a server up, by the psk or a user's key", async () => {
  await using net = new RelayHosts();
  const key = crypto.getRandomValues(new Uint8Array(32)).toBase64();
  const users = [{ name: "alice", key }];
  const userSpace = { ebpf: { enabled: false } };
  await net.relay("a", userSpace);
  const b = await net.relay("b", { ...userSpace, users });
  const [a4, b4] = (["a", "b"] as const).map((host) => net.place(host, 4, PHANTOM_PORT));
  const relay = await net.relay("relay", {
    ...{ users, log_level: "debug" },
    relays: [
      { listen: `${PORT}`, to: [{ address: a4 }], ...checks("phantom") },
      { listen: `${PORT + 1}`, to: [{ address: b4 }], ...checks("phantom"), check_user: "alice" },
      // A server with users answers none of those who only have the psk.
      { listen: `${PORT + 2}`, to: [{ address: b4 }], ...checks("phantom") },
    ],
  });
  await untilBackend(relay, "is down", b4!);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(count(relay, "is down"), 1, relay.output);
  await b.kill("SIGTERM");
  await untilBackend(relay, "is down", b4!, 2);
  await net.relay("b", { ...userSpace, users });
  await untilBackend(relay, "is up again", b4!);
  assert.equal(count(relay, "is down"), 2, relay.output);
});

function checks(kind: string): Record<string, unknown> {
  return { check: kind, ...QUICK };
}

function count(relay: Running, text: string): number {
  return relay.output.split("\n").filter((line) => line.includes(text)).length;
}

/** Until a relay has said something of a backend so many times. */
async function untilBackend(
  relay: Running,
  text: string,
  name: string,
  times = 1,
): Promise<void> {
  const deadline = performance.now() + 15_000;
  const told = () =>
    relay.output.split("\n").filter((line) => line.includes(text) && line.includes(name)).length;
  while (told() < times) {
    assert.ok(performance.now() < deadline, `not ${times} times "${text}" of ${name}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

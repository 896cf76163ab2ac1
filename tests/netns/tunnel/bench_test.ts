/** `phantom bench` on slow lines, with a limited user, and where it can't be had. */

import assert from "node:assert/strict";
import { freshKey } from "../../../src/cli/keygen.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { SERVER, TARGET, Topology } from "../../fixtures/topology.ts";

libraries();
const ignore = Deno.uid() !== 0;
const SECONDS = 3;

/** Shapes the line both ways. */
function slow({ router }: Topology, rate: string): void {
  const shape = ["rate", rate, "burst", "16kb", "latency", "100ms"];
  for (const device of ["rc", "rs"]) {
    router.run("tc", "qdisc", "replace", "dev", device, "root", "tbf", ...shape);
  }
}

interface Measured {
  readonly code: number;
  readonly text: string;
  readonly ms: number;
  readonly downMbps: number;
  readonly upMbps: number;
}

async function bench(
  topology: Topology,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Measured> {
  const server = `${SERVER.v4}:${SERVER.port}`;
  const path = topology.file({ server, psk: topology.key, ...settings });
  const began = performance.now();
  const args = ["bench", "-c", path, "--seconds", String(SECONDS), "--json"];
  const { code, stdout, stderr } = await topology.phantom(topology.client, ...args);
  const ms = performance.now() - began;
  const { downMbps = 0, upMbps = 0 } = code === 0 ? JSON.parse(stdout) : {};
  return { code, text: stdout + stderr, ms, downMbps, upMbps };
}

function test(name: string, act: (topology: Topology) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using topology = new Topology();
      await act(topology);
    },
  });
}

/** Start, handshake, pings and the end of the process, on a machine that is busy. */
const AROUND_MS = 8000;

function assertRate(result: Measured, down: number, up: number): void {
  assert.equal(result.code, 0, result.text);
  assert.ok(result.ms < 2 * 1000 * SECONDS + AROUND_MS, `${result.ms} ms`);
  for (const [way, got, wanted] of [["down", result.downMbps, down], ["up", result.upMbps, up]]) {
    const is = Number(got) / Number(wanted);
    assert.ok(is > 0.7 && is < 1.1, `${way}: ${got} of ${wanted} Mbit/s`);
  }
}

test("bench ends at its deadline on any line, and tells what that carries", async (topology) => {
  await using _server = await topology.startServer();
  for (const mbit of [5, 10, 20]) {
    slow(topology, `${mbit}mbit`);
    assertRate(await bench(topology), mbit, mbit);
  }
});

test("bench tells what a user's limits let through, and ends all the same", async (topology) => {
  const user = { name: "slow", key: freshKey(), up: "5mbps", down: "10mbps" };
  await using _server = await topology.startServer({ users: [user] });
  assertRate(await bench(topology, { user: user.name, key: user.key }), 10, 5);
});

test("bench names the cause when it can't measure", async (topology) => {
  const users = [
    { name: "old", key: freshKey(), expires: "2020-01-01" },
    { name: "ends", key: freshKey(), traffic_max: "8MB", down: "40mbps" },
  ];
  {
    await using _server = await topology.startServer({ bench: false });
    const { code, text } = await bench(topology);
    assert.equal(code, 1);
    assert.match(
      text,
      /by the source as the server.s rules do not allow this target\. Has it \\?"bench: false/,
    );
    const server = `${SERVER.v4}:${SERVER.port}`;
    const path = topology.file({ server, psk: topology.key });
    const far = ["--source", `${TARGET.v4}:19`, "--sink", "nobody.test:9"];
    const other = await topology.phantom(topology.client, "bench", "-c", path, ...far);
    assert.match(other.stderr, /by the source as the target refused the connection$/m);
  }
  await using _server = await topology.startServer({ users });
  const old = await bench(topology, { user: "old", key: users[0]!.key });
  assert.match(old.text, /as there is no answer: the account has expired/);
  const ends = await bench(topology, { user: "ends", key: users[1]!.key });
  assert.match(ends.text, /as the server lets this user in no more: the traffic is used up/);
  const silent = await bench(topology, { server: `${SERVER.v4}:5000` });
  assert.match(silent.text, /no answer: the host answers that nothing listens on that port/);
});

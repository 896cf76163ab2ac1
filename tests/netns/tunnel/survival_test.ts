/** What a tunnel lives through: a client that moves, a link that breaks, a server that restarts. */

import assert from "node:assert/strict";
import {
  curl,
  download,
  MIXED,
  NAME_URL,
  shell,
  sleep,
  SOCKS,
  tunnelTest as test,
} from "../../fixtures/scenario.ts";
import { SERVER, TARGET, type Topology } from "../../fixtures/topology.ts";
import { patternHash } from "../../fixtures/tunnel_probe.ts";
import { WEB } from "../../fixtures/web.ts";
import { freshPinPath } from "../../fixtures/libraries.ts";

const HELLO = /^hello from /;
const BYTES = 20_000_000;
/** How fast curl takes and gives: what happens meanwhile falls into the middle. */
const SLOW = "--limit-rate 5M --max-time 60";

/** A download and an upload of BYTES at once, through one session, while `act` does something. */
async function during(topology: Topology, act: () => Promise<void>): Promise<number> {
  await using _web = await topology.startWeb();
  const hash = await patternHash(BYTES);
  const file = `${topology.folder}/upload`;
  await shell(topology.client, `curl -sS -x ${SOCKS} ${NAME_URL}/bytes/${BYTES} -o ${file}`);
  const began = performance.now();
  const url = `http://${TARGET.name}:${WEB.port}/upload`;
  const both = Promise.all([
    download(topology, SOCKS, BYTES, SLOW),
    shell(topology.client, `curl -sS ${SLOW} -x ${SOCKS} -T ${file} ${url}`),
  ]);
  await sleep(1000);
  await act();
  assert.deepEqual(await both, [hash, `${BYTES} ${hash}\n`]);
  return (performance.now() - began) / 1000;
}

/** The client's address is another one from now on. */
function move({ client }: Topology, from: string, to: string): void {
  client.ip("addr", "del", `${from}/24`, "dev", "cl");
  client.ip("addr", "add", `${to}/24`, "dev", "cl");
  client.ip("route", "replace", "default", "via", "45.1.0.1");
}

/** How long until a new connection works, in ms. */
async function recovery(topology: Topology): Promise<number> {
  const began = performance.now();
  for (;;) {
    try {
      const brief = ["--max-time", "3", "--connect-timeout", "3", "-x", SOCKS];
      assert.match(await curl(topology, ...brief, NAME_URL), /^hello from /);
      return performance.now() - began;
    } catch (error) {
      if (performance.now() - began > 20_000) throw error;
    }
  }
}

test("a client that gets other addresses keeps its streams", {}, async ({ topology, client }) => {
  const seconds = await during(topology, async () => {
    move(topology, "45.1.0.2", "45.1.0.3");
    await sleep(1500);
    move(topology, "45.1.0.3", "45.1.0.4");
  });
  assert.ok(seconds < 15, `${seconds} s`);
  assert.equal(client.output.split("\n").filter((line) => line.includes(" connected ")).length, 1);
});

test("streams outlive a link that is down for five seconds", {}, async ({ topology, client }) => {
  const seconds = await during(topology, async () => {
    topology.router.ip("link", "set", "dev", "rs", "down");
    await sleep(5000);
    topology.router.ip("link", "set", "dev", "rs", "up");
  });
  assert.ok(seconds < 25, `${seconds} s`);
  assert.equal(client.output.split("\n").filter((line) => line.includes(" connected ")).length, 1);
});

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`a server that was started anew after ${signal} serves within seconds`, {
    serverDies: true,
  }, async ({ topology, server, client }) => {
    // A stream without end, which the restart cuts: its program has to hear of it.
    const endless = shell(
      topology.client,
      `curl -sS --max-time 30 -x ${SOCKS} --http0.9 http://${TARGET.name}:19/ | wc -c`,
    ).then(() => "whole", (error: Error) => error.message);
    await client.until(" connected ");
    assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
    await server.kill(signal);
    await using second = await topology.startServer();
    const ms = await recovery(topology);
    assert.ok(ms < 8000, `${ms} ms`);
    assert.match(await endless, /failed \((18|56)\)/);
    await second.kill("SIGTERM");
  });
}

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`programs see no error when the server is started anew after ${signal}`, {
    client: { mixed: MIXED, forwards: [{ listen: 7007, target: `${TARGET.name}:7` }] },
    serverDies: true,
  }, async ({ topology, server }) => {
    const ways = [SOCKS, `http://${MIXED}`];
    for (const proxy of ways) assert.match(await curl(topology, "-x", proxy, NAME_URL), HELLO);
    const hash = await patternHash(10_000);
    await server.kill(signal);
    await using second = await topology.startServer();
    // All at once, so that each of them meets the session that is lost.
    const results = await Promise.all([
      curl(topology, "-x", SOCKS, NAME_URL),
      curl(topology, "-p", "-x", ways[1]!, NAME_URL),
      curl(topology, "-x", ways[1]!, NAME_URL),
      topology.probe("echo", "127.0.0.1", "7007", "10000"),
    ]);
    for (const said of results.slice(0, 3)) assert.match(said, HELLO);
    assert.equal(results[3], hash);
    await second.kill("SIGTERM");
  });
}

test("a server whose name leads elsewhere is found again", {
  serverDies: true,
}, async ({ topology, server }) => {
  const hosts = `${topology.folder}/hosts`;
  const name = "phantom.test";
  const nameLeads = (to: string) => Deno.writeTextFileSync(hosts, `${to} ${name}\n`);
  nameLeads(SERVER.v4);
  const mixed = "127.0.0.1:2000";
  await using client = await topology.startClientWithHosts(hosts, {
    ...{ server: `${name}:${SERVER.port}`, mixed, arq: { max_retries: 3 } },
  });
  const ask = ["--max-time", "2", "-x", `socks5h://${mixed}`, NAME_URL];
  assert.match(await curl(topology, ...ask), HELLO);
  // Nobody answers at the old address.
  await server.kill("SIGKILL");
  topology.server.ip("addr", "del", `${SERVER.v4}/24`, "dev", "sv");
  topology.server.ip("addr", "add", "45.2.0.9/24", "dev", "sv");
  topology.server.ip("route", "replace", "45.1.0.0/24", "via", "45.2.0.1");
  await using second = await topology.startServer();
  nameLeads("45.2.0.9");
  const began = performance.now();
  for (;;) {
    try {
      assert.match(await curl(topology, ...ask), HELLO);
      break;
    } catch (error) {
      if (performance.now() - began > 20_000) throw error;
    }
  }
  assert.match(client.output, /name=phantom\.test event=server_moved/);
  await second.kill("SIGTERM");
});

test("two workers share the sessions, without XDP", {
  server: { workers: 2 },
}, async ({ topology }) => {
  const hash = await patternHash(2_000_000);
  for (let i = 0; i < 6; i++) {
    const mixed = `127.0.0.1:${2000 + i}`;
    // Some by the other family.
    const host = i % 2 === 0 ? SERVER.v4 : `[${SERVER.v6}]`;
    await using _client = await topology.startClient({ mixed, server: `${host}:${SERVER.port}` });
    const proxy = `socks5h://${mixed}`;
    const all = Array.from({ length: 4 }, () => download(topology, proxy, 2_000_000));
    assert.deepEqual(await Promise.all(all), [hash, hash, hash, hash]);
  }
});

test("with two workers a client that moves comes back, by a new session at worst", {
  server: { workers: 2 },
  // How soon a path counts as dead: a moved packet may reach the worker that has not the session.
  client: { arq: { max_retries: 4 } },
}, async ({ topology, client }) => {
  for (let host = 2; host < 6; host++) {
    assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
    move(topology, `45.1.0.${host}`, `45.1.0.${host + 1}`);
    const ms = await recovery(topology);
    // A path counts as dead after so many round trips: on a busy machine these are longer.
    const rttMs = Number(/.*rttMs=([\d.]+)/s.exec(client.output)?.[1]);
    assert.ok(ms < 10_000 * Math.max(1, rttMs / 50), `${ms} ms, a round trip is ${rttMs} ms`);
  }
});

for (const [level, ebpf] of [["with XDP", undefined], ["without XDP", "nothere0"]] as const) {
  test(`with several workers a client that moves reaches its own at once, ${level}`, {
    xdp: ebpf === undefined,
    server: {
      workers: 3,
      ...(ebpf === undefined ? {} : { ebpf: { interface: ebpf, pin_path: freshPinPath() } }),
    },
  }, async ({ topology, client }) => {
    // New connections meet the worker that has the session: none waits for a new one.
    for (let host = 2; host < 8; host++) {
      assert.match(await curl(topology, "-x", SOCKS, NAME_URL), HELLO);
      move(topology, `45.1.0.${host}`, `45.1.0.${host + 1}`);
      const ms = await recovery(topology);
      assert.ok(ms < 2500, `${ms} ms`);
    }
    const connected = client.output.split("\n").filter((line) => line.includes(" connected "));
    assert.equal(connected.length, 1);
  });
}

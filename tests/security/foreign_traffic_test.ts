/**
 * Finding 7: XDP is in front of the whole machine. What comes to our port number is not ours for
 * that: another address of the machine may have it, a host behind, or whoever came after us.
 */

import assert from "node:assert/strict";
import { Sender } from "../fixtures/kernel.ts";
import { libraries } from "../fixtures/libraries.ts";
import { Namespace } from "../fixtures/netns.ts";
import type { Running } from "../fixtures/process.ts";
import { packetsOf, packetsUntil, PORT, SERVER_IP, ServerBench } from "../fixtures/server.ts";
import { delay, securityTest } from "./stage.ts";

const OTHER = "198.51.100.9";
const HOST = "203.0.113.2";
/** So long is said of a process that was killed. */
const GRACE_MAX_MS = 30_000;
const COUNT = 20;
/** What XDP drops as junk where it is ours. */
const JUNK = Array.from({ length: COUNT }, (_, i) => new Uint8Array(40 + i).fill(i));

if (Deno.uid() === 0) libraries();

/** A server between a client and a host behind it, to which it forwards. */
class Crossing implements Disposable {
  readonly bench = new ServerBench();
  readonly host = new Namespace();
  readonly client: Sender;

  constructor() {
    const { server, client } = this.bench;
    server.ip("addr", "add", `${OTHER}/24`, "dev", "va");
    server.veth("ha", "hb", this.host);
    server.ip("addr", "add", "203.0.113.1/24", "dev", "ha");
    this.host.ip("addr", "add", `${HOST}/24`, "dev", "hb");
    this.host.ip("route", "add", "default", "via", "203.0.113.1");
    client.ip("route", "add", "203.0.113.0/24", "via", SERVER_IP);
    server.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    this.client = new Sender(client);
  }

  start(listen: string): Promise<Running> {
    return this.bench.start(this.bench.config({}, { listen }));
  }

  /** How many of some datagrams arrive. */
  async arrive(at: Sender, ip: string): Promise<number> {
    while (at.received() > 0);
    this.client.send(ip, PORT, JUNK);
    let count = 0;
    for (let i = 0; i < 20 && count < COUNT; i++) {
      await delay(20);
      count += at.received();
    }
    return count;
  }

  /** Of the datagrams that come to an address of the server, how many it drops as junk. */
  async dropped(ip: string): Promise<number> {
    const before = packetsOf(await this.bench.status(), ["junk"]);
    this.client.send(ip, PORT, JUNK);
    return await packetsUntil(before + COUNT, ["junk"], () => this.bench.status()) - before;
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
    this.bench[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }
}

const root = { needsRoot: true };

securityTest("the port at another address, and of a host behind, is not ours", async () => {
  using crossing = new Crossing();
  await using server = await crossing.start(`${SERVER_IP}:${PORT}`);
  using other = new Sender(crossing.bench.server, PORT, OTHER);
  using behind = new Sender(crossing.host, PORT);
  assert.equal(await crossing.arrive(other, OTHER), COUNT);
  assert.equal(await crossing.arrive(behind, HOST), COUNT);
  assert.equal(await crossing.dropped(SERVER_IP), COUNT);
  await server.kill("SIGTERM");
}, root);

securityTest("of :port, addresses are ours for as long as the machine has them", async () => {
  using crossing = new Crossing();
  const { server } = crossing.bench;
  await using running = await crossing.start(`:${PORT}`);
  using behind = new Sender(crossing.host, PORT);
  assert.equal(await crossing.arrive(behind, HOST), COUNT);
  assert.equal(await crossing.dropped(OTHER), COUNT);
  // One that comes later; then the host behind has it.
  const moved = "203.0.113.77";
  server.ip("addr", "add", `${moved}/32`, "dev", "ha");
  await delay(1000);
  assert.equal(await crossing.dropped(moved), COUNT);
  server.ip("addr", "del", `${moved}/32`, "dev", "ha");
  crossing.host.ip("addr", "add", `${moved}/24`, "dev", "hb");
  await delay(1000);
  assert.equal(await crossing.arrive(behind, moved), COUNT);
  await running.kill("SIGTERM");
}, root);

securityTest("after a stop the port is whose it is next, at once", async () => {
  using crossing = new Crossing();
  const server = await crossing.start(`:${PORT}`);
  assert.equal(await crossing.dropped(SERVER_IP), COUNT);
  assert.equal(await server.kill("SIGTERM"), 0);
  using next = new Sender(crossing.bench.server, PORT);
  assert.equal(await crossing.arrive(next, SERVER_IP), COUNT);
  const unload = await crossing.bench.phantom("unload", "--pin-path", crossing.bench.pinPath);
  assert.equal(unload.code, 0);
  assert.equal(await crossing.arrive(next, SERVER_IP), COUNT);
}, root);

for (const signal of ["SIGKILL", "SIGUSR1"] as const) {
  securityTest(`after ${signal} the program goes on for a grace, and for no longer`, async () => {
    using crossing = new Crossing();
    const server = await crossing.start(`:${PORT}`);
    await server.kill(signal);
    const began = performance.now();
    using next = new Sender(crossing.bench.server, PORT);
    assert.equal(await crossing.arrive(next, SERVER_IP), 0);
    while (await crossing.arrive(next, SERVER_IP) < COUNT) {
      assert.ok(performance.now() - began < GRACE_MAX_MS, "it does not let go");
      await delay(500);
    }
    assert.ok(performance.now() - began > GRACE_MAX_MS / 3, "it lets go before a restart is over");
  }, root);
}

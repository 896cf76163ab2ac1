import assert from "node:assert/strict";
import { endpoint } from "../../../ffi/endpoint.ts";
import { ADDRESS, clientStart, LOOPBACK, Notes, Pair } from "../../../tests/fixtures/tunnel.ts";
import { BRUTAL_PACKET_OVERHEAD } from "../../reliability/params.ts";
import type { Path } from "../../reliability/path.ts";
import { CloseCode } from "../../wire/frames.ts";
import { type ClientTuning, ClientTunnel } from "./tunnel.ts";

Deno.test("0-RTT: the first byte of the answer comes after one round trip", () => {
  // A second round trip is far enough away for a busy machine.
  const delayMs = 400;
  // Nor is the HELLO said again there: whose answer it is then can't be told, and is no sample.
  const clientTuning = { helloRetryMs: [5000] };
  using pair = new Pair({ middle: { delayMs }, clientTuning, canTell: true });
  const answer = new TextEncoder().encode("answer");
  pair.atServer.data = (session, stream, _bytes, _at, length) => {
    session.write(stream, answer, 0, answer.length);
    pair.server.wake(session);
    return length;
  };
  const began = performance.now();
  pair.greet();
  pair.until(() => pair.atClient.received === answer.length);
  const took = performance.now() - began;
  assert.ok(took >= 2 * delayMs && took < 4 * delayMs, `${took} ms of ${2 * delayMs}`);
  const { rtt } = pair.client.session().recovery.path(0)!;
  // What was measured is the way there and back, and no longer than all of it took.
  const isWithin = rtt.smoothed > 2 * delayMs - 5 && rtt.smoothed < took + 5;
  assert.ok(rtt.sampled && isWithin, `${rtt.sampled}, ${rtt.smoothed} of ${took} ms`);
});

Deno.test("a HELLO that is lost is said again with the same frames, which run once", () => {
  const tuning: ClientTuning = { helloRetryMs: [400, 600, 800] };
  using pair = new Pair({
    middle: {},
    clientTuning: tuning,
    canTell: true,
  });
  pair.middle.isKeeping = true;
  pair.middle.isCut = true;
  pair.greet();
  pair.until(() => pair.middle.kept.length === 2);
  pair.middle.isCut = false;
  pair.until(() => pair.client.state === "open");
  // The first two arrive late: the handshake is known, and nothing happens twice.
  for (const hello of pair.middle.kept.slice(0, 2)) pair.middle.inject(hello);
  pair.until(() => pair.server.counters.repeated === 2);
  pair.run(50);
  assert.equal(pair.atServer.received, 5);
  assert.equal(pair.atServer.sessions.length, 1);
  assert.equal(pair.client.counters.accepts, 1);
  const rtt = pair.client.session().recovery.path(0)!.rtt.smoothed;
  assert.ok(rtt < 380, `the wait for the first HELLO is no round trip: ${rtt} ms`);
});

Deno.test("more than a HELLO holds is sent once the ACCEPT is there", () => {
  using pair = new Pair({ canTell: true });
  pair.greet("x".repeat(50_000));
  pair.until(() => pair.atServer.received === 50_000);
  assert.equal(pair.client.counters.hellos, 1);
});

Deno.test("servers are tried in turn, and the one that answered is the first next time", () => {
  using pair = new Pair();
  const silent = endpoint(LOOPBACK, 9);
  const start = clientStart([silent, endpoint(LOOPBACK, pair.server.port)]);
  const notes = new Notes();
  const tuning = { helloRetryMs: [40, 40] };
  const client = new ClientTunnel(pair.loop, start, pair.loop, notes, tuning);
  client.start();
  for (let i = 0; i < 2; i++) {
    client.wake(client.session());
    pair.until(() => client.state === "open");
    assert.equal(client.counters.hellos, 2 + i);
    client.session().close(pair.loop.now, CloseCode.done);
  }
  client.stop();
});

Deno.test("a server that is elsewhere now is found while its HELLOs go unanswered", () => {
  using pair = new Pair();
  const here = endpoint(LOOPBACK, pair.server.port);
  const start = clientStart([endpoint(LOOPBACK, 9)]);
  const tuning = { helloRetryMs: [40, 40] };
  const client = new ClientTunnel(pair.loop, start, pair.loop, new Notes(), tuning);
  client.start();
  client.wake(client.session());
  pair.until(() => client.counters.hellos === 1);
  client.setServers([endpoint(LOOPBACK, 10), here]);
  pair.until(() => client.state === "open");
  assert.equal(client.counters.failures, 0);
  // The one in use stays the first to be tried, wherever it stands.
  client.setServers([endpoint(LOOPBACK, 11), endpoint(LOOPBACK, 10), here]);
  client.session().close(pair.loop.now, CloseCode.done);
  const before = client.counters.hellos;
  client.wake(client.session());
  pair.until(() => client.state === "open");
  assert.equal(client.counters.hellos, before + 1);
  client.stop();
});

Deno.test("no server answers: the session is closed, and the next attempt waits", () => {
  const start = clientStart([endpoint(LOOPBACK, 9)]);
  using pair = new Pair();
  const notes = new Notes();
  const tuning = { helloRetryMs: [10, 10], backoffMs: [150] };
  const client = new ClientTunnel(pair.loop, start, pair.loop, notes, tuning);
  client.start();
  const session = client.session();
  session.openStream(ADDRESS);
  client.wake(session);
  pair.until(() => client.state === "lost");
  assert.equal(client.counters.hellos, 3);
  assert.deepEqual(notes.log, [`closed ${CloseCode.idle} local`]);
  assert.ok(!session.isOpen);
  const began = performance.now();
  client.wake(client.session());
  pair.until(() => client.counters.hellos === 4);
  assert.ok(performance.now() - began > 120);
  client.stop();
});

Deno.test("a server that stops says so, and the client comes back when it is asked", () => {
  using pair = new Pair();
  pair.greet();
  pair.until(() => pair.client.state === "open" && pair.atServer.received === 5);
  const listen = endpoint(LOOPBACK, pair.server.port);
  pair.server.stop();
  pair.until(() => pair.client.state === "lost");
  assert.ok(pair.atClient.log.includes(`closed ${CloseCode.done} peer`));
  pair.server = pair.makeServer({ listen });
  pair.greet();
  pair.until(() => pair.client.state === "open");
});

Deno.test("the server's clock is learned from ACCEPT", () => {
  const ahead = 20_000;
  using pair = new Pair({ serverTuning: { unixMs: () => Date.now() + ahead } });
  const began = performance.now();
  pair.greet();
  pair.until(() => pair.client.state === "open");
  // It can be wrong by as much as the round trip took.
  const boundMs = 50 + performance.now() - began;
  assert.ok(Math.abs(pair.client.clockOffsetMs - ahead) < boundMs, `${pair.client.clockOffsetMs}`);
});

Deno.test("an idle session ends on both sides, and nothing of it stays", () => {
  using pair = new Pair({ server: { idleMs: 1000 } });
  const session = pair.client.session();
  pair.client.wake(session);
  pair.until(() => pair.client.state === "open");
  pair.until(() => pair.client.state === "lost" && pair.server.pump.peers.count === 0);
  assert.equal(pair.client.pump.peers.count, 0);
});

/** What a path's rate comes to with the headers of its packets. */
function lineRate({ controller, pmtu: { size } }: Path): number {
  return Math.round(controller.pacingRate() * (size + BRUTAL_PACKET_OVERHEAD) / size);
}

Deno.test("brutal when both sides state a rate", () => {
  using pair = new Pair({ server: { downRate: 3e6 }, client: { upRate: 5e6 } });
  pair.greet();
  pair.until(() => pair.client.state === "open");
  const path = pair.client.session().recovery.path(0)!;
  assert.equal(path.controller.name, "brutal");
  assert.equal(lineRate(path), 3e6);
});

Deno.test("brutal towards the client too, once it has stated what its line takes", () => {
  using pair = new Pair({ server: { upRate: 4e6 }, client: { downRate: 2e6 } });
  pair.greet();
  pair.until(() => pair.client.state === "open");
  const [peer] = [...pair.server.pump.peers.all()];
  const path = peer!.session.recovery.path(0)!;
  // Said in the HELLO: a server without a replay record takes it with the first DATA.
  pair.until(() => path.controller.name === "brutal");
  assert.equal(lineRate(path), 2e6);
});

Deno.test("over IPv6, and over IPv4 to a server that listens on both", () => {
  const any = new Uint8Array(16);
  for (const ip of [any.with(15, 1), LOOPBACK]) {
    using pair = new Pair({ server: { listen: endpoint(any, 0) } });
    const start = clientStart([endpoint(ip, pair.server.port)]);
    const notes = new Notes();
    const client = new ClientTunnel(pair.loop, start, pair.loop, notes);
    client.start();
    const session = client.session();
    const stream = session.openStream(ADDRESS);
    session.write(stream, new Uint8Array(9000), 0, 9000);
    client.wake(session);
    pair.until(() => pair.atServer.received === 9000);
    client.stop();
    assert.equal(pair.server.pump.peers.all()[0]!.routes.length, 1);
  }
});

Deno.test("a session that is closed before it is connected leaves nothing behind", () => {
  using pair = new Pair();
  for (let i = 0; i < 20; i++) {
    pair.client.session().close(pair.loop.now);
    assert.ok(pair.client.pump.peers.count <= 1);
  }
  pair.greet();
  pair.until(() => pair.client.state === "open");
  assert.equal(pair.client.pump.peers.count, 1);
});

Deno.test("what is asked for in `closed` is a new session", () => {
  using pair = new Pair({ clientTuning: { helloRetryMs: [10, 10], backoffMs: [20] } });
  pair.greet();
  pair.until(() => pair.client.state === "open");
  const first = pair.client.session();
  let second = first;
  pair.atClient.closed = () => {
    second = pair.client.session();
    pair.client.wake(second);
  };
  first.close(pair.loop.now);
  pair.client.pump.wake(pair.client.pump.peerOf(first)!);
  pair.until(() => second !== first && pair.client.state === "open");
  assert.equal(pair.client.session(), second);
  pair.atClient.closed = () => {};
});

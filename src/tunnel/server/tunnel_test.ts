import assert from "node:assert/strict";
import { endpoint } from "../../../ffi/endpoint.ts";
import { PacketHeaders } from "../../../ffi/mask.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { UdpInbox } from "../../../ffi/udp.ts";
import {
  ADDRESS,
  clientStart,
  LOOPBACK,
  Notes,
  Pair,
  serverStart,
  tellingReplay,
} from "../../../tests/fixtures/tunnel.ts";
import { Middle } from "../../../tests/fixtures/middle.ts";
import { testNative } from "../../../tests/native.ts";
import { SessionIds } from "../../crypto/session_ids.ts";
import { CloseCode } from "../../wire/frames.ts";
import { PacketKind } from "../../wire/packet.ts";
import { Arrival } from "../arrival.ts";
import type { Session } from "../../session/session.ts";
import { ClientTunnel } from "../client/tunnel.ts";
import { ServerTunnel } from "./tunnel.ts";

/** More clients of a pair's server, each with its own socket. */
function moreClients(pair: Pair, count: number): { clients: ClientTunnel[]; notes: Notes[] } {
  const notes = Array.from({ length: count }, () => new Notes());
  const clients = notes.map((events) => {
    const start = clientStart([endpoint(LOOPBACK, pair.server.port)]);
    const client = new ClientTunnel(pair.loop, start, pair.loop, events);
    client.start();
    return client;
  });
  return { clients, notes };
}

function connect(client: ClientTunnel): void {
  client.wake(client.session());
}

Deno.test("copies of a HELLO are dropped in silence, wherever they come from", () => {
  using pair = new Pair({ middle: {}, canTell: true });
  pair.middle.isKeeping = true;
  pair.greet();
  pair.until(() => pair.atServer.received === 5 && pair.client.state === "open");
  const hello = pair.middle.kept[0]!;
  const { sent } = pair.server.pump.control;
  for (let i = 0; i < 20; i++) pair.middle.inject(hello, i % 2 === 0);
  pair.run(50);
  assert.equal(pair.atServer.sessions.length, 1);
  assert.equal(pair.server.pump.control.sent, sent);
  assert.equal(pair.atServer.received, 5);
});

Deno.test("a copy that goes to another worker is dropped there", () => {
  const replay = tellingReplay();
  using pair = new Pair({ middle: {}, server: { workers: 2, replay } });
  pair.middle.isKeeping = true;
  pair.greet();
  pair.until(() => pair.atServer.received === 5);
  const start = serverStart({ index: 1, workers: 2, replay });
  const other = new ServerTunnel(pair.loop, start, pair.loop, new Notes());
  other.start();
  const middle = new Middle(pair.loop, other.port);
  middle.inject(pair.middle.kept[0]!, true);
  pair.until(() => other.replays === 1);
  assert.equal(other.counters.handshakes + other.pump.control.sent, 0);
  middle.close();
  other.stop();
});

Deno.test("a copy that outlives a clean restart is still a copy", () => {
  const replay = tellingReplay();
  using pair = new Pair({ middle: {}, server: { replay } });
  pair.middle.isKeeping = true;
  pair.greet();
  pair.until(() => pair.atServer.received === 5 && pair.client.state === "open");
  pair.restartServer(replay);
  pair.middle.inject(pair.middle.kept[0]!);
  pair.until(() => pair.server.replays === 1);
  assert.equal(pair.atServer.sessions.length, 1);
  assert.equal(pair.server.counters.handshakes + pair.server.counters.repeated, 0);
});

Deno.test("without a record 0-RTT frames wait for DATA, and those of a copy in vain", () => {
  using pair = new Pair({ middle: {}, serverTuning: { confirmMs: 1000 } });
  pair.middle.isKeeping = true;
  pair.middle.isCut = true;
  pair.greet();
  pair.until(() => pair.middle.kept.length > 0);
  const hello = pair.middle.kept[0]!;
  pair.middle.inject(hello, true);
  pair.until(() => pair.atServer.sessions.length === 1);
  pair.run(50);
  assert.deepEqual(pair.atServer.log, ["session"]);
  pair.until(() => pair.atServer.log.length === 2);
  assert.deepEqual(pair.atServer.log, ["session", `closed ${CloseCode.idle} local`]);
  assert.equal(pair.server.counters.neverConfirmed, 1);
  assert.equal(pair.server.pump.peers.count, 0);
});

Deno.test("an unknown session gets a RESET, one a second, and the client begins anew", () => {
  using pair = new Pair();
  pair.greet();
  pair.until(() => pair.atClient.log.includes("answered 0 0"));
  const first = pair.client.session();
  pair.crashServer();
  const bytes = new Uint8Array(10);
  first.write(0, bytes, 0, bytes.length);
  pair.client.wake(first);
  pair.until(() => pair.client.state === "lost");
  assert.deepEqual(pair.atClient.log.slice(-1), [`closed ${CloseCode.idle} local`]);
  assert.equal(pair.server.counters.resets, 1);
  assert.equal(pair.client.counters.resets, 1);
  const second = pair.greet();
  assert.notEqual(second, first);
  pair.until(() => pair.client.state === "open" && pair.atServer.sessions.length === 2);
});

Deno.test("copies of a session's packets get no RESET once it ended, nor after a restart", () => {
  const replay = tellingReplay();
  using pair = new Pair({ middle: {}, server: { replay } });
  pair.middle.isKeeping = true;
  const session = pair.greet();
  pair.until(() => pair.atServer.received === 5 && pair.client.state === "open");
  session.ping(0, 1, 2);
  pair.client.wake(session);
  pair.run(100);
  pair.middle.isKeeping = false;
  const [, ...data] = pair.middle.kept;
  assert.ok(data.length >= 2);
  session.close(pair.loop.now, CloseCode.done);
  pair.client.wake(session);
  pair.until(() => pair.server.pump.peers.count === 0, 10_000);
  const tryAll = () => {
    const before = pair.server.pump.received.strangers;
    for (const packet of data) pair.middle.inject(packet, true);
    pair.until(() => pair.server.pump.received.strangers === before + data.length);
    pair.run(20);
  };
  tryAll();
  pair.restartServer(replay);
  tryAll();
  assert.equal(pair.server.counters.resets, 0);
  // One that knows nothing answers: this is what was asked.
  pair.crashServer();
  tryAll();
  assert.equal(pair.server.counters.resets, 1);
});

Deno.test("a client whose server was started anew gets a RESET for what it says next", () => {
  const replay = tellingReplay();
  using pair = new Pair({ middle: {}, server: { replay } });
  const session = pair.greet();
  pair.until(() => pair.atServer.received === 5 && pair.client.state === "open");
  // What the server says in parting is lost.
  pair.middle.isCut = true;
  pair.restartServer(replay);
  pair.run(20);
  pair.middle.isCut = false;
  session.ping(0, 1, 2);
  pair.client.wake(session);
  pair.until(() => pair.client.state === "lost");
  assert.equal(pair.client.counters.resets, 1);
});

Deno.test("a server with another secret answers nothing of another's sessions", () => {
  using pair = new Pair();
  pair.greet();
  pair.until(() => pair.atClient.log.includes("answered 0 0"));
  const { port } = pair.server;
  pair.server.pump.close();
  const start = serverStart({
    listen: endpoint(LOOPBACK, port),
    serverSecret: new Uint8Array(32).fill(8),
  });
  pair.server = new ServerTunnel(pair.loop, start, pair.loop, pair.atServer);
  pair.server.start();
  const session = pair.client.session();
  session.write(0, new Uint8Array(10), 0, 10);
  pair.client.wake(session);
  pair.until(() => pair.server.pump.received.strangers > 0);
  assert.equal(pair.server.pump.control.sent, 0);
  assert.equal(pair.client.state, "open");
});

Deno.test("sessions have a maximum, in all and a source, and others are not hurt", () => {
  for (const which of ["sessionsRefused", "sourcesRefused"] as const) {
    const max = 3;
    const isAll = which === "sessionsRefused";
    using pair = new Pair({
      ...(isAll ? { server: { sessionsMax: max } } : {}),
      ...(isAll ? {} : { serverTuning: { sessionsPerSource: max } }),
    });
    const { clients, notes } = moreClients(pair, max + 2);
    for (const client of clients) connect(client);
    pair.until(() => pair.server.counters[which] >= 2);
    assert.equal(pair.server.pump.peers.count, max);
    const open = () => clients.filter(({ state }) => state === "open").length;
    pair.until(() => open() === max);
    const refused = `closed ${CloseCode.tooManySessions} peer`;
    pair.until(() => notes.filter(({ log }) => log.includes(refused)).length === 2);
    // One goes, and there is room again.
    clients.find(({ state }) => state === "open")!.stop();
    const { handshakes } = pair.server.counters;
    for (const client of clients) if (client.state === "lost") connect(client);
    pair.until(() => pair.server.counters.handshakes > handshakes, 8000);
    for (const client of clients) client.stop();
  }
});

Deno.test("handshakes a second have a maximum", () => {
  using pair = new Pair({ serverTuning: { handshakesPerSecond: 8 } });
  const { clients } = moreClients(pair, 6);
  for (const client of clients) connect(client);
  pair.until(() => pair.server.counters.rateRefused >= 4);
  assert.equal(pair.server.pump.peers.count, 2);
  pair.until(() => clients.every(({ state }) => state === "open"), 8000);
  for (const client of clients) client.stop();
});

Deno.test("what is let go of is wiped and can be used again", () => {
  using pair = new Pair({ server: { sessionsMax: 1 } });
  const { used } = pair.server.budget;
  for (let i = 0; i < 5; i++) {
    pair.greet();
    pair.until(() => pair.server.pump.peers.count === 1 && pair.client.state === "open");
    const [guest] = pair.server.pump.peers.all();
    const key = guest!.keys!.send.keyId;
    pair.client.session().close(pair.loop.now);
    pair.client.wake(guest!.session);
    const [own] = pair.client.pump.peers.all();
    pair.client.pump.wake(own!);
    pair.until(() => pair.server.pump.peers.count === 0);
    assert.ok(guest!.isReleased && guest!.keys!.send.keyId === -1);
    assert.throws(() => pair.server.pump.table.removeKey(key));
  }
  assert.equal(pair.server.budget.used, used);
});

Deno.test("users have their own keys, unknown ones get silence, removed ones are closed", () => {
  const alice = { name: "alice", key: new Uint8Array(32).fill(1), upRate: 0, downRate: 0 };
  const bob = { name: "bob", key: new Uint8Array(32).fill(2), upRate: 0, downRate: 0 };
  using pair = new Pair({
    server: { users: [alice] },
    client: { user: "alice", userKey: alice.key },
    canTell: true,
  });
  pair.greet();
  pair.until(() => pair.client.state === "open" && pair.atServer.received === 5);
  assert.equal(pair.atServer.user, "alice");
  pair.server.setUsers([bob]);
  pair.until(() => pair.atClient.log.includes(`closed ${CloseCode.denied} peer`));
  pair.greet();
  pair.run(100);
  assert.equal(pair.client.state, "connecting");
  assert.equal(pair.server.pump.control.sent, 1);
});

Deno.test("a user's rate holds whatever the client does", () => {
  const rate = 1e6;
  const user = { name: "u", key: new Uint8Array(32).fill(1), upRate: rate, downRate: rate };
  using pair = new Pair({
    server: { users: [user] },
    client: { user: "u", userKey: user.key },
    canTell: true,
  });
  const block = new Uint8Array(1 << 20);
  const pour = (session: Session, stream: number) => {
    session.write(stream, block, 0, block.length);
    pair.server.wake(session);
    pair.client.wake(session);
  };
  pair.atServer.opened = (session, stream) => {
    session.answer(stream, 0, ADDRESS);
    pour(session, stream);
  };
  pair.atServer.writable = pair.atClient.writable = pour;
  const session = pair.client.session();
  pour(session, session.openStream(ADDRESS));
  pair.run(1000);
  // A quarter of a second's worth may come at once.
  for (const { received } of [pair.atServer, pair.atClient]) {
    assert.ok(received > 0.5 * rate && received < 1.35 * rate, `${received} bytes in a second`);
  }
  // What is over the rate waits at the client: nothing is thrown away.
  assert.equal(pair.server.pump.received.overRate, 0);
});

Deno.test("ids of other workers are left to them, and ones that nobody gave out to nobody", () => {
  using pair = new Pair({ server: { index: 1, workers: 3 } });
  pair.greet();
  pair.until(() => pair.client.state === "open");
  const [guest] = pair.server.pump.peers.all();
  assert.equal(guest!.localId & 3, 1);
  const { server } = pair;
  const inbox = new UdpInbox();
  inbox.messages.set(guest!.routes[0]!);
  inbox.spans.set([0, 100, 0, 0]);
  const headers = new PacketHeaders(1);
  const arrival = new Arrival(headers, server.pump.clock.tskd);
  arrival.begin(server.udp, inbox);
  const arrives = (session: number) => {
    headers.words.set([PacketKind.data0, session >>> 0, session / 2 ** 32, 1, 0, 0]);
    server.stranger(arrival);
  };
  const { serverSecret: secret, generation } = serverStart();
  const primitives = new NativePrimitives(testNative());
  const idsOf = (worker: number) =>
    new SessionIds(primitives, { secret: secret.slice(), generation, worker, workers: 3 });
  arrives(idsOf(0).next());
  arrives(idsOf(2).next());
  arrives(guest!.localId ^ 8);
  arrives(77 * 4 + 1);
  assert.equal(server.counters.resets, 0);
  arrives(idsOf(1).next());
  const others = idsOf(1);
  others.next();
  arrives(others.next());
  assert.equal(server.counters.resets, 1, "one a second");
});

Deno.test("the counters tell what happened", () => {
  using pair = new Pair({ middle: {} });
  const { server } = pair;
  const { received, sent, peers } = server.pump;
  pair.middle.isKeeping = true;
  pair.greet();
  pair.until(() => pair.atServer.received === 5);
  pair.middle.inject(pair.middle.kept[0]!, true);
  pair.middle.inject(new Uint8Array(500).fill(7), true);
  pair.middle.inject(new Uint8Array(500).fill(8), true);
  pair.until(() => received.junk + received.forged === 2);
  assert.equal(peers.count, 1);
  assert.equal(server.counters.handshakes, 1);
  assert.equal(server.replays, 1);
  assert.equal(server.counters.refusals, 0);
  assert.ok(received.bytes > 500 && sent.bytes > 0);
  server.stop();
  assert.equal(peers.count, 0);
});

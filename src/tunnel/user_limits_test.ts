import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import {
  ADDRESS,
  clientStart,
  LOOPBACK,
  Notes,
  Pair,
  Source,
} from "../../tests/fixtures/tunnel.ts";
import { accountMemory, usageOf } from "../proxy/users.ts";
import { CloseCode } from "../wire/frames.ts";
import { ClientTunnel } from "./client/tunnel.ts";
import type { UserSpec } from "./protocol.ts";

function user(name: string, byte: number, more: Partial<UserSpec> = {}): UserSpec {
  return { name, key: new Uint8Array(32).fill(byte), upRate: 0, downRate: 0, ...more };
}

/** A server with these users, and a client of the first. */
function pairOf(users: readonly UserSpec[], unixMs?: () => number): Pair {
  return new Pair({
    server: { users, accounts: accountMemory(users.length) },
    client: { user: users[0]!.name, userKey: users[0]!.key.slice() },
    canTell: true,
    ...(unixMs === undefined ? {} : { serverTuning: { unixMs } }),
  });
}

/** A client of another user, on the same server. */
function another(pair: Pair, { name, key }: UserSpec): { client: ClientTunnel; notes: Notes } {
  const notes = new Notes();
  const start = clientStart([endpoint(LOOPBACK, pair.server.port)], {
    user: name,
    userKey: key.slice(),
  });
  const client = new ClientTunnel(pair.loop, start, pair.loop, notes);
  client.start();
  return { client, notes };
}

/** Sends a pattern to the server; what has arrived, as a function. */
function upload(pair: Pair, client: ClientTunnel, notes: Notes, total: number): () => number {
  const source = new Source(total);
  let got = 0;
  pair.atServer.opened = (session, stream) => {
    session.answer(stream, 0, ADDRESS);
    pair.server.wake(session);
  };
  const first = pair.atServer.sessions[0];
  pair.atServer.data = (session, _stream, bytes, at, length) => {
    if (first !== undefined && session !== first) return length;
    assert.ok(source.isRight(got, bytes, at, length));
    got += length;
    return length;
  };
  notes.writable = (session, stream) => {
    source.pump(session, stream);
    client.wake(session);
  };
  const session = client.session();
  source.pump(session, session.openStream(ADDRESS));
  client.wake(session);
  return () => got;
}

Deno.test("a stream over the rate waits at the client, and arrives whole", () => {
  const rate = 2e6;
  const total = 3e6;
  using pair = pairOf([user("u", 1, { upRate: rate })]);
  const got = upload(pair, pair.client, pair.atClient, total);
  const begin = performance.now();
  pair.until(() => pair.atServer.log.includes("ended 0"), 6000);
  const seconds = (performance.now() - begin) / 1000;
  assert.equal(got(), total);
  // A quarter of a second's worth comes at once.
  assert.ok(seconds > total / rate - 0.35, `${seconds} s`);
  assert.ok(seconds < 1.5 * total / rate, `${seconds} s`);
  const { overRate } = pair.server.pump.received;
  assert.equal(overRate, 0);
});

Deno.test("datagrams over the rate are dropped, and counted", () => {
  using pair = pairOf([user("u", 1, { upRate: 40_000 })]);
  let received = 0;
  pair.atServer.datagram = (_s, _a, _b, _at, _al, _d, length) => void (received += length);
  const session = pair.client.session();
  const bytes = new Uint8Array(1000);
  pair.greet();
  pair.until(() => pair.client.state === "open");
  for (let i = 0; i < 100; i++) {
    session.sendDatagram(1, ADDRESS, 0, ADDRESS.length, bytes, 0, bytes.length);
  }
  pair.client.wake(session);
  pair.run(200);
  assert.ok(received >= 9000 && received <= 22_000, `${received}`);
  const [own] = pair.atServer.sessions;
  assert.equal(own!.counters.datagramsOverRate, 100 - received / 1000);
});

Deno.test("the rate is that of all workers together", () => {
  const rate = 1e6;
  const accounts = accountMemory(1);
  const spec = user("u", 1, { downRate: rate });
  const make = (index: number) =>
    new Pair({
      server: { users: [spec], accounts, index, workers: 2 },
      client: { user: "u", userKey: spec.key.slice() },
      canTell: true,
    });
  using first = make(0);
  using second = make(1);
  const block = new Uint8Array(4 << 20);
  for (const pair of [first, second]) {
    pair.atServer.writable = (session, stream) => {
      session.write(stream, block, 0, block.length);
      pair.server.wake(session);
    };
    pair.atServer.opened = (session, stream) => {
      session.answer(stream, 0, ADDRESS);
      pair.atServer.writable(session, stream);
    };
    const session = pair.client.session();
    session.openStream(ADDRESS);
    pair.client.wake(session);
  }
  const begin = performance.now();
  let early = 0;
  let at = 0;
  while (performance.now() < begin + 1800) {
    for (const pair of [first, second]) pair.loop.round(0);
    if (early === 0 && performance.now() > begin + 800) {
      early = first.atClient.received + second.atClient.received;
      at = performance.now();
    }
  }
  const seconds = (performance.now() - at) / 1000;
  const speed = (first.atClient.received + second.atClient.received - early) / seconds;
  assert.ok(speed > 0.7 * rate && speed < 1.2 * rate, `${speed} bytes a second`);
});

Deno.test("who has used up their traffic is cut off, and let in again with more", () => {
  const alice = user("alice", 1, { trafficMax: 1e6, slot: 1 });
  const bob = user("bob", 2, { slot: 0 });
  using pair = pairOf([alice, bob]);
  const other = another(pair, bob);
  pair.greet();
  other.client.wake(other.client.session());
  pair.until(() => other.client.state === "open" && pair.client.state === "open");
  upload(pair, pair.client, pair.atClient, 3e6);
  const closed = () =>
    pair.atClient.log.filter((line) => line === `closed ${CloseCode.trafficUsedUp} peer`).length;
  pair.until(() => closed() === 1);
  assert.equal(other.client.state, "open");
  pair.greet();
  pair.until(() => closed() === 2);
  assert.equal(pair.client.counters.refusals, 1, "told, and not left in silence");
  assert.ok(pair.server.counters.usersRefused > 0);
  pair.server.setUsers([{ ...alice, trafficMax: 1e9 }, bob]);
  pair.greet();
  pair.until(() => pair.client.state === "open");
  assert.ok(pair.server.accountOf("alice")!.upBytes > 1e6);
  assert.equal(other.notes.log.filter((line) => line.startsWith("closed")).length, 0);
  other.client.stop();
});

Deno.test("traffic is cut off at its maximum, whatever sessions and workers carry it", () => {
  const trafficMax = 80e6;
  const over = Math.max(0.02 * trafficMax, 4 << 20);
  const accounts = accountMemory(1);
  const spec = user("u", 1, { trafficMax });
  const block = new Uint8Array(4 << 20);
  const make = (index: number) => {
    const pair = new Pair({
      server: { users: [spec], accounts, index, workers: 2 },
      client: { user: "u", userKey: spec.key.slice() },
      canTell: true,
    });
    pair.atServer.writable = (session, stream) => {
      session.write(stream, block, 0, block.length);
      pair.server.wake(session);
    };
    pair.atServer.opened = (session, stream) => {
      session.answer(stream, 0, ADDRESS);
      pair.atServer.writable(session, stream);
    };
    return pair;
  };
  using first = make(0);
  using second = make(1);
  const pairs = [first, second];
  const clients = [
    ...pairs.map(({ client, atClient }) => ({ client, notes: atClient })),
    ...pairs.map((pair) => another(pair, spec)),
  ];
  for (const { client } of clients) {
    const session = client.session();
    session.openStream(ADDRESS);
    client.wake(session);
  }
  const isCut = ({ notes }: { notes: Notes }) =>
    notes.log.includes(`closed ${CloseCode.trafficUsedUp} peer`);
  const began = performance.now();
  let [usedUpAt, steps] = [0, 0];
  while (!clients.every(isCut)) {
    assert.ok(performance.now() < began + 20_000, clients.map(({ notes }) => notes.log).join(" "));
    for (const pair of pairs) pair.loop.round(0);
    const { upBytes, downBytes } = usageOf(accounts, 0);
    if (upBytes + downBytes < trafficMax) steps++;
    else if (usedUpAt === 0) usedUpAt = performance.now();
  }
  const took = performance.now() - usedUpAt;
  assert.ok(took < 1000, `${took} ms`);
  assert.ok(steps > 10, "all of it came at once, and nothing was to be cut");
  for (let i = 0; i < 20; i++) for (const pair of pairs) pair.loop.round(20);
  const { upBytes, downBytes } = usageOf(accounts, 0);
  const beyond = upBytes + downBytes - trafficMax;
  assert.ok(beyond >= 0 && beyond <= over, `${beyond} bytes more than ${trafficMax}`);
  for (const { client } of clients.slice(pairs.length)) client.stop();
});

Deno.test("an account that expires takes its sessions with it", () => {
  let now = Date.now();
  using pair = pairOf([user("u", 1, { expiresAtMs: now + 5000 })], () => now);
  pair.greet();
  pair.until(() => pair.client.state === "open");
  pair.run(300);
  assert.equal(pair.client.state, "open");
  now += 5000;
  pair.until(() => pair.atClient.log.includes(`closed ${CloseCode.expired} peer`));
});

Deno.test("users are added, changed and removed while the others' sessions go on", () => {
  const alice = user("alice", 1);
  const bob = user("bob", 2);
  const accounts = accountMemory(4);
  using pair = new Pair({
    server: { users: [{ ...alice, slot: 0 }, { ...bob, slot: 1 }], accounts },
    client: { user: "alice", userKey: alice.key.slice() },
    canTell: true,
  });
  const second = another(pair, bob);
  const total = 60e6;
  const got = upload(pair, pair.client, pair.atClient, total);
  second.client.wake(second.client.session());
  pair.until(() => second.client.state === "open" && got() > 1e6);
  // A limit for alice at once, in the session that she has; bob goes, carol comes.
  const carol = user("carol", 3, { slot: 2 });
  const rate = 4e6;
  pair.server.setUsers([{ ...alice, slot: 0, upRate: rate }, carol]);
  pair.until(() => second.notes.log.includes(`closed ${CloseCode.denied} peer`));
  const before = got();
  pair.run(1000);
  const gained = got() - before;
  assert.ok(gained > 0.4 * rate && gained < 1.5 * rate, `${gained}`);
  const third = another(pair, carol);
  third.client.wake(third.client.session());
  pair.until(() => third.client.state === "open");
  // Without the limit again.
  pair.server.setUsers([{ ...alice, slot: 0 }, carol]);
  pair.until(() => got() === total, 10_000);
  assert.equal(pair.atServer.sessions.length, 3);
  assert.equal(pair.atClient.log.filter((line) => line.startsWith("closed")).length, 0);
  pair.until(() => usageOf(accounts, 0).upBytes > total);
  // A new key is a new login; what was used stays used.
  pair.server.setUsers([{ ...alice, slot: 0, key: new Uint8Array(32).fill(9) }, carol]);
  pair.until(() => pair.atClient.log.includes(`closed ${CloseCode.denied} peer`));
  assert.ok(pair.server.accountOf("alice")!.upBytes > total);
  assert.equal(third.client.state, "open");
  // And nobody but who has the psk.
  pair.server.setUsers([]);
  pair.until(() => third.notes.log.includes(`closed ${CloseCode.denied} peer`));
  for (const { client } of [second, third]) client.stop();
});

Deno.test("a user at sessions_max gets no more sessions, and one again when one has ended", () => {
  const alice = user("alice", 1, { sessionsMax: 1, slot: 0 });
  const bob = user("bob", 2, { slot: 1 });
  using pair = pairOf([alice, bob]);
  const begin = (spec: UserSpec) => {
    const { client, notes } = another(pair, spec);
    client.wake(client.session());
    return { client, notes };
  };
  const first = begin(alice);
  pair.until(() => first.client.state === "open");
  const second = begin(alice);
  pair.until(() => second.notes.log.includes(`closed ${CloseCode.tooManySessions} peer`));
  assert.equal(first.client.state, "open");
  const other = begin(bob);
  pair.until(() => other.client.state === "open");
  assert.equal(pair.server.accountOf("alice")!.sessions, 1);
  first.client.stop();
  pair.until(() => pair.server.accountOf("alice")!.sessions === 0);
  const third = begin(alice);
  pair.until(() => third.client.state === "open");
  for (const { client } of [second, other, third]) client.stop();
});

Deno.test("a user at their maximum of sessions is refused while they live, and told why", () => {
  const alice = user("alice", 1, { sessionsMax: 1 });
  using pair = pairOf([alice]);
  pair.greet();
  pair.until(() => pair.client.state === "open");
  const second = another(pair, alice);
  second.client.wake(second.client.session());
  pair.until(() => second.notes.log.includes(`closed ${CloseCode.tooManySessions} peer`), 8000);
  assert.equal(pair.client.state, "open");
  assert.equal(pair.server.gaveWay, 0);
  second.client.stop();
});

Deno.test("a session that shows no life gives its connections up to its user's next", () => {
  const alice = user("alice", 1);
  using pair = pairOf([alice]);
  pair.greet();
  pair.until(() => pair.client.state === "open" && pair.atServer.received === 5);
  const { server } = pair;
  assert.ok(server.outOfConnections("alice", 60_000), "it is looked at");
  assert.ok(!server.outOfConnections("alice", 0), "but not at each refusal");
  pair.run(1500);
  assert.equal(server.pump.peers.count, 1, "it has not been silent for long");
  pair.client.pump.close();
  pair.run(4000);
  assert.ok(server.outOfConnections("alice", 1000));
  pair.until(() => server.pump.peers.count === 0, 8000);
  assert.equal(server.gaveWay, 1);
});

Deno.test("where the table of sessions is full, who has most gives one up for another user", () => {
  const [alice, bob] = [user("alice", 1, { slot: 0 }), user("bob", 2, { slot: 1 })];
  using pair = new Pair({
    server: { users: [alice, bob], accounts: accountMemory(2), sessionsMax: 4 },
    canTell: true,
  });
  const begin = (spec: UserSpec) => {
    const made = another(pair, spec);
    made.client.wake(made.client.session());
    return made;
  };
  const refused = ({ notes }: { notes: Notes }) =>
    notes.log.includes(`closed ${CloseCode.tooManySessions} peer`);
  const hers = Array.from({ length: 4 }, () => begin(alice));
  pair.until(() => hers.every(({ client }) => client.state === "open"));
  pair.until(() => [...pair.server.pump.peers.all()].every(({ isConfirmed }) => isConfirmed));
  const fifth = begin(alice);
  pair.until(() => refused(fifth));
  const his = begin(bob);
  pair.until(() => his.client.state === "open");
  const sessions = (name: string) => pair.server.accountOf(name)!.sessions;
  assert.deepEqual([sessions("alice"), sessions("bob"), pair.server.pump.peers.count], [3, 1, 4]);
  // Two and two are fair shares: from then on nobody takes from the other.
  const second = begin(bob);
  pair.until(() => second.client.state === "open");
  const third = begin(bob);
  pair.until(() => refused(third));
  assert.deepEqual([sessions("alice"), sessions("bob")], [2, 2]);
  for (const { client } of [...hers, fifth, his, second, third]) client.stop();
});

Deno.test("HELLOs alone hold no place for long where there is no other", () => {
  const alice = user("alice", 1);
  using pair = new Pair({
    server: { users: [alice], sessionsMax: 1 },
    client: { user: "alice", userKey: alice.key.slice() },
    middle: {},
  });
  // Its ACCEPT is lost, and nothing more comes from it.
  pair.client.wake(pair.client.session());
  pair.until(() => {
    pair.middle.isCut = pair.server.pump.peers.count === 1;
    return pair.middle.isCut;
  });
  const { client, notes } = another(pair, alice);
  pair.until(() => {
    if (client.state === "idle" || client.state === "lost") client.wake(client.session());
    return client.state === "open";
  }, 10_000);
  assert.equal(pair.server.gaveWay, 1);
  assert.ok(notes.log.includes(`closed ${CloseCode.tooManySessions} peer`), "it had to ask again");
  client.stop();
});

Deno.test("a client that was killed is not locked out by its own session", () => {
  const alice = user("alice", 1, { sessionsMax: 1 });
  using pair = pairOf([alice]);
  pair.greet();
  pair.until(() => pair.client.state === "open" && pair.atServer.received === 5);
  // Without a word, and nobody has its port any more.
  pair.client.pump.close();
  const second = another(pair, alice);
  const session = second.client.session();
  session.write(session.openStream(ADDRESS), new Uint8Array(7), 0, 7);
  second.client.wake(session);
  pair.until(() => second.client.state === "open", 8000);
  assert.equal(pair.server.gaveWay, 1);
  // What its first HELLO asked for was not run, and is run once with the next.
  pair.until(() => pair.atServer.received === 5 + 7);
  assert.equal(second.client.session(), session);
  assert.equal(pair.server.pump.peers.count, 1);
  second.client.stop();
});

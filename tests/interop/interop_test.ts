/**
 * The server against a client that knows nothing but the protocol's page. One server process serves
 * all tests of this file; they run in this order, since some need it young and some need it old.
 */
import assert from "node:assert/strict";
import { hex, text, varint } from "./bytes.ts";
import { Client, NOT_RUN, type Options, type PacketEvent, Refused } from "./client.ts";
import type { Frame } from "./frames.ts";
import * as peers from "./peers.ts";
import { base64, delay, DoomedTarget, Probe, Server, TcpTarget, until, within } from "./peers.ts";
import type { ServerOptions } from "./peers.ts";
import { StreamReset } from "./stream.ts";
import * as wire from "./wire.ts";
import { CIPHER, WINDOW_MS } from "./wire.ts";

/** A server without its replay record holds 0-RTT frames back for so long. */
const COLD_MS = 90_000;
const SILENCE_MS = 1000;
/** As `deno task ok` sets it: without what waits for a server that is so old. */
const isQuick = Deno.env.get("PHANTOM_QUICK") === "1";

let server: Server;

Deno.test.beforeAll(async () => {
  server = await Server.run();
});
Deno.test.afterAll(() => server.end());

function test(name: string, body: () => Promise<void>, ignore = false): void {
  const options = { ignore, sanitizeOps: false, sanitizeResources: false };
  Deno.test({ name: `interop: ${name}`, fn: body, ...options });
}

/** Runs `body` with a client of the shared server, which the server has to treat by the page. */
async function withClient(
  more: Partial<Options>,
  body: (client: Client, events: PacketEvent[]) => Promise<void>,
): Promise<void> {
  const events: PacketEvent[] = [];
  const onPacket = (event: PacketEvent) => events.push(event);
  const client = await Client.connect({ ...server.options, onPacket, ...more });
  try {
    await body(client, events);
    assert.deepEqual(client.complaints, []);
  } finally {
    await client.close();
  }
}

async function withTarget(
  target: TcpTarget,
  body: (port: number, target: TcpTarget) => Promise<void>,
): Promise<void> {
  try {
    await body(target.port, target);
    assert.deepEqual(target.failures, []);
  } finally {
    target.stop();
  }
}

function framesOf(events: PacketEvent[], direction: "sent" | "received"): Frame[] {
  return events.filter((event) => event.direction === direction).flatMap((event) => event.frames);
}

function countOf(events: PacketEvent[], direction: "sent" | "received", kinds: number[]): number {
  const hits = events.filter((event) => event.direction === direction);
  return hits.filter((event) => kinds.includes(event.header.kind)).length;
}

function pattern(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

async function echoes(client: Client, port: number, message: string): Promise<void> {
  const stream = client.open("127.0.0.1", port);
  stream.write(text(message));
  const answer = await within(stream.readExactly(message.length), 5000, "echo");
  assert.equal(new TextDecoder().decode(answer), message);
  stream.finish();
  await within(stream.readAll(), 5000, "end of the echo");
}

/** Comes back with some time left in the window, so that window offsets stay what they are. */
async function steadyWindow(): Promise<void> {
  const into = Date.now() % WINDOW_MS;
  if (into > WINDOW_MS - 4000) await delay(WINDOW_MS - into + 100);
  else if (into < 100) await delay(100);
}

/** A HELLO with these options gets no answer of any kind. */
async function assertSilence(more: Partial<Options>, what: string): Promise<void> {
  const client = new Client({ ...server.options, ...more });
  try {
    await assert.rejects(client.handshake([SILENCE_MS]), /no answer/, what);
    assert.deepEqual(client.complaints, [], what);
  } finally {
    client.stop();
  }
}

async function assertNoPong(client: Client, packet: Uint8Array, id: bigint): Promise<void> {
  const pong = client.pong(id, 700);
  client.raw(packet);
  await assert.rejects(pong, /no PONG/);
}

test("a server just started holds 0-RTT frames back until the first DATA", async () => {
  assert.ok(Date.now() - server.startedAt < COLD_MS - 5000, "has to be the first test");
  await withTarget(peers.echoTarget(), async (port, target) => {
    const client = new Client({ ...server.options, quiet: true });
    try {
      const stream = client.open("127.0.0.1", port);
      stream.write(text("early"));
      await client.handshake();
      await delay(500);
      assert.equal(target.connections, 0);
      client.quiet = false;
      client.answer(client.challenges[0]);
      const answer = await within(stream.readExactly(5), 3000, "echo");
      assert.equal(hex(answer), hex(text("early")));
      assert.equal(target.connections, 1);
    } finally {
      await client.close();
    }
  });
});

test("handshake", () =>
  withClient({}, async (client, events) => {
    const [accept] = client.accepts;
    assert.ok(accept !== undefined);
    assert.equal(accept.version, 5);
    assert.equal(accept.flags, 0);
    assert.notEqual(accept.serverSession, 0);
    assert.ok(Math.abs(accept.timeMs - Date.now()) < 2000);
    assert.ok(accept.maxDatagram >= 1200, `max_datagram ${accept.maxDatagram}`);
    assert.ok(accept.idleS >= 10, `idle_s ${accept.idleS}`);
    assert.ok(accept.padding.length <= 255);
    assert.ok(await client.ping() < 1000);
    assert.equal(countOf(events, "sent", [1]), 1);
    assert.equal(countOf(events, "received", [2]), 1);
    assert.equal(client.challenges.length, 1);
  }));

/** Which of the offered ciphers the server chose. */
async function chosenOf(more: Partial<Options>): Promise<number | undefined> {
  let cipher: number | undefined;
  await withTarget(peers.echoTarget(), (port) =>
    withClient(more, async (client) => {
      cipher = client.cipher;
      await echoes(client, port, `cipher ${cipher}`);
      client.updateKey();
      await echoes(client, port, "after a key update");
    }));
  return cipher;
}

test("a cipher alone is chosen; of two, one; none named means ChaCha20-Poly1305", async () => {
  assert.equal(await chosenOf({ ciphers: CIPHER.chacha20 }), CIPHER.chacha20);
  assert.equal(await chosenOf({ ciphers: CIPHER.aes256 }), CIPHER.aes256);
  assert.ok(await chosenOf({ ciphers: 3 }));
  assert.ok(await chosenOf({ ciphers: 3 | CIPHER.avx512 }));
  // Bits of ciphers to come.
  assert.ok(await chosenOf({ ciphers: 0x7f }));
  assert.equal(await chosenOf({ parameters: new Uint8Array(0) }), CIPHER.chacha20);
});

test("parameters that nobody knows are skipped, in any order", async () => {
  const parameters = wire.parameterList([
    [16_383, text("later")],
    [2, varint(0x102)],
    [7, new Uint8Array(70)],
    [1, Uint8Array.of(CIPHER.aes256)],
    [2 ** 40, new Uint8Array(0)],
  ]);
  assert.equal(await chosenOf({ parameters }), CIPHER.aes256);
});

async function refusedWith(more: Partial<Options>): Promise<number | undefined> {
  const events: PacketEvent[] = [];
  const onPacket = (event: PacketEvent) => events.push(event);
  const client = new Client({ ...server.options, onPacket, ...more });
  try {
    const error = await client.handshake([SILENCE_MS]).then(() => undefined, (error) => error);
    assert.deepEqual(client.complaints, []);
    if (!(error instanceof Refused)) throw new Error(`not refused: ${error}`);
    const hello = events.find((event) => event.direction === "sent")!.bytes;
    for (let i = 0; i < 3; i++) client.raw(hello);
    await delay(300);
    assert.equal(client.accepts.length, 1, "a replay is answered");
    return error.code;
  } finally {
    client.stop();
  }
}

test("no cipher in common: refused, code 15", async () => {
  assert.equal(await refusedWith({ ciphers: 0x40 }), 15);
  assert.equal(await refusedWith({ ciphers: 0x80 }), 15);
  assert.equal(await refusedWith({ ciphers: 0 }), 15);
});

test("users that may not come in are told why, strangers are told nothing", async () => {
  const user = (name: string, settings: Record<string, unknown>) => {
    return { name, key: pattern(32, name.length * 7), settings };
  };
  const late = user("late", { expires: "2020-01-01" });
  const off = user("disabled", { enabled: false });
  await withServer({ users: [late, off] }, async () => {
    assert.equal(await refusedWith({ user: late }), 10);
    assert.equal(await refusedWith({ user: off }), 14);
    for (const name of ["late", "disabled", "nobody"]) {
      await assertSilence({ user: { name, key: pattern(32, 1) } }, name);
    }
  });
});

test("a log at INFO has a line a session event, no name that is visited, and no key", () => {
  const users = Array.from({ length: 20 }, (_, i) => {
    return { name: `user-${i}`, key: pattern(32, i + 1), settings: {} };
  });
  const visited = "a-private-matter.invalid";
  return withServer({ users }, () =>
    withTarget(peers.echoTarget(), async (port) => {
      const begun = server.log.trim().split("\n").length;
      for (const user of users) {
        await withClient({ user }, async (client) => {
          await echoes(client, port, "hello");
          const { code } = await within(client.open(visited, 80).opened, 5000, "OPENED");
          assert.notEqual(code, 0);
        });
      }
      const said = (words: string) => server.log.split(words).length - 1;
      await until(() => said("client gone") === users.length, 10_000, "all have gone");
      const lines = server.log.trim().split("\n").slice(begun);
      const others = lines.filter((line) => !/ client (in|gone) /.test(line));
      assert.deepEqual([said("client in"), others], [users.length, []]);
      const keys = [server.psk, ...users.map(({ key }) => key)];
      for (
        const secret of [visited, ...keys.flatMap((key) => [hex(key), base64(key)])]
      ) {
        assert.ok(!server.log.includes(secret));
      }
    }));
});

/** Runs `body` with a server of its own in place of the shared one. */
async function withServer(options: ServerOptions, body: () => Promise<void>): Promise<void> {
  const shared = server;
  server = await Server.run(options);
  try {
    await body();
  } finally {
    await server.end();
    server = shared;
  }
}

for (const [name, bit] of [["chacha20-poly1305", 1], ["aes-256-gcm", 2]] as const) {
  test(`a server that wants ${name} alone`, () =>
    withServer({ settings: { cipher: name } }, async () => {
      assert.equal(await chosenOf({ ciphers: 3 }), bit);
      assert.equal(await chosenOf({ ciphers: bit | CIPHER.avx512 }), bit);
      assert.equal(await refusedWith({ ciphers: 3 - bit }), 15);
    }));
}

test("sessions_max: one more is refused, and let in when one does not answer", () => {
  const user = { name: "one", key: pattern(32, 9), settings: { sessions_max: 1 } };
  return withServer({ users: [user] }, async () => {
    const first = await Client.connect({ ...server.options, user });
    const other = { ...server.options, user };
    await first.ping();
    await assert.rejects(Client.connect(other), (error) => {
      return error instanceof Refused && error.code === 12;
    });
    await first.ping();
    // Killed: it says nothing more, and is probed as soon as somebody wants its place.
    first.stop();
    const end = performance.now() + 5000;
    for (let isIn = false; !isIn;) {
      assert.ok(performance.now() < end, "the dead session keeps its place");
      const second = await Client.connect(other).catch(() => undefined);
      await second?.ping();
      await second?.close();
      isIn = second !== undefined;
    }
  });
});

test("the log says who comes, who goes and who may not, and nothing of what they visit", () => {
  const anna = { name: "anna", key: pattern(32, 11), settings: { connections_max: 1 } };
  const late = { name: "late", key: pattern(32, 12), settings: { expires: "2020-01-01" } };
  return withServer({ users: [anna, late] }, () =>
    withTarget(peers.echoTarget(), async (port) => {
      const client = await Client.connect({ ...server.options, user: anna });
      await client.ping();
      client.open("127.0.0.1", port).write(text("hello"));
      for (let i = 0; i < 20; i++) client.open("127.0.0.1", port);
      await client.ping();
      for (let i = 0; i < 3; i++) assert.equal(await refusedWith({ user: late }), 10);
      await client.close();
      const lines = (event: string) =>
        server.log.split("\n").filter((line) => line.includes(`event=${event}`));
      await until(() => lines("client_gone").length > 0, 10_000, "client_gone");
      assert.match(lines("client_in").join(), /user=anna from=127\.0\.0\.1:\d+ carrier=udp/);
      const gone = /user=anna from=\S+ in=(\d+) out=(\d+) seconds=\d+ why="the client stopped"/;
      const [, into, out] = gone.exec(lines("client_gone").join()) ?? [];
      assert.ok(Number(into) > 100 && Number(out) > 100, server.log);
      const limits = lines("user_limit").map((line) => /user=\S+|limit=.*"/g.exec(line)![0]);
      assert.deepEqual(limits.toSorted(), ["user=anna", "user=late"]);
      assert.ok(!server.log.includes(`:${port}`), "a target is told of");
    }));
});

test("traffic_max: CLOSE with code 11, and the next HELLO is refused with it", () => {
  const user = { name: "spent", key: pattern(32, 10), settings: { traffic_max: "300KiB" } };
  return withServer({ users: [user] }, () =>
    withTarget(peers.echoTarget(), async (port) => {
      const client = await Client.connect({ ...server.options, user });
      try {
        client.open("127.0.0.1", port).write(pattern(400_000, 3));
        const close = await within(client.closed, 10_000, "CLOSE");
        assert.equal(close.code, 11);
      } finally {
        client.stop();
      }
      assert.equal(await refusedWith({ user }), 11);
    }));
});

test("packet numbers of the server start at 0 and go up", () =>
  withClient({}, async (client, events) => {
    for (let i = 0; i < 5; i++) await client.ping();
    const came = events.filter((event) => event.direction === "received");
    const numbers = came.filter((event) => event.header.kind === 3).map((event) =>
      event.header.number
    );
    assert.equal(numbers[0], 0n);
    numbers.reduce((before, number) => {
      assert.ok(number > before, `${number} after ${before}`);
      return number;
    });
  }));

test("PING gets its PONG", () =>
  withClient({}, async (client) => {
    for (let i = 0; i < 3; i++) assert.ok(await client.ping() < 1000);
    const pong = client.pong(0xffff_ffff_ffff_ffffn);
    client.queue([{ type: "ping", id: 0xffff_ffff_ffff_ffffn }]);
    await pong;
  }));

test("a stream there and back", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      stream.write(text("hello"));
      const opened = await within(stream.opened, 3000, "OPENED");
      assert.equal(opened.code, 0);
      assert.equal(hex(await within(stream.readExactly(5), 3000, "echo")), hex(text("hello")));
      stream.finish();
      assert.equal((await within(stream.readAll(), 3000, "end")).length, 0);
    })));

test("several streams at a time", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({}, async (client) => {
      const names = Array.from({ length: 20 }, (_, i) => `stream number ${i}`);
      await Promise.all(names.map((name) => echoes(client, port, name)));
    })));

test("5 MB both ways through 5 % loss each way", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({ loss: 0.05 }, async (client) => {
      const data = pattern(5_000_000, 7);
      const stream = client.open("127.0.0.1", port);
      stream.write(data);
      stream.finish();
      const back = await within(stream.readAll(), 180_000, "5 MB");
      assert.equal(back.length, data.length);
      assert.equal(await peers.sha256(back), await peers.sha256(data));
      assert.ok(client.flight.retransmitted > 0, "no loss, no test");
    })));

test("half close by the client", () => {
  const target = new TcpTarget(async (connection) => {
    const digest = await peers.sha256(await peers.readToEnd(connection));
    await peers.writeAll(connection, text(digest));
    connection.close();
  });
  return withTarget(target, (port) =>
    withClient({}, async (client) => {
      const data = pattern(300_000, 8);
      const stream = client.open("127.0.0.1", port);
      stream.write(data);
      stream.finish();
      const answer = await within(stream.readAll(), 10_000, "digest");
      assert.equal(new TextDecoder().decode(answer), await peers.sha256(data));
    }));
});

test("half close by the target", () => {
  let got = "";
  const target = new TcpTarget(async (connection) => {
    await peers.writeAll(connection, text("bye"));
    await connection.closeWrite();
    got = new TextDecoder().decode(await peers.readToEnd(connection));
    connection.close();
  });
  return withTarget(target, (port) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      assert.equal(hex(await within(stream.readAll(), 3000, "bye")), hex(text("bye")));
      stream.write(text("and "));
      await delay(100);
      stream.write(text("still here"));
      stream.finish();
      await until(() => got !== "", 3000, "the target's end");
      assert.equal(got, "and still here");
    }));
});

test("RST by the client ends the target's connection", () => {
  let ended = false;
  const target = new TcpTarget(async (connection) => {
    try {
      await peers.readToEnd(connection);
    } catch {
      // A reset: what there is to see.
    }
    ended = true;
    connection.close();
  });
  return withTarget(target, (port) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      assert.equal((await within(stream.opened, 3000, "OPENED")).code, 0);
      stream.write(text("x"));
      await until(() => target.connections === 1, 3000, "connection");
      stream.reset(9);
      await until(() => ended, 3000, "end at the target");
      await client.ping();
    }));
});

test("a reset by the target comes as RST", async () => {
  const target = new DoomedTarget();
  try {
    await target.listening();
    await withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", target.port);
      stream.write(pattern(50_000, 3));
      await target.reading();
      await delay(200);
      await target.kill();
      await assert.rejects(within(stream.readAll(), 5000, "RST"), StreamReset);
      await client.ping();
    });
  } finally {
    await target.kill();
  }
});

test("a refused port: OPENED with code 1", () =>
  withClient({}, async (client) => {
    const { opened } = client.open("127.0.0.1", peers.closedPort());
    assert.equal((await within(opened, 5000, "OPENED")).code, 1);
  }));

test("a private address: OPENED with code 8", () =>
  withClient({}, async (client) => {
    for (const host of ["10.1.2.3", "192.168.7.7", "169.254.169.254"]) {
      const opened = await within(client.open(host, 80).opened, 5000, `OPENED of ${host}`);
      assert.equal(opened.code, 8, host);
    }
  }));

test("an unknown name: OPENED with code 3", () =>
  withClient({}, async (client) => {
    const opened = client.open("no-such-host.invalid", 80).opened;
    assert.equal((await within(opened, 15_000, "OPENED")).code, 3);
  }));

test("the server keeps to MAX_STREAM while nobody reads", () => {
  const data = pattern(3_000_000, 5);
  const target = new TcpTarget(async (connection) => {
    await peers.writeAll(connection, data);
    connection.close();
  });
  return withTarget(target, (port) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      await until(() => stream.highest === 2 ** 20, 10_000, "a full window");
      await delay(500);
      assert.equal(stream.highest, 2 ** 20);
      const got = await within(stream.readAll(), 30_000, "3 MB");
      assert.equal(await peers.sha256(got), await peers.sha256(data));
    }));
});

test("datagrams to a UDP echo, over two associations", async () => {
  const target = await peers.UdpEcho.run();
  try {
    await withClient({}, async (client) => {
      const ports: string[] = [];
      for (const assoc of [0, 1, 0]) {
        client.datagram(assoc, "127.0.0.1", target.port, text(`assoc ${assoc}`));
        const answer = await client.receiveDatagram(assoc);
        assert.ok(answer !== undefined, `no answer for association ${assoc}`);
        assert.equal(answer.host, "127.0.0.1");
        assert.equal(answer.port, target.port);
        const [port = "", body] = new TextDecoder().decode(answer.data).split(":");
        assert.equal(body, `assoc ${assoc}`);
        ports.push(port);
      }
      assert.equal(ports[0], ports[2]);
      assert.notEqual(ports[0], ports[1]);
      client.queue([{ type: "assoc_end", assoc: 0 }]);
      client.datagram(1, "127.0.0.1", target.port, text("still"));
      assert.ok(await client.receiveDatagram(1) !== undefined);
    });
  } finally {
    target.stop();
  }
});

test("key update by the client; the old key holds for three seconds", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({}, async (client, events) => {
      const stream = client.open("127.0.0.1", port);
      stream.write(text("one"));
      assert.equal(hex(await within(stream.readExactly(3), 3000, "one")), hex(text("one")));
      // Two packets that the network holds back while the key is updated.
      const [soon, late] = [901n, 902n].map((id) => client.seal([{ type: "ping", id }]));
      assert.ok(soon !== undefined && late !== undefined);
      client.updateKey();
      stream.write(text("two"));
      assert.equal(hex(await within(stream.readExactly(3), 3000, "two")), hex(text("two")));
      assert.ok(countOf(events, "sent", [5]) > 0);
      await delay(1500);
      const pong = client.pong(901n);
      client.raw(soon);
      await pong;
      await delay(2500);
      await assertNoPong(client, late, 902n);
      await client.ping();
      client.updateKey();
      stream.write(text("three"));
      assert.equal(hex(await within(stream.readExactly(5), 3000, "three")), hex(text("three")));
      await echoes(client, port, "a new stream under the third key");
    })));

test("a HELLO replayed byte for byte: silence", () =>
  withClient({}, async (client, events) => {
    const hello = events.find((event) => event.header.kind === 1)?.bytes;
    assert.ok(hello !== undefined);
    await client.ping();
    const probe = new Probe();
    try {
      for (let i = 0; i < 3; i++) probe.send(server, hello);
      client.raw(hello);
      await delay(SILENCE_MS);
      assert.equal(probe.answers, 0);
      assert.equal(client.accepts.length, 1);
      await client.ping();
    } finally {
      probe.stop();
    }
  }));

test("a DATA packet replayed: ignored, also from another address", () =>
  withClient({}, async (client, events) => {
    const id = 77n;
    const packet = client.seal([{ type: "ping", id }]);
    const pong = client.pong(id);
    client.raw(packet);
    await pong;
    const probe = new Probe();
    try {
      for (let i = 0; i < 3; i++) {
        client.raw(packet);
        probe.send(server, packet);
      }
      await delay(SILENCE_MS);
      assert.equal(probe.answers, 0);
    } finally {
      probe.stop();
    }
    const pongs = framesOf(events, "received").filter((frame) =>
      frame.type === "pong" && frame.id === id
    );
    assert.equal(pongs.length, 1);
    await client.ping();
  }));

test("DATA packets out of order are taken once each", async () => {
  const target = await peers.UdpEcho.run();
  try {
    await withClient({}, async (client) => {
      const address = { host: "127.0.0.1", port: target.port };
      const packets = ["a", "b", "c"].map((letter) =>
        client.seal([{ type: "datagram", assoc: 0, address, data: text(letter) }])
      );
      for (const packet of [...packets, ...packets].reverse()) client.raw(packet);
      let got = "";
      for (let i = 0; i < 3; i++) {
        const answer = await client.receiveDatagram(0);
        got += new TextDecoder().decode(answer?.data).slice(-1);
      }
      assert.equal([...got].sort().join(""), "abc");
      assert.equal(await client.receiveDatagram(0, 300), undefined);
    });
  } finally {
    target.stop();
  }
});

test("PINGs in one burst, and in one packet: to each its PONG", () =>
  withClient({}, async (client) => {
    const ids = [201n, 202n, 203n, 204n];
    const pongs = Promise.all(ids.map((id) => client.pong(id)));
    const [a = 0n, b = 0n, c = 0n, d = 0n] = ids;
    const pings = [[a], [b], [c, d]].map((some) =>
      client.seal(some.map((id) => ({ type: "ping", id })))
    );
    for (const packet of pings) client.raw(packet);
    await pongs;
  }));

test("a packet 8160 numbers behind the highest is still taken, once", () =>
  withClient({}, async (client) => {
    const behind = client.seal([{ type: "ping", id: 210n }]);
    // Some room: the client may send an ACK or two in between.
    client.skipNumbers(8160);
    await client.ping();
    const pong = client.pong(210n);
    client.raw(behind);
    await pong;
    await assertNoPong(client, behind, 210n);
  }));

test("STREAM and FIN that overtake their OPEN", () =>
  withTarget(peers.echoTarget(), (port, target) =>
    withClient({}, async (client) => {
      client.raw(client.seal([{ type: "fin", stream: 0, final: 9 }]));
      client.raw(client.seal([{ type: "stream", stream: 0, offset: 4, data: text("taken") }]));
      client.raw(client.seal([{ type: "stream", stream: 0, offset: 0, data: text("over") }]));
      await delay(50);
      const stream = client.open("127.0.0.1", port);
      const answer = await within(stream.readAll(), 3000, "echo");
      assert.equal(new TextDecoder().decode(answer), "overtaken");
      assert.equal(target.connections, 1);
    })));

test("an OPEN sent twice opens once", () =>
  withTarget(peers.echoTarget(), (port, target) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      const address = { host: "127.0.0.1", port };
      client.queue([{ type: "open", stream: 0, kind: 1, address }]);
      assert.equal((await within(stream.opened, 3000, "OPENED")).code, 0);
      client.queue([{ type: "open", stream: 0, kind: 1, address }]);
      await client.ping();
      stream.write(text("x"));
      await within(stream.readExactly(1), 3000, "echo");
      assert.equal(target.connections, 1);
    })));

test("junk: silence", async () => {
  await steadyWindow();
  await withClient({}, async (client, events) => {
    const hello = new Client(server.options);
    const probe = new Probe();
    try {
      for (const length of [0, 1, 15, 16, 31, 32, 33, 40, 48, 64, 100, 500, 1200, 1472]) {
        probe.send(server, pattern(length, length + 1));
      }
      const whole = hello.hello();
      for (const length of [1, 16, 31, 32, 40, 55, 56, 90, whole.length - 1]) {
        probe.send(server, whole.subarray(0, length));
      }
      const flipped = whole.slice();
      flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1;
      probe.send(server, flipped);
      const data = client.seal([{ type: "ping", id: 300n }]);
      for (const length of [16, 31, 32, data.length - 1]) {
        probe.send(server, data.subarray(0, length));
      }
      await delay(SILENCE_MS);
      assert.equal(probe.answers, 0);
      for (const windowOffset of [-2, 2]) {
        const packet = client.seal([{ type: "ping", id: 301n }], { windowOffset });
        await assertNoPong(client, packet, 301n);
      }
      await client.ping();
      assert.equal(countOf(events, "received", [4]), 0);
    } finally {
      hello.stop();
      probe.stop();
    }
  });
});

test("HELLO and DATA under the windows before and after: answered", async () => {
  await steadyWindow();
  for (const windowOffset of [-1, 1]) {
    await withClient({ windowOffset }, async (client) => {
      const id = 400n;
      const pong = client.pong(id);
      client.raw(client.seal([{ type: "ping", id }], { windowOffset }));
      await pong;
    });
  }
});

test("HELLO with the wrong PSK, version, time or window: silence", async () => {
  await steadyWindow();
  await Promise.all([
    assertSilence({ psk: pattern(32, 99) }, "another PSK"),
    assertSilence({ version: 4 }, "version 4"),
    assertSilence({ version: 6 }, "version 6"),
    assertSilence({ flags: 1 }, "flags 1"),
    assertSilence({ headerSession: 1 }, "a session in the header"),
    assertSilence({ parameters: Uint8Array.of(1, 1) }, "parameters cut short"),
    assertSilence({ parameters: Uint8Array.of(1, 1, 3, 1, 1, 3) }, "a parameter twice"),
    assertSilence({ parameters: Uint8Array.of(1, 2, 3, 3) }, "two bytes of ciphers"),
    assertSilence({ timeOffsetMs: 40_000 }, "40 s ahead"),
    assertSilence({ timeOffsetMs: -40_000 }, "40 s behind"),
    assertSilence({ clientSession: 0 }, "client_session 0"),
    assertSilence({ clientPublic: new Uint8Array(32) }, "an all-zero public key"),
    assertSilence({ windowOffset: 2 }, "window w+2"),
    assertSilence({ windowOffset: -2 }, "window w-2"),
    assertSilence({ user: { name: "nobody", key: pattern(32, 98) } }, "an unknown user"),
  ]);
  await withClient({ timeOffsetMs: 20_000 }, async (client) => {
    await client.ping();
  });
});

test("named users: each with a key of their own", async () => {
  const alice = { name: "alice", key: pattern(32, 21) };
  const bob = { name: "bob", key: pattern(32, 22) };
  await withServer({ users: [alice, bob] }, async () => {
    await withTarget(peers.echoTarget(), async (port) => {
      await withClient({ user: alice }, (client) => echoes(client, port, "alice"));
      await withClient({ user: bob }, (client) => echoes(client, port, "bob"));
    });
    await assertSilence({ user: { name: "alice", key: bob.key } }, "bob's key");
    await assertSilence({ user: { name: "carol", key: alice.key } }, "an unknown name");
    await assertSilence({}, "the PSK alone");
  });
});

test("a HELLO with a fresh salt: the same session until its first DATA, then silence", async () => {
  await withTarget(peers.echoTarget(), async (port, target) => {
    const client = new Client({ ...server.options, quiet: true });
    try {
      const stream = client.open("127.0.0.1", port);
      stream.write(text("once"));
      client.raw(client.hello());
      await client.handshake();
      client.raw(client.hello());
      await until(() => client.accepts.length >= 3, 3000, "three ACCEPTs");
      const sessions = client.accepts.map((accept) => accept.serverSession);
      assert.equal(new Set(sessions).size, 1);
      const publics = client.accepts.map((accept) => hex(accept.serverPublic));
      assert.equal(new Set(publics).size, 1);
      assert.equal(new Set(client.accepts.map((accept) => hex(accept.resetToken))).size, 1);
      assert.equal(new Set(client.accepts.map((accept) => hex(accept.parameters))).size, 1);
      assert.equal(new Set(client.accepts.map((accept) => accept.flags)).size, 1);
      client.quiet = false;
      client.answer(client.challenges[1]);
      assert.equal(hex(await within(stream.readExactly(4), 3000, "echo")), hex(text("once")));
      for (let i = 0; i < 3; i++) client.raw(client.hello());
      await delay(SILENCE_MS);
      assert.equal(client.accepts.length, 3);
      assert.equal(target.connections, 1);
      stream.finish();
      assert.equal((await within(stream.readAll(), 3000, "end")).length, 0);
      assert.deepEqual(client.complaints, []);
    } finally {
      await client.close();
    }
  });
});

test("a packet sent back to its sender: silence", () =>
  withClient({}, async (client, events) => {
    for (let i = 0; i < 20; i++) await client.ping();
    const probe = new Probe();
    try {
      const came = events.filter((event) => event.direction === "received");
      assert.ok(came.length >= 20);
      for (const { bytes } of came) probe.send(server, bytes);
      for (const { bytes } of came) client.raw(bytes);
      await delay(SILENCE_MS);
      assert.equal(probe.answers, 0);
      assert.equal(countOf(events, "received", [4]), 0);
      await client.ping();
    } finally {
      probe.stop();
    }
  }));

test("DATA for ids that the server did not give out: silence", () =>
  withClient({}, async (client) => {
    const own = client.accepts[0]?.serverSession ?? 0;
    const probe = new Probe();
    try {
      for (let i = 0; i < 48; i++) {
        const session = own + (Math.floor(own / 2 ** i) % 2 === 0 ? 2 ** i : -(2 ** i));
        probe.send(server, client.seal([{ type: "ping", id: 1n }], { session }));
        await delay(20);
      }
      await delay(SILENCE_MS);
      assert.equal(probe.answers, 0);
    } finally {
      probe.stop();
    }
  }));

test("the client's port changes: the session goes on after PATH_CHALLENGE", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({}, async (client, events) => {
      const stream = client.open("127.0.0.1", port);
      for (let i = 0; i < 3; i++) {
        const before = events.length;
        const data = pattern(100_000, i);
        stream.write(data);
        const back = await within(stream.readExactly(data.length), 10_000, `echo ${i}`);
        assert.equal(await peers.sha256(back), await peers.sha256(data));
        const fresh = framesOf(events.slice(before), "received");
        const challenged = fresh.some((frame) => frame.type === "path_challenge");
        assert.equal(challenged, i > 0, `PATH_CHALLENGE in round ${i}`);
        client.rebind();
      }
    })));

test("the client's port changes between workers that nothing steers to: the session goes on", () =>
  withServer(
    { settings: { workers: 3 } },
    () =>
      withTarget(peers.echoTarget(), (port) =>
        withClient({}, async (client) => {
          const stream = client.open("127.0.0.1", port);
          // That all of them hit the same worker is 1 in 3^9.
          for (let i = 0; i < 10; i++) {
            const data = pattern(300_000, i);
            stream.write(data);
            const back = await within(stream.readExactly(data.length), 10_000, `echo ${i}`);
            assert.equal(await peers.sha256(back), await peers.sha256(data));
            client.rebind();
          }
        })),
  ));

test("before PATH_RESPONSE at most three times the bytes go to a new path", async () => {
  const data = pattern(500_000, 4);
  let begin = () => {};
  const begun = new Promise<void>((done) => begin = done);
  const target = new TcpTarget(async (connection) => {
    await begun;
    await peers.writeAll(connection, data);
    connection.close();
  });
  await withTarget(target, (port) =>
    withClient({}, async (client) => {
      const stream = client.open("127.0.0.1", port);
      assert.equal((await within(stream.opened, 3000, "OPENED")).code, 0);
      // From here on nothing comes from the client but one packet from a strange port.
      const probe = new Probe();
      try {
        const packet = client.seal([{ type: "ping", id: 500n }]);
        probe.send(server, packet);
        await delay(50);
        begin();
        await delay(SILENCE_MS);
        assert.ok(probe.bytes > 0, "no PATH_CHALLENGE");
        assert.ok(probe.bytes <= 3 * packet.length, `${probe.bytes} to ${packet.length}`);
      } finally {
        probe.stop();
      }
      const got = await within(stream.readAll(), 20_000, "the data, on the old path");
      assert.equal(await peers.sha256(got), await peers.sha256(data));
    }));
});

async function assertCloses(bad: Frame[][], prepare?: (client: Client) => void): Promise<void> {
  await withClient({}, async (client) => {
    prepare?.(client);
    await client.ping();
    for (const frames of bad) client.raw(client.seal(frames));
    await within(client.closed, 3000, "CLOSE");
  });
}

test("a frame unknown or cut short: CLOSE", async () => {
  await assertCloses([[{ type: "raw", bytes: Uint8Array.of(0x3f) }]]);
  await assertCloses([[{ type: "raw", bytes: Uint8Array.of(0x11) }]]);
  await assertCloses([[{ type: "raw", bytes: Uint8Array.of(0x01, 1, 2, 3) }]]);
  await assertCloses([[{ type: "raw", bytes: Uint8Array.of(0x06, 0x00, 0x00, 0x05, 1) }]]);
});

test("a byte over MAX_STREAM: CLOSE", () =>
  withTarget(peers.echoTarget(), async (port) => {
    const data = text("x");
    await assertCloses(
      [[{ type: "stream", stream: 0, offset: 2 ** 20, data }]],
      (client) => client.open("127.0.0.1", port),
    );
  }));

test("a byte over MAX_DATA: CLOSE", () =>
  withTarget(peers.echoTarget(), async (port) => {
    const data = text("x");
    const frames: Frame[][] = [];
    for (let stream = 0; stream < 17; stream++) {
      frames.push([{ type: "stream", stream, offset: 2 ** 20 - 1, data }]);
    }
    await assertCloses(frames, (client) => {
      for (let i = 0; i < 17; i++) client.open("127.0.0.1", port);
    });
  }));

test("the last byte that flow control allows is taken", () =>
  withTarget(peers.echoTarget(), (port) =>
    withClient({}, async (client) => {
      client.open("127.0.0.1", port);
      const data = text("x");
      client.queue([{ type: "stream", stream: 0, offset: 2 ** 20 - 1, data }]);
      await client.ping();
      await client.ping();
    })));

test("CLOSE by the client ends the session", async () => {
  const client = await Client.connect(server.options);
  try {
    client.raw(client.seal([{ type: "close", code: 0, reason: "done" }]));
    await delay(100);
    await assert.rejects(client.ping(700), /no PONG/);
  } finally {
    client.stop();
  }
});

test("0-RTT: the answer's first byte after one flight of the client", async () => {
  const age = Date.now() - server.startedAt;
  await withClient({}, async (client) => {
    if (age < COLD_MS + 2000) await delay(COLD_MS + 2000 - age);
    // A session that saw three windows go by.
    await client.ping();
  });
  await withTarget(peers.echoTarget(), async (port, target) => {
    const events: PacketEvent[] = [];
    const onPacket = (event: PacketEvent) => events.push(event);
    const client = new Client({ ...server.options, quiet: true, onPacket });
    try {
      const stream = client.open("127.0.0.1", port);
      stream.write(text("GET /"));
      await client.handshake();
      assert.equal(hex(await within(stream.readExactly(5), 3000, "echo")), hex(text("GET /")));
      const answer = events.findIndex((event) =>
        event.direction === "received" && event.frames.some((frame) => frame.type === "stream")
      );
      const flights = events.slice(0, answer).filter((event) => event.direction === "sent");
      assert.equal(flights.length, 1);
      assert.equal(flights[0]?.header.kind, 1);
      client.raw(client.hello());
      await until(() => client.accepts.length >= 2, 3000, "a second ACCEPT");
      await delay(300);
      assert.equal(target.connections, 1);
      assert.deepEqual(client.complaints, []);
    } finally {
      await client.close();
    }
  });
}, isQuick);

test("a clean restart: 0-RTT from the first HELLO, a HELLO of before is not run", async () => {
  await withTarget(peers.echoTarget(), async (port, target) => {
    const before = new Client({ ...server.options, quiet: true });
    try {
      before.open("127.0.0.1", port).write(text("once"));
      await before.handshake();
      const again = before.hello();
      await until(() => target.connections === 1, 3000, "the connection");
      await server.kill("SIGTERM");
      await server.start();
      before.raw(again);
      await until(() => before.accepts.length === 2, 3000, "a second ACCEPT");
      assert.equal(before.accepts[1]?.flags, wire.FLAG.framesNotRun);
      assert.notEqual(before.accepts[1]?.serverSession, before.accepts[0]?.serverSession);
      await delay(300);
      assert.equal(target.connections, 1);
      const fresh = new Client({ ...server.options, quiet: true });
      try {
        const stream = fresh.open("127.0.0.1", port);
        stream.write(text("0-RTT"));
        await fresh.handshake();
        assert.equal(hex(await within(stream.readExactly(5), 3000, "echo")), hex(text("0-RTT")));
      } finally {
        await fresh.close();
      }
    } finally {
      before.stop();
    }
  });
}, isQuick);

test("a HELLO from before the restart whose first answer got lost: its streams fail", async () => {
  const events: PacketEvent[] = [];
  const onPacket = (event: PacketEvent) => events.push(event);
  // Another client says the HELLO in its stead, so that it sees no first ACCEPT.
  const client = new Client({ ...server.options, onPacket });
  const probe = new Probe();
  try {
    const stream = client.open("127.0.0.1", peers.closedPort());
    // A datagram may get lost: as a client does, it says HELLO again.
    for (let i = 0; i < 3 && probe.answers === 0; i++) {
      probe.send(server, client.hello());
      await until(() => probe.answers > 0, 1000, "an ACCEPT").catch(() => {});
    }
    assert.ok(probe.answers > 0, "no ACCEPT");
    await server.kill("SIGTERM");
    await server.start();
    await client.handshake();
    assert.equal(client.accepts[0]?.flags, wire.FLAG.framesNotRun);
    assert.equal(stream.resetCode, NOT_RUN);
    await client.ping();
    await withTarget(peers.echoTarget(), (port) => echoes(client, port, "the next stream"));
    assert.deepEqual(client.complaints, []);
  } finally {
    probe.stop();
    await client.close();
  }
});

test("the server restarts: RESET with the token of its ACCEPT, then a new session", async () => {
  const events: PacketEvent[] = [];
  const onPacket = (event: PacketEvent) => events.push(event);
  const client = await Client.connect({ ...server.options, onPacket });
  try {
    await client.ping();
    await server.kill();
    await server.start();
    for (let i = 0; i < 5; i++) client.raw(client.seal([{ type: "ping", id: 600n }]));
    const reset = await within(client.reset, 5000, "RESET");
    assert.equal(reset.session, client.accepts[0]?.serverSession);
    assert.ok(Math.abs(reset.timeMs - Date.now()) < 2000);
    for (let i = 0; i < 5; i++) client.raw(client.seal([{ type: "ping", id: 600n }]));
    await delay(300);
    assert.equal(countOf(events, "received", [4]), 1, "one RESET a second");
    assert.deepEqual(client.complaints, []);
  } finally {
    client.stop();
  }
  await withTarget(
    peers.echoTarget(),
    (port) => withClient({}, (again) => echoes(again, port, "after the restart")),
  );
});

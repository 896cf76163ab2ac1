import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { testNative } from "../../tests/native.ts";
import { concat, echo, type FakeOptions, FakeTunnel } from "../../tests/fixtures/fake_tunnel.ts";
import { endpoint } from "../../ffi/endpoint.ts";
import { CONNECTIONS_MAX, GREETING_MS } from "./context.ts";
import { wordsOf } from "../proxy/outcome.ts";
import { UNHEARD_BYTES_MAX } from "./said.ts";
import { Inbounds } from "./inbounds.ts";
import { Loop } from "../loop/loop.ts";
import type { InboundSpec } from "./spec.ts";

const native = testNative();
const hostname = "127.0.0.1";
const loop4 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1);
const listen = endpoint(loop4, 0);
const mixed: InboundSpec = { kind: "mixed", listen };
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const utf8 = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(value);
const bytesOf = (...values: number[]): Uint8Array<ArrayBuffer> => Uint8Array.from(values);

const GREETING = bytesOf(5, 1, 0);
/** CONNECT to t.example:80. */
const CONNECT = bytesOf(5, 1, 0, 3, 9, ...utf8("t.example"), 0, 80);
const OK_REPLY = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

interface Bench {
  readonly loop: Loop;
  readonly tunnel: FakeTunnel;
  readonly inbounds: Inbounds;
  readonly port: number;
  connect(): Promise<Deno.TcpConn>;
}

/** Runs a test beside the loop, which turns while the test waits. */
async function bench(
  specs: InboundSpec | readonly InboundSpec[],
  options: FakeOptions,
  test: (bench: Bench) => Promise<void>,
): Promise<void> {
  const loop = new Loop(native);
  const tunnel = new FakeTunnel(loop, options);
  const list = Array.isArray(specs) ? specs : [specs];
  const inbounds = new Inbounds(loop, list, tunnel);
  tunnel.events = inbounds;
  inbounds.start();
  const port = inbounds.ports[0]!;
  const conns: Deno.TcpConn[] = [];
  const connect = async (): Promise<Deno.TcpConn> => {
    const conn = await Deno.connect({ hostname, port });
    conns.push(conn);
    return conn;
  };
  let isRunning = true;
  const turning = (async () => {
    while (isRunning) {
      loop.round(0);
      await sleep(0);
    }
  })();
  try {
    await test({ loop, tunnel, inbounds, port, connect });
  } finally {
    isRunning = false;
    await turning;
    for (const conn of conns) closeQuietly(conn);
    inbounds.stop();
    assert.equal(inbounds.context.live.size, 0);
    assert.equal(inbounds.context.associations.count, 0);
    assert.equal(inbounds.context.splicer.held, 0);
    loop.close();
  }
}

function closeQuietly(conn: { close(): void }): void {
  try {
    conn.close();
  } catch {
    // Closed by the test.
  }
}

async function send(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

async function read(conn: Deno.Conn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const count = await conn.read(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

async function readAll(conn: Deno.Conn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of conn.readable) parts.push(part);
  return concat(parts);
}

async function until(condition: () => boolean, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    assert.ok(Date.now() < end, "waited too long");
    await sleep(1);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): void {
  assert.equal(a.length, b.length);
  assert.ok(a.every((byte, i) => byte === b[i]));
}

Deno.test("SOCKS5 CONNECT, in one piece, with early data at once", async () => {
  // Answered late: what follows the request has to be at the server before.
  let isOpen = false;
  const answer = () => isOpen ? 0 : undefined;
  await bench(mixed, { answer }, async ({ connect, tunnel, inbounds }) => {
    const conn = await connect();
    await send(conn, concat([GREETING, CONNECT, utf8("hello")]));
    assert.deepEqual([...await read(conn, 2)], [5, 0]);
    await until(() => tunnel.current?.streams.get(0)?.upBytes === 5);
    assert.equal(tunnel.current!.streams.get(0)!.target, "t.example:80");
    await send(conn, utf8(", world"));
    await until(() => tunnel.current?.streams.get(0)?.upBytes === 12);
    isOpen = true;
    tunnel.wake(tunnel.session());
    assert.deepEqual([...await read(conn, 10)], OK_REPLY.slice(2));
    assert.equal(text(await read(conn, 12)), "hello, world");
    conn.closeWrite();
    assert.equal((await readAll(conn)).length, 0);
    await until(() => inbounds.context.live.size === 0);
    assert.equal(inbounds.context.streams.count, 0);
  });
});

/** Ports that are free at the moment. */
function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname, port: 0 }));
  const ports = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}

Deno.test("replaced inbounds: what stays goes on, and so do connections", async () => {
  const [a, b, c] = freePorts(3) as [number, number, number];
  const at = (port: number) => endpoint(loop4, port);
  const specs: InboundSpec[] = [{ kind: "mixed", listen: at(a) }, {
    kind: "socks5",
    listen: at(b),
  }];
  await bench(specs, {}, async ({ inbounds, connect }) => {
    const before = await connect();
    await send(before, concat([GREETING, CONNECT, utf8("one")]));
    await read(before, OK_REPLY.length);
    assert.equal(text(await read(before, 3)), "one");

    const users = [{ name: "u", password: "p" }];
    inbounds.replace([{ kind: "http", listen: at(c) }, { kind: "mixed", listen: at(a), users }]);
    assert.deepEqual(inbounds.ports, [c, a]);
    await assert.rejects(Deno.connect({ hostname, port: b }), Deno.errors.ConnectionRefused);
    (await Deno.connect({ hostname, port: c })).close();
    // It stayed, with its users: without a password nobody comes in any more.
    const after = await connect();
    await send(after, GREETING);
    assert.deepEqual([...await read(after, 2)], [5, 0xff]);
    await send(before, utf8("two"));
    assert.equal(text(await read(before, 3)), "two");
  });
});

Deno.test("inbounds that can't be bound leave all as it was", async () => {
  const [a] = freePorts(1) as [number];
  using taken = Deno.listen({ hostname, port: 0 });
  const at = (port: number) => endpoint(loop4, port);
  const busy = at((taken.addr as Deno.NetAddr).port);
  await bench([{ kind: "mixed", listen: at(a) }], {}, async ({ inbounds, connect }) => {
    const wrong: InboundSpec[][] = [
      [{ kind: "http", listen: busy }],
      [{ kind: "http", listen: at(a) }, { kind: "http", listen: busy }],
      [{ kind: "tcp", listen: at(a), target: "nowhere" }],
    ];
    for (const specs of wrong) assert.throws(() => inbounds.replace(specs));
    assert.deepEqual(inbounds.ports, [a]);
    const conn = await connect();
    await send(conn, concat([GREETING, CONNECT, utf8("hello")]));
    await read(conn, OK_REPLY.length);
    assert.equal(text(await read(conn, 5)), "hello");
  });
});

Deno.test("SOCKS5 CONNECT byte by byte", async () => {
  await bench({ kind: "socks5", listen }, {}, async ({ connect }) => {
    const conn = await connect();
    for (const byte of concat([GREETING, CONNECT, utf8("x")])) {
      await send(conn, bytesOf(byte));
      await sleep(1);
    }
    assert.deepEqual([...await read(conn, 13)], [...OK_REPLY, 0x78]);
  });
});

Deno.test("SOCKS5 with a password", async () => {
  const users = [{ name: "ann", password: "secret" }];
  await bench({ ...mixed, users }, {}, async ({ connect, inbounds }) => {
    const auth = (password: string): Uint8Array =>
      concat([bytesOf(1, 3), utf8("ann"), bytesOf(password.length), utf8(password)]);
    const good = await connect();
    await send(good, concat([bytesOf(5, 1, 2), auth("secret"), CONNECT, utf8("x")]));
    assert.deepEqual([...await read(good, 15)], [5, 2, 1, 0, ...OK_REPLY.slice(2), 0x78]);
    const bad = await connect();
    await send(bad, concat([bytesOf(5, 1, 2), auth("wrong")]));
    assert.deepEqual([...await readAll(bad)], [5, 2, 1, 1]);
    const none = await connect();
    await send(none, GREETING);
    assert.deepEqual([...await readAll(none)], [5, 0xff]);
    assert.equal(inbounds.counters.requestsRefused, 2);
  });
});

Deno.test("what the server says of a target becomes the proxy's reply", async () => {
  const codes = [
    ...[[1, 5, 502], [2, 3, 502], [3, 4, 502], [4, 2, 403], [5, 6, 504], [6, 1, 503]],
    ...[[7, 1, 504], [8, 2, 403], [9, 2, 403]],
  ];
  for (const [code, reply, status] of codes) {
    const answer = () => code;
    await bench(mixed, { answer }, async ({ connect, inbounds }) => {
      const failures: string[] = [];
      inbounds.context.onFailed = (target, cause) => failures.push(`${target} ${cause}`);
      const socks = await connect();
      await send(socks, concat([GREETING, CONNECT, utf8("early")]));
      assert.deepEqual([...(await readAll(socks)).subarray(0, 4)], [5, 0, 5, reply]);
      const http = await connect();
      await send(http, utf8("CONNECT t.example:443 HTTP/1.1\r\nHost: t.example\r\n\r\nearly"));
      assert.match(text(await readAll(http)), new RegExp(`^HTTP/1.1 ${status} `));
      const plain = await connect();
      await send(plain, utf8("GET http://t.example/ HTTP/1.1\r\nHost: t.example\r\n\r\n"));
      assert.match(text(await readAll(plain)), new RegExp(`^HTTP/1.1 ${status} `));
      assert.equal(inbounds.counters.targetsRefused, 3);
      const targets = ["t.example:80", "t.example:443", "t.example:80"];
      assert.deepEqual(failures, targets.map((target) => `${target} ${wordsOf(code!)}`));
    });
  }
});

Deno.test("what is refused before it has a target is told of, SOCKS4 in its words", async () => {
  const socks5: InboundSpec = { kind: "socks5", listen };
  await bench(socks5, {}, async ({ connect, inbounds }) => {
    const refused: string[] = [];
    inbounds.context.onRefused = (what, cause) => refused.push(`${what}: ${cause}`);
    const ask = async (bytes: Uint8Array<ArrayBuffer>): Promise<number[]> => {
      const conn = await connect();
      await send(conn, bytes);
      return [...await readAll(conn)];
    };
    // SOCKS4's CONNECT.
    const four = bytesOf(4, 1, 0, 80, 127, 0, 0, 1, 0);
    assert.deepEqual(await ask(four), [0, 91, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(await ask(utf8("GET / HTTP/1.1\r\n\r\n")), []);
    assert.deepEqual(await ask(bytesOf(0x16, 3, 1)), []);
    // BIND.
    const bind = bytesOf(...GREETING, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80);
    assert.deepEqual((await ask(bind)).slice(0, 4), [5, 0, 5, 7]);
    assert.deepEqual(refused, [
      "a connection to a proxy is refused: SOCKS4 is not spoken here: set the program to SOCKS5",
      "a connection to a proxy is refused: it is HTTP, and this is the address of SOCKS5 alone",
      "a connection to a proxy is refused: it is neither SOCKS5 nor HTTP",
      "a request to a proxy is refused: command not supported",
    ]);
  });
});

Deno.test("SOCKS5 tells the address that the server's connection has", async () => {
  const bound = [
    [1, 45, 3, 0, 1, 0xc3, 0x50],
    [4, 0x2a, 0, 3, 0, ...new Array(11).fill(0), 1, 0xc3, 0x50],
  ];
  for (const address of bound) {
    await bench(mixed, { bound: Uint8Array.from(address) }, async ({ connect }) => {
      const conn = await connect();
      await send(conn, concat([GREETING, CONNECT]));
      const said = [5, 0, 5, 0, 0, ...address];
      assert.deepEqual([...await read(conn, said.length)], said);
    });
  }
  // A name is none that SOCKS5's clients know what to do with.
  const name = concat([bytesOf(3, 1), utf8("x"), bytesOf(0, 80)]);
  await bench(mixed, { bound: name }, async ({ connect }) => {
    const conn = await connect();
    await send(conn, concat([GREETING, CONNECT]));
    assert.deepEqual([...await read(conn, OK_REPLY.length)], OK_REPLY);
  });
});

Deno.test("a stream that the lost server never heard of is opened again, once", async () => {
  const requests = {
    socks: { says: concat([GREETING, CONNECT, utf8("hello")]), gets: [...OK_REPLY] },
    http: {
      says: utf8("CONNECT t.example:80 HTTP/1.1\r\nHost: t.example\r\n\r\nhello"),
      gets: [...utf8("HTTP/1.1 200 Connection established\r\n\r\n")],
    },
  };
  for (const { says, gets } of Object.values(requests)) {
    let isOpen = false;
    const answer = () => isOpen ? 0 : undefined;
    await bench(mixed, { answer }, async ({ connect, tunnel, inbounds }) => {
      const conn = await connect();
      await send(conn, says);
      await until(() => tunnel.current?.streams.get(0)?.upBytes === 5);
      tunnel.lose(true);
      await until(() => tunnel.current?.streams.get(0)?.upBytes === 5);
      assert.equal(inbounds.counters.reopened, 1);
      // What comes later follows in its place.
      await send(conn, utf8(", world"));
      await until(() => tunnel.current?.streams.get(0)?.upBytes === 12);
      isOpen = true;
      tunnel.wake(tunnel.session());
      assert.deepEqual([...await read(conn, gets.length)], gets);
      assert.equal(text(await read(conn, 12)), "hello, world");
      conn.close();
      await until(() => inbounds.context.live.size === 0);
    });
  }
});

Deno.test("a plain HTTP request and a forward are asked again, too", async () => {
  const head = "POST http://t.example/ HTTP/1.1\r\nHost: t.example";
  const says = `${head}\r\nContent-Length: 4\r\n\r\n`;
  const http = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  let asked = "";
  const serve: FakeOptions["serve"] = (stream) => {
    asked += text(stream.take());
    if (!asked.endsWith("body") || stream.state > 0) return;
    stream.state = 1;
    stream.push(utf8(http));
  };
  const forward: InboundSpec = { kind: "tcp", listen, target: "t.example:80" };
  for (const spec of [mixed, forward]) {
    asked = "";
    let isOpen = false;
    const answer = () => isOpen ? 0 : undefined;
    await bench(spec, { answer, serve }, async ({ connect, tunnel, inbounds }) => {
      const conn = await connect();
      await send(conn, utf8(`${says}bo`));
      const sent = () => tunnel.current?.streams.get(0)?.upBytes ?? 0;
      await until(() => sent() > 40);
      const before = sent();
      tunnel.lose(true);
      await until(() => sent() === before);
      await send(conn, utf8("dy"));
      await until(() => sent() === before + 2);
      isOpen = true;
      tunnel.wake(tunnel.session());
      assert.match(text(await read(conn, http.length)), /^HTTP\/1.1 200 OK\r\n/);
      assert.match(asked, /^POST .*\r\n\r\nbody$/s);
      assert.equal(inbounds.counters.reopened, 1);
    });
  }
});

Deno.test("no stream is opened again twice, after an answer, or with no server", async () => {
  const says = concat([GREETING, CONNECT, utf8("hello")]);
  const failed = [5, 0, 5, 1];
  const answer = () => undefined;
  await bench(mixed, { answer }, async ({ connect, tunnel, inbounds }) => {
    const begin = async (bytes = says): Promise<Deno.TcpConn> => {
      const conn = await connect();
      await send(conn, bytes);
      await until(() => (tunnel.current?.streams.get(0)?.upBytes ?? 0) >= 5);
      return conn;
    };
    const never = await begin();
    tunnel.lose(false);
    assert.deepEqual([...(await readAll(never)).subarray(0, 4)], failed);
    const twice = await begin();
    tunnel.lose(true);
    await until(() => tunnel.current?.streams.get(0)?.upBytes === 5);
    tunnel.lose(true);
    assert.deepEqual([...(await readAll(twice)).subarray(0, 4)], failed);
    // More than is kept.
    const much = await begin(concat([says, new Uint8Array(UNHEARD_BYTES_MAX)]));
    await until(() => tunnel.current!.streams.get(0)!.upBytes > UNHEARD_BYTES_MAX);
    tunnel.lose(true);
    assert.deepEqual([...(await readAll(much)).subarray(0, 4)], failed);
    const heard = await begin();
    tunnel.current!.wasUnheard = () => false;
    tunnel.lose(true);
    assert.deepEqual([...(await readAll(heard)).subarray(0, 4)], failed);
    assert.equal(inbounds.counters.reopened, 1);
  });
});

Deno.test("HTTP CONNECT", async () => {
  await bench({ kind: "http", listen }, {}, async ({ connect, tunnel }) => {
    const conn = await connect();
    await send(conn, utf8("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHo"));
    await send(conn, utf8("st: x\r\n\r\nearly"));
    const head = "HTTP/1.1 200 Connection established\r\n\r\n";
    assert.equal(text(await read(conn, head.length + 5)), `${head}early`);
    assert.equal(tunnel.current!.streams.get(0)!.target, "[2001:db8::1]:443");
    const data = pattern(3_000_000);
    const [back] = await Promise.all([
      readAll(conn),
      send(conn, data).then(() => conn.closeWrite()),
    ]);
    same(back, data);
  });
});

/** Answers each request with its own first line. */
const origin: FakeOptions["serve"] = (stream) => {
  const head = text(concat(stream.up));
  const end = head.indexOf("\r\n\r\n");
  if (stream.state !== 0 || end < 0) return;
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  if (head.length < end + 4 + length) return;
  stream.state = 1;
  stream.take();
  const body = `${stream.target} ${head.slice(0, head.indexOf("\r\n"))} ${head.slice(end + 4)}`;
  const isBare = head.startsWith("GET /bare");
  const fields = isBare ? "" : `Content-Length: ${body.length}\r\n`;
  stream.push(utf8(`HTTP/1.1 200 OK\r\n${fields}\r\n${body}`));
  stream.downEnded = true;
};

Deno.test("plain HTTP: several requests on one connection, a stream each", async () => {
  await bench(mixed, { serve: origin }, async ({ connect, tunnel, inbounds }) => {
    const conn = await connect();
    const get = (path: string): Uint8Array =>
      utf8(`GET http://a.example${path} HTTP/1.1\r\nHost: a.example\r\n\r\n`);
    const answer = async (body: string): Promise<void> => {
      const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: keep-alive`;
      const expected = `${head}\r\n\r\n${body}`;
      assert.equal(text(await read(conn, expected.length)), expected);
    };
    await send(conn, get("/1"));
    await answer("a.example:80 GET /1 HTTP/1.1 ");
    const post = "POST http://b.example:81/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    // Two at once: the second waits for the first one's answer.
    await send(conn, concat([utf8(post), get("/3"), get("/4").subarray(0, 20)]));
    await answer("b.example:81 POST /2 HTTP/1.1 abc");
    await answer("a.example:80 GET /3 HTTP/1.1 ");
    await send(conn, get("/4").subarray(20));
    await answer("a.example:80 GET /4 HTTP/1.1 ");
    assert.equal(tunnel.current!.streams.size, 4);
    await send(conn, get("/bare"));
    const last = text(await readAll(conn));
    assert.match(last, /^HTTP\/1.1 200 OK\r\nConnection: close\r\n\r\na.example:80 GET \/bare/);
    await until(() => inbounds.context.live.size === 0);
    assert.equal(inbounds.context.streams.count, 0);
  });
});

Deno.test("plain HTTP: CONNECT after a request, on the same connection", async () => {
  const serve: FakeOptions["serve"] = (stream) =>
    stream.target === "b.example:443" ? echo(stream) : origin(stream);
  await bench(mixed, { serve }, async ({ connect }) => {
    const conn = await connect();
    await send(conn, utf8("GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    const body = "a.example:80 GET / HTTP/1.1 ";
    const fields = `Content-Length: ${body.length}\r\nConnection: keep-alive`;
    const head = `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`;
    assert.equal(text(await read(conn, head.length + body.length)), head + body);
    await send(conn, utf8("CONNECT b.example:443 HTTP/1.1\r\nHost: b\r\n\r\nping"));
    const established = "HTTP/1.1 200 Connection established\r\n\r\nping";
    assert.equal(text(await read(conn, established.length)), established);
  });
});

Deno.test("plain HTTP: large bodies both ways, past a slow reader", async () => {
  const body = pattern(24_000_000);
  let received = 0;
  const serve: FakeOptions["serve"] = (stream) => {
    if (stream.state === 0) {
      const head = text(concat(stream.up));
      if (!head.includes("\r\n\r\n")) return;
      stream.take(head.indexOf("\r\n\r\n") + 4);
      stream.push(utf8(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`));
      stream.state = 1;
    }
    received += stream.take(100_000).length;
    while (stream.state <= body.length && stream.downRoom > 0) {
      const at = stream.state - 1;
      const part = body.slice(at, at + Math.min(65_536, stream.downRoom));
      if (part.length === 0) break;
      stream.push(part);
      stream.state += part.length;
    }
  };
  await bench(mixed, { serve }, async ({ connect, tunnel }) => {
    const conn = await connect();
    const head = `POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}`;
    await send(conn, concat([utf8(`${head}\r\n\r\n`), body]));
    await until(() => received === body.length);
    const stream = tunnel.current!.streams.get(0)!;
    await until(() => stream.isBlocked);
    const fields = `Content-Length: ${body.length}\r\nConnection: keep-alive`;
    const expected = `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`;
    assert.equal(text(await read(conn, expected.length)), expected);
    same(await read(conn, body.length), body);
    await until(() => stream.upEnded);
  });
});

Deno.test("plain HTTP: an origin that fails is a 502, one that breaks off is cut", async () => {
  const serve: FakeOptions["serve"] = (stream) => {
    if (stream.target === "half.example:80" && stream.state++ === 0) {
      stream.push(utf8("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
    }
    if (stream.target === "junk.example:80" && stream.state++ === 0) stream.push(utf8("junk\r\n"));
    stream.downEnded = true;
  };
  await bench(mixed, { serve }, async ({ connect }) => {
    const ask = async (host: string): Promise<string> => {
      const conn = await connect();
      await send(conn, utf8(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
      return text(await readAll(conn));
    };
    assert.match(await ask("none.example"), /^HTTP\/1.1 502 Bad Gateway\r\n/);
    assert.match(await ask("junk.example"), /^HTTP\/1.1 502 Bad Gateway\r\n/);
    await assert.rejects(ask("half.example"), /reset/i);
  });
});

Deno.test("a TCP forward", async () => {
  const spec: InboundSpec = { kind: "tcp", listen, target: "10.0.0.1:5201" };
  await bench(spec, {}, async ({ connect, tunnel, inbounds }) => {
    const conn = await connect();
    // The stream is there before the client says anything.
    await until(() => tunnel.current?.streams.size === 1);
    assert.equal(tunnel.current!.streams.get(0)!.target, "10.0.0.1:5201");
    const data = pattern(20_000_000);
    const [back] = await Promise.all([
      readAll(conn),
      send(conn, data).then(() => conn.closeWrite()),
    ]);
    same(back, data);
    await until(() => inbounds.context.live.size === 0);
    assert.equal(inbounds.context.splicer.counters.bytesUp, data.length);
    assert.equal(inbounds.context.splicer.counters.bytesDown, data.length);
  });
});

Deno.test("an end that comes before the answer leaves nothing behind", async () => {
  const forward: InboundSpec = { kind: "tcp", listen, target: "t.example:1" };
  for (
    const [spec, says] of [[forward, utf8("x")], [mixed, concat([GREETING, CONNECT])]] as const
  ) {
    let isOpen = false;
    const answer = () => isOpen ? 0 : undefined;
    await bench(spec, { answer }, async ({ connect, tunnel, inbounds }) => {
      const conn = await connect();
      await send(conn, says);
      await until(() => tunnel.current !== undefined);
      conn.closeWrite();
      await until(() => tunnel.current!.streams.get(0)!.upEnded);
      isOpen = true;
      tunnel.wake(tunnel.session());
      await readAll(conn);
      await until(() => inbounds.context.live.size === 0);
    });
  }
});

Deno.test("a reset behind an end is heard of, though the target says nothing", async () => {
  const forward: InboundSpec = { kind: "tcp", listen, target: "t.example:1" };
  const serve: FakeOptions["serve"] = (stream) => void stream.take();
  await bench(forward, { serve }, async ({ connect, tunnel, inbounds }) => {
    const conn = await connect();
    await send(conn, utf8("x"));
    conn.closeWrite();
    await until(() => tunnel.current?.streams.get(0)?.upEnded === true);
    const { asSession, streams } = tunnel.current!;
    // A byte that the client leaves unread makes of its close() a reset.
    streams.get(0)!.push(utf8("y"));
    tunnel.wake(asSession);
    await until(() => streams.get(0)!.delivered === 1);
    await sleep(20);
    conn.close();
    await until(() => inbounds.context.live.size === 0);
    assert.ok(streams.get(0)!.isOver);
  });
});

Deno.test("a forward whose target is refused is reset", async () => {
  const spec: InboundSpec = { kind: "tcp", listen, target: "t.example:1" };
  await bench(spec, { answer: () => 1 }, async ({ connect }) => {
    // It may come before connect() has told of its success.
    await assert.rejects(async () => await read(await connect(), 1), /reset/i);
  });
});

Deno.test("half-close: the target's end first", async () => {
  let got = "";
  const serve: FakeOptions["serve"] = (stream) => {
    got += text(stream.take());
    stream.downEnded = true;
  };
  await bench(mixed, { serve }, async ({ connect, inbounds }) => {
    const conn = await connect();
    await send(conn, concat([GREETING, CONNECT]));
    assert.deepEqual([...await readAll0(conn)], OK_REPLY);
    await send(conn, utf8("still here"));
    await until(() => got === "still here");
    assert.equal(inbounds.context.live.size, 1);
    conn.closeWrite();
    await until(() => inbounds.context.live.size === 0);
  });
});

/** Up to the end, without closing the connection. */
async function readAll0(conn: Deno.Conn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const part = await read(conn, 4096);
    if (part.length > 0) parts.push(part);
    if (part.length < 4096) return concat(parts);
  }
}

Deno.test("resets pass on, both ways", async () => {
  await bench(mixed, {}, async ({ connect, tunnel, inbounds }) => {
    const begin = async (): Promise<Deno.TcpConn> => {
      const conn = await connect();
      await send(conn, concat([GREETING, CONNECT, utf8("x")]));
      assert.equal((await read(conn, 13)).length, 13);
      return conn;
    };
    const conn = await begin();
    const session = tunnel.current!;
    session.streams.get(0)!.isOver = true;
    inbounds.wasReset(session.asSession, 0, 1);
    await assert.rejects(read(conn, 1), /reset/i);
    const other = await begin();
    // Unread bytes make of close() a reset.
    session.streams.get(1)!.push(pattern(1000));
    tunnel.wake(session.asSession);
    await sleep(50);
    other.close();
    await until(() => session.streams.get(1)!.isOver);
    assert.equal(inbounds.context.live.size, 0);
  });
});

Deno.test("a slow reader costs a bounded amount, and gets everything", async () => {
  const total = 64 << 20;
  const part = pattern(1 << 16);
  const serve: FakeOptions["serve"] = (stream) => {
    stream.take();
    while (stream.state < total && stream.downRoom >= part.length) {
      stream.push(part);
      stream.state += part.length;
    }
    if (stream.state === total) stream.downEnded = true;
  };
  const spec: InboundSpec = { kind: "tcp", listen, target: "t.example:1" };
  await bench(spec, { serve }, async ({ connect, tunnel, inbounds }) => {
    const conn = await connect();
    await until(() => tunnel.current?.streams.get(0)?.isBlocked === true);
    await sleep(100);
    const { delivered } = tunnel.current!.streams.get(0)!;
    assert.ok(delivered < 16 << 20, `took ${delivered}`);
    assert.ok(inbounds.context.splicer.held <= 64 << 10);
    let at = 0;
    const buffer = new Uint8Array(1 << 20);
    for (;;) {
      const count = await conn.read(buffer);
      if (count === null) break;
      for (let i = 0; i < count; i += 997) assert.equal(buffer[i], part[(at + i) & 0xffff]);
      at += count;
    }
    assert.equal(at, total);
  });
});

Deno.test("a slow target stops the reading of the client", async () => {
  const spec: InboundSpec = { kind: "tcp", listen, target: "t.example:1" };
  let isOpen = false;
  let taken = 0;
  const serve: FakeOptions["serve"] = (stream) => {
    if (isOpen) taken += stream.take().length;
    if (stream.upEnded && stream.upBytes === 0) stream.downEnded = true;
  };
  await bench(spec, { serve }, async ({ connect, tunnel }) => {
    const conn = await connect();
    const data = pattern(32 << 20);
    const sending = send(conn, data).then(() => conn.closeWrite());
    await until(() => tunnel.current?.streams.get(0)?.writerWaits === true);
    assert.ok(tunnel.current!.streams.get(0)!.upBytes <= 1 << 20);
    isOpen = true;
    tunnel.wake(tunnel.session());
    assert.equal((await readAll(conn)).length, 0);
    await sending;
    assert.equal(taken, data.length);
  });
});

Deno.test("a lost session resets its connections; new ones get a new session", async () => {
  let isOpen = true;
  const answer = () => isOpen ? 0 : undefined;
  await bench(mixed, { answer }, async ({ connect, tunnel, inbounds }) => {
    const spliced = await connect();
    await send(spliced, concat([GREETING, CONNECT, utf8("x")]));
    assert.equal((await read(spliced, 13)).length, 13);
    isOpen = false;
    const waiting = await connect();
    await send(waiting, concat([GREETING, CONNECT]));
    const http = await connect();
    await send(http, utf8("GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    await until(() => tunnel.current!.streams.size === 3);
    tunnel.lose();
    await assert.rejects(read(spliced, 1), /reset/i);
    assert.deepEqual([...(await readAll(waiting)).subarray(0, 4)], [5, 0, 5, 1]);
    assert.match(text(await readAll(http)), /^HTTP\/1.1 503 .*no connection to the Phantom/s);
    assert.equal(inbounds.context.streams.count, 0);
    isOpen = true;
    const next = await connect();
    await send(next, concat([GREETING, CONNECT, utf8("x")]));
    assert.equal((await read(next, 13)).length, 13);
    assert.equal(tunnel.sessions, 2);
  });
});

Deno.test("what is neither SOCKS5 nor HTTP, and the wrong one, are closed", async () => {
  const specs: InboundSpec[] = [mixed, { kind: "socks5", listen }, { kind: "http", listen }];
  await bench(specs, {}, async ({ inbounds }) => {
    const [both, socks, http] = inbounds.ports;
    const first = [[both!, 3], [socks!, 0x47], [http!, 5], [both!, 0x16]];
    for (const [port, byte] of first) {
      const conn = await Deno.connect({ hostname, port: port! });
      await send(conn, bytesOf(byte!));
      assert.equal((await readAll(conn)).length, 0);
    }
    assert.equal(inbounds.counters.requestsRefused, 4);
  });
});

Deno.test("a request that does not come is timed out", async () => {
  await bench(mixed, {}, async ({ connect, inbounds, loop }) => {
    const conn = await connect();
    await send(conn, GREETING);
    await read(conn, 2);
    for (const live of inbounds.context.live) {
      loop.arm(live as never, loop.now + 1);
    }
    assert.equal(GREETING_MS, 10_000);
    assert.equal((await readAll(conn)).length, 0);
    assert.equal(inbounds.counters.greetingsTimedOut, 1);
  });
});

Deno.test("limits: connections, streams", async () => {
  await bench(mixed, { streamsMax: 1 }, async ({ connect, inbounds }) => {
    const one = await connect();
    await send(one, concat([GREETING, CONNECT, utf8("x")]));
    assert.equal((await read(one, 13)).length, 13);
    const two = await connect();
    await send(two, concat([GREETING, CONNECT]));
    assert.deepEqual([...(await readAll(two)).subarray(0, 4)], [5, 0, 5, 1]);
    assert.equal(inbounds.counters.streamsRefused, 1);
    await until(() => inbounds.context.live.size === 1);
    const fillers = [];
    while (inbounds.context.live.size < CONNECTIONS_MAX) {
      const filler = { abort: () => {} };
      fillers.push(filler);
      inbounds.context.live.add(filler);
    }
    await assert.rejects(async () => await read(await connect(), 1), /reset/i);
    assert.equal(inbounds.counters.connectionsRefused, 1);
    // Whoever has no request yet goes for one that comes.
    inbounds.context.live.delete(fillers.pop()!);
    const idle = await connect();
    await until(() => inbounds.context.live.size === CONNECTIONS_MAX);
    const three = await connect();
    await send(three, concat([GREETING, CONNECT]));
    assert.equal((await read(three, 2)).length, 2);
    assert.equal((await readAll(idle)).length, 0);
    assert.equal(inbounds.counters.greetingsGaveWay, 1);
    for (const filler of fillers) inbounds.context.live.delete(filler);
    // Old ones were not hurt.
    await send(one, utf8("y"));
    assert.equal(text(await read(one, 1)), "y");
  });
});

Deno.test("1,000 connections at a time", async () => {
  await bench(mixed, {}, async ({ connect, inbounds }) => {
    const one = async (i: number): Promise<void> => {
      const conn = await connect();
      const data = utf8(`connection ${i} `.repeat(200));
      await send(conn, concat([GREETING, CONNECT, data]));
      assert.equal((await read(conn, 12)).length, 12);
      same(await read(conn, data.length), data);
      await until(() => inbounds.counters.accepted === 1000, 20_000);
      conn.closeWrite();
      assert.equal((await readAll(conn)).length, 0);
    };
    await Promise.all(Array.from({ length: 1000 }, (_, i) => one(i)));
    await until(() => inbounds.context.live.size === 0);
    assert.equal(inbounds.context.streams.count, 0);
  });
});

Deno.test("churn: clients that break off anywhere leave nothing behind", async () => {
  const seed = Date.now() >>> 0;
  const rng = new Rng(seed);
  const requests = [
    concat([GREETING, CONNECT, pattern(5000)]),
    concat([utf8("CONNECT t.example:443 HTTP/1.1\r\nHost: t\r\n\r\n"), pattern(5000)]),
    utf8("GET http://a.example/ HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3)),
    concat([GREETING, Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0)]),
    pattern(100),
  ];
  const serve: FakeOptions["serve"] = (stream) =>
    stream.target === "a.example:80" ? origin(stream) : echo(stream);
  const answer = (target: string) => target === "t.example:443" && rng.chance(0.25) ? 1 : 0;
  await bench(mixed, { serve, answer }, async ({ connect, inbounds, tunnel }) => {
    const one = async (): Promise<void> => {
      const conn = await connect();
      const request = rng.pick(requests);
      const end = rng.chance(0.5) ? request.length : rng.int(1, request.length);
      for (let at = 0; at < end;) {
        const part = Math.min(end - at, rng.int(1, request.length));
        await send(conn, request.subarray(at, at + part));
        at += part;
      }
      if (rng.chance(0.3)) conn.closeWrite();
      // What is cut short gets no answer.
      const reading = read(conn, rng.int(1, 3000)).catch(() => {});
      if (rng.chance(0.5)) await Promise.race([reading, sleep(20)]);
      conn.close();
    };
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 40 }, () => one().catch(() => {})));
      if (round === 4 && tunnel.current !== undefined) tunnel.lose();
    }
    // A half-closed echo lives until it has written to a client that is gone.
    await until(() => inbounds.context.live.size === 0, 8000).catch((error) => {
      console.error(`seed ${seed}`);
      throw error;
    });
    assert.equal(inbounds.counters.faults, 0);
  });
});

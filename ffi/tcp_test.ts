import assert from "node:assert/strict";
import { Rng } from "../tests/fuzz/rng.ts";
import { testNative } from "../tests/native.ts";
import { type Endpoint, endpoint, formatEndpoint } from "./endpoint.ts";
import { errnoCode } from "./errors.ts";
import { Epoll, EpollEvent } from "./loop.ts";
import {
  tcpAcceptMax,
  tcpAgain,
  type TcpConnectOptions,
  tcpInProgress,
  tcpKeepAliveMax,
  TcpListener,
  type TcpListenerOptions,
  TcpSocket,
} from "./tcp.ts";

const native = testNative();

const v4 = (...bytes: number[]) =>
  Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes]);
const any4 = v4(0, 0, 0, 0);
const loop4 = v4(127, 0, 0, 1);
const any6 = new Uint8Array(16);
const loop6 = any6.with(15, 1);
const waitMs = 5000;

function listen(ip: Uint8Array, options: Partial<TcpListenerOptions> = {}): TcpListener {
  return new TcpListener(native, { local: endpoint(ip, 0), ...options });
}

/** Waits until the descriptor has one of the events. */
function waitFor(fd: number, events: number): void {
  using epoll = new Epoll(native, 1);
  epoll.add(fd, events, 0);
  assert.equal(epoll.wait(waitMs), 1);
}

function acceptOne(listener: TcpListener): TcpSocket {
  waitFor(listener.fd, EpollEvent.in);
  const [socket, ...others] = listener.accept();
  assert.ok(socket);
  assert.equal(others.length, 0);
  return socket;
}

/** Both ends of one connection. */
function pair(
  listener: TcpListener,
  options: Partial<TcpConnectOptions> = {},
): [TcpSocket, TcpSocket] {
  const peer = endpoint(loop4, listener.local.port);
  const client = TcpSocket.connect(native, { peer, ...options });
  const server = acceptOne(listener);
  waitFor(client.fd, EpollEvent.out);
  assert.equal(client.result(), 0);
  return [client, server];
}

/** Reads what comes until the end or an error; how it ended. */
function readAll(socket: TcpSocket): { bytes: Uint8Array; ending: number } {
  const arena = new Uint8Array(65536);
  let bytes = new Uint8Array(0);
  for (;;) {
    const count = socket.read(arena, 0, arena.length);
    if (count === tcpAgain) waitFor(socket.fd, EpollEvent.in);
    else if (count <= 0) return { bytes, ending: count };
    else bytes = Uint8Array.from([...bytes, ...arena.subarray(0, count)]);
  }
}

const families = [
  { name: "IPv4", bind: loop4, to: loop4, text: "127.0.0.1" },
  { name: "IPv4 any", bind: any4, to: loop4, text: "127.0.0.1" },
  { name: "IPv6", bind: loop6, to: loop6, text: "[::1]" },
  { name: "IPv6 on ::", bind: any6, to: loop6, text: "[::1]" },
  { name: "IPv4 on ::", bind: any6, to: loop4, text: "127.0.0.1" },
];

for (const { name, bind, to, text } of families) {
  Deno.test(`TcpSocket connects, writes, reads and ends: ${name}`, () => {
    using listener = listen(bind);
    assert.notEqual(listener.local.port, 0);
    const peer = endpoint(to, listener.local.port);
    using client = TcpSocket.connect(native, { peer });
    using server = acceptOne(listener);
    assert.equal(client.result(), 0);
    assert.equal(formatEndpoint(server.peer), formatEndpoint(client.local()));
    assert.equal(formatEndpoint(server.local()), `${text}:${listener.local.port}`);
    assert.equal(client.peer, peer);
    const arena = new TextEncoder().encode("..ping..");
    assert.equal(server.read(arena, 0, 8), tcpAgain);
    assert.equal(client.write(arena, 2, 4), 4);
    waitFor(server.fd, EpollEvent.in);
    assert.equal(server.read(arena, 4, 4), 4);
    assert.equal(new TextDecoder().decode(arena), "..piping");
    assert.equal(client.finish(), 0);
    waitFor(server.fd, EpollEvent.in);
    assert.equal(server.read(arena, 0, 8), 0);
    // The other direction is still open.
    assert.equal(server.write(arena, 4, 4), 4);
    waitFor(client.fd, EpollEvent.in);
    assert.equal(client.read(arena, 0, 8), 4);
    assert.equal(errnoCode(-client.write(arena, 0, 1)), "EPIPE");
  });
}

Deno.test("TcpSocket.result() says that there is no connection yet, and why there is none", () => {
  const closed = listen(loop4);
  const peer = closed.local;
  closed.close();
  // Loopback refuses at once or when asked, as the kernel likes.
  using refused = TcpSocket.connect(native, { peer });
  waitFor(refused.fd, EpollEvent.out);
  assert.equal(errnoCode(-refused.result()), "ECONNREFUSED");
  // A listener whose queue is full answers no SYN.
  using full = listen(loop4, { backlog: 1 });
  const sockets: TcpSocket[] = [];
  for (let i = 0; i < 4; i++) sockets.push(TcpSocket.connect(native, { peer: full.local }));
  assert.equal(sockets.at(-1)!.result(), tcpInProgress);
  sockets.forEach((socket) => socket.close());
});

Deno.test("TcpSocket.abort() makes the peer's reads fail; close() lets it read to the end", () => {
  using listener = listen(loop4);
  const bytes = new Rng(1).bytes(100);
  for (const how of ["close", "abort"] as const) {
    const [client, server] = pair(listener);
    assert.equal(client.write(bytes, 0, 100), 100);
    if (how === "abort") {
      // Its bytes were read before the RST takes them away.
      waitFor(server.fd, EpollEvent.in);
      assert.equal(server.read(new Uint8Array(100), 0, 100), 100);
    }
    client[how]();
    client[how]();
    const { bytes: got, ending } = readAll(server);
    assert.equal(got.length, how === "close" ? 100 : 0);
    assert.equal(errnoCode(-ending), how === "close" ? "E0" : "ECONNRESET");
    server.close();
  }
});

Deno.test("TcpSocket carries megabytes through full buffers, edge-triggered", () => {
  using listener = listen(loop4);
  const [client, server] = pair(listener);
  using epoll = new Epoll(native);
  const events = EpollEvent.in | EpollEvent.out | EpollEvent.readHangUp |
    EpollEvent.edgeTriggered;
  epoll.add(client.fd, events, 0);
  epoll.add(server.fd, events, 1);
  const data = new Rng(2).bytes(8 << 20);
  // One more, for a read to find the end.
  const got = new Uint8Array(data.length + 1);
  let [written, read, ended, full] = [0, 0, false, 0];
  while (!ended) {
    assert.notEqual(epoll.wait(waitMs), 0);
    while (written < data.length) {
      const count = client.write(data, written, data.length - written);
      if (count === tcpAgain) full++;
      if (count < 0) break;
      written += count;
      if (written === data.length) assert.equal(client.finish(), 0);
    }
    for (;;) {
      const count = server.read(got, read, Math.min(65536, got.length - read));
      if (count < 0) break;
      if (count === 0) ended = true;
      if (count === 0) break;
      read += count;
    }
  }
  assert.notEqual(full, 0);
  assert.equal(read, data.length);
  assert.ok(data.every((byte, i) => byte === got[i]));
  client.close();
  server.close();
});

Deno.test("TcpSocket refuses bytes outside the arena, and no bytes", () => {
  using listener = listen(loop4);
  const [client, server] = pair(listener);
  const arena = new Uint8Array(100);
  const high = 0xffff_ffff;
  const wrong = [[0, 0], [0, 101], [1, 100], [100, 1], [high, 1], [high, high], [1, high]];
  for (const [at, length] of wrong) {
    assert.equal(client.write(arena, at!, length!), -22);
    assert.equal(client.read(arena, at!, length!), -22);
  }
  assert.equal(server.read(arena, 0, 100), tcpAgain);
  client.close();
  server.close();
});

Deno.test("TcpListener.accept() takes at most 64, and the others the next time", () => {
  using listener = listen(loop4, { backlog: 200 });
  const clients = Array.from(
    { length: tcpAcceptMax + 10 },
    () => TcpSocket.connect(native, { peer: listener.local }),
  );
  clients.forEach((client) => waitFor(client.fd, EpollEvent.out));
  const taken = listener.accept(1);
  assert.equal(taken.length, 1);
  taken.push(...listener.accept());
  assert.equal(taken.length, 1 + tcpAcceptMax);
  taken.push(...listener.accept());
  assert.equal(taken.length, clients.length);
  assert.deepEqual(listener.accept(), []);
  const ports = (sockets: TcpSocket[], of: (socket: TcpSocket) => Endpoint) =>
    sockets.map((socket) => of(socket).port).sort();
  assert.deepEqual(ports(taken, (socket) => socket.peer), ports(clients, (one) => one.local()));
  [...taken, ...clients].forEach((socket) => socket.close());
  for (const max of [0, tcpAcceptMax + 1, 1.5]) {
    assert.throws(() => listener.accept(max), RangeError);
  }
});

Deno.test("TcpSocket comes from the source and the interface it was told", () => {
  using listener = listen(any6);
  for (const [port, device] of [[0, undefined], [0, "lo"], [45_123, "lo"]] as const) {
    const source = endpoint(v4(127, 1, 2, 3), port);
    const options = device === undefined ? { source } : { source, device };
    const [client, server] = pair(listener, options);
    assert.deepEqual(server.peer.ip, source.ip);
    if (port !== 0) assert.equal(server.peer.port, port);
    client.abort();
    server.close();
  }
  const connect = (options: Partial<TcpConnectOptions>) => () =>
    TcpSocket.connect(native, { peer: endpoint(loop4, listener.local.port), ...options });
  assert.throws(connect({ source: endpoint(loop6, 0) }), { code: "EAFNOSUPPORT" });
  assert.throws(connect({ source: endpoint(loop4, 0), peer: endpoint(loop6, 1) }), {
    code: "EAFNOSUPPORT",
  });
  assert.throws(connect({ source: endpoint(v4(192, 0, 2, 1), 0) }), {
    name: "SysError",
    code: "EADDRNOTAVAIL",
    message: `connect TCP to 127.0.0.1:${listener.local.port}: EADDRNOTAVAIL ` +
      "(cannot assign requested address): no interface has the source address, or all its " +
      "ports are in use",
  });
  assert.throws(connect({ device: "nosuch0" }), { code: "ENODEV" });
  assert.throws(connect({ device: "sixteen-bytes-ab" }), RangeError);
  assert.throws(connect({ device: "a\0b" }), TypeError);
});

Deno.test("TcpSocket and accepted ones ask a silent peer when told to", async () => {
  for (const keepAliveSeconds of [0, 30, tcpKeepAliveMax]) {
    using listener = listen(loop4, { keepAliveSeconds });
    const [client, server] = pair(listener, { keepAliveSeconds });
    const table = await Deno.readTextFile("/proc/net/tcp");
    const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");
    for (const socket of [client, server]) {
      const [from, to] = [hex(socket.local().port), hex(socket.peer.port)];
      // Timer 2 is keep-alive.
      const row = new RegExp(`:${from} \\w+:${to} 01 \\S+ (\\d\\d):([0-9A-F]+)`).exec(table);
      assert.ok(row);
      assert.equal(row[1], keepAliveSeconds === 0 ? "00" : "02");
    }
    client.close();
    server.close();
  }
  for (const keepAliveSeconds of [-1, 0.5, tcpKeepAliveMax + 1]) {
    assert.throws(() => listen(loop4, { keepAliveSeconds }), RangeError);
    const peer = endpoint(loop4, 1);
    assert.throws(() => TcpSocket.connect(native, { peer, keepAliveSeconds }), RangeError);
  }
});

Deno.test("TcpSocket with fastOpen carries what is written first", () => {
  using listener = listen(loop4);
  for (let i = 0; i < 2; i++) {
    using client = TcpSocket.connect(native, { peer: listener.local, fastOpen: true });
    const bytes = new Uint8Array(10).fill(7);
    let written = client.write(bytes, 0, 10);
    if (written < 0) {
      waitFor(client.fd, EpollEvent.out);
      written = client.write(bytes, 0, 10);
    }
    assert.equal(written, 10);
    using server = acceptOne(listener);
    assert.equal(client.finish(), 0);
    assert.deepEqual(readAll(server), { bytes, ending: 0 });
  }
});

Deno.test("TcpListener shares a port with reusePort, and ::'s with IPv4 by v6Only", () => {
  using first = listen(loop4, { reusePort: true });
  using second = new TcpListener(native, { local: first.local, reusePort: true });
  assert.equal(second.local.port, first.local.port);
  using six = listen(any6, { v6Only: true });
  using four = new TcpListener(native, { local: endpoint(any4, six.local.port) });
  assert.equal(four.local.port, six.local.port);
  assert.throws(() => new TcpListener(native, { local: four.local }), {
    name: "SysError",
    code: "EADDRINUSE",
    message: `listen on TCP 0.0.0.0:${four.local.port}: EADDRINUSE (address already in use): ` +
      "another process has the port; `ss -ltnp` shows which",
  });
  for (const backlog of [0, 65536, 1.5]) {
    assert.throws(() => listen(loop4, { backlog }), RangeError);
  }
});

Deno.test("TcpListener can be opened again at once where connections were", () => {
  const first = listen(loop4);
  const [client, server] = pair(first);
  // Who closes first keeps the port in TIME_WAIT.
  server.close();
  client.close();
  first.close();
  new TcpListener(native, { local: first.local }).close();
});

Deno.test("TcpListener.accept() says when descriptors ran out, and goes on later", async () => {
  const code = `
    import assert from "node:assert/strict";
    import { endpoint } from "${new URL("endpoint.ts", import.meta.url)}";
    import { TcpListener, TcpSocket } from "${new URL("tcp.ts", import.meta.url)}";
    import { testNative } from "${new URL("../tests/native.ts", import.meta.url)}";
    const native = testNative();
    const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
    const listener = new TcpListener(native, { local: endpoint(ip, 0) });
    const client = TcpSocket.connect(native, { peer: listener.local });
    while (client.result() !== 0);
    const held = [];
    const connect = () => TcpSocket.connect(native, { peer: listener.local });
    assert.throws(() => { for (;;) held.push(connect()); }, { code: "EMFILE" });
    assert.throws(() => listener.accept(), {
      message: /EMFILE .*raise the limit on open files/,
    });
    held.splice(0).forEach((socket) => socket.abort());
    const taken = listener.accept();
    assert.ok(taken.length >= 1);
    Deno.exit(0);`;
  const { code: status, stderr } = await new Deno.Command("sh", {
    args: ["-c", 'ulimit -n 100; exec "$0" eval --no-lock "$1"', Deno.execPath(), code],
  }).output();
  assert.equal(status, 0, new TextDecoder().decode(stderr));
});

Deno.test("TCP handles name themselves when used after close", () => {
  const listener = listen(loop4);
  const [client, server] = pair(listener);
  server.close();
  client.close();
  client.abort();
  listener.close();
  listener.close();
  const message = "Cannot use TCP socket as it is closed";
  const arena = new Uint8Array(1);
  assert.throws(() => client.fd, { message });
  assert.throws(() => client.result(), { message });
  assert.throws(() => client.local(), { message });
  assert.throws(() => client.read(arena, 0, 1), { message });
  assert.throws(() => client.write(arena, 0, 1), { message });
  assert.throws(() => client.finish(), { message });
  const address = formatEndpoint(listener.local);
  assert.throws(() => listener.accept(), {
    message: `Cannot use TCP listener ${address} as it is closed`,
  });
  assert.throws(() => listener.fd, Error);
});

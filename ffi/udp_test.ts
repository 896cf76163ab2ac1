import assert from "node:assert/strict";
import { Rng } from "../tests/fuzz/rng.ts";
import { testNative } from "../tests/native.ts";
import { type Endpoint, endpoint, formatEndpoint, routeTo, routeWords } from "./endpoint.ts";
import { Epoll, EpollEvent } from "./loop.ts";
import { UdpInbox, type UdpOptions, UdpOutbox, UdpSocket } from "./udp.ts";

const native = testNative();

const v4 = (...bytes: number[]) =>
  Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes]);
const any4 = v4(0, 0, 0, 0);
const loop4 = v4(127, 0, 0, 1);
const any6 = new Uint8Array(16);
const loop6 = any6.with(15, 1);

function open(ip: Uint8Array, options: Partial<UdpOptions> = {}): UdpSocket {
  return new UdpSocket(native, { local: endpoint(ip, 0), ...options });
}

function sendText(from: UdpSocket, to: Endpoint, text: string, local?: Endpoint): number {
  const outbox = new UdpOutbox(new TextEncoder().encode(text));
  outbox.add(routeTo(to, local), 0, outbox.arena.length);
  assert.equal(from.send(outbox), 1);
  return outbox.result(0);
}

const textOf = (inbox: UdpInbox, i: number) => new TextDecoder().decode(inbox.bytes(i));

/** Receives until nothing comes; all datagrams' bytes. */
function drain(socket: UdpSocket, inbox = new UdpInbox()): Uint8Array[] {
  const all: Uint8Array[] = [];
  while (socket.receive(inbox) > 0) {
    for (let i = 0; i < inbox.count; i++) all.push(inbox.bytes(i).slice());
  }
  return all;
}

const families = [
  { name: "IPv4", bind: loop4, client: loop4, text: "127.0.0.1" },
  { name: "IPv4 any", bind: any4, client: any4, text: "127.0.0.1" },
  { name: "IPv6", bind: loop6, client: loop6, text: "[::1]" },
  { name: "IPv6 on ::", bind: any6, client: any6, text: "[::1]", to: loop6 },
  { name: "IPv4 on ::", bind: any6, client: any6, text: "127.0.0.1", to: loop4 },
  { name: "IPv4 to ::", bind: any6, client: any4, text: "127.0.0.1", to: loop4 },
];

for (const { name, bind, client, text, to } of families) {
  Deno.test(`UdpSocket sends, receives and answers: ${name}`, () => {
    using server = open(bind);
    using peer = open(client);
    assert.notEqual(server.local.port, 0);
    const target = endpoint(to ?? (bind === any4 ? loop4 : bind), server.local.port);
    assert.equal(sendText(peer, target, "ping"), 0);
    const inbox = new UdpInbox();
    assert.equal(server.receive(inbox), 1);
    assert.equal(textOf(inbox, 0), "ping");
    assert.equal(formatEndpoint(inbox.peer(0)), `${text}:${peer.local.port}`);
    assert.equal(formatEndpoint(inbox.local(0)), `${text}:0`);
    const route = new Uint32Array(routeWords);
    inbox.copyRoute(0, route);
    assert.equal(inbox.isRoute(0, route), true);
    assert.equal(inbox.isRoute(0, route.with(11, 1)), false);
    const outbox = new UdpOutbox(inbox.arena);
    outbox.add(route, inbox.offset(0), inbox.length(0));
    assert.equal(server.send(outbox), 1);
    assert.equal(peer.receive(inbox), 1);
    assert.equal(textOf(inbox, 0), "ping");
    assert.equal(server.receive(inbox), 0);
    assert.equal(inbox.count, 0);
  });
}

Deno.test("UdpSocket answers from the very address it was asked at", () => {
  for (const bind of [any4, any6]) {
    using server = open(bind);
    using peer = open(any4);
    const asked = endpoint(v4(127, 0, 0, 9), server.local.port);
    // From an address that the kernel would not have chosen.
    assert.equal(sendText(peer, asked, "ping", endpoint(v4(127, 1, 2, 3), 0)), 0);
    const inbox = new UdpInbox();
    assert.equal(server.receive(inbox), 1);
    assert.equal(formatEndpoint(inbox.local(0)), "127.0.0.9:0");
    assert.equal(formatEndpoint(inbox.peer(0)), `127.1.2.3:${peer.local.port}`);
    const route = new Uint32Array(routeWords);
    inbox.copyRoute(0, route);
    const outbox = new UdpOutbox(inbox.arena);
    outbox.add(route, inbox.offset(0), inbox.length(0));
    server.send(outbox);
    assert.equal(outbox.result(0), 0);
    assert.equal(peer.receive(inbox), 1);
    assert.equal(formatEndpoint(inbox.peer(0)), `127.0.0.9:${server.local.port}`);
  }
});

Deno.test("UdpSocket without packetInfo gives no local address", () => {
  using server = open(loop4, { packetInfo: false });
  using peer = open(loop4);
  assert.equal(server.has("pktinfo"), false);
  sendText(peer, server.local, "x");
  const inbox = new UdpInbox();
  assert.equal(server.receive(inbox), 1);
  assert.deepEqual(inbox.local(0), endpoint(any6, 0));
});

/** Sends `length` bytes in segments; the datagrams that arrive. */
function roundTrip(
  from: Partial<UdpOptions>,
  to: Partial<UdpOptions>,
  length: number,
  segment: number,
): { sent: Uint8Array; got: Uint8Array[] } {
  using server = open(loop6, { receiveBufferBytes: 4 << 20, ...to });
  using peer = open(any6, from);
  const outbox = new UdpOutbox(new Rng(length).bytes(length + 5));
  outbox.add(routeTo(server.local), 5, length, segment);
  assert.equal(peer.send(outbox), 1);
  assert.equal(outbox.result(0), 0);
  return { sent: outbox.arena.subarray(5), got: drain(server) };
}

Deno.test("GSO and GRO keep the bounds of datagrams, also of a last short one", () => {
  const cases: readonly (readonly [number, number])[] = [
    [12_300, 1200],
    [12_000, 1200],
    [64, 1],
    [65, 2],
    [1201, 1200],
    [1200, 1200],
    [1199, 1200],
    [64 * 1000, 1000],
    [63 * 1000 + 1, 1000],
    [65_507, 1400],
    [65_507, 32_768],
    [999, 7 + 64],
    [1, 0],
    [65_507, 0],
  ];
  for (const gso of [true, false]) {
    for (const gro of [true, false]) {
      for (const [length, segment] of cases) {
        const { sent, got } = roundTrip({ gso }, { gro }, length, segment);
        const size = segment || length;
        const expected = Array.from(
          { length: Math.ceil(length / size) },
          (_, i) => sent.subarray(i * size, (i + 1) * size),
        );
        assert.deepEqual(got, expected, `${length} by ${segment}, gso ${gso}, gro ${gro}`);
      }
    }
  }
});

Deno.test("GRO hands over joined datagrams in one message", () => {
  using server = open(loop4);
  using peer = open(loop4);
  if (!server.has("gro") || !peer.has("gso")) return;
  const outbox = new UdpOutbox(new Uint8Array(10_500));
  outbox.add(routeTo(server.local), 0, 10_500, 1000);
  peer.send(outbox);
  const inbox = new UdpInbox();
  assert.equal(server.receive(inbox), 11);
  assert.deepEqual(Array.from({ length: 11 }, (_, i) => inbox.message(i)), Array(11).fill(0));
  assert.equal(inbox.length(10), 500);
});

Deno.test("UdpOutbox takes at most 64 segments and 65,507 bytes an entry", () => {
  using server = open(loop4);
  using peer = open(loop4);
  const outbox = new UdpOutbox(new Uint8Array(70_000));
  const route = routeTo(server.local);
  outbox.add(route, 0, 65, 1);
  outbox.add(route, 0, 65_508, 32_768);
  outbox.add(route, 0, 65_508);
  outbox.add(route, 0, 64, 1);
  assert.equal(peer.send(outbox), 4);
  assert.deepEqual([0, 1, 2, 3].map((i) => outbox.result(i)), [-22, -22, -90, 0]);
  assert.equal(drain(server).length, 64);
});

Deno.test("UdpSocket carries datagrams without bytes", () => {
  for (const segment of [0, 100]) {
    using server = open(loop4);
    using peer = open(loop4);
    const outbox = new UdpOutbox(new Uint8Array(1));
    outbox.add(routeTo(server.local), 1, 0, segment);
    outbox.add(routeTo(server.local), 0, 1, segment);
    outbox.add(routeTo(server.local), 0, 0, segment);
    assert.equal(peer.send(outbox), 3);
    assert.deepEqual(drain(server).map((bytes) => bytes.length), [0, 1, 0]);
  }
});

Deno.test("UdpInbox marks a datagram that was longer than its slot", () => {
  using server = open(loop4, { gro: false });
  using peer = open(loop4);
  const inbox = new UdpInbox({ slots: 4, slotBytes: 100 });
  for (const length of [99, 100, 101, 3000]) sendText(peer, server.local, "x".repeat(length));
  assert.equal(server.receive(inbox), 4);
  assert.deepEqual([0, 1, 2, 3].map((i) => inbox.length(i)), [99, 100, 100, 100]);
  assert.deepEqual([0, 1, 2, 3].map((i) => inbox.isTruncated(i)), [false, false, true, true]);
});

Deno.test("UdpInbox marks only the datagram that was cut of those that GRO joined", () => {
  using server = open(loop4);
  using peer = open(loop4);
  if (!server.has("gro") || !peer.has("gso")) return;
  const outbox = new UdpOutbox(new Uint8Array(5000));
  outbox.add(routeTo(server.local), 0, 5000, 1000);
  peer.send(outbox);
  const inbox = new UdpInbox({ slots: 1, slotBytes: 2500 });
  assert.equal(server.receive(inbox), 3);
  assert.deepEqual([0, 1, 2].map((i) => inbox.length(i)), [1000, 1000, 500]);
  assert.deepEqual([0, 1, 2].map((i) => inbox.isTruncated(i)), [false, false, true]);
});

Deno.test("UdpSocket.receive() loses nothing when there is room for few spans", () => {
  using server = open(loop4);
  using peer = open(loop4);
  const inbox = new UdpInbox({ slots: 4, spanMax: 128 });
  for (const text of ["a", "b", "c"]) sendText(peer, server.local, text);
  const counts = [1, 2, 3, 4].map(() => server.receive(inbox));
  // One message at a time, for any may hold 128 datagrams.
  assert.deepEqual(counts, [1, 1, 1, 0]);
});

Deno.test("UdpSocket.send() refuses bad entries one by one and sends the others", () => {
  using server = open(loop4);
  using peer = open(loop4);
  const route = routeTo(server.local);
  const outbox = new UdpOutbox(new Uint8Array(100));
  const high = 0xffff_ffff;
  const bad: readonly (readonly [number, number])[] = [
    [0, 101],
    [101, 0],
    [100, 1],
    [high, 1],
    [1, high],
    [high, high],
  ];
  for (const [offset, length] of bad) {
    outbox.add(route, offset, length);
    outbox.add(route, offset, length, 7);
    outbox.add(route, 90, 10);
  }
  // An IPv6 address has no place on an IPv4 socket.
  outbox.add(routeTo(endpoint(loop6, 1)), 0, 1);
  outbox.add(routeTo(server.local, endpoint(loop6, 0)), 0, 1);
  assert.equal(peer.send(outbox), 20);
  const results = Array.from({ length: 20 }, (_, i) => outbox.result(i));
  assert.deepEqual(results, [...bad.flatMap(() => [-22, -22, 0]), -97, -97]);
  assert.equal(drain(server).length, bad.length);
});

Deno.test("UdpOutbox holds 64 entries, and drops those that were dealt with", () => {
  const outbox = new UdpOutbox(new Uint8Array(100));
  const route = routeTo(endpoint(loop4, 9));
  for (let i = 0; i < 64; i++) assert.equal(outbox.add(route, i, 1), i);
  assert.equal(outbox.isFull, true);
  assert.throws(() => outbox.add(route, 0, 1), RangeError);
  outbox.drop(60);
  assert.equal(outbox.count, 4);
  assert.equal(outbox.sends[routeWords], 60);
  outbox.drop(4);
  assert.equal(outbox.count, 0);
  assert.throws(() => outbox.drop(1), RangeError);
});

Deno.test("UdpSocket reads past errors that earlier datagrams left", () => {
  const libc = Deno.dlopen("libc.so.6", {
    // int connect(int sockfd, const struct sockaddr *addr, socklen_t addrlen)
    connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  });
  try {
    using closed = open(loop4);
    const { port } = closed.local;
    closed.close();
    using peer = open(loop4);
    // Connected, a socket is told of ICMP errors as those with IP_RECVERR are.
    const address = Uint8Array.of(2, 0, port >> 8, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    assert.equal(libc.symbols.connect(peer.fd, address, 16), 0);
    const target = endpoint(loop4, port);
    assert.equal(sendText(peer, target, "x"), 0);
    assert.equal(peer.receive(new UdpInbox()), 0);
    assert.equal(sendText(peer, target, "x"), 0);
    // The error of the last one meets a send, and is not this one's.
    assert.equal(sendText(peer, target, "x"), 0);
  } finally {
    libc.close();
  }
});

Deno.test("UdpSocket throws an error that says what and why", () => {
  using socket = open(loop6);
  assert.throws(() => open(loop6, { local: socket.local }), {
    name: "SysError",
    code: "EADDRINUSE",
    message: `bind UDP [::1]:${socket.local.port}: EADDRINUSE (address already in use): ` +
      "another process has the port; `ss -lunp` shows which",
  });
  assert.throws(() => open(v4(192, 0, 2, 1)), { code: "EADDRNOTAVAIL" });
  assert.throws(() => open(any4, { receiveBufferBytes: 2 ** 31 }), { code: "EINVAL" });
});

Deno.test("UdpSocket shares a port with reusePort, and ::'s with IPv4 by v6Only", () => {
  using first = open(loop4, { reusePort: true });
  using second = open(loop4, { reusePort: true, local: first.local });
  assert.equal(second.local.port, first.local.port);
  using v6 = open(any6, { v6Only: true });
  using both = open(any4, { local: endpoint(any4, v6.local.port) });
  assert.equal(both.has("ipv4"), true);
  assert.equal(v6.has("ipv4"), false);
  using client = open(any4);
  sendText(client, endpoint(loop4, v6.local.port), "x");
  assert.deepEqual([drain(v6).length, drain(both).length], [0, 1]);
});

Deno.test("UdpSocket reports its features, and none that was not asked for", () => {
  using plain = open(any6, { gro: false, gso: false, packetInfo: false });
  assert.equal(plain.features, 0);
  using full = open(any4, { dontFragment: true });
  // Every Linux from 5.0 has them.
  assert.equal(full.features, 4 | 8 | 16 | 32 | 64);
});

Deno.test("Epoll reports a UdpSocket as readable once a datagram is there", () => {
  using server = open(loop4);
  using peer = open(loop4);
  using epoll = new Epoll(native);
  epoll.add(server.fd, EpollEvent.in, 5);
  assert.equal(epoll.wait(0), 0);
  sendText(peer, server.local, "x");
  assert.equal(epoll.wait(1000), 1);
  assert.equal(epoll.tag(0), 5);
  drain(server);
  assert.equal(epoll.wait(0), 0);
});

Deno.test("UdpSocket names itself when used after close", () => {
  const socket = open(loop4);
  const message = `Cannot use UDP socket 127.0.0.1:${socket.local.port} as it is closed`;
  socket.close();
  socket.close();
  assert.equal(socket.closed, true);
  assert.throws(() => socket.receive(new UdpInbox()), { message });
  assert.throws(() => socket.send(new UdpOutbox(new Uint8Array(1))), { message });
  assert.throws(() => socket.fd, { message });
});

Deno.test("UdpInbox throws a RangeError for sizes out of bounds", () => {
  for (
    const options of [
      { slots: 0 },
      { slots: 65 },
      { slotBytes: 0 },
      { slotBytes: 65_537 },
      { spanMax: 127 },
      { spanMax: 8193 },
    ]
  ) {
    assert.throws(() => new UdpInbox(options), RangeError);
  }
});

// What needs a network, or a kernel, of its own is tested by this file again in a child process.
const childOf = Deno.env.get("PHANTOM_TEST_UDP_CHILD");

/** Runs this file's tests whose name has `[tag]`, by a command that gets Deno's path as "$0". */
async function runChild(
  tag: string,
  passed: number,
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  const { success, stdout } = await new Deno.Command(program, {
    args: [...args, Deno.execPath(), tag, new URL(import.meta.url).pathname],
    env: { ...env, PHANTOM_TEST_UDP_CHILD: tag, NO_COLOR: "1" },
    stdout: "piped",
    stderr: "null",
  }).output();
  const report = new TextDecoder().decode(stdout);
  assert.ok(success && report.includes(` ${passed} passed`), report);
}

/** A test that only runs in the child process of its tag. */
function childTest(tag: string, name: string, fn: () => void): void {
  if (childOf === tag) Deno.test(`[${tag}] ${name}`, fn);
}

const runTagged = 'exec "$0" test -A --no-check --filter "[$1]" "$2"';

function canRun(program: string, args: readonly string[]): boolean {
  try {
    const command = new Deno.Command(program, { args: [...args], stdout: "null", stderr: "null" });
    return childOf === undefined && command.outputSync().success;
  } catch {
    return false;
  }
}

// Nobody answers ARP behind udp0: what is sent there stays in the socket's buffer.
const setUpNetwork = "ip link set lo up && ip link add udp0 type veth peer name udp1 && " +
  "ip address add 10.9.9.1/24 dev udp0 && ip link set udp0 up && ip link set udp1 up && sleep 0.2";
const nobody = endpoint(v4(10, 9, 9, 2), 9);

Deno.test({
  name: "UdpSocket.send() stops at a full buffer, and meets an MTU",
  ignore: !canRun("unshare", ["-Urn", "sh", "-c", setUpNetwork]),
  fn: () => {
    const args = ["-Urn", "sh", "-c", `${setUpNetwork} && ${runTagged}`];
    return runChild("network", 3, "unshare", args);
  },
});

childTest("network", "UdpSocket.send() deals with as many entries as the buffer takes", () => {
  using socket = open(any4, { sendBufferBytes: 16_384 });
  using epoll = new Epoll(native);
  epoll.add(socket.fd, EpollEvent.out, 0);
  const outbox = new UdpOutbox(new Uint8Array(1000));
  for (let i = 0; i < 64; i++) outbox.add(routeTo(nobody), 0, 1000);
  const sent = socket.send(outbox);
  assert.ok(sent > 3 && sent < 64, `${sent} sent`);
  for (let i = 0; i < sent; i++) assert.equal(outbox.result(i), 0);
  assert.equal(epoll.wait(0), 0);
  outbox.drop(sent);
  assert.equal(socket.send(outbox), 0);
});

childTest("network", "UdpSocket.send() leaves of a cut entry what did not go out", () => {
  using socket = open(any4, { sendBufferBytes: 16_384, gso: false });
  const outbox = new UdpOutbox(new Uint8Array(50_000));
  outbox.add(routeTo(nobody), 0, 50_000, 1000);
  assert.equal(socket.send(outbox), 0);
  const [offset, length] = outbox.sends.subarray(routeWords, routeWords + 2);
  assert.ok(offset! >= 3000 && offset! < 50_000, `offset ${offset}`);
  assert.equal(offset! % 1000, 0);
  assert.equal(offset! + length!, 50_000);
});

childTest("network", "UdpSocket.send() takes a segment over the MTU for the entry's fault", () => {
  using whole = open(any4, { sendBufferBytes: 1 << 20, dontFragment: true });
  using cut = open(any4, { sendBufferBytes: 1 << 20 });
  const outbox = new UdpOutbox(new Uint8Array(6000));
  outbox.add(routeTo(nobody), 0, 6000, 2000);
  outbox.add(routeTo(nobody), 0, 6000, 1000);
  assert.deepEqual([whole.send(outbox), outbox.result(0), outbox.result(1)], [2, -90, 0]);
  assert.deepEqual([cut.send(outbox), outbox.result(0), outbox.result(1)], [2, 0, 0]);
  assert.deepEqual([whole.has("gso"), cut.has("gso")], [true, true]);
});

Deno.test({
  name: "UdpSocket does without GSO and IPv6 where the machine has none",
  ignore: !canRun("gcc", ["--version"]),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const shim = `${folder}/poor_kernel.so`;
      const source = new URL("../tests/fixtures/poor_kernel.c", import.meta.url).pathname;
      const args = ["-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, source];
      assert.ok(canRun("gcc", args));
      const preload = [Deno.env.get("LD_PRELOAD"), shim].filter(Boolean).join(" ");
      await runChild("poor kernel", 2, "sh", ["-c", runTagged], { LD_PRELOAD: preload });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

childTest("poor kernel", "UdpSocket.send() cuts by itself when GSO is refused, and says so", () => {
  using server = open(loop4);
  using peer = open(loop4);
  assert.equal(peer.has("gso"), true);
  const outbox = new UdpOutbox(new Rng(5).bytes(5000));
  const route = routeTo(server.local);
  outbox.add(route, 0, 10);
  outbox.add(route, 10, 4500, 1000);
  outbox.add(route, 4510, 490, 100);
  assert.equal(peer.send(outbox), 3);
  assert.deepEqual([0, 1, 2].map((i) => outbox.result(i)), [0, 0, 0]);
  assert.equal(peer.has("gso"), false);
  const got = drain(server);
  assert.deepEqual(
    got.map((bytes) => bytes.length),
    [10, 1000, 1000, 1000, 1000, 500, 100, 100, 100, 100, 90],
  );
  assert.deepEqual(Uint8Array.from(got.flatMap((bytes) => [...bytes])), outbox.arena);
});

childTest("poor kernel", "UdpSocket takes IPv4 for :: where there is no IPv6", () => {
  using server = open(any6);
  using peer = open(any6);
  assert.equal(server.has("ipv4"), true);
  sendText(peer, endpoint(loop4, server.local.port), "x");
  const inbox = new UdpInbox();
  assert.equal(server.receive(inbox), 1);
  assert.equal(formatEndpoint(inbox.peer(0)), `127.0.0.1:${peer.local.port}`);
  assert.throws(() => open(loop6), { code: "EAFNOSUPPORT" });
  assert.throws(() => open(any6, { v6Only: true }), { code: "EAFNOSUPPORT" });
});

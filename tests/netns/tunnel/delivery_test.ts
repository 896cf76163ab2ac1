/** AF_XDP on a link of veth: frames as they are, the tunnel over it, and all that can happen. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { endpoint, routeWords } from "../../../ffi/endpoint.ts";
import { UdpOutbox } from "../../../ffi/udp.ts";
import { XskPort, xskRunMax } from "../../../ffi/xsk.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { Log, type LogRecord } from "../../../src/base/log.ts";
import { ClientTunnel } from "../../../src/tunnel/client/tunnel.ts";
import { Loop } from "../../../src/loop/loop.ts";
import { ServerTunnel } from "../../../src/tunnel/server/tunnel.ts";
import { XskDelivery } from "../../../src/transport/xsk.ts";
import type { Session } from "../../../src/session/session.ts";
import { OpenedCode } from "../../../src/wire/frames.ts";
import {
  type BedClient,
  CLIENT,
  DeliveryBed,
  type DeliveryOptions,
  INTERFACE,
  PORT,
  SERVER,
} from "../../fixtures/delivery.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { ADDRESS, clientStart, Notes, serverStart, Source } from "../../fixtures/tunnel.ts";
import { testNative } from "../../native.ts";

testNative();
libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("delivery_test.ts: skipped, network namespaces need root");

function test(
  name: string,
  options: DeliveryOptions,
  act: (bed: DeliveryBed) => void | Promise<void>,
): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using bed = new DeliveryBed(options);
      await act(bed);
    },
  });
}

function sleepMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function until<T>(get: () => T | undefined, ms = 5000): T {
  const end = performance.now() + ms;
  for (;;) {
    const got = get();
    if (got !== undefined) return got;
    if (performance.now() > end) throw new Error(`Not in ${ms} ms: ${get}`);
    sleepMs(2);
  }
}

function bytesOf(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13) & 0xff);
}

/** Sends until it arrives by AF_XDP: the first ones may wait for the neighbour's address. */
function arrive(port: XskPort, client: BedClient, address: string, payload: Uint8Array): void {
  client.send(address, payload);
  until(() => port.queues.find((_, index) => port.receive(index) > 0));
  assert.deepEqual(port.inbox.bytes(0), payload);
}

function replyTo(port: XskPort, payload: Uint8Array<ArrayBuffer>, segment = 0): UdpOutbox {
  const route = new Uint32Array(routeWords);
  port.inbox.copyRoute(0, route);
  const outbox = new UdpOutbox(payload);
  outbox.add(route, 0, payload.length, segment);
  return outbox;
}

/** RFC 1071 over 16-bit words in network order: what is left is 0xffff when it is right. */
function onesComplementSum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += part[i]! << 8 | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

function assertFrame(frame: Uint8Array, isIpv4: boolean, payload: Uint8Array): void {
  const ip = frame.subarray(14);
  const headerBytes = isIpv4 ? 20 : 40;
  const udp = ip.subarray(headerBytes);
  const udpBytes = [udp.length >> 8, udp.length & 0xff];
  assert.deepEqual([...udp.subarray(4, 6)], udpBytes);
  if (isIpv4) {
    assert.equal(ip[0], 0x45);
    assert.equal(ip[2]! << 8 | ip[3]!, ip.length);
    assert.equal(ip[6]! << 8 | ip[7]!, 0x4000, "DF alone");
    assert.deepEqual([ip[8], ip[9]], [64, 17]);
    assert.equal(onesComplementSum(ip.subarray(0, 20)), 0xffff);
  } else {
    assert.deepEqual([...ip.subarray(0, 8)], [0x60, 0, 0, 0, ...udpBytes, 17, 64]);
  }
  const addresses = isIpv4 ? ip.subarray(12, 20) : ip.subarray(8, 40);
  assert.notEqual(udp[6]! << 8 | udp[7]!, 0, "a checksum");
  assert.equal(onesComplementSum(addresses, Uint8Array.of(0, 17, ...udpBytes), udp), 0xffff);
  assert.equal(udp[0]! << 8 | udp[1]!, PORT);
  assert.deepEqual(udp.subarray(8), payload);
}

for (const [family, address] of [["IPv4", SERVER.v4], ["IPv6", SERVER.v6]] as const) {
  test(`${family}: what comes by AF_XDP is answered by it, each frame right`, {}, (bed) => {
    using port = bed.openPort();
    using client = bed.openClient();
    arrive(port, client, address, bytesOf(100));
    port.learn(port.inbox.message(0));
    assert.equal(port.inbox.peer(0).port, client.socket.local.port);
    assert.deepEqual(port.inbox.local(0), { ...endpoint(ipBytes(address), 0) });
    using watch = bed.watchClient(client.socket.local.port);
    const framesOf = (payload: Uint8Array<ArrayBuffer>, segment = 0) => {
      const outbox = replyTo(port, payload, segment);
      port.send(outbox);
      assert.equal(outbox.count, 0);
      return until(() => {
        const got = watch.frames();
        return got.length > 0 ? got : undefined;
      });
    };
    for (const length of [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 700, 1399, 1400, 1452]) {
      const payload = bytesOf(length, length);
      const frames = framesOf(payload);
      assert.equal(frames.length, 1);
      assertFrame(frames[0]!, family === "IPv4", payload);
    }
    const whole = bytesOf(900);
    const cut = framesOf(whole, 250);
    assert.equal(cut.length, 4);
    cut.forEach((frame, i) => {
      assertFrame(frame, family === "IPv4", whole.subarray(250 * i, 250 * i + 250));
    });
    // With its own checksum in it a datagram's becomes 0, which would say that there is none.
    const checksumAt = family === "IPv4" ? 40 : 60;
    const checksum = framesOf(new Uint8Array(2))[0]!.slice(checksumAt, checksumAt + 2);
    const [frame] = framesOf(checksum);
    assert.deepEqual([...frame!.subarray(checksumAt, checksumAt + 2)], [0xff, 0xff]);
    assertFrame(frame!, family === "IPv4", checksum);
  });
}

test("the kernel takes our checksums, and cut entries arrive in order", {}, (bed) => {
  using port = bed.openPort();
  using client = bed.openClient();
  arrive(port, client, SERVER.v4, bytesOf(40));
  port.learn(port.inbox.message(0));
  // Sixty-four entries of 64 datagrams: four times what the ring holds.
  const each = 100;
  const route = new Uint32Array(routeWords);
  port.inbox.copyRoute(0, route);
  const outbox = new UdpOutbox(new Uint8Array(64 * 64 * each));
  const view = new DataView(outbox.arena.buffer);
  for (let i = 0; i < 4096; i++) view.setUint32(i * each, i);
  for (let i = 0; i < 64; i++) outbox.add(route, i * 64 * each, 64 * each, each);
  port.send(outbox);
  while (port.kick()) sleepMs(1);
  assert.equal(outbox.count, 0);
  assert.equal(port.counts().sent, 4096);
  const numbers = client.receive().map((one) => new DataView(one.buffer).getUint32(0));
  assert.deepEqual(numbers, Array.from({ length: 4096 }, (_, i) => i));
  assert.match(bed.client.run("cat", "/proc/net/snmp"), /^Udp: \d+ \d+ 0 \d+ 0 0 0 /m);
});

test("what AF_XDP can't send is left for the socket", {}, (bed) => {
  using port = bed.openPort();
  using client = bed.openClient();
  arrive(port, client, SERVER.v4, bytesOf(40));
  const unknown = replyTo(port, bytesOf(64));
  port.send(unknown);
  assert.equal(unknown.count, 1, "nobody has proved who they are");
  port.learn(port.inbox.message(0));
  const long = replyTo(port, bytesOf(1473));
  port.send(long);
  assert.equal(long.count, 1, "longer than the MTU");
  using socket = bed.openSocket();
  socket.send(long);
  assert.equal(long.result(0), -90, "EMSGSIZE, as ever");
  const { sent, noWayBack } = port.counts();
  assert.deepEqual([sent, noWayBack], [0, 1]);
});

test("in copy mode long runs are the socket's, and nothing overtakes them", {}, (bed) => {
  using port = bed.openPort([0], false);
  using client = bed.openClient();
  arrive(port, client, SERVER.v4, bytesOf(40));
  port.learn(port.inbox.message(0));
  const outbox = replyTo(port, bytesOf(xskRunMax * 10), 10);
  const route = new Uint32Array(routeWords);
  port.inbox.copyRoute(0, route);
  outbox.add(route, 0, xskRunMax * 10, 9);
  outbox.add(route, 0, 10);
  port.send(outbox);
  assert.equal(outbox.count, 2, "a run of one more than the limit, and what is behind it");
  const { sent, long } = port.counts();
  assert.deepEqual([sent, long], [xskRunMax, 1]);
  outbox.clear();
  outbox.add(route, 0, 10);
  port.send(outbox);
  assert.equal(outbox.count, 0, "the next batch has nothing to wait for");
});

test("frames of two queues, from many peers, come to one port", { queues: 2 }, (bed) => {
  using port = bed.openPort();
  using first = bed.openClient();
  arrive(port, first, SERVER.v4, bytesOf(33));
  const seen = [0, 0];
  for (let i = 0; i < 40; i++) {
    using client = bed.openClient();
    const payload = bytesOf(60, i);
    client.send(SERVER.v4, payload);
    const queue = until(() => [0, 1].find((index) => port.receive(index) > 0));
    seen[queue]!++;
    assert.deepEqual(port.inbox.bytes(0), payload);
    port.learn(port.inbox.message(0));
    const outbox = replyTo(port, payload);
    port.send(outbox);
    assert.equal(outbox.count, 0);
    const [answer] = until(() => {
      const got = client.receive();
      return got.length > 0 ? got : undefined;
    });
    assert.deepEqual(answer, payload);
  }
  assert.ok(seen.every((count) => count > 0), String(seen));
});

test("opening says why not, and what to do", { queues: 2 }, (bed) => {
  const open = (changes: { interfaceName?: string; queues?: number[]; copying?: "zero-copy" }) =>
    bed.server.enter(() => {
      const options = { interfaceName: INTERFACE, queues: [0], port: PORT, ...changes };
      new XskPort(libraries().native, options).close();
    });
  using _port = bed.openPort([1]);
  assert.throws(() => open({ queues: [1] }), /sx: EBUSY .*`ss --xdp -p` shows which/);
  assert.throws(() => open({ queues: [7] }), /sx: EINVAL .*has fewer queues: `ethtool -l` tells/);
  assert.throws(() => open({ copying: "zero-copy" }), /sx: EOPNOTSUPP .*the driver/);
  assert.throws(() => open({ interfaceName: "none" }), /find interface none: ENODEV/);
  assert.throws(() => open({ queues: [] }), /1 to 16 queues: current value is 0/);
  bed.server.ip("link", "set", "dev", INTERFACE, "mtu", "2000");
  assert.throws(() => open({}), /sx: EMSGSIZE .*MTU must be at most 1778/);
});

test("a hundred lives leave no descriptor and no memory", {}, (bed) => {
  const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const cycle = () => {
    using port = bed.openPort();
    using client = bed.openClient();
    arrive(port, client, SERVER.v4, bytesOf(50));
  };
  for (let i = 0; i < 10; i++) cycle();
  const [before, memory] = [descriptors(), Deno.memoryUsage().rss];
  for (let i = 0; i < 100; i++) cycle();
  assert.equal(descriptors(), before);
  // One port has 6 MB.
  const grown = Deno.memoryUsage().rss - memory;
  assert.ok(grown < 32 << 20, `${grown} B`);
});

/** Server and client over the bed, in one loop. */
class Tunnels implements Disposable {
  readonly loop = new Loop(testNative());
  readonly atServer = new Notes();
  readonly atClient = new Notes();
  readonly server: ServerTunnel;
  readonly client: ClientTunnel;
  readonly delivery: XskDelivery;
  readonly log: LogRecord[] = [];
  readonly #bed: DeliveryBed;

  constructor(bed: DeliveryBed, address: string = SERVER.v4) {
    this.#bed = bed;
    const { loop } = this;
    const start = serverStart({ listen: endpoint(new Uint8Array(16), PORT) });
    this.server = new ServerTunnel(loop, start, loop, this.atServer);
    const own = clientStart([endpoint(ipBytes(address), PORT)]);
    this.client = new ClientTunnel(loop, own, loop, this.atClient);
    bed.server.enter(() => this.server.start());
    bed.client.enter(() => this.client.start());
    this.delivery = new XskDelivery(
      loop,
      this.server.udp,
      new Log((record) => this.log.push(record)),
    );
  }

  deliver(): void {
    this.#bed.server.enter(() =>
      this.delivery.set({
        interfaceName: INTERFACE,
        queues: this.#bed.queues,
        mapFd: this.#bed.mapFd,
        longRuns: true,
      })
    );
  }

  /** Rounds in the server's namespace: there AF_XDP is opened again. */
  until(isSo: () => boolean, ms = 10_000): void {
    this.#bed.server.enter(() => {
      const end = performance.now() + ms;
      while (!isSo()) {
        if (performance.now() > end) {
          throw new Error(`Not in ${ms} ms: ${isSo}: ${JSON.stringify(this.log)}`);
        }
        this.loop.round(1);
      }
    });
  }

  /** Bytes up and the same number down, in a stream; both ends' hashes of what came. */
  transfer(bytes: number): void {
    const [up, down] = [new Source(bytes), new Source(bytes)];
    const hashes = [createHash("sha256"), createHash("sha256")] as const;
    const counts = [0, 0];
    let streamOfServer = -1;
    const take = (which: 0 | 1) =>
    (
      _session: Session,
      _stream: number,
      from: Uint8Array,
      at: number,
      length: number,
    ): number => {
      hashes[which].update(from.subarray(at, at + length));
      counts[which]! += length;
      return length;
    };
    this.atServer.data = take(0);
    this.atClient.data = take(1);
    this.atServer.opened = (session, stream) => {
      streamOfServer = stream;
      session.answer(stream, OpenedCode.ok, ADDRESS);
      down.pump(session, stream);
      this.server.wake(session);
    };
    this.atServer.writable = (session, stream) => {
      if (stream === streamOfServer) down.pump(session, stream);
    };
    const session = this.client.session();
    const stream = session.openStream(ADDRESS);
    this.atClient.writable = () => up.pump(session, stream);
    up.pump(session, stream);
    this.client.wake(session);
    this.until(() => counts[0] === bytes && counts[1] === bytes, 30_000);
    const [atServer, atClient] = hashes.map((hash) => hash.digest("hex"));
    assert.equal(atServer, sourceHash(bytes));
    assert.equal(atClient, sourceHash(bytes));
  }

  [Symbol.dispose](): void {
    this.client.stop();
    this.server.stop();
    this.delivery.close();
    this.loop.close();
  }
}

function sourceHash(bytes: number): string {
  const hash = createHash("sha256");
  const source = new Source(bytes);
  const taken = {
    write: (_stream: number, from: Uint8Array, at: number, length: number) => {
      hash.update(from.subarray(at, at + length));
      return length;
    },
    finish: () => {},
  };
  source.pump(taken as unknown as Session, 0);
  return hash.digest("hex");
}

const MEGABYTE = 1 << 20;

for (const address of [SERVER.v4, SERVER.v6]) {
  test(`a session over AF_XDP, both ways, whole: ${address}`, { queues: 2 }, (bed) => {
    using tunnels = new Tunnels(bed, address);
    tunnels.deliver();
    const [{ event, fields }, ...more] = tunnels.log as [LogRecord];
    assert.deepEqual([event, more], ["af_xdp_open", []]);
    assert.deepEqual(fields, { interface: INTERFACE, queues: "0,1", zeroCopy: false });
    tunnels.transfer(8 * MEGABYTE);
    const { received, sent } = tunnels.delivery;
    assert.ok(received > 5000 && sent > 5000, `${received} ${sent}`);
    const { datagrams, junk, forged } = tunnels.server.pump.received;
    assert.ok(datagrams - received < 100, `${datagrams - received} by the socket`);
    assert.deepEqual([junk, forged], [0, 0]);
  });
}

test("a session goes on when the client moves, and while AF_XDP goes and comes", {}, (bed) => {
  using tunnels = new Tunnels(bed);
  tunnels.deliver();
  tunnels.transfer(MEGABYTE);
  bed.client.ip("addr", "add", "10.9.0.77/24", "dev", "cx");
  bed.client.ip("addr", "del", `${CLIENT.v4}/24`, "dev", "cx");
  bed.client.ip("addr", "add", "10.9.0.77/24", "dev", "cx");
  bed.client.enter(() => tunnels.client.rebind());
  let before = tunnels.delivery.sent;
  tunnels.transfer(4 * MEGABYTE);
  assert.ok(tunnels.delivery.sent - before > 2000, "the new address is answered by AF_XDP");
  tunnels.delivery.close();
  assert.equal(tunnels.delivery.isOpen, false);
  tunnels.transfer(MEGABYTE);
  // At once: the kernel may still hold the queue, and a later attempt gets it.
  tunnels.deliver();
  tunnels.until(() => tunnels.delivery.isOpen);
  before = tunnels.delivery.received;
  tunnels.transfer(4 * MEGABYTE);
  assert.ok(tunnels.delivery.received - before > 2000);
  assert.equal(tunnels.atServer.sessions.length, 1, "one session all along");
});

test("an interface that vanishes: sockets deliver, nothing spins, AF_XDP comes back", {}, (bed) => {
  using tunnels = new Tunnels(bed);
  tunnels.deliver();
  tunnels.transfer(MEGABYTE);
  bed.unplug();
  tunnels.until(() => tunnels.log.some(({ level }) => level === "warn"));
  assert.equal(tunnels.log[1]!.event, "af_xdp_lost");
  assert.match(String(tunnels.log[1]!.fields.cause), /^AF_XDP on sx: E\w+ /);
  assert.equal(tunnels.delivery.isOpen, false);
  const cpu = Deno.readTextFileSync("/proc/thread-self/stat").split(") ")[1]!.split(" ");
  const rounds = { count: 0 };
  const end = performance.now() + 500;
  bed.server.enter(() => {
    for (; performance.now() < end; rounds.count++) tunnels.loop.round(100);
  });
  const after = Deno.readTextFileSync("/proc/thread-self/stat").split(") ")[1]!.split(" ");
  const ticks = Number(after[11]) + Number(after[12]) - Number(cpu[11]) - Number(cpu[12]);
  assert.ok(ticks < 25, `${ticks} ticks of 50, ${rounds.count} rounds`);
  bed.plug();
  bed.attach();
  tunnels.until(() => tunnels.delivery.isOpen, 15_000);
  const before = tunnels.delivery.received;
  tunnels.transfer(2 * MEGABYTE);
  assert.ok(tunnels.delivery.received - before > 1000);
});

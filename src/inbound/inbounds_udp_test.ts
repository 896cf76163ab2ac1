import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { testNative } from "../../tests/native.ts";
import { concat, type FakeOptions, FakeTunnel } from "../../tests/fixtures/fake_tunnel.ts";
import { endpoint } from "../../ffi/endpoint.ts";
import { ASSOCIATIONS_MAX } from "./associations.ts";
import { PEER_IDLE_MS, UdpForward } from "./udp_forward.ts";
import { Inbounds } from "./inbounds.ts";
import { Loop } from "../loop/loop.ts";
import type { InboundSpec } from "./spec.ts";

const native = testNative();
const hostname = "127.0.0.1";
const loop4 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1);
const listen = endpoint(loop4, 0);
const socks: InboundSpec = { kind: "socks5", listen };
const forward: InboundSpec = { kind: "udp", listen, target: "dns.example:53" };
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const utf8 = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(value);

/** UDP ASSOCIATE, 0.0.0.0:0. */
const ASSOCIATE = Uint8Array.of(5, 3, 0, 1, 0, 0, 0, 0, 0, 0);
const NAME = Uint8Array.of(3, 9, ...utf8("u.example"), 0, 53);
const shout: NonNullable<FakeOptions["datagram"]> = (target, data) =>
  utf8(`${target} ${text(data).toUpperCase()}`);

/** A local program's socket. */
class Udp {
  readonly #socket = createSocket("udp4");
  readonly #received: [Uint8Array, number][] = [];
  #wake: () => void = () => {};

  static async open(address = hostname): Promise<Udp> {
    const udp = new Udp();
    udp.#socket.on("message", (bytes, { port }) => {
      udp.#received.push([Uint8Array.from(bytes), port]);
      udp.#wake();
    });
    await new Promise<void>((resolve) => udp.#socket.bind(0, address, resolve));
    return udp;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async send(bytes: Uint8Array, port: number): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.send(bytes, port, hostname, () => resolve()));
  }

  /** A datagram, and the port that it came from. */
  async receive(): Promise<[Uint8Array, number]> {
    while (this.#received.length === 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#received.shift()!;
  }

  close(): void {
    this.#socket.close();
  }
}

interface Bench {
  readonly loop: Loop;
  readonly tunnel: FakeTunnel;
  readonly inbounds: Inbounds;
  readonly port: number;
  udp(address?: string): Promise<Udp>;
}

async function bench(
  spec: InboundSpec,
  options: FakeOptions,
  test: (bench: Bench) => Promise<void>,
): Promise<void> {
  const loop = new Loop(native);
  const tunnel = new FakeTunnel(loop, options);
  const inbounds = new Inbounds(loop, [spec], tunnel);
  tunnel.events = inbounds;
  inbounds.start();
  const sockets: Udp[] = [];
  const udp = async (address?: string): Promise<Udp> => {
    const socket = await Udp.open(address);
    sockets.push(socket);
    return socket;
  };
  let isRunning = true;
  const turning = (async () => {
    while (isRunning) {
      loop.round(0);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  })();
  try {
    await test({ loop, tunnel, inbounds, port: inbounds.ports[0]!, udp });
  } finally {
    isRunning = false;
    await turning;
    for (const socket of sockets) socket.close();
    inbounds.stop();
    assert.equal(inbounds.context.live.size, 0);
    assert.equal(inbounds.context.associations.count, 0);
    loop.close();
  }
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!condition()) {
    assert.ok(Date.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The control connection, and the port for datagrams. */
async function associate(
  port: number,
  request: Uint8Array = ASSOCIATE,
): Promise<[Deno.TcpConn, number]> {
  const control = await Deno.connect({ hostname, port });
  await control.write(concat([Uint8Array.of(5, 1, 0), request]));
  const reply = new Uint8Array(12);
  for (let at = 0; at < reply.length;) at += await control.read(reply.subarray(at)) ?? 12;
  assert.deepEqual([...reply.subarray(0, 10)], [5, 0, 5, 0, 0, 1, 127, 0, 0, 1]);
  return [control, reply[10]! << 8 | reply[11]!];
}

const packed = (data: string, fragment = 0): Uint8Array =>
  concat([Uint8Array.of(0, 0, fragment), NAME, utf8(data)]);

Deno.test("UDP ASSOCIATE: names, both ways, as long as the connection lives", async () => {
  await bench(socks, { datagram: shout }, async ({ port, udp, inbounds, tunnel }) => {
    const [control, at] = await associate(port);
    const client = await udp();
    for (const word of ["one", "two", "three"]) await client.send(packed(word), at);
    for (const word of ["ONE", "TWO", "THREE"]) {
      const [answer, from] = await client.receive();
      assert.equal(from, at);
      assert.deepEqual(answer, packed(`u.example:53 ${word}`));
    }
    const { counters } = inbounds;
    assert.deepEqual([counters.datagramsUp, counters.datagramsDown], [3, 3]);
    assert.equal(inbounds.context.associations.count, 1);
    control.close();
    await until(() => inbounds.context.associations.count === 0);
    assert.deepEqual(tunnel.current!.endedAssocs, [0]);
    assert.equal(inbounds.context.live.size, 0);
  });
});

Deno.test("UDP ASSOCIATE drops fragments, junk, strangers and what is too long", async () => {
  await bench(socks, { datagram: shout }, async ({ port, udp, inbounds }) => {
    const [control, at] = await associate(port);
    const client = await udp();
    const stranger = await udp();
    const { counters } = inbounds;
    const refused: string[] = [];
    inbounds.context.onRefused = (_what, cause) => refused.push(cause);
    await client.send(packed("x"), at);
    await client.receive();
    await stranger.send(packed("stranger"), at);
    await client.send(packed("fragment", 1), at);
    await client.send(utf8("junk"), at);
    await client.send(packed("l".repeat(2000)), at);
    await until(() => counters.datagramsDropped === 3 && counters.fragments === 1);
    await client.send(packed("y"), at);
    assert.deepEqual((await client.receive())[0], packed("u.example:53 Y"));
    for (const words of [/^it is from another address or port/, /^it is a fragment/, /header/]) {
      assert.ok(refused.some((cause) => words.test(cause)), `${words}: ${refused}`);
    }
    control.close();
  });
});

Deno.test("UDP ASSOCIATE: another IP than the client's can't take it over", async () => {
  await bench(socks, { datagram: shout }, async ({ port, udp, inbounds }) => {
    const [control, at] = await associate(port);
    const other = await udp("127.0.0.2");
    await other.send(packed("x"), at);
    await until(() => inbounds.counters.datagramsDropped === 1);
    const client = await udp();
    await client.send(packed("y"), at);
    assert.deepEqual((await client.receive())[0], packed("u.example:53 Y"));
    control.close();
  });
});

Deno.test("UDP ASSOCIATE: the port that the client stated is the only one", async () => {
  await bench(socks, { datagram: shout }, async ({ port, udp, inbounds }) => {
    const client = await udp();
    const other = await udp();
    for (const ip of [[0, 0, 0, 0], [127, 0, 0, 1]]) {
      const stated = Uint8Array.of(5, 3, 0, 1, ...ip, client.port >> 8, client.port & 255);
      const dropped = inbounds.counters.datagramsDropped;
      const [control, at] = await associate(port, stated);
      await other.send(packed("x"), at);
      await until(() => inbounds.counters.datagramsDropped === dropped + 1);
      await client.send(packed("y"), at);
      assert.deepEqual((await client.receive())[0], packed("u.example:53 Y"));
      control.close();
    }
    // One that it had in front of a NAT tells nothing of this side of it.
    const [control, at] = await associate(port, Uint8Array.of(5, 3, 0, 1, 10, 0, 0, 9, 1, 2));
    await client.send(packed("z"), at);
    assert.deepEqual((await client.receive())[0], packed("u.example:53 Z"));
    control.close();
  });
});

Deno.test("UDP ASSOCIATE survives a lost session, and one that the server ended", async () => {
  await bench(socks, { datagram: shout }, async ({ port, udp, inbounds, tunnel }) => {
    const [control, at] = await associate(port);
    const client = await udp();
    const ask = async (): Promise<void> => {
      await client.send(packed("x"), at);
      assert.deepEqual((await client.receive())[0], packed("u.example:53 X"));
    };
    await ask();
    tunnel.lose();
    await ask();
    assert.equal(tunnel.sessions, 2);
    inbounds.assocEnded(tunnel.current!.asSession, 1);
    await ask();
    const session = tunnel.current!.asSession;
    // What comes for an association that is over is dropped.
    inbounds.datagram(session, 1, concat([NAME, utf8("late")]), 0, NAME.length, NAME.length, 4);
    assert.equal(inbounds.counters.datagramsDropped, 1);
    control.close();
  });
});

Deno.test("UDP ASSOCIATE beyond the maximum is refused, and counted", async () => {
  await bench(socks, {}, async ({ port, inbounds }) => {
    const { associations } = inbounds.context;
    while (associations.count < ASSOCIATIONS_MAX) assert.ok(associations.admit());
    const refused: string[] = [];
    inbounds.context.onRefused = (what, cause) => refused.push(`${what}: ${cause}`);
    const control = await Deno.connect({ hostname, port });
    await control.write(concat([Uint8Array.of(5, 1, 0), ASSOCIATE]));
    const parts: Uint8Array[] = [];
    for await (const part of control.readable) parts.push(part);
    assert.deepEqual([...concat(parts).subarray(0, 4)], [5, 0, 5, 1]);
    assert.equal(inbounds.counters.associationsRefused, 1);
    assert.match(refused.join(), /^a SOCKS5 UDP ASSOCIATE is refused: there are too many/);
    for (let i = 0; i < ASSOCIATIONS_MAX; i++) {
      associations.release({ session: undefined, association: -1, datagram: () => {} });
    }
  });
});

Deno.test("a UDP forward: many peers, each gets its own answers", async () => {
  await bench(forward, { datagram: shout }, async ({ port, udp, inbounds, tunnel }) => {
    const peers = await Promise.all(Array.from({ length: 50 }, () => udp()));
    for (let round = 0; round < 3; round++) {
      await Promise.all(peers.map(async (peer, i) => {
        await peer.send(utf8(`q${i}`), port);
        const [answer, from] = await peer.receive();
        assert.equal(text(answer), `dns.example:53 Q${i}`);
        assert.equal(from, port);
      }));
    }
    assert.equal(inbounds.context.associations.count, 50);
    assert.equal(tunnel.sessions, 1);
  });
});

Deno.test("a UDP forward forgets idle peers, and refuses too many", async () => {
  const loop = new Loop(native);
  const tunnel = new FakeTunnel(loop, { datagram: shout });
  const inbounds = new Inbounds(loop, [], tunnel);
  tunnel.events = inbounds;
  const address = Uint8Array.of(1, 10, 0, 0, 1, 0, 53);
  const udpForward = new UdpForward(inbounds.context, forward, address);
  const peers = await Promise.all([Udp.open(), Udp.open(), Udp.open()]);
  const { associations } = inbounds.context;
  const others = ASSOCIATIONS_MAX - 2;
  for (let i = 0; i < others; i++) associations.admit();
  for (const peer of peers) {
    await peer.send(utf8("x"), udpForward.port);
    loop.round(100);
  }
  assert.equal(udpForward.peers, 2);
  assert.equal(inbounds.counters.associationsRefused, 1);
  assert.equal(inbounds.counters.datagramsDropped, 1);
  udpForward.fire(loop.now + PEER_IDLE_MS - 1000);
  assert.equal(udpForward.peers, 2);
  udpForward.fire(loop.now + PEER_IDLE_MS);
  assert.equal(udpForward.peers, 0);
  assert.equal(associations.count, others);
  assert.deepEqual(tunnel.current!.endedAssocs, [0, 1]);
  // There is room again.
  await peers[2]!.send(utf8("x"), udpForward.port);
  loop.round(100);
  assert.equal(udpForward.peers, 1);
  udpForward.close();
  assert.equal(associations.count, others);
  for (const peer of peers) peer.close();
  loop.close();
});

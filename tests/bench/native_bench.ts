/**
 * What the native library costs and carries, on one core: `deno run -A tests/bench/native_bench.ts
 * [--json]`. Takes about 20 seconds. Each figure is the best of several runs, for everything that
 * disturbs a run makes it slower.
 */

import {
  aeadAes256Gcm,
  AeadBatch,
  AeadTable,
  aeadTagBytes,
  cipherMachine,
} from "../../ffi/aead.ts";
import { endpoint, type Route, routeTo, routeWords } from "../../ffi/endpoint.ts";
import { Epoll, EpollEvent, monotonicMs } from "../../ffi/loop.ts";
import { maskKeyBytes, PacketHeaders, PacketMask, toClient, toServer } from "../../ffi/mask.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { tcpAgain, TcpListener, TcpSocket } from "../../ffi/tcp.ts";
import { UdpInbox, UdpOutbox, udpPayloadMax, UdpSocket } from "../../ffi/udp.ts";
import { testNative } from "../native.ts";
import { type Figure, leastNs, printFigures } from "./figures.ts";

const native = testNative();
const runs = 5;
const echoRunMs = 350;

function callFigures(): Figure[] {
  const { symbols } = native;
  using table = new AeadTable(native, 1);
  const key = table.addKey(new Uint8Array(32));
  const arena = new Uint8Array(65536);
  const none = new AeadBatch(1);
  const one = new AeadBatch(1);
  one.add(key, 1, 0, 16, 16, 64);
  return [
    { name: "FFI call ph_abi", value: leastNs(1e6, () => symbols.ph_abi()), unit: "ns" },
    { name: "monotonicMs()", value: leastNs(1e6, () => monotonicMs(native)), unit: "ns" },
    { name: "performance.now()", value: leastNs(1e6, () => performance.now()), unit: "ns" },
    { name: "seal an empty batch", value: leastNs(3e5, () => table.seal(none, arena)), unit: "ns" },
    {
      name: "seal a batch of one, 64 B",
      value: leastNs(1e5, () => table.seal(one, arena)),
      unit: "ns",
    },
  ];
}

function aeadFigures(size: number, cipher?: number): Figure[] {
  const count = 1024;
  const slot = 16 + size + aeadTagBytes;
  using table = new AeadTable(native, 1);
  const key = table.addKey(crypto.getRandomValues(new Uint8Array(32)), cipher);
  const what = cipher === aeadAes256Gcm ? "AES-256-GCM" : "AEAD";
  const arena = new Uint8Array(count * slot);
  const batch = new AeadBatch(count);
  for (let i = 0; i < count; i++) batch.add(key, i, i * slot, 16, i * slot + 16, size);
  const best = { seal: Infinity, open: Infinity };
  for (let run = 0; run < 300; run++) {
    for (const act of ["seal", "open"] as const) {
      const start = performance.now();
      if (table[act](batch, arena) !== count) throw new Error(`${act} failed`);
      best[act] = Math.min(best[act], (performance.now() - start) * 1e6 / count);
    }
  }
  return (["seal", "open"] as const).flatMap((act) => [
    { name: `${what} ${act} ${size} B`, value: best[act], unit: "ns/packet" },
    { name: `${what} ${act} ${size} B`, value: size * 8 / best[act], unit: "Gbit/s" },
  ]);
}

/** The least nanoseconds a packet: `prepare` is not counted. */
function leastBatchNs(count: number, prepare: () => void, run: () => void): number {
  let best = Infinity;
  for (let i = 0; i < 300; i++) {
    prepare();
    const start = performance.now();
    run();
    best = Math.min(best, (performance.now() - start) * 1e6 / count);
  }
  return best;
}

function maskFigures(): Figure[] {
  const [count, slot] = [1024, 1232];
  const keys = crypto.getRandomValues(new Uint8Array(3 * maskKeyBytes));
  const arena = crypto.getRandomValues(new Uint8Array(65536));
  const packets = new Uint8Array(count * slot);
  const junk = packets.map((_, i) => arena[i % 65521]!);
  const spans = new Uint32Array(4 * count);
  const offsets = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    offsets[i] = i * slot;
    spans.set([i * slot, slot, i, 0], 4 * i);
    packets.set(junk.subarray(i * slot, (i + 1) * slot), i * slot);
    packets.set([0, 0, 0, 0, 0, 1, 3, 0], i * slot);
  }
  const mask = new PacketMask(native, toClient);
  const sender = new PacketMask(native, toServer);
  const headers = new PacketHeaders(count);
  const show = (from: Uint8Array<ArrayBuffer>, expected: number) => {
    const shown = mask.unmask({ arena: from, spans, count }, headers);
    if (shown !== expected) throw new Error(`${shown} of ${expected} packets were shown`);
  };
  const hide = () => sender.maskAt(offsets, count, packets);
  const figures = [0, 2].map((window) => {
    const hidden = keys.subarray(window * maskKeyBytes, (window + 1) * maskKeyBytes);
    const prepare = () => {
      sender.setKeys(hidden);
      hide();
      mask.setKeys(keys);
    };
    const value = leastBatchNs(count, prepare, () => show(packets, count));
    return { name: `unmask, ${window + 1} of 3 windows fits`, value, unit: "ns/packet" };
  });
  mask.setKeys(keys);
  return [
    ...figures,
    { name: "unmask junk", value: leastBatchNs(count, () => {}, () => show(junk, 0)) },
    { name: "mask", value: leastBatchNs(count, () => {}, hide) },
  ].map((figure) => ({ unit: "ns/packet", ...figure }));
}

/** What a server does for a HELLO that opens: keys for it, a pair of its own, ACCEPT's, DATA's. */
function handshake(
  primitives: NativePrimitives,
  arena: Uint8Array<ArrayBuffer>,
  peer: Uint8Array,
): void {
  const [window, salt, info] = [peer, arena.subarray(16, 32), arena.subarray(0, 16)];
  const privateKey = new Uint8Array(32);
  primitives.hkdf(window, salt, info, 8);
  const hello = primitives.hkdf(window, salt, info, 32);
  primitives.aeadOpen(hello, arena, 0, 40, 40, 400);
  primitives.random(privateKey);
  primitives.random(salt);
  const own = primitives.x25519Public(privateKey);
  const shared = primitives.x25519(privateKey, peer);
  const okm = primitives.hkdf(shared, own, info, 64);
  const accept = primitives.hkdf(window, salt, info, 32);
  primitives.hmacSha256(window, info);
  primitives.aeadSeal(accept, arena, 0, 32, 32, 200);
  primitives.hkdf(okm, salt, info, 32);
  primitives.hkdf(okm, salt, info, 32);
}

function handshakeFigures(): Figure[] {
  const primitives = new NativePrimitives(native);
  const arena = crypto.getRandomValues(new Uint8Array(512));
  const secret = arena.slice(0, 32);
  const peer = primitives.x25519Public(secret);
  const [info, random] = [arena.slice(0, 18), new Uint8Array(32)];
  const rate = (name: string, iterations: number, body: () => void) => ({
    name,
    value: 1e9 / leastNs(iterations, body),
    unit: "a second",
  });
  return [
    rate("X25519, public key", 1000, () => primitives.x25519Public(secret)),
    rate("X25519, shared secret", 1000, () => primitives.x25519(secret, peer)),
    rate("HKDF, 32 B", 20_000, () => primitives.hkdf(peer, secret, info, 32)),
    rate("random, 32 B", 20_000, () => primitives.random(random)),
    rate("handshake: 2 X25519, 6 HKDF, 2 AEAD", 1000, () => handshake(primitives, arena, peer)),
  ];
}

interface Stream {
  readonly client: TcpSocket;
  readonly server: TcpSocket;
}

function openStreams(count: number): Stream[] {
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  using listener = new TcpListener(native, { local: endpoint(ip, 0) });
  using epoll = new Epoll(native);
  epoll.add(listener.fd, EpollEvent.in, 0);
  return Array.from({ length: count }, () => {
    const client = TcpSocket.connect(native, { peer: listener.local });
    epoll.wait(1000);
    const [server] = listener.accept();
    if (server === undefined) throw new Error("No connection came");
    return { client, server };
  });
}

/** Bytes go to the server and back, all of it by this thread; both ways are counted as one. */
function tcpEchoFigure(count: number, size: number): Figure {
  const streams = openStreams(count);
  const arena = new Uint8Array(count * size);
  const ends = [streams.map(({ client }) => client), streams.map(({ server }) => server)];
  const [clients, servers] = ends;
  /** Moves bytes: each stream's in one piece, for no more than that is on its way. */
  const move = (from: readonly TcpSocket[], to: readonly TcpSocket[]) => {
    from.forEach((socket, i) => {
      const sent = socket.write(arena, i * size, size);
      if (sent !== size) throw new Error(`A write gave ${sent}`);
    });
    to.forEach((socket, i) => {
      const got = socket.read(arena, i * size, size);
      if (got !== size) throw new Error(`A read gave ${got}`);
    });
  };
  let best = 0;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    let rounds = 0;
    for (; performance.now() - start < echoRunMs; rounds++) {
      move(clients!, servers!);
      move(servers!, clients!);
    }
    const seconds = (performance.now() - start) / 1000;
    best = Math.max(best, rounds * count * size * 8 / seconds / 1e9);
  }
  const left = clients!.some((socket) => socket.read(arena, 0, 1) !== tcpAgain);
  if (left) throw new Error("Bytes were left");
  ends.flat().forEach((socket) => socket.close());
  return { name: `TCP echo, ${count} streams, ${size} B each`, value: best, unit: "Gbit/s" };
}

interface End {
  readonly socket: UdpSocket;
  readonly inbox: UdpInbox;
  readonly replies: UdpOutbox;
}

function openEnd(offload: boolean): End {
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  const local = endpoint(ip, 0);
  const buffers = { receiveBufferBytes: 8 << 20, sendBufferBytes: 8 << 20 };
  const socket = new UdpSocket(native, { local, gro: offload, gso: offload, ...buffers });
  const inbox = new UdpInbox(offload ? {} : { slots: 64, slotBytes: 2048 });
  return { socket, inbox, replies: new UdpOutbox(inbox.arena) };
}

/** Sends back what there is, message by message, out of the buffer it came into. */
function echo({ socket, inbox, replies }: End, route: Route): number {
  const count = socket.receive(inbox);
  replies.clear();
  for (let i = 0; i < count;) {
    const [message, offset, segment] = [inbox.message(i), inbox.offset(i), inbox.length(i)];
    inbox.copyRoute(i, route);
    let length = 0;
    for (; i < count && inbox.message(i) === message; i++) length += inbox.length(i);
    replies.add(route, offset, length, segment);
  }
  socket.send(replies);
  return count;
}

function echoFigure(size: number, offload: boolean): Figure {
  const server = openEnd(offload);
  const client = openEnd(offload);
  const datagrams = offload ? Math.min(64, Math.floor(udpPayloadMax / size)) : 1;
  const requests = new UdpOutbox(new Uint8Array(datagrams * size));
  const route = routeTo(server.socket.local);
  const entries = offload ? 4 : 64;
  for (let i = 0; i < entries; i++) requests.add(route, 0, datagrams * size, size);
  const replyRoute = new Uint32Array(routeWords);
  let best = 0;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    let echoed = 0;
    while (performance.now() - start < echoRunMs) {
      client.socket.send(requests);
      while (echo(server, replyRoute) > 0);
      for (let count = 1; count > 0; echoed += count) count = client.socket.receive(client.inbox);
    }
    best = Math.max(best, echoed / (performance.now() - start) * 1000);
  }
  server.socket.close();
  client.socket.close();
  const how = offload ? "GSO and GRO" : "sendmmsg and recvmmsg";
  return { name: `UDP echo ${size} B, ${how}`, value: best, unit: "round trips/s" };
}

printFigures([
  ...callFigures(),
  ...[64, 512, 1400].flatMap((size) => aeadFigures(size)),
  ...(cipherMachine(native).hasAes
    ? [64, 512, 1400].flatMap((size) => aeadFigures(size, aeadAes256Gcm))
    : []),
  ...maskFigures(),
  ...handshakeFigures(),
  ...[1400, 16384].map((size) => tcpEchoFigure(1000, size)),
  tcpEchoFigure(10, 65536),
  ...[64, 1400].flatMap((size) => [echoFigure(size, false), echoFigure(size, true)]),
]);

/**
 * What the native library costs and carries, on one core: `deno run -A tests/bench/native_bench.ts
 * [--json]`. Takes about 15 seconds. Each figure is the best of several runs, for everything that
 * disturbs a run makes it slower.
 */

import { AeadBatch, AeadTable, aeadTagBytes } from "../../ffi/aead.ts";
import { endpoint, type Route, routeTo, routeWords } from "../../ffi/endpoint.ts";
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
    { name: "seal an empty batch", value: leastNs(3e5, () => table.seal(none, arena)), unit: "ns" },
    {
      name: "seal a batch of one, 64 B",
      value: leastNs(1e5, () => table.seal(one, arena)),
      unit: "ns",
    },
  ];
}

function aeadFigures(size: number): Figure[] {
  const count = 1024;
  const slot = 16 + size + aeadTagBytes;
  using table = new AeadTable(native, 1);
  const key = table.addKey(crypto.getRandomValues(new Uint8Array(32)));
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
    { name: `AEAD ${act} ${size} B`, value: best[act], unit: "ns/packet" },
    { name: `AEAD ${act} ${size} B`, value: size * 8 / best[act], unit: "Gbit/s" },
  ]);
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
  ...[64, 512, 1400].flatMap(aeadFigures),
  ...[64, 1400].flatMap((size) => [echoFigure(size, false), echoFigure(size, true)]),
]);

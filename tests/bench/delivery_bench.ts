/**
 * AF_XDP delivery against the UDP socket's, packets echoed by a worker's loop, over veth with XDP
 * in the driver: `deno run -A tests/bench/delivery_bench.ts [--json]`, as root, after
 * `make bpf lib`. About a minute.
 *
 * CPU 0 makes live frames and is where the kernel receives them, as with a card whose interrupts
 * it takes; CPU 1 has the worker. "most" is what comes back of more frames than can be borne; the
 * rest is at a fixed rate that both bear: time of both CPUs a packet, what making frames costs
 * taken off, and round trips of a real socket's pings through the same worker.
 */

import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { attachXdp } from "../../ffi/link.ts";
import { Epoll, EpollEvent } from "../../ffi/loop.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/object.ts";
import type { BpfMap } from "../../ffi/map.ts";
import type { BpfProgram } from "../../ffi/program.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { ethernet, frame, ipv4, payload, udp } from "../bpf/packets.ts";
import { CLIENT, DeliveryBed, INTERFACE, PORT, SERVER } from "../fixtures/delivery.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { idleSeconds, pinThread } from "./affinity.ts";
import { type Delivery, type EchoStart, EchoWord } from "./delivery_echo.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const libs = libraries();
const SIZES = [64, 512, 1400];
const DELIVERIES: readonly Delivery[] = ["socket", "af_xdp", "mixed"];
const SOURCE_PORT = 7000;
const HEADER_BYTES = 42;
const MOST_MS = 700;
const PACED_MS = 1000;
const ROUNDS = 3;
/** 100,000 datagrams a second, which each bears. */
const BURST = 100;
const BURST_EVERY_MS = 1;
const PING_MS = 100;
const CPUS = 2;

/** Frames from the client's end, and a count of those that come back. */
class Generator implements Disposable {
  readonly #bed: DeliveryBed;
  readonly #object: BpfObject;
  readonly #link: { close(): void };
  readonly #program: BpfProgram;
  readonly #counted: BpfMap;
  readonly #frame: Uint8Array<ArrayBuffer>;

  constructor(bed: DeliveryBed, size: number) {
    this.#bed = bed;
    this.#frame = frame(
      ethernet({ from: macOf(bed, "client"), to: macOf(bed, "server") }),
      ipv4({ from: CLIENT.v4, to: SERVER.v4, dontFragment: true }),
      udp({ from: SOURCE_PORT, to: PORT, checksum: 0 }),
      payload(size),
    );
    let header = 0n;
    for (let i = HEADER_BYTES; i-- > 0;) header = header << 8n | BigInt(this.#frame[i]!);
    this.#object = new BpfObject(libs, "xsk", bpfObject("xsk"));
    const index = bed.client.enter(() => libs.native.symbols.ph_ifindex(cString("cx")));
    this.#object.setConstant("out_ifindex", index);
    this.#object.setConstant("header", header);
    this.#object.setConstant("source_port", SOURCE_PORT);
    this.#object.load();
    this.#program = this.#object.program("generate");
    this.#counted = this.#object.map("counted");
    this.#link = bed.client.enter(() =>
      attachXdp(libs, this.#object.program("count"), index, "native")
    );
  }

  /** Sends so many frames as fast as it goes. */
  send(count: number): void {
    const run = { data: this.#frame, repeat: count, live: true };
    this.#bed.client.enter(() => this.#program.run(run));
  }

  /** Frames that came back, so far. */
  get returned(): number {
    return this.#counted.sums()[0]!;
  }

  [Symbol.dispose](): void {
    this.#link.close();
    this.#object.close();
  }
}

function macOf(bed: DeliveryBed, side: "client" | "server"): number[] {
  const name = side === "client" ? "cx" : INTERFACE;
  const [link] = JSON.parse(bed[side].ip("-j", "link", "show", "dev", name));
  return link.address.split(":").map((part: string) => parseInt(part, 16));
}

interface Result {
  readonly most: number;
  readonly cpuNs: number;
  readonly p50: number;
  readonly p99: number;
  readonly lost: number;
}

async function withEcho<T>(bed: DeliveryBed, delivery: Delivery, act: () => T): Promise<T> {
  const shared = new SharedArrayBuffer(4 * EchoWord.count);
  const words = new Int32Array(shared);
  const worker = new Worker(new URL("delivery_echo.ts", import.meta.url), { type: "module" });
  const start: EchoStart = {
    ...{ delivery, shared, namespace: bed.server.name, interfaceName: INTERFACE },
    ...{ port: PORT, mapFd: bed.mapFd, cpu: 1 },
  };
  const failure = Promise.withResolvers<never>();
  worker.onerror = (event) => failure.reject(new Error(event.message));
  worker.postMessage(start);
  const until = async (value: number) => {
    while (Atomics.load(words, EchoWord.ready) !== value) {
      await Promise.race([failure.promise, new Promise((resolve) => setTimeout(resolve, 10))]);
    }
  };
  await until(1);
  try {
    return act();
  } finally {
    Atomics.store(words, EchoWord.stop, 1);
    await until(0);
    worker.terminate();
  }
}

function most(generator: Generator): number {
  generator.send(20_000);
  const [start, before] = [performance.now(), generator.returned];
  while (performance.now() - start < MOST_MS) generator.send(4096);
  return (generator.returned - before) / (performance.now() - start) * 1000;
}

/** Seconds of both CPUs; and round trips, in µs, of pings each behind a burst. */
function paced(generator: Generator, client: UdpSocket) {
  using epoll = new Epoll(libs.native);
  epoll.add(client.fd, EpollEvent.in, 0);
  const inbox = new UdpInbox({ slots: 64, slotBytes: 2048 });
  const ping = new UdpOutbox(new Uint8Array(64));
  ping.add(routeTo(endpoint(ipBytes(SERVER.v4), PORT)), 0, 64);
  const sleep = new Int32Array(new SharedArrayBuffer(4));
  const trips: number[] = [];
  const before = generator.returned;
  const idle = idleSeconds();
  const start = performance.now();
  let bursts = 0;
  for (; performance.now() - start < PACED_MS; bursts++) {
    generator.send(BURST);
    const sentAt = performance.now();
    client.send(ping);
    if (epoll.wait(PING_MS) > 0) {
      trips.push((performance.now() - sentAt) * 1000);
      client.receive(inbox);
    }
    const rest = start + (bursts + 1) * BURST_EVERY_MS - performance.now();
    if (rest > 0) Atomics.wait(sleep, 0, 0, rest);
  }
  const seconds = (performance.now() - start) / 1000;
  const cpu = CPUS * seconds - (idleSeconds() - idle);
  const returned = generator.returned - before;
  trips.sort((a, b) => a - b);
  const percentile = (share: number) => trips[Math.floor(trips.length * share)] ?? NaN;
  return { cpu, sent: bursts * BURST, returned, p50: percentile(0.5), p99: percentile(0.99) };
}

async function measure(bed: DeliveryBed, delivery: Delivery, size: number): Promise<Result> {
  using generator = new Generator(bed, size);
  using client = bed.openClient();
  return await withEcho(bed, delivery, () => {
    const rate = most(generator);
    const { cpu, sent, returned, p50, p99 } = paced(generator, client.socket);
    return { most: rate, cpuNs: cpu / sent * 1e9, p50, p99, lost: (sent - returned) / sent };
  });
}

pinThread(0);
const figures: Figure[] = [];
using bed = new DeliveryBed();
for (const size of SIZES) {
  const results = new Map<Delivery, Result[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const delivery of DELIVERIES) {
      const all = results.get(delivery) ?? [];
      all.push(await measure(bed, delivery, size));
      results.set(delivery, all);
    }
  }
  for (const [delivery, all] of results) {
    const name = `${size} B, ${delivery}`;
    const of = (pick: (result: Result) => number) => median(all.map(pick));
    const rate = Math.max(...all.map((result) => result.most));
    figures.push(
      { name: `${name}: most`, value: rate / 1000, unit: "kpps" },
      { name: `${name}: most`, value: rate * size * 8 / 1e9, unit: "Gbit/s" },
      { name: `${name}: CPU`, value: of((result) => result.cpuNs), unit: "ns/packet" },
      { name: `${name}: P50`, value: of((result) => result.p50), unit: "µs" },
      { name: `${name}: P99`, value: of((result) => result.p99), unit: "µs" },
      { name: `${name}: lost`, value: 100 * of((result) => result.lost), unit: "%" },
    );
  }
}
printFigures(figures);

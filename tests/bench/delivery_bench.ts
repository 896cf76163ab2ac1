/**
 * AF_XDP delivery against the UDP socket's over veth, by packets that a worker's loop echoes and by
 * the tunnel: `deno run -A tests/bench/delivery_bench.ts [--generic] [--json]`, as root, after
 * `make bpf lib`. About a minute.
 *
 * "CPU": one thread sends a batch, has the server echo it and counts what came back in XDP, so that
 * all the kernel does for it is in the time, which stands for one core; taken off is what sending
 * costs, measured with a server's end that drops. The least of many batches. "most": what comes
 * back when a client sends as fast as it can, client and kernel's receiving on CPU 0, the worker
 * on CPU 1. P50 and P99: round trips of pings, each right behind a burst of 50, 50,000 a second.
 * Tunnel: one stream, client on CPU 0 and server on CPU 1; the best of several. "whole": the link
 * takes what GSO joined as it is, as veth does and cards that can cut it; "cut": every packet goes
 * over it alone, since the client's end has an XDP program too.
 */

import { endpoint, type Route, routeTo } from "../../ffi/endpoint.ts";
import { attachXdp } from "../../ffi/bpf/xdp_link.ts";
import { Epoll, EpollEvent } from "../../ffi/loop.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { UdpInbox, UdpOutbox, type UdpSocket } from "../../ffi/udp.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { type BedClient, DeliveryBed, INTERFACE, PORT, SERVER } from "../fixtures/delivery.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { pinThread } from "../fixtures/affinity.ts";
import { type Delivery, Echo, type EchoStart, EchoWord } from "./delivery_echo.ts";
import { type TunnelEndStart, TunnelWord } from "./delivery_tunnel.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const libs = libraries();
const SIZES = [64, 512, 1400];
const DELIVERIES: readonly Delivery[] = ["socket", "af_xdp", "all"];
/** The echo has no runs by AF_XDP: what lies in frames does not lie in a row. */
const ECHOED = DELIVERIES.slice(0, 2);
const BATCH = 1024;
const BATCHES = 60;
const MOST_MS = 400;
const PACED_MS = 400;
const BURST = 50;
const BURST_EVERY_MS = 1;
const PING_MS = 100;
const ROUNDS = 3;
const TUNNEL_WARM_MS = 400;
const TUNNEL_MS = 900;

const bed = new DeliveryBed({ mode: Deno.args.includes("--generic") ? "generic" : "native" });
const route = routeTo(endpoint(ipBytes(SERVER.v4), PORT));

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A client that sends batches, and whose end of the link counts and drops what comes back. */
class Generator implements Disposable {
  readonly client: BedClient = bed.openClient();
  readonly #object: BpfObject;
  readonly #link: { close(): void };
  readonly #counted: BpfMap;
  readonly #batch: UdpOutbox;

  constructor(size: number) {
    this.#object = new BpfObject(libs, "xsk", bpfObject("xsk"));
    this.#object.setConstant("port", this.client.socket.local.port);
    this.#object.load();
    this.#counted = this.#object.map("counted");
    this.#link = bed.client.enter(() => {
      const index = libs.native.symbols.ph_ifindex(cString("cx"));
      return attachXdp(libs, this.#object.program("count"), index, "native");
    });
    const each = size * 32 > 65000 ? 16 : 32;
    this.#batch = new UdpOutbox(new Uint8Array(each * size));
    for (let i = 0; i < BATCH / each; i++) this.#batch.add(route, 0, each * size, size);
  }

  send(): void {
    this.client.socket.send(this.#batch);
  }

  /** Datagrams that came back, so far. */
  get returned(): number {
    return this.#counted.sums()[0]!;
  }

  [Symbol.dispose](): void {
    this.#link.close();
    this.#object.close();
    this.client[Symbol.dispose]();
  }
}

function echoStart(delivery: Delivery): EchoStart {
  const shared = new SharedArrayBuffer(4 * EchoWord.count);
  return {
    ...{ delivery, shared, namespace: bed.server.name, interfaceName: INTERFACE },
    ...{ port: PORT, mapFd: bed.mapFd, cpu: 1 },
  };
}

/** The least ns that sending a datagram takes. */
function sendNs(generator: Generator): number {
  bed.use("drop");
  let best = Infinity;
  for (let i = 0; i < BATCHES; i++) {
    const start = performance.now();
    generator.send();
    best = Math.min(best, performance.now() - start);
  }
  bed.use("redirect");
  return best * 1e6 / BATCH;
}

/** The least ns that a datagram's way in, and back out, takes; without that of sending it. */
function echoNs(generator: Generator, delivery: Delivery): number {
  const base = sendNs(generator);
  const echo = bed.server.enter(() => new Echo(echoStart(delivery)));
  let best = Infinity;
  for (let i = 0; i < BATCHES; i++) {
    const before = echo.echoed;
    const start = performance.now();
    generator.send();
    while (echo.poll() > 0);
    const ms = performance.now() - start;
    // Not all of it, where the kernel put a part off.
    if (echo.echoed - before === BATCH) best = Math.min(best, ms);
  }
  echo.close();
  return best * 1e6 / BATCH - base;
}

async function withEcho<T>(delivery: Delivery, act: () => T): Promise<T> {
  const start = echoStart(delivery);
  const words = new Int32Array(start.shared);
  const worker = new Worker(new URL("delivery_echo.ts", import.meta.url), { type: "module" });
  worker.postMessage(start);
  while (Atomics.load(words, EchoWord.ready) === 0) await sleep(10);
  try {
    return act();
  } finally {
    Atomics.store(words, EchoWord.stop, 1);
    while (Atomics.load(words, EchoWord.ready) === 1) await sleep(10);
    worker.terminate();
  }
}

/** Datagrams a second. */
function most(generator: Generator): number {
  for (let i = 0; i < 20; i++) generator.send();
  const [start, before] = [performance.now(), generator.returned];
  while (performance.now() - start < MOST_MS) generator.send();
  return (generator.returned - before) / (performance.now() - start) * 1000;
}

/** Round trips, in µs, of pings behind bursts. */
function trips(size: number, pinger: UdpSocket): number[] {
  using epoll = new Epoll(libs.native);
  epoll.add(pinger.fd, EpollEvent.in, 0);
  const inbox = new UdpInbox();
  const [burst, ping] = [outboxOf(route, BURST, size), outboxOf(route, 1, size)];
  const clock = new Int32Array(new SharedArrayBuffer(4));
  const found: number[] = [];
  using other = bed.openClient();
  const start = performance.now();
  for (let bursts = 1; performance.now() - start < PACED_MS; bursts++) {
    other.socket.send(burst);
    const sentAt = performance.now();
    pinger.send(ping);
    if (epoll.wait(PING_MS) > 0) {
      found.push((performance.now() - sentAt) * 1000);
      while (pinger.receive(inbox) > 0);
    }
    const rest = start + bursts * BURST_EVERY_MS - performance.now();
    if (rest > 0) Atomics.wait(clock, 0, 0, rest);
  }
  return found.sort((a, b) => a - b);
}

function outboxOf(to: Route, datagrams: number, size: number): UdpOutbox {
  const outbox = new UdpOutbox(new Uint8Array(size));
  for (let i = 0; i < datagrams; i++) outbox.add(to, 0, size);
  return outbox;
}

interface Result {
  readonly ns: number;
  readonly most: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(delivery: Delivery, size: number): Promise<Result> {
  let ns = Infinity;
  let rate = 0;
  {
    using generator = new Generator(size);
    ns = echoNs(generator, delivery);
    await sleep(50);
    rate = await withEcho(delivery, () => most(generator));
  }
  using pinger = bed.openClient();
  const sorted = await withEcho(delivery, () => trips(size, pinger.socket));
  const percentile = (share: number) => sorted[Math.floor(sorted.length * share)] ?? NaN;
  return { ns, most: rate, p50: percentile(0.5), p99: percentile(0.99) };
}

async function echoFigures(size: number): Promise<Figure[]> {
  const all = new Map<Delivery, Result[]>(ECHOED.map((delivery) => [delivery, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const delivery of ECHOED) all.get(delivery)!.push(await measure(delivery, size));
  }
  return ECHOED.flatMap((delivery) => {
    const results = all.get(delivery)!;
    const ns = Math.min(...results.map((result) => result.ns));
    const rate = Math.max(...results.map((result) => result.most));
    const name = `${size} B, ${delivery}`;
    return [
      { name: `${name}: CPU`, value: ns, unit: "ns/packet" },
      { name: `${name}: one core`, value: 1e6 / ns, unit: "kpps" },
      { name: `${name}: one core`, value: size * 8 / ns, unit: "Gbit/s" },
      { name: `${name}: most`, value: rate / 1000, unit: "kpps" },
      { name: `${name}: P50`, value: median(results.map((result) => result.p50)), unit: "µs" },
      { name: `${name}: P99`, value: median(results.map((result) => result.p99)), unit: "µs" },
    ];
  });
}

/** Gbit/s that the tunnel carries one way. */
async function goodput(delivery: Delivery, sender: "client" | "server"): Promise<number> {
  const shared = new SharedArrayBuffer(8 * TunnelWord.count);
  const words = new Float64Array(shared);
  const workers: Worker[] = [];
  for (
    const [role, namespace, cpu] of [
      ["server", bed.server.name, 1],
      ["client", bed.client.name, 0],
    ] as const
  ) {
    const xsk = { interfaceName: INTERFACE, queues: [0], mapFd: bed.mapFd };
    const start: TunnelEndStart = {
      ...{ role, sender, namespace, cpu, shared, address: SERVER.v4, port: PORT },
      ...(delivery === "socket" ? {} : { xsk: { ...xsk, longRuns: delivery === "all" } }),
    };
    const worker = new Worker(new URL("delivery_tunnel.ts", import.meta.url), { type: "module" });
    workers.push(worker);
    worker.postMessage(start);
    while (words[TunnelWord[role]] === 0) await sleep(10);
  }
  await sleep(TUNNEL_WARM_MS);
  const [before, start] = [words[TunnelWord.received]!, performance.now()];
  await sleep(TUNNEL_MS);
  const bytes = words[TunnelWord.received]! - before;
  const rate = bytes * 8 / (performance.now() - start) / 1e6;
  words[TunnelWord.stop] = 1;
  while (words[TunnelWord.server]! + words[TunnelWord.client]! > 0) await sleep(10);
  for (const worker of workers) worker.terminate();
  await sleep(50);
  return rate;
}

/** An XDP program at the client's end, that lets everything pass. */
function cutting(): { [Symbol.dispose](): void } {
  const object = new BpfObject(libs, "xsk", bpfObject("xsk")).load();
  const link = bed.client.enter(() => {
    const index = libs.native.symbols.ph_ifindex(cString("cx"));
    return attachXdp(libs, object.program("drop"), index, "native");
  });
  return {
    [Symbol.dispose]() {
      link.close();
      object.close();
    },
  };
}

async function tunnelFigures(what: "whole" | "cut"): Promise<Figure[]> {
  using _cutting = what === "cut" ? cutting() : undefined;
  const best = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const sender of ["client", "server"] as const) {
      for (const delivery of DELIVERIES) {
        const name = `tunnel, ${what}, ${sender} sends, ${delivery}`;
        best.set(name, Math.max(best.get(name) ?? 0, await goodput(delivery, sender)));
      }
    }
  }
  return [...best].map(([name, value]) => ({ name, value, unit: "Gbit/s" }));
}

const figures: Figure[] = [];
try {
  if (!Deno.args.includes("--echo")) {
    figures.push(...await tunnelFigures("whole"), ...await tunnelFigures("cut"));
  }
  pinThread(0);
  if (!Deno.args.includes("--tunnel")) {
    for (const size of SIZES) figures.push(...await echoFigures(size));
  }
} finally {
  bed[Symbol.dispose]();
}
printFigures(figures);

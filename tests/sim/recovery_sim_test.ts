// Loss recovery and congestion control over a simulated network, many seeds and shapes.

import assert from "node:assert/strict";
import { Bbr } from "../../src/reliability/congestion/bbr.ts";
import { Brutal } from "../../src/reliability/congestion/brutal.ts";
import type { CongestionController } from "../../src/reliability/congestion/controller.ts";
import { Cubic } from "../../src/reliability/congestion/cubic.ts";
import { BRUTAL_PACKET_OVERHEAD } from "../../src/reliability/params.ts";
import { PathMtu } from "../../src/reliability/pmtu.ts";
import { Rng } from "../fuzz/rng.ts";
import { VirtualClock } from "./clock.ts";
import { Link, type LinkShape, simulate } from "./network.ts";
import { type NumberedPacket, Peer } from "./numbered_frames.ts";

const PACKET_BYTES = 1400;
const FLOOR_PACKETS = 256;
/** 100 Mbit/s, 100 ms, and a queue of one bandwidth-delay product. */
const RATE = 12_500_000;
const ONE_WAY_MS = 50;
const QUEUE = RATE * 2 * ONE_WAY_MS / 1000;
const LOSSES = [0, 0.02, 0.05, 0.1];

type Kind = "brutal" | "bbr" | "cubic";

function makeController(kind: Kind, rng: Rng, rate = RATE): CongestionController {
  if (kind === "brutal") return new Brutal(rate, FLOOR_PACKETS, PACKET_BYTES);
  if (kind === "cubic") return new Cubic(FLOOR_PACKETS, PACKET_BYTES);
  return new Bbr(FLOOR_PACKETS, PACKET_BYTES, () => rng.float());
}

function connect(clock: VirtualClock, rng: Rng, a: Peer, b: Peer, path: number, shapes: {
  there: Partial<LinkShape>;
  back: Partial<LinkShape>;
}): [Link<NumberedPacket>, Link<NumberedPacket>] {
  const there = new Link<NumberedPacket>({
    clock,
    rng,
    shape: shapes.there,
    deliver: (packet, bytes) => b.receive(packet, bytes),
  });
  const back = new Link<NumberedPacket>({
    clock,
    rng,
    shape: shapes.back,
    deliver: (packet, bytes) => a.receive(packet, bytes),
  });
  a.addPath(path, there);
  b.addPath(path, back);
  return [there, back];
}

function randomShape(rng: Rng): Partial<LinkShape> {
  const rate = rng.chance(0.6) ? 10 ** (4.5 + 3 * rng.float()) : Infinity;
  return {
    delay: rng.chance(0.2) ? rng.float() : rng.int(1, 200),
    jitter: rng.chance(0.5) ? rng.int(0, 50) : 0,
    loss: rng.chance(0.6) ? rng.float() * 0.3 : 0,
    burst: rng.chance(0.3)
      ? { enter: 0.02 * rng.float(), leave: 0.05 + 0.3 * rng.float(), loss: 0.9 }
      : { enter: 0, leave: 1, loss: 1 },
    reorder: rng.chance(0.4) ? { share: rng.float() * 0.4, delay: rng.int(1, 100) } : {
      share: 0,
      delay: 0,
    },
    duplicate: rng.chance(0.3) ? rng.float() * 0.2 : 0,
    corrupt: rng.chance(0.3) ? rng.float() * 0.05 : 0,
    rate,
    queue: rate === Infinity ? Infinity : Math.max(6000, rate * rng.float() * 0.5),
    mtu: rng.chance(0.3) ? rng.int(1200, 1452) : Infinity,
  };
}

function checkAllArrived(clock: VirtualClock, peers: readonly [Peer, Peer], frames: number): void {
  for (const [index, peer] of peers.entries()) {
    const other = peers[1 - index]!;
    const state = `at ${clock.now} ms, acked ${peer.ackedFrames}, seen ${other.seen.size}`;
    assert.equal(peer.ackedFrames, frames, `peer ${index} is stuck ${state}`);
    assert.equal(other.seen.size, frames, state);
    const path = peer.recovery.path(peer.active);
    assert.ok(path !== undefined && path.inFlight >= 0 && path.packetsInFlight >= 0);
    assert.equal(path.packetsInFlight === 0, path.inFlight === 0);
    peer.recovery.close();
    assert.equal(peer.records.used, 0, "frame records leaked");
  }
}

Deno.test("every frame is acknowledged, whatever the links do", () => {
  simulate(200, (seed) => {
    const rng = new Rng(seed);
    const clock = new VirtualClock();
    const frames = rng.int(1, 600);
    const kind = rng.pick<Kind>(["brutal", "bbr", "cubic"]);
    const rate = 10 ** (5 + 2 * rng.float());
    const make = () =>
      new Peer({
        clock,
        rng,
        frames,
        mixed: rng.chance(0.7),
        controller: () => makeController(kind, rng, rate),
        pmtu: () => new PathMtu(1200, 1452),
      });
    const peers: [Peer, Peer] = [make(), make()];
    const links = connect(clock, rng, ...peers, 0, {
      there: randomShape(rng),
      back: randomShape(rng),
    });
    if (rng.chance(0.3)) {
      const from = rng.int(0, 2000);
      clock.at(from, () => links.forEach((link) => link.change({ partitioned: true })));
      const until = from + rng.int(100, 8000);
      clock.at(until, () => links.forEach((link) => link.change({ partitioned: false })));
    }
    if (rng.chance(0.3)) {
      clock.at(rng.int(0, 3000), () => links.forEach((link) => link.change(randomShape(rng))));
    }
    peers.forEach((peer) => peer.pump());
    clock.run(3_600_000, () => peers.every((peer) => peer.done));
    checkAllArrived(clock, peers, frames);
  });
});

Deno.test("a path that dies costs no frame: the other carries on", () => {
  simulate(30, (seed) => {
    const rng = new Rng(seed);
    const clock = new VirtualClock();
    const frames = 800;
    const make = () =>
      new Peer({
        clock,
        rng,
        frames,
        maxRetries: 4,
        controller: () => makeController("bbr", rng),
      });
    const peers: [Peer, Peer] = [make(), make()];
    const shapes = { there: randomShape(rng), back: randomShape(rng) };
    const links = connect(clock, rng, ...peers, 0, shapes);
    connect(clock, rng, ...peers, 1, { there: { delay: 80, loss: 0.05 }, back: { delay: 20 } });
    clock.at(rng.int(0, 300), () => links.forEach((link) => link.change({ partitioned: true })));
    peers.forEach((peer) => peer.pump());
    // One end notices, and the other follows: it may have had nothing in flight.
    const move = () => {
      const dead = peers.flatMap((peer) => peer.deadPaths);
      if (dead.length === 0) return clock.after(50, move);
      assert.deepEqual(new Set(dead), new Set([0]));
      for (const peer of peers) {
        peer.active = 1;
        peer.recovery.removePath(0);
        peer.pump();
      }
    };
    move();
    clock.run(600_000, () => peers.every((peer) => peer.done));
    checkAllArrived(clock, peers, frames);
  });
});

interface Flow {
  readonly rate: number;
  readonly lost: number;
  readonly sent: number;
  readonly queueDelay: number;
  readonly spurious: number;
}

/** Rates of flows of one kind that share a bottleneck, in bytes a second from `from` to `until`. */
function measure(kind: Kind, flows: number, loss: number, seed: number, span: {
  from: number;
  until: number;
  /** Where packets are lost: on the way to the bottleneck or behind it. */
  lossy?: "before" | "behind";
  queue?: number;
}): Flow[] {
  const before = span.lossy === "behind" ? 0 : loss;
  const rng = new Rng(seed);
  const clock = new VirtualClock();
  const senders: Peer[] = [];
  const receivers: Peer[] = [];
  const bottleneck = new Link<[number, NumberedPacket]>({
    clock,
    rng,
    shape: { delay: ONE_WAY_MS, loss: before, rate: RATE, queue: span.queue ?? QUEUE },
    deliver: ([flow, packet], bytes) => {
      if (!rng.chance(loss - before)) receivers[flow]!.receive(packet, bytes);
    },
  });
  for (let flow = 0; flow < flows; flow++) {
    const controller = () => makeController(kind, rng);
    const sender = new Peer({ clock, rng, frames: Infinity, controller });
    const receiver = new Peer({ clock, rng, frames: 0, controller });
    senders.push(sender);
    receivers.push(receiver);
    const entry = new Link<NumberedPacket>({
      clock,
      rng,
      shape: {},
      // A line carries whole frames.
      deliver: (packet, bytes) => bottleneck.send([flow, packet], bytes + BRUTAL_PACKET_OVERHEAD),
    });
    sender.addPath(0, entry);
    receiver.addPath(
      0,
      new Link<NumberedPacket>({
        clock,
        rng,
        shape: { delay: ONE_WAY_MS, loss },
        deliver: (packet, bytes) => sender.receive(packet, bytes),
      }),
    );
    // One after the other: who comes late has to get its share too.
    clock.at(flow * 1000, () => sender.pump());
  }
  clock.run(span.from);
  const bytesBefore = receivers.map((peer) => peer.uniqueBytes);
  clock.run(span.until);
  return receivers.map((peer, flow) => {
    const path = senders[flow]!.recovery.path(0)!;
    return {
      rate: (peer.uniqueBytes - bytesBefore[flow]!) / (span.until - span.from) * 1000,
      lost: path.counters.lostPackets,
      sent: path.counters.sentPackets,
      queueDelay: path.rtt.smoothed - 2 * ONE_WAY_MS,
      spurious: path.counters.spuriousLosses,
    };
  });
}

function report(line: string): void {
  if (Deno.env.get("PHANTOM_SIM_QUIET") === undefined) console.log(`    ${line}`);
}

function show(kind: Kind, loss: number, { rate, lost, sent, queueDelay, spurious }: Flow): void {
  const share = (100 * rate / RATE).toFixed(1).padStart(5);
  const lostShare = (100 * lost / sent).toFixed(1);
  report(
    `${kind.padEnd(6)} at ${String(loss * 100).padStart(2)} % loss: ${share} % of the link, ` +
      `${lostShare} % lost, queue ${queueDelay.toFixed(0)} ms, ${spurious} false losses`,
  );
}

const LEAST: Readonly<Record<Kind, number>> = { brutal: 0.9, bbr: 0.8, cubic: 0 };

for (const kind of ["brutal", "bbr", "cubic"] as const) {
  Deno.test(`${kind} uses 100 Mbit/s at 100 ms under random loss`, () => {
    for (const loss of LOSSES) {
      const [flow] = measure(kind, 1, loss, 1, { from: 2000, until: 12_000 });
      show(kind, loss, flow!);
      const least = kind === "cubic" && loss === 0 ? 0.9 : LEAST[kind];
      assert.ok(flow!.rate >= least * RATE, `${kind} at ${loss}: ${flow!.rate} bytes a second`);
      // At the line's own rate brutal loses what the line loses: it does not overfill it as well.
      const share = flow!.lost / flow!.sent;
      if (kind === "brutal") assert.ok(share < loss + 0.01, `${share} lost at ${loss}`);
    }
  });
}

Deno.test("bbr copes with loss behind the bottleneck", () => {
  for (const loss of [0.02, 0.1]) {
    const [flow] = measure("bbr", 1, loss, 1, { from: 2000, until: 12_000, lossy: "behind" });
    show("bbr", loss, flow!);
    assert.ok(flow!.rate >= 0.8 * RATE, `at ${loss}: ${flow!.rate} bytes a second`);
  }
});

Deno.test("two flows of a kind share a link", () => {
  for (const kind of ["bbr", "cubic"] as const) {
    const flows = measure(kind, 2, 0, 1, { from: 10_000, until: 25_000 });
    const rates = flows.map(({ rate }) => rate);
    const sum = rates[0]! + rates[1]!;
    const jain = sum ** 2 / (2 * (rates[0]! ** 2 + rates[1]! ** 2));
    const shares = rates.map((rate) => (100 * rate / RATE).toFixed(1)).join(" + ");
    report(`two ${kind}: ${shares} % of the link, Jain's index ${jain.toFixed(3)}`);
    // CUBIC takes minutes at such a round trip; what is asked is that nobody starves.
    assert.ok(jain > 0.6, `${kind}: ${shares}`);
    assert.ok(sum > 0.85 * RATE, `${kind}: ${shares}`);
  }
});

// The controllers alone; how they fare on links is simulated in tests/sim.

import assert from "node:assert/strict";
import { BRUTAL_RATE_MIN, WINDOW_PACKETS_MAX } from "../params.ts";
import { Bbr } from "./bbr.ts";
import { Brutal } from "./brutal.ts";
import { chooseController } from "./choose.ts";
import { AckSample } from "./controller.ts";
import { Cubic } from "./cubic.ts";
import { MaxFilter } from "./max_filter.ts";

const PACKET = 1400;
/** Of a line's rate what is left to UDP. */
const UDP_SHARE = PACKET / (PACKET + 42);

function sample(values: Partial<AckSample>): AckSample {
  return Object.assign(new AckSample(), { smoothedRtt: 100, rtt: 100 }, values);
}

Deno.test("Brutal sends at its rate over the share that arrives, from 50 packets on", () => {
  const brutal = new Brutal(1_000_000, 4, PACKET);
  assert.equal(brutal.pacingRate(), 1_000_000 * UDP_SHARE);
  assert.equal(brutal.window(), 10_240, "no round trip yet");
  brutal.onAck(0, sample({ ackedPackets: 44 }));
  brutal.onLost(0, sample({ lostPackets: 5 }));
  assert.equal(brutal.ackRate, 1);
  brutal.onAck(0, sample({ ackedPackets: 1 }));
  assert.equal(brutal.ackRate, 0.9);
  assert.equal(brutal.pacingRate(), 1_000_000 * UDP_SHARE / 0.9);
  assert.equal(brutal.window(), Math.ceil(2 * 100_000 / 0.9));
  brutal.onLost(0, sample({ lostPackets: 500 }));
  assert.equal(brutal.ackRate, 0.8, "more is not made up for");
});

Deno.test("Brutal forgets after five seconds, and takes false losses back", () => {
  const brutal = new Brutal(1_000_000, 4, PACKET);
  brutal.onLost(500, sample({ lostPackets: 100 }));
  brutal.onAck(4900, sample({ ackedPackets: 100 }));
  assert.equal(brutal.ackRate, 0.8);
  brutal.onAck(5000, sample({ ackedPackets: 1 }));
  assert.equal(brutal.ackRate, 1);
  brutal.onLost(5000, sample({ lostPackets: 10 }));
  for (let i = 0; i < 10; i++) brutal.onSpuriousLoss(5001);
  assert.equal(brutal.ackRate, 1);
});

Deno.test("windows keep to their floor and cap", () => {
  const small = new Brutal(1, 256, PACKET);
  assert.equal(small.pacingRate(), BRUTAL_RATE_MIN * UDP_SHARE);
  assert.equal(small.window(), 256 * PACKET);
  const large = new Brutal(1e15, 256, PACKET);
  large.onAck(0, sample({ ackedPackets: 1 }));
  assert.equal(large.window(), WINDOW_PACKETS_MAX * PACKET);
  assert.equal(new Cubic(256, PACKET).window(), 256 * PACKET);
  const bbr = new Bbr(256, PACKET, () => 0.5);
  assert.equal(bbr.window(), 256 * PACKET);
  bbr.setPacketBytes(1200);
  assert.equal(bbr.window(), 256 * 1200);
});

Deno.test("chooseController() takes brutal when both sides state a rate, at the lower", () => {
  const common = { floorPackets: 256, packetBytes: PACKET, random: () => 0 };
  const both = chooseController({ ...common, sendRate: 2e6, takeRate: 1e6 });
  assert.equal(both.name, "brutal");
  assert.equal(both.pacingRate(), 1e6 * UDP_SHARE);
  assert.equal(chooseController({ ...common, sendRate: 2e6, takeRate: 0 }).name, "bbr");
  assert.equal(chooseController({ ...common, sendRate: 0, takeRate: 1e6 }).name, "bbr");
  const cubic = { ...common, sendRate: 0, takeRate: 0, adaptive: "cubic" } as const;
  assert.equal(chooseController(cubic).name, "cubic");
});

Deno.test("Cubic doubles in slow start, shrinks once a round trip, and comes back", () => {
  const cubic = new Cubic(4, PACKET);
  const start = cubic.window();
  cubic.onAck(100, sample({ ackedBytes: start, ackedPackets: 32, ackedSentTime: 0 }));
  assert.equal(cubic.window(), 2 * start);
  cubic.onLost(200, sample({ lostPackets: 1, lostSentTime: 150 }));
  const reduced = cubic.window();
  assert.ok(Math.abs(reduced - 1.4 * start) < 1);
  cubic.onLost(210, sample({ lostPackets: 1, lostSentTime: 160 }));
  assert.equal(cubic.window(), reduced, "one reduction for one round trip");
  for (let now = 300; now < 6000; now += 100) {
    const ackedBytes = cubic.window();
    cubic.onAck(now, sample({ ackedBytes, ackedPackets: 9, ackedSentTime: now - 90 }));
  }
  assert.ok(cubic.window() > 1.9 * start, String(cubic.window() / start));
  assert.ok(!cubic.slowStart);
});

Deno.test("Cubic takes a reduction back when all of its losses were false", () => {
  const cubic = new Cubic(4, PACKET);
  const before = cubic.window();
  cubic.onLost(200, sample({ lostPackets: 2, lostSentTime: 150 }));
  cubic.onSpuriousLoss(210, 150);
  assert.ok(cubic.window() < before);
  cubic.onSpuriousLoss(211, 151);
  assert.equal(cubic.window(), before);
});

Deno.test("Cubic does not grow without need, and starts over when it must", () => {
  const cubic = new Cubic(4, PACKET);
  const before = cubic.window();
  cubic.onAck(100, sample({ ackedBytes: 1e6, ackedPackets: 9, appLimited: true }));
  assert.equal(cubic.window(), before);
  cubic.onPersistentCongestion();
  assert.equal(cubic.window(), 4 * PACKET);
  assert.ok(cubic.slowStart);
});

Deno.test("Bbr finds a rate, leaves startup, and probes", () => {
  const bbr = new Bbr(4, PACKET, () => 0);
  const modes = new Set<string>();
  const inFlightIn = {
    startup: 200_000,
    drain: 100_000,
    probeBandwidth: 110_000,
    probeRtt: 40_000,
  };
  let delivered = 0;
  for (let now = 100; now < 15_000; now += 20) {
    const ackedBytes = 20_000;
    delivered += ackedBytes;
    const inFlight = inFlightIn[bbr.mode];
    const priorInFlight = inFlight + ackedBytes;
    const flight = { inFlight, priorInFlight, delivered, priorDelivered: delivered - 100_000 };
    const rtt = now === 100 ? 100 : 110;
    bbr.onAck(now, sample({ ackedBytes, ackedPackets: 14, rate: 1e6, rtt, ...flight }));
    modes.add(bbr.mode);
  }
  assert.deepEqual([...modes], ["startup", "drain", "probeBandwidth", "probeRtt"]);
  assert.equal(bbr.bandwidth, 1e6);
  assert.equal(bbr.minRtt, 110, "the smaller one is forgotten");
  assert.ok(bbr.window() >= 220_000 && bbr.window() < 240_000, String(bbr.window()));
  bbr.onPersistentCongestion(15_000);
  assert.equal(bbr.mode, "startup");
});

Deno.test("Bbr takes app-limited rates only when they are higher", () => {
  const bbr = new Bbr(4, PACKET, () => 0);
  const common = { ackedBytes: 1, ackedPackets: 1, delivered: 1, priorDelivered: 0 };
  bbr.onAck(1, sample({ ...common, rate: 1e6 }));
  bbr.onAck(2, sample({ ...common, rate: 1e3, appLimited: true }));
  assert.equal(bbr.bandwidth, 1e6);
  bbr.onAck(3, sample({ ...common, rate: 2e6, appLimited: true }));
  assert.equal(bbr.bandwidth, 2e6);
});

Deno.test("MaxFilter equals the maximum of a window", () => {
  const filter = new MaxFilter(10);
  filter.update(0, 5);
  filter.update(1, 9);
  for (let time = 2; time <= 11; time++) {
    filter.update(time, 3);
    assert.equal(filter.max, 9, String(time));
  }
  filter.update(12, 3);
  assert.equal(filter.max, 3);
  filter.reset(13, 1);
  assert.equal(filter.max, 1);
});

import assert from "node:assert/strict";
import { burstBytes, Pacer } from "./pacer.ts";
import { PACING_BURST_PACKETS, PACING_DELAY_MS_MIN } from "./params.ts";

const PACKET = 1400;

/** Bytes sent in a time by a sender that wakes when it is told, plus some lateness. */
function run(
  rate: number,
  ms: number,
  late: number | ((burst: number) => number),
): { bytes: number; bursts: number } {
  const lateness = typeof late === "number" ? () => late : late;
  const pacer = new Pacer();
  let bytes = 0;
  let bursts = 0;
  for (let now = 0; now < ms; now = pacer.next(now, rate, PACKET) + lateness(bursts)) {
    bursts += 1;
    while (pacer.ready(now, rate, PACKET)) {
      pacer.onSent(now, rate, PACKET, PACKET);
      bytes += PACKET;
    }
  }
  return { bytes, bursts };
}

/** Sends what may go now; how much that was. */
function sendAll(pacer: Pacer, now: number, rate: number): number {
  let sent = 0;
  for (; pacer.ready(now, rate, PACKET); sent += PACKET) pacer.onSent(now, rate, PACKET, PACKET);
  return sent;
}

Deno.test("Pacer holds the rate at any speed, woken in time or late", () => {
  for (const rate of [10_000, 1e6, 12.5e6, 125e6, 400e6]) {
    for (const late of [0, 0.3]) {
      const { bytes } = run(rate, 10_000, late);
      const burst = burstBytes(rate, PACKET);
      assert.ok(bytes <= 10 * rate + 2 * burst, `${rate} ${late}: ${bytes}`);
      assert.ok(bytes >= 10 * rate * 0.98 - burst, `${rate} ${late}: ${bytes}`);
    }
  }
});

Deno.test("Pacer makes up for late wakes at twice the rate, but for no more than 50 ms", () => {
  const rate = 12.5e6;
  const { bytes } = run(rate, 10_000, (burst) => burst % 50 === 0 ? 30 : 0.5);
  assert.ok(bytes >= 0.98 * 10 * rate && bytes <= 10 * rate + burstBytes(rate, PACKET), `${bytes}`);
  const pacer = new Pacer();
  const send = (now: number) => sendAll(pacer, now, rate);
  send(0);
  pacer.next(0, rate, PACKET);
  const burst = burstBytes(rate, PACKET);
  assert.ok(send(1000) <= burst);
  let sent = 0;
  for (let now = 1001; now <= 1200; now = pacer.next(now, rate, PACKET)) {
    const now1 = send(now);
    assert.ok(now1 <= 2 * rate / 1000 + 2 * PACKET, `${now1} bytes at ${now}`);
    sent += now1;
  }
  assert.ok(Math.abs(sent - (200 + 50) / 1000 * rate) < burst, `${sent}`);
});

Deno.test("Pacer does not make up for time in which nothing waited", () => {
  const rate = 12.5e6;
  const pacer = new Pacer();
  const send = (now: number) => sendAll(pacer, now, rate);
  send(0);
  pacer.next(0, rate, PACKET);
  pacer.rest();
  assert.ok(send(1000) <= burstBytes(rate, PACKET));
  assert.ok(send(1010) <= 0.01 * rate + PACKET);
});

Deno.test("Pacer makes batches and does not wake for each packet of a fast path", () => {
  const { bytes, bursts } = run(125e6, 1000, 0);
  assert.ok(bursts <= 1000 / PACING_DELAY_MS_MIN + 2, String(bursts));
  assert.ok(bytes / bursts > 64 * PACKET);
});

Deno.test("Pacer's burst is a GSO batch, less on slow paths, more on very fast ones", () => {
  assert.equal(burstBytes(12.5e6, PACKET), PACING_BURST_PACKETS * PACKET);
  assert.equal(burstBytes(1.4e6, PACKET), 14_000);
  assert.equal(burstBytes(1000, PACKET), 2 * PACKET);
  assert.equal(burstBytes(125e6, PACKET), 250_000);
});

Deno.test("Pacer lets an unlimited rate through, and what may not wait leaves a debt", () => {
  const pacer = new Pacer();
  assert.ok(pacer.ready(0, Infinity, PACKET));
  pacer.onSent(0, Infinity, PACKET, PACKET);
  assert.ok(pacer.ready(0, 1e6, PACKET));
  for (let i = 0; i < 20; i++) pacer.onSent(0, 1e6, PACKET, PACKET);
  assert.ok(!pacer.ready(10, 1e6, PACKET));
  const next = pacer.next(10, 1e6, PACKET);
  assert.ok(next > 10 && next < 30);
  assert.ok(pacer.ready(next, 1e6, PACKET));
});

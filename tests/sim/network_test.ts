import assert from "node:assert/strict";
import { Rng } from "../fuzz/rng.ts";
import { VirtualClock } from "./clock.ts";
import { Link, type LinkShape, simulate } from "./network.ts";

function run(shape: Partial<LinkShape>, packets: number, bytes = 1000, seed = 1) {
  const clock = new VirtualClock();
  const arrivals: [number, number][] = [];
  const link = new Link<number>({
    clock,
    rng: new Rng(seed),
    shape,
    deliver: (packet) => arrivals.push([packet, clock.now]),
    corrupt: (packet) => -packet,
  });
  for (let i = 1; i <= packets; i++) clock.at(i, () => link.send(i, bytes));
  clock.run(1e6);
  return { arrivals, link, numbers: arrivals.map(([packet]) => packet) };
}

Deno.test("VirtualClock runs events in order of time, equals in order of making", () => {
  const clock = new VirtualClock();
  const rng = new Rng(1);
  const ran: number[] = [];
  const times = Array.from({ length: 500 }, () => rng.int(0, 50));
  times.forEach((time, i) => clock.at(time, () => ran.push(time * 1000 + i)));
  clock.run(25);
  assert.equal(clock.now, 25);
  clock.run(100);
  assert.equal(ran.length, 500);
  assert.deepEqual(ran, [...ran].sort((a, b) => a - b));
});

Deno.test("Link delays, keeps order under jitter, and repeats itself from a seed", () => {
  const { arrivals, numbers } = run({ delay: 30, jitter: 40 }, 500);
  assert.deepEqual(numbers, Array.from({ length: 500 }, (_, i) => i + 1));
  assert.ok(arrivals.every(([packet, time]) => time >= packet + 30 && time <= packet + 71));
  const shape = { loss: 0.2, duplicate: 0.1, reorder: { share: 0.3, delay: 20 } };
  assert.deepEqual(run(shape, 300).arrivals, run(shape, 300).arrivals);
  assert.notDeepEqual(run(shape, 300).arrivals, run(shape, 300, 1000, 2).arrivals);
});

Deno.test("Link loses, doubles, corrupts and reorders its share", () => {
  const near = (value: number, wanted: number) => assert.ok(Math.abs(value - wanted) < 100);
  near(run({ loss: 0.1 }, 5000).numbers.length, 4500);
  near(run({ duplicate: 0.1 }, 5000).numbers.length, 5500);
  near(run({ corrupt: 0.1 }, 5000).numbers.filter((number) => number < 0).length, 500);
  const { numbers } = run({ reorder: { share: 0.1, delay: 50 } }, 5000);
  near(numbers.filter((number, i) => i > 0 && number < numbers[i - 1]!).length, 450);
  assert.equal(run({ partitioned: true }, 10).numbers.length, 0);
  assert.equal(run({ mtu: 999 }, 10).numbers.length, 0);
});

Deno.test("Link loses in bursts", () => {
  const { numbers } = run({ burst: { enter: 0.01, leave: 0.1, loss: 1 } }, 20_000);
  const lost = 20_000 - numbers.length;
  const bursts = numbers.filter((number, i) => i > 0 && number > numbers[i - 1]! + 1).length;
  assert.ok(lost / 20_000 > 0.06 && lost / 20_000 < 0.12, String(lost));
  assert.ok(lost / bursts > 7 && lost / bursts < 13, String(lost / bursts));
});

Deno.test("Link keeps to its rate and drops what its queue can't hold", () => {
  const { arrivals, link } = run({ rate: 500_000, queue: 10_000 }, 1000);
  assert.ok(Math.abs(arrivals.length - 510) < 5, String(arrivals.length));
  assert.equal(link.overflowed, 1000 - arrivals.length);
  const wait = Math.max(...arrivals.map(([packet, time]) => time - packet));
  assert.ok(wait <= 20 + 1e-6 && wait > 18);
});

Deno.test("simulate() names the failing seed", () => {
  const failing = (seed: number) => assert.ok(seed < 3);
  if (Deno.env.get("PHANTOM_SIM_SEED") || Deno.env.get("PHANTOM_SIM_SEEDS")) return;
  assert.throws(() => simulate(5, failing), /PHANTOM_SIM_SEED=3$/);
});

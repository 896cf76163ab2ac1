import assert from "node:assert/strict";
import type { AckSample, CongestionController } from "./congestion/controller.ts";
import { FrameRecords } from "./frame_records.ts";
import {
  MAX_ACK_DELAY_MS,
  PATHS_MAX,
  PROBES_PER_TIMEOUT,
  SENT_SLOTS_MAX,
  SKIP_INTERVAL_MIN,
} from "./params.ts";
import { PathMtu } from "./pmtu.ts";
import { PacketKind, Recovery } from "./recovery.ts";

const KIND = 6;
const BYTES = 1000;

class FakeController implements CongestionController {
  readonly name = "cubic";
  lost = 0;
  acked = 0;
  spurious = 0;
  persistent = 0;
  limit = 1e9;
  onSent(): void {}
  onLost(_now: number, sample: AckSample): void {
    this.lost += sample.lostPackets;
  }
  onAck(_now: number, sample: AckSample): void {
    this.acked += sample.ackedPackets;
    this.rate = sample.rate;
  }
  rate = 0;
  onSpuriousLoss(): void {
    this.spurious += 1;
  }
  onPersistentCongestion(): void {
    this.persistent += 1;
  }
  setPacketBytes(): void {}
  window(): number {
    return this.limit;
  }
  pacingRate(): number {
    return Infinity;
  }
}

class Bench {
  readonly events: string[] = [];
  readonly records = new FrameRecords();
  readonly controllers = [new FakeController(), new FakeController()];
  readonly recovery: Recovery;

  constructor(maxRetries = 3) {
    const note = (what: string) => (_kind: number, stream: number, offset: ArrayLike<number>) =>
      this.events.push(`${what} ${stream}:${offset[0]}`);
    this.recovery = new Recovery(
      {
        acked: note("acked"),
        lost: note("lost"),
        pathDead: (path) => this.events.push(`dead ${path}`),
      },
      this.records,
      { maxRetries, random: () => 0.5 },
    );
    this.controllers.forEach((controller, i) =>
      this.recovery.addPath(i, controller, new PathMtu(1200, 1200))
    );
  }

  /** Sends a packet with one frame that names its number. */
  send(now: number, path = 0): number {
    const number = this.recovery.nextNumber;
    assert.ok(this.recovery.record(KIND, path, number, BYTES));
    return this.recovery.onSent(now, path, BYTES, PacketKind.eliciting);
  }

  ack(now: number, ...ranges: readonly (readonly [number, number])[]): boolean {
    return this.recovery.onAck(now, Float64Array.from(ranges.flat()), ranges.length, 0);
  }

  take(): string[] {
    return this.events.splice(0);
  }
}

Deno.test("an ACK settles frames once, and gives a round trip and a rate", () => {
  const bench = new Bench();
  for (let i = 0; i < 4; i++) bench.send(i);
  const path = bench.recovery.path(0)!;
  assert.equal(path.inFlight, 4 * BYTES);
  assert.ok(bench.ack(103, [0, 3]));
  assert.deepEqual(bench.take(), ["acked 0:0", "acked 0:1", "acked 0:2", "acked 0:3"]);
  assert.equal(path.rtt.latest, 100);
  assert.equal(path.inFlight, 0);
  assert.equal(bench.records.used, 0);
  assert.equal(bench.controllers[0]!.acked, 4);
  assert.ok(bench.ack(104, [0, 3]));
  assert.deepEqual(bench.take(), []);
  assert.equal(bench.recovery.remembered, 0);
  assert.equal(bench.recovery.nextTimeout(), Infinity);
});

Deno.test("three packets acknowledged later make one lost, two wait for the time threshold", () => {
  const bench = new Bench();
  for (let i = 0; i < 5; i++) bench.send(i);
  bench.ack(100, [2, 2]);
  assert.deepEqual(bench.take(), ["acked 0:2"]);
  const timeout = bench.recovery.nextTimeout();
  assert.ok(timeout > 100 && timeout < 115, String(timeout));
  bench.ack(101, [2, 3]);
  assert.deepEqual(bench.take(), ["acked 0:3", "lost 0:0"]);
  bench.recovery.onTimeout(bench.recovery.nextTimeout());
  assert.deepEqual(bench.take(), ["lost 0:1"]);
  assert.equal(bench.controllers[0]!.lost, 2);
  assert.equal(bench.recovery.path(0)!.inFlight, BYTES);
});

Deno.test("the packet threshold counts packets of one path only", () => {
  const bench = new Bench();
  const slow = bench.send(0, 0);
  const fast = Array.from({ length: 10 }, (_, i) => bench.send(1 + i, 1));
  bench.ack(30, [fast[0]!, fast.at(-1)!]);
  assert.ok(bench.take().every((event) => event.startsWith("acked 1:")));
  assert.equal(bench.recovery.path(0)!.inFlight, BYTES);
  assert.ok(!bench.recovery.path(0)!.rtt.sampled);
  bench.ack(200, [slow, fast.at(-1)!]);
  assert.deepEqual(bench.take(), [`acked 0:${slow}`]);
});

Deno.test("a late ACK of a lost packet is reported, undone, and widens the threshold", () => {
  const bench = new Bench();
  for (let i = 0; i < 5; i++) bench.send(i);
  bench.ack(100, [1, 4]);
  assert.deepEqual(bench.take().filter((event) => event.startsWith("lost")), ["lost 0:0"]);
  bench.ack(105, [0, 4]);
  assert.deepEqual(bench.take(), ["acked 0:0"]);
  assert.equal(bench.controllers[0]!.spurious, 1);
  assert.equal(bench.recovery.path(0)!.counters.spuriousLosses, 1);
  const first = bench.recovery.nextNumber;
  for (let i = 0; i < 5; i++) bench.send(106);
  bench.ack(150, [first + 1, first + 4]);
  assert.ok(bench.take().every((event) => !event.startsWith("lost")));
});

Deno.test("probe timeouts back off, give frames back once, and end in a dead path", () => {
  const bench = new Bench(3);
  bench.send(0);
  bench.ack(40, [0, 0]);
  bench.take();
  for (let i = 0; i < 3; i++) bench.send(50);
  const path = bench.recovery.path(0)!;
  const base = path.rtt.pto();
  assert.ok(base > 40 + MAX_ACK_DELAY_MS);
  let now = 50;
  for (let i = 0; i < 3; i++) {
    assert.ok(Math.abs(bench.recovery.nextTimeout() - (now + base * 2 ** i)) < 1e-6);
    now = bench.recovery.nextTimeout();
    bench.recovery.onTimeout(now);
    assert.equal(path.probes, PROBES_PER_TIMEOUT);
    assert.ok(path.canSend(now));
  }
  assert.deepEqual(bench.take(), ["lost 0:1", "lost 0:2", "lost 0:3"]);
  bench.recovery.onTimeout(bench.recovery.nextTimeout());
  assert.deepEqual(bench.take(), ["dead 0"]);
  assert.ok(path.dead && !path.canSend(now));
  assert.equal(bench.recovery.nextTimeout(), Infinity);
  bench.recovery.removePath(0);
  assert.deepEqual(bench.take(), [], "given back already");
  assert.equal(bench.recovery.path(0), undefined);
});

Deno.test("an ACK ends the count of timeouts", () => {
  const bench = new Bench(3);
  bench.send(0);
  bench.recovery.onTimeout(bench.recovery.nextTimeout());
  const path = bench.recovery.path(0)!;
  assert.equal(path.ptoCount, 1);
  bench.ack(2000, [0, 0]);
  assert.equal(path.ptoCount, 0);
  assert.equal(path.probes, 0);
});

Deno.test("a removed path gives its frames back; its index can be used again", () => {
  const bench = new Bench();
  for (let i = 0; i < 6; i++) bench.send(i);
  bench.ack(100, [3, 3]);
  bench.take();
  bench.recovery.removePath(0);
  assert.deepEqual(bench.take(), ["lost 0:1", "lost 0:2", "lost 0:4", "lost 0:5"]);
  const controller = new FakeController();
  const path = bench.recovery.addPath(0, controller, new PathMtu(1200, 1200));
  bench.ack(101, [0, 5]);
  assert.equal(controller.acked + controller.spurious, 0, "not the new path's packets");
  assert.equal(path.rtt.sampled, false);
  assert.equal(bench.records.used, 0);
  assert.throws(() => bench.recovery.addPath(0, controller), RangeError);
  assert.throws(() => bench.recovery.addPath(PATHS_MAX, controller), RangeError);
});

Deno.test("ACKs of what was never sent, or out of order, are refused", () => {
  const bench = new Bench();
  for (let i = 0; i < 8; i++) bench.send(i);
  assert.ok(!bench.ack(10, [0, 8]));
  assert.ok(!bench.ack(10, [-1, 3]));
  assert.ok(!bench.ack(10, [5, 4]));
  assert.ok(!bench.ack(10, [2, 3], [3, 4]));
  assert.ok(!bench.ack(10, [4, 6], [3, 4]));
  assert.ok(!bench.ack(10, [NaN, 3]));
  assert.ok(!bench.ack(10));
  assert.deepEqual(bench.take(), []);
  assert.ok(bench.ack(10, [5, 6], [1, 3]));
});

Deno.test("an ACK of a number that was left out on purpose is refused", () => {
  const bench = new Bench();
  const numbers = new Set<number>();
  for (let i = 0; i < 2 * SKIP_INTERVAL_MIN; i++) numbers.add(bench.send(0));
  const last = bench.recovery.nextNumber - 1;
  const skipped = Array.from({ length: last }, (_, i) => i).filter((i) => !numbers.has(i));
  assert.equal(skipped.length, 1);
  assert.ok(bench.ack(50, [0, skipped[0]! - 1]));
  assert.ok(bench.ack(60, [skipped[0]! + 1, last], [0, skipped[0]! - 1]));
  assert.ok(!bench.ack(61, [0, last]));
});

Deno.test("losses over a long time with nothing between are persistent congestion", () => {
  const bench = new Bench();
  bench.send(0);
  bench.ack(10, [0, 0]);
  for (let i = 0; i < 20; i++) bench.send(100 + 100 * i);
  const last = bench.recovery.nextNumber - 1;
  bench.ack(2200, [last, last]);
  assert.ok(bench.controllers[0]!.persistent >= 1);
  const other = new Bench();
  other.send(0);
  other.ack(10, [0, 0]);
  for (let i = 0; i < 20; i++) other.send(100 + i);
  other.ack(130, [20, 20]);
  assert.equal(other.controllers[0]!.lost, 18);
  assert.equal(other.controllers[0]!.persistent, 0);
});

Deno.test("quiet packets take no window, no timer and no memory", () => {
  const bench = new Bench();
  for (let i = 0; i < 50; i++) bench.recovery.onSent(i, 0, 60, PacketKind.quiet);
  assert.equal(bench.recovery.path(0)!.inFlight, 0);
  assert.equal(bench.recovery.nextTimeout(), Infinity);
  assert.equal(bench.recovery.remembered, 0);
  assert.ok(bench.ack(60, [0, 49]));
});

Deno.test("the loss of a path MTU probe is not congestion", () => {
  const controller = new FakeController();
  const bench = new Bench();
  const path = bench.recovery.addPath(2, controller, new PathMtu(1200, 1452));
  assert.equal(path.pmtu.probe(0), 1452);
  const probe = bench.recovery.onSent(0, 2, 1452, PacketKind.mtuProbe);
  assert.equal(path.pmtu.probe(0), 0);
  for (let i = 0; i < 3; i++) bench.send(1, 2);
  bench.ack(50, [probe + 1, probe + 3]);
  assert.equal(controller.lost, 0);
  assert.equal(path.inFlight, 0);
  assert.equal(path.pmtu.probe(50), 1452, "tried again");
  const again = bench.recovery.onSent(51, 2, 1452, PacketKind.mtuProbe);
  bench.ack(100, [again, again]);
  assert.equal(path.packetBytes, 1452);
});

Deno.test("a closed window lets nothing out but probes", () => {
  const bench = new Bench();
  bench.controllers[0]!.limit = 2 * BYTES;
  const path = bench.recovery.path(0)!;
  bench.send(0);
  assert.ok(path.canSend(0));
  bench.send(0);
  assert.ok(!path.canSend(0));
  assert.equal(path.nextSend(0), Infinity);
  bench.recovery.onTimeout(bench.recovery.nextTimeout());
  assert.ok(path.canSend(2000));
});

Deno.test("a full ring closes, gives up its oldest when it must, and shrinks when idle", () => {
  const bench = new Bench();
  while (bench.recovery.hasRoom()) bench.send(0, bench.recovery.nextNumber === 0 ? 0 : 1);
  assert.equal(bench.recovery.remembered, SENT_SLOTS_MAX);
  bench.recovery.onSent(1, 0, 60, PacketKind.quiet);
  assert.deepEqual(bench.take(), ["lost 0:0"]);
  assert.equal(bench.recovery.forced, 1);
  assert.equal(bench.recovery.path(0)!.inFlight, 0);
  bench.recovery.removePath(1);
  bench.recovery.shrink(1e6);
  assert.equal(bench.recovery.slots, 0);
  assert.equal(bench.records.used, 0);
});

Deno.test("a packet that is not missed takes no place where nothing is remembered", () => {
  const bench = new Bench();
  assert.ok(bench.recovery.record(KIND, 1, 2, 3));
  assert.equal(bench.recovery.onSent(1, 0, 60, PacketKind.quiet), 0);
  assert.deepEqual([bench.recovery.slots, bench.recovery.remembered], [0, 0]);
  assert.equal(bench.records.used, 0);
  assert.equal(bench.recovery.nextNumber, 1);
  assert.ok(bench.recovery.onAck(2, Float64Array.of(0, 0), 1, 0), "its ACK is no lie");
  assert.deepEqual(bench.take(), []);
});

Deno.test("discard() forgets the frames of a packet that was not sent", () => {
  const bench = new Bench();
  bench.recovery.record(KIND, 1, 2, 3);
  bench.recovery.discard();
  assert.equal(bench.records.used, 0);
  bench.send(0);
  bench.recovery.close();
  assert.equal(bench.records.used, 0);
});

Deno.test("repeating old ranges costs little: acknowledged runs are skipped", () => {
  const bench = new Bench();
  const sent: number[] = [];
  for (let i = 0; i < 30_000; i++) sent.push(bench.send(0));
  // Runs between skipped numbers, each without its first packet.
  const runs: [number, number][] = [];
  for (const number of sent) {
    const last = runs.at(-1);
    if (last?.[1] === number - 1 && last[1] - last[0] < 1000) last[1] = number;
    else runs.push([number + 1, number]);
  }
  const honest = runs.filter(([low, high]) => low <= high).reverse();
  assert.ok(honest.length > 20);
  assert.ok(bench.ack(10, ...honest));
  const list = Float64Array.from(honest.flat());
  // Walking over each number would take 60 million steps. The best of some: others work here, too.
  const times = Array.from({ length: 5 }, () => {
    const before = performance.now();
    for (let i = 0; i < 2000; i++) bench.recovery.onAck(10, list, honest.length, 0);
    return performance.now() - before;
  });
  assert.ok(Math.min(...times) < 100, `${times}`);
});

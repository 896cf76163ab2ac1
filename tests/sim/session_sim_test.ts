// Two sessions over a simulated network: whatever the links do, every byte arrives once and in
// order, every stream ends on both sides, and all memory comes back.

import assert from "node:assert/strict";
import { Bbr } from "../../src/reliability/congestion/bbr.ts";
import { Brutal } from "../../src/reliability/congestion/brutal.ts";
import type { CongestionController } from "../../src/reliability/congestion/controller.ts";
import { Cubic } from "../../src/reliability/congestion/cubic.ts";
import { FrameRecords } from "../../src/reliability/frame_records.ts";
import { PathMtu } from "../../src/reliability/pmtu.ts";
import { Budget } from "../../src/session/budget.ts";
import { CloseCode } from "../../src/wire/frames.ts";
import { Rng } from "../fuzz/rng.ts";
import { VirtualClock } from "./clock.ts";
import { type LinkShape, simulate } from "./network.ts";
import { App, type AppOptions, checkStreams } from "./session_app.ts";
import { Endpoint, type EndpointOptions, joinEndpoints, type Way } from "./session_endpoint.ts";

const HOUR_MS = 3_600_000;
const PARTITION_MS = 5000;

interface World {
  readonly clock: VirtualClock;
  readonly rng: Rng;
  readonly client: App;
  readonly server: App;
  readonly ends: readonly [Endpoint, Endpoint];
  readonly ways: Way[];
}

interface WorldOptions {
  readonly there?: Partial<LinkShape>;
  readonly back?: Partial<LinkShape>;
  readonly app?: Partial<AppOptions>;
  readonly endpoint?: Partial<EndpointOptions>;
  readonly kind?: "brutal" | "bbr" | "cubic";
}

function makeController(rng: Rng, kind: string): CongestionController {
  if (kind === "brutal") return new Brutal(10 ** (5 + 2 * rng.float()), 64, 1200);
  if (kind === "cubic") return new Cubic(64, 1200);
  return new Bbr(64, 1200, () => rng.float());
}

function makeWorld(seed: number, options: WorldOptions): World {
  const rng = new Rng(seed);
  const clock = new VirtualClock();
  const kind = options.kind ?? rng.pick(["brutal", "bbr", "cubic"]);
  const make = (isClient: boolean): [App, Endpoint] => {
    const app = new App({ isClient, rng, ...options.app });
    const controller = () => makeController(rng, kind);
    const endpoint = new Endpoint({
      clock,
      rng,
      isClient,
      events: app,
      controller,
      ...options.endpoint,
    });
    app.endpoint = endpoint;
    return [app, endpoint];
  };
  const [client, clientEnd] = make(true);
  const [server, serverEnd] = make(false);
  const world = { clock, rng, client, server, ends: [clientEnd, serverEnd] as const, ways: [] };
  addWay(world, options.there ?? {}, options.back ?? {});
  clientEnd.addPath(0, true);
  serverEnd.addPath(0, options.endpoint?.isProven ?? true);
  return world;
}

function addWay(world: World, there: Partial<LinkShape>, back: Partial<LinkShape>): void {
  const [client, server] = world.ends;
  const way = joinEndpoints(client, server, world.ways.length, world.rng, { there, back });
  world.ways.push(way);
}

function randomShape(rng: Rng): Partial<LinkShape> {
  const rate = rng.chance(0.5) ? 10 ** (5 + 2 * rng.float()) : Infinity;
  return {
    delay: rng.chance(0.2) ? rng.float() : rng.int(1, 150),
    jitter: rng.chance(0.4) ? rng.int(0, 40) : 0,
    loss: rng.chance(0.6) ? 0.01 + 0.29 * rng.float() : 0,
    burst: rng.chance(0.3)
      ? { enter: 0.02 * rng.float(), leave: 0.1 + 0.3 * rng.float(), loss: 0.9 }
      : { enter: 0, leave: 1, loss: 1 },
    reorder: rng.chance(0.4)
      ? { share: rng.float() * 0.4, delay: rng.int(1, 100) }
      : { share: 0, delay: 0 },
    duplicate: rng.chance(0.3) ? rng.float() * 0.2 : 0,
    corrupt: rng.chance(0.3) ? rng.float() * 0.05 : 0,
    rate,
    queue: rate === Infinity ? Infinity : Math.max(6000, rate * rng.float() * 0.3),
    mtu: rng.chance(0.4) ? rng.pick([1200, 1300, 1452]) : Infinity,
  };
}

/** Streams, datagrams, pings and ends of associations at random times. */
function run(world: World, options: { streams: number; bytesMax: number; spread: number }): void {
  const { clock, rng, client, server } = world;
  const apps = [client, server];
  for (let i = 0; i < options.streams; i++) {
    // Few are large: it is the small ones that meet in odd ways.
    const bytes = rng.chance(0.1) ? 0 : Math.floor(options.bytesMax ** rng.float());
    clock.at(rng.int(0, options.spread), () => client.open(bytes));
  }
  for (let i = 0; i < 20; i++) {
    const app = rng.pick(apps);
    const at = rng.int(0, options.spread);
    clock.at(at, () => app.sendDatagram(rng.int(0, 1000)));
    clock.at(at, () => {
      app.endpoint.session.ping(0, 1, i);
      app.endpoint.session.endAssoc(i);
      app.endpoint.pump();
    });
  }
}

function finishWorld(world: World, expected: number): void {
  const { clock, client, server, ends } = world;
  const isOver = () =>
    client.goneCount === expected && ends.every((end) => end.session.streamCount === 0);
  clock.run(HOUR_MS, () => isOver() || client.closeCode >= 0 || server.closeCode >= 0);
  assert.deepEqual([client.closeCode, server.closeCode], [-1, -1], `closed at ${clock.now} ms`);
  checkStreams(client, server);
  assert.equal(client.goneCount, expected, `streams are stuck at ${clock.now} ms`);
  for (const end of ends) assert.equal(end.budget.used, 0, "memory is not given back");
  closeWorld(world);
}

function closeWorld({ clock, ends }: World): void {
  const [client, server] = ends;
  client.session.close(clock.now);
  client.pump();
  // The CLOSE may be lost: then silence ends it.
  clock.run(clock.now + 200_000, () => ends.every((end) => end.session.isDone));
  assert.ok(client.session.isDone && server.session.isDone);
  for (const end of ends) {
    assert.equal(end.records.used, 0, "frame records leaked");
    assert.equal(end.budget.used, 0);
    assert.equal(end.session.nextTimeout(), Infinity);
  }
}

const BUSY: Partial<AppOptions> = {
  refused: 0.1,
  resets: 0.1,
  echoes: 0.4,
  dawdles: 0.3,
  replyMax: 500_000,
};

Deno.test("every byte arrives once and in order, whatever the links do", () => {
  simulate(60, (seed) => {
    const rng = new Rng(seed + 1000);
    const world = makeWorld(seed, {
      there: randomShape(rng),
      back: randomShape(rng),
      app: BUSY,
    });
    const streams = rng.int(1, 50);
    run(world, { streams, bytesMax: 2 << 20, spread: rng.pick([0, 100, 5000]) });
    if (rng.chance(0.3)) {
      const from = rng.int(0, 3000);
      partition(world, from, from + PARTITION_MS);
    }
    if (rng.chance(0.3)) {
      world.clock.at(rng.int(0, 3000), () => {
        world.ways[0]!.there.change(randomShape(rng));
        world.ways[0]!.back.change(randomShape(rng));
      });
    }
    finishWorld(world, streams);
  });
});

function partition({ clock, ways }: World, from: number, until: number): void {
  const { there, back } = ways[0]!;
  for (const [at, partitioned] of [[from, true], [until, false]] as const) {
    clock.at(at, () => {
      there.change({ partitioned });
      back.change({ partitioned });
    });
  }
}

Deno.test("on a perfect link everything comes, and comes fast", () => {
  const world = makeWorld(1, { there: { delay: 5 }, back: { delay: 5 }, kind: "bbr" });
  run(world, { streams: 20, bytesMax: 2 << 20, spread: 10 });
  world.clock.run(5000);
  const { client, server } = world;
  assert.equal(client.datagrams + server.datagrams, client.datagramsSent + server.datagramsSent);
  assert.equal(client.assocsEnded.size + server.assocsEnded.size, 20);
  assert.equal(client.pongs + server.pongs > 5, true);
  assert.equal(client.goneCount, 20);
  finishWorld(world, 20);
});

/** Share of 100 Mbit/s that one stream gets through at 100 ms, in the span from and to these ms. */
function share(
  kind: "brutal" | "bbr",
  loss: number,
  stalls: { every: number; ms: number },
  from: number,
  to: number,
): number {
  const rate = 12_500_000;
  const rng = new Rng(1);
  const link = { delay: 50, loss, rate, queue: rate / 10 };
  const controller = () =>
    kind === "brutal" ? new Brutal(rate, 256, 1452) : new Bbr(256, 1452, () => rng.float());
  const pmtu = () => new PathMtu(1452, 1452);
  const world = makeWorld(1, {
    ...{ there: link, back: link, app: {}, kind },
    endpoint: { controller, pmtu, stalls, budget: new Budget(64 << 20) },
  });
  const { clock, client, server } = world;
  clock.at(0, () => client.open(2 * rate * to / 1000));
  clock.run(from);
  const before = server.ends.get(0)!.got;
  clock.run(to);
  // Only the rate and the window hold it up, but for the first round trips of the stream's window.
  const { flow, buffer, pacing, window } = world.ends[0].session.counters.limits;
  assert.ok(flow + buffer < 0.15 * to, `${flow} ms for MAX_STREAM, ${buffer} ms for memory`);
  assert.ok(pacing + window > 0.8 * to, `${pacing} and ${window} ms of ${to} ms`);
  return (server.ends.get(0)!.got - before) / (rate * (to - from) / 1000);
}

Deno.test("one stream fills a long lossy link, and so it does when it is woken late", () => {
  const never = { every: 1, ms: 0 };
  for (const loss of [0.02, 0.1]) {
    for (const [kind, least] of [["brutal", 0.9], ["bbr", 0.8]] as const) {
      for (const stalls of [never, { every: 400, ms: 40 }]) {
        const got = share(kind, loss, stalls, 1500, 4500);
        const what = `${kind}, ${loss * 100} % lost, stalls of ${stalls.ms} ms`;
        console.log(`    ${what}: ${(100 * got).toFixed(1)} %`);
        assert.ok(got >= least, `${what}: ${got}`);
      }
    }
  }
});

Deno.test("for a client that is away for a minute nothing is read, and nothing is lost", () => {
  simulate(6, (seed) => {
    const link = { delay: 30, loss: 0.01, rate: 2_500_000, queue: 250_000 };
    const world = makeWorld(seed, {
      ...{ there: link, back: link, kind: "bbr" },
      app: { replyMax: 4 << 20 },
      endpoint: { maxRetries: 60 },
    });
    const { clock, ends } = world;
    for (let i = 0; i < 40; i++) clock.at(0, () => world.client.open(1000));
    partition(world, 700, 60_700);
    clock.run(5000);
    const [, server] = ends;
    const held = server.budget.used;
    assert.equal(server.session.counters.silences, 1);
    // 64 KiB of each, doubled by rings of a power of two; in flight was little.
    assert.ok(held > 0 && held <= 40 * (128 << 10) + (1 << 20), `${held} bytes`);
    clock.run(60_000);
    assert.equal(server.budget.used, held);
    finishWorld(world, 40);
  });
});

Deno.test("with nine in ten acknowledgements lost it goes on", () => {
  simulate(4, (seed) => {
    const world = makeWorld(seed, {
      there: { delay: 20 },
      back: { delay: 20, loss: 0.9 },
      app: { replyMax: 10 },
      endpoint: { maxRetries: 60 },
    });
    run(world, { streams: 5, bytesMax: 300_000, spread: 100 });
    finishWorld(world, 5);
  });
});

Deno.test("the path MTU is found, and a path that shrinks is survived", () => {
  for (const mtu of [1200, 1300, 1452]) {
    const world = makeWorld(mtu, { there: { delay: 10, mtu }, back: { delay: 10 }, kind: "bbr" });
    world.clock.at(0, () => world.client.open(2 << 20));
    world.clock.at(8000, () => world.client.open(1 << 20));
    world.clock.run(8000);
    const { size } = world.ends[0].session.recovery.path(0)!.pmtu;
    assert.ok(size <= mtu && size > mtu - 16, `${size} of ${mtu}`);
    world.ways[0]!.there.change({ mtu: 1200 });
    finishWorld(world, 2);
  }
});

Deno.test("a switch of paths in the middle costs no byte, even when the old one dies first", () => {
  simulate(40, (seed) => {
    const rng = new Rng(seed + 500);
    const world = makeWorld(seed, {
      there: { delay: rng.int(1, 80), loss: rng.pick([0, 0.02, 0.1]), rate: 2e6, queue: 1e5 },
      back: { delay: rng.int(1, 80), loss: rng.pick([0, 0.02, 0.1]) },
      app: BUSY,
      endpoint: { maxRetries: rng.pick([5, 10, 40]) },
    });
    addWay(world, { delay: rng.int(1, 150), loss: 0.05 }, { delay: rng.int(1, 150), loss: 0.05 });
    const { clock, client, ways, ends } = world;
    const streams = rng.int(1, 20);
    run(world, { streams, bytesMax: 1 << 20, spread: 1000 });
    const at = rng.int(0, 1500);
    const [clientEnd, serverEnd] = ends;
    client.onProven = (path) => {
      if (clientEnd.pathOf(1) !== path) return;
      clientEnd.session.activate(path);
      clientEnd.pump();
    };
    clock.at(at, () => {
      const path = clientEnd.addPath(1, false);
      clientEnd.session.challenge(clock.now, path);
      clientEnd.pump();
    });
    const dies = Math.max(0, at + rng.int(-300, 800));
    clock.at(dies, () => {
      ways[0]!.there.change({ partitioned: true });
      if (rng.chance(0.7)) ways[0]!.back.change({ partitioned: true });
    });
    // One that begins when all of that is over.
    clock.at(at + 4000, () => client.open(1000));
    finishWorld(world, streams + 1);
    assert.equal(clientEnd.session.activePath, clientEnd.pathOf(1));
    assert.equal(serverEnd.session.activePath, serverEnd.pathOf(1));
  });
});

Deno.test("a client that moves without a word is followed", () => {
  simulate(10, (seed) => {
    const world = makeWorld(seed, { there: { delay: 20 }, back: { delay: 20 }, app: BUSY });
    const { clock, ends } = world;
    run(world, { streams: 10, bytesMax: 1 << 20, spread: 2000 });
    // A new address of the client, as after a NAT forgot it: only the server sees another way.
    addWay(world, { delay: 25 }, { delay: 25 });
    clock.at(700, () => {
      ends[0].setLink(0, world.ways[1]!.there);
      world.ways[0]!.back.change({ partitioned: true });
    });
    finishMoved(world);
  });
});

/** What the client sends by its one path comes to the server by the second way from now on. */
function finishMoved(world: World): void {
  const [client, server] = world.ends;
  const receive = server.receive.bind(server);
  server.receive = (packet, bytes) => {
    const moved = world.clock.now >= 700 + 20;
    receive(moved ? { ...packet, way: 1 } : packet, bytes);
  };
  const receiveClient = client.receive.bind(client);
  client.receive = (packet, bytes) => receiveClient({ ...packet, way: 0 }, bytes);
  finishWorld(world, 10);
  assert.equal(server.session.activePath, 1);
}

Deno.test("a server sends a stranger three times its bytes, and no more", () => {
  const world = makeWorld(3, {
    there: { delay: 30 },
    back: { delay: 30, partitioned: true },
    app: { replyMax: 1e6 },
    endpoint: { isProven: false },
  });
  // The endpoint checks each packet; here nothing of the server's ever arrives.
  for (let i = 0; i < 5; i++) world.client.open(100);
  world.clock.run(4000);
  assert.ok(world.ends[1].sentPackets > 0);
  world.ways[0]!.back.change({ partitioned: false });
  finishWorld(world, 5);
});

Deno.test("resets cost no credit: 10,000 short streams, half of them given up", () => {
  const world = makeWorld(11, {
    there: { delay: 10, loss: 0.02 },
    back: { delay: 10, loss: 0.02 },
    app: { replyMax: 3000 },
    kind: "bbr",
  });
  const { clock, client, rng, ends } = world;
  // 40 MB in all: more than two and a half times the session's first credit.
  let made = 0;
  const next = () => {
    for (let i = 0; i < 20 && made < 10_000; i++, made++) {
      const id = client.open(rng.int(0, 8000));
      if (rng.chance(0.5)) {
        clock.after(rng.int(0, 40), () => {
          const end = client.ends.get(id)!;
          if (end.gone > 0) return;
          end.reset = true;
          ends[0].session.reset(id);
          ends[0].pump();
        });
      }
    }
    if (made < 10_000) clock.after(40, next);
  };
  clock.at(0, next);
  finishWorld(world, 10_000);
  assert.ok(clock.now < 120_000);
});

Deno.test("a small budget and few frame records slow things down, and end nothing", () => {
  simulate(6, (seed) => {
    const world = makeWorld(seed, {
      there: { delay: 20, loss: 0.05 },
      back: { delay: 20, loss: 0.05 },
      app: { ...BUSY, refused: 0, replyMax: 100_000 },
      endpoint: {},
    });
    // Both of them in one worker: they starve each other.
    const shared = makeWorld(seed, {
      there: { delay: 20, loss: 0.05 },
      back: { delay: 20, loss: 0.05 },
      app: { ...BUSY, replyMax: 100_000 },
      endpoint: { budget: new Budget(128 << 10), records: new FrameRecords(40) },
    });
    run(world, { streams: 10, bytesMax: 200_000, spread: 100 });
    run(shared, { streams: 10, bytesMax: 200_000, spread: 100 });
    finishWorld(world, 10);
    finishWorld(shared, 10);
  });
});

Deno.test("silence ends a session on both sides; signs of life keep it", () => {
  const quiet = makeWorld(5, { endpoint: { idleMs: 20_000, keepAliveMs: Infinity } });
  quiet.clock.at(0, () => quiet.client.sendDatagram(10));
  quiet.clock.run(100_000);
  assert.deepEqual([quiet.client.closeCode, quiet.server.closeCode], [7, 7]);
  const kept = makeWorld(6, {
    there: { delay: 5 },
    back: { delay: 5 },
    endpoint: { idleMs: 20_000, keepAliveMs: 8000 },
  });
  // The reply never ends, so the stream stays.
  kept.server.opened = (session, id) => session.answer(id, 0, Uint8Array.of(1, 0, 0, 0, 0, 0, 0));
  kept.clock.at(0, () => kept.ends[0].session.openStream(Uint8Array.of(1, 9, 9, 9, 9, 0, 1)));
  kept.client.answered = () => {};
  kept.clock.at(1, () => kept.ends[0].pump());
  kept.clock.run(200_000);
  assert.ok(kept.ends.every((end) => end.session.isOpen));
  assert.ok(kept.ends[0].wakes < 200 && kept.ends[1].wakes < 200, "idle, and yet at work");
});

Deno.test("CLOSE reaches the other side even when it is lost at first", () => {
  const world = makeWorld(8, { there: { delay: 10 }, back: { delay: 10 }, app: BUSY });
  run(world, { streams: 5, bytesMax: 1 << 20, spread: 1 });
  const { clock, ends, server, ways } = world;
  clock.run(300);
  ways[0]!.there.change({ partitioned: true });
  ends[0].session.close(clock.now, CloseCode.shutdown);
  ends[0].pump();
  ways[0]!.there.change({ partitioned: false });
  // What the server still sends asks for the CLOSE again.
  clock.run(clock.now + 10_000);
  assert.equal(server.closeCode, CloseCode.shutdown);
  assert.equal(server.closedLocally, false);
  assert.ok(ends.every((end) => end.session.isDone && end.budget.used === 0));
  assert.ok(ends.every((end) => end.records.used === 0));
});

/**
 * Finding 3: what a HELLO asks for is done once, whichever workers its copies land at, with the
 * same salt or their own, before, during and after a clean restart.
 */

import assert from "node:assert/strict";
import { Loop } from "../../src/loop/loop.ts";
import { Crew, Payer } from "../fixtures/payer.ts";
import { Armory } from "../fixtures/tunnel_fuzz.ts";
import { Rng } from "../fuzz/rng.ts";
import { testNative } from "../native.ts";

const native = testNative();
const SEED = Number(Deno.env.get("PHANTOM_FUZZ_SEED") ?? 1);
const CASES = 1000;
const RESTARTS = 0.05;

class Scene implements Disposable {
  readonly loop = new Loop(native);
  readonly armory = new Armory(native);
  readonly crew: Crew;
  #id = 1;

  constructor(workers: number) {
    this.crew = new Crew(this.loop, workers);
  }

  payer(addresses = 1): { payer: Payer; word: string; said: () => number } {
    const word = `PAY ONCE ${this.#id}`;
    const payer = new Payer(this.armory, this.#id++, word, addresses);
    return { payer, word, said: () => this.crew.said.get(word) ?? 0 };
  }

  /** Sends a HELLO to a worker, and sees what comes of it. */
  say(payer: Payer, packet: Uint8Array<ArrayBuffer>, worker: number, from = 0): void {
    payer.send(packet, this.crew.ports[worker]!, from);
    this.crew.run();
    payer.listen();
  }

  [Symbol.dispose](): void {
    this.crew[Symbol.dispose]();
    this.loop.close();
  }
}

for (const workers of [2, 4]) {
  Deno.test(`the same handshake with fresh salts at each of ${workers} workers is run once`, () => {
    using scene = new Scene(workers);
    const { crew } = scene;
    const { payer, said } = scene.payer(workers);
    using _ = payer;
    for (let i = 0; i < workers; i++) scene.say(payer, payer.hello(), i, i);
    assert.equal(said(), 1);
    assert.equal(payer.answers, 1);
    assert.equal(crew.letters.length, workers - 1);
    while (crew.letters.length > 0) crew.deliver(0);
    payer.listen();
    // Its owner answers each of them from its own socket, to where it came from.
    assert.equal(payer.answers, workers);
    assert.equal(said(), 1);
    assert.equal(crew.workers.reduce((sum, { pump }) => sum + pump.peers.count, 0), 1);
    // Once the client has answered there is silence.
    payer.confirm(crew.ports);
    crew.run();
    for (let i = 0; i < workers; i++) scene.say(payer, payer.hello(), i, i);
    while (crew.letters.length > 0) crew.deliver(0);
    payer.listen();
    assert.equal(payer.answers, workers);
    assert.equal(said(), 1);
  });
}

for (const [before, after] of [[1, 1], [2, 2], [2, 4], [4, 1]] as const) {
  Deno.test(`over a clean restart from ${before} to ${after} workers it is not run again`, () => {
    using scene = new Scene(before);
    const { payer, said } = scene.payer();
    using _ = payer;
    const first = payer.hello();
    // Its ACCEPT is lost.
    payer.send(first, scene.crew.ports[0]!);
    scene.crew.run();
    assert.equal(said(), 1);
    using late = new Payer(scene.armory, 1_000_000, "another");
    scene.crew.restart(after);
    for (let i = 0; i < after; i++) scene.say(late, first, i);
    assert.equal(said(), 1);
    assert.equal(scene.crew.workers.reduce((sum, { replays }) => sum + replays, 0), after);
    payer.listen();
    const { answers } = payer;
    for (let i = 0; i < after; i++) scene.say(payer, payer.hello(), i);
    while (scene.crew.letters.length > 0) scene.crew.deliver(0);
    payer.listen();
    assert.equal(said(), 1);
    assert.equal(payer.answers, answers + after);
    payer.confirm(scene.crew.ports);
    scene.crew.run();
    assert.equal(said(), 1);
    // What is new is run from the first HELLO on.
    const fresh = scene.payer();
    using _fresh = fresh.payer;
    scene.say(fresh.payer, fresh.payer.hello(), after - 1);
    assert.equal(fresh.said(), 1);
  });
}

Deno.test("a client is told that what it asked for before a restart is not run", () => {
  using scene = new Scene(2);
  const { payer, said } = scene.payer();
  using _ = payer;
  payer.send(payer.hello(), scene.crew.ports[0]!);
  scene.loop.round(0);
  assert.equal(said(), 1);
  payer.discard();
  scene.crew.restart(4);
  scene.say(payer, payer.hello(), 3);
  assert.ok(payer.isNotRun);
  payer.confirm(scene.crew.ports);
  scene.crew.run();
  assert.equal(said(), 1);
  assert.equal(scene.crew.workers[3]!.counters.notRun, 1);
});

Deno.test("a handshake that found no room is not run late where another worker has run it", () => {
  using scene = new Scene(2);
  const { crew } = scene;
  const { payer, said } = scene.payer();
  using _ = payer;
  crew.setRoom(false);
  scene.say(payer, payer.hello(), 0);
  assert.deepEqual([said(), payer.answers], [0, 1]);
  crew.setRoom(true);
  scene.say(payer, payer.hello(), 1);
  assert.equal(said(), 1);
  payer.confirm(crew.ports);
  crew.run();
  assert.equal(said(), 1);
  assert.ok(!crew.workers[0]!.pump.peers.all()[0]!.session.isOpen);
  // Without room everywhere it is run with the first DATA.
  crew.setRoom(false);
  const late = scene.payer();
  using _late = late.payer;
  scene.say(late.payer, late.payer.hello(), 0);
  assert.equal(late.said(), 0);
  late.payer.confirm(crew.ports);
  crew.run();
  assert.equal(late.said(), 1);
});

/** One handshake, its copies and all that may happen between, in some order. */
function interleave(scene: Scene, rng: Rng, isBlind: boolean): void {
  const { crew } = scene;
  const addresses = rng.int(1, 3);
  const { payer, word, said } = scene.payer(addresses);
  using _ = payer;
  const hellos = Array.from({ length: rng.int(2, 6) }, () => payer.hello());
  const packets = hellos.flatMap((hello) => rng.chance(0.3) ? [hello, hello] : [hello]);
  let [restarts, heard] = [0, 0];
  const steps: (() => void)[] = packets.map((packet) => () => {
    heard++;
    scene.say(payer, packet, rng.int(0, crew.workers.length - 1), rng.int(0, addresses - 1));
  });
  if (rng.chance(0.7)) steps.push(() => payer.confirm(crew.ports, rng.int(0, addresses - 1)));
  if (!isBlind && rng.chance(RESTARTS)) {
    steps.push(() => {
      if (heard > 0) restarts++;
      crew.restart(rng.int(1, 4));
    });
  }
  while (steps.length > 0) {
    if (crew.letters.length > 0 && rng.chance(0.4)) {
      crew.deliver(rng.int(0, crew.letters.length - 1), rng.chance(0.2));
    } else {
      steps.splice(rng.int(0, steps.length - 1), 1)[0]!();
    }
    assert.ok(said() <= 1, `${word} was said ${said()} times`);
  }
  while (crew.letters.length > 0) crew.deliver(0);
  payer.listen();
  payer.confirm(crew.ports);
  crew.run();
  if (restarts > 0) return assert.ok(said() <= 1, `${word} was said ${said()} times`);
  assert.equal(said(), 1, `${word} was said ${said()} times, seed ${SEED}`);
}

Deno.test(`${CASES} interleavings of copies, workers and clean restarts`, () => {
  using scene = new Scene(2);
  const rng = new Rng(SEED);
  for (let i = 0; i < CASES; i++) interleave(scene, rng, false);
});

Deno.test("the same while nothing can be told: frames wait for the first DATA", () => {
  for (const workers of [2, 4]) {
    using scene = new Scene(workers);
    scene.crew.blind();
    const rng = new Rng(SEED + workers);
    for (let i = 0; i < 100; i++) interleave(scene, rng, true);
    const { payer, said } = scene.payer();
    using _ = payer;
    scene.say(payer, payer.hello(), 0);
    assert.equal(said(), 0);
  }
});

/**
 * A whole server (tunnel, targets, associations) against packets that are nearly real: sealed by
 * peers who hold the keys and change what they say, and changed on the way. Nothing throws, a
 * session that minds its business goes on, everything is counted, and all memory comes back.
 *
 * The seed decides what is changed and how; keys and times are those of the run. A case is a
 * packet: PHANTOM_FUZZ_CASES says how many, PHANTOM_FUZZ_SEED which.
 */

import assert from "node:assert/strict";
import { libraries } from "../fixtures/libraries.ts";
import {
  Armory,
  Attacker,
  captureTexts,
  TargetServer,
  typesIn,
  VOLLEY,
  Witness,
} from "../fixtures/tunnel_fuzz.ts";
import { tellingReplay } from "../fixtures/tunnel.ts";
import { testNative } from "../native.ts";
import { Rng } from "./rng.ts";

// Loaded once: a library stays, which the leak check of a test would report.
libraries();
testNative();

const CASES = Number(Deno.env.get("PHANTOM_FUZZ_CASES") || 102_000);
const SEED = Number(Deno.env.get("PHANTOM_FUZZ_SEED") || 1);
const isLoud = Deno.env.has("PHANTOM_FUZZ_CASES");
const ATTACKERS = 6;
/** Few: they run out, since a session that was closed stays for a while. Many: they do not. */
const FEW_SESSIONS = 128;
const MANY_SESSIONS = 16_384;
const IDLE_MS = 2000;
const ROUND_MS_MAX = 2000;
/** The witness has to get on in this time. */
const PATIENCE_MS = 5000;
const GROWTH_BYTES_MAX = 256 << 20;
const BUFFER_BYTES = 8 << 20;

class Siege {
  readonly armory = new Armory(testNative());
  readonly server: TargetServer;
  readonly sessionsMax: number;
  readonly witness: Witness;
  readonly texts: readonly Uint8Array<ArrayBuffer>[];
  readonly rng = new Rng(SEED);
  readonly attackers: Attacker[];
  cases = 0;
  hellos = 0;
  slowestMs = 0;
  #cycles = 0;
  #advancedAt = performance.now();

  constructor(sessionsMax: number, replay?: SharedArrayBuffer) {
    const tuning = { bufferBytes: BUFFER_BYTES, confirmMs: 300, sessionsPerSource: sessionsMax };
    const options = { tuning, idleMs: IDLE_MS, sessionsMax, ...(replay && { replay }) };
    this.sessionsMax = sessionsMax;
    this.server = new TargetServer(testNative(), options);
    this.texts = captureTexts(this.server.address);
    this.witness = new Witness(this.server);
    const { port } = this.server.tunnel;
    this.attackers = Array.from({ length: ATTACKERS }, () => new Attacker(this.armory, port));
  }

  round(): void {
    this.armory.tick();
    this.slowestMs = Math.max(this.slowestMs, this.server.round());
    const now = performance.now();
    if (this.witness.cycles > this.#cycles) {
      this.#cycles = this.witness.cycles;
      this.#advancedAt = now;
    }
    assert.ok(now - this.#advancedAt < PATIENCE_MS, "an honest session stands still");
    const [error] = this.server.errors;
    if (error !== undefined) throw new Error(error);
  }

  /** A plaintext of a real session, or what became of it. */
  text(): Uint8Array<ArrayBuffer> {
    const { rng } = this;
    const text = rng.pick(this.texts);
    const how = rng.float();
    if (how < 0.35) return text;
    if (how < 0.75) return rng.mutate(text, rng.int(1, 3));
    if (how < 0.85) return text.slice(0, rng.int(0, text.length));
    if (how < 0.97) {
      const other = rng.pick(this.texts);
      const head = text.subarray(0, rng.int(0, Math.min(700, text.length)));
      const tail = other.subarray(0, 700);
      const both = new Uint8Array(head.length + tail.length);
      both.set(head);
      both.set(tail, head.length);
      return both;
    }
    return rng.bytes(rng.int(0, 200));
  }

  /** A packet of before, or what became of it. */
  packet(): Uint8Array<ArrayBuffer> {
    const { rng, armory } = this;
    if (armory.packets.length === 0) return rng.bytes(100);
    const packet = rng.pick(armory.packets);
    const how = rng.float();
    if (how < 0.2) return packet;
    if (how < 0.45) return rng.mutate(packet);
    if (how < 0.6) return packet.slice(0, rng.int(0, packet.length));
    if (how < 0.75) {
      const other = rng.pick(armory.packets);
      const cut = rng.int(0, Math.min(packet.length, other.length));
      const spliced = other.slice();
      spliced.set(packet.subarray(0, cut));
      return spliced;
    }
    const peers = this.server.tunnel.pump.peers.all();
    const session = rng.chance(0.7) && peers.length > 0 ? rng.pick(peers).localId : rng.u32();
    return armory.reheaded(rng, packet, session);
  }

  volley(): void {
    const { rng } = this;
    const attacker = rng.pick(this.attackers);
    const peer = this.server.tunnel.pump.peers.find(attacker.id);
    const what = rng.float();
    // The witness's packets are known to all: the middle man keeps some.
    this.witness.middle.isKeeping = rng.chance(0.05);
    for (const packet of this.witness.middle.kept.splice(0)) {
      this.armory.keep(Uint8Array.from(packet));
    }
    const count = rng.int(1, rng.pick([3, 6, VOLLEY]));
    this.cases += count;
    if (what < 0.3) attacker.send(Array.from({ length: count }, () => this.packet()));
    else if (peer !== undefined && peer.session.isOpen && what < 0.97) {
      attacker.sendTexts(rng, Array.from({ length: count }, () => this.text()));
    } else {
      this.cases += 1 - count;
      this.#connect(attacker);
    }
    this.round();
    attacker.listen(rng);
  }

  #connect(attacker: Attacker): void {
    const { rng } = this;
    this.hellos++;
    const frames = rng.chance(0.8) ? this.texts[0]! : this.text();
    if (rng.chance(0.1)) attacker.hello(frames, (text) => rng.mutate(text, rng.int(1, 3)));
    else attacker.hello(frames);
    if (rng.chance(0.1)) attacker.helloAgain();
    for (let i = 0; i < 4 && attacker.id === 0; i++) {
      this.round();
      attacker.listen(rng);
    }
  }

  /** Until the witness has been served some more. */
  meet(): void {
    for (const end = this.witness.cycles + 10; this.witness.cycles < end;) this.round();
  }

  /** Until all sessions but the witness's are over. */
  calm(): void {
    const { peers } = this.server.tunnel.pump;
    const end = performance.now() + 10 * IDLE_MS;
    while (peers.count > 1) {
      assert.ok(performance.now() < end, `${peers.count} sessions stay`);
      this.round();
      for (const attacker of this.attackers) attacker.listen(this.rng);
    }
  }

  close(): void {
    this.witness.close();
    for (const attacker of this.attackers) attacker.close();
    this.server.close();
    this.armory.table.close();
  }
}

function besiege(siege: Siege, cases: number): void {
  const { pump: { peers }, budget } = siege.server.tunnel;
  siege.meet();
  while (siege.cases < cases) {
    try {
      siege.volley();
    } catch (cause) {
      const where = `case ${siege.cases} of PHANTOM_FUZZ_SEED=${SEED}`;
      throw new Error(`the server failed at ${where}`, { cause });
    }
    assert.ok(peers.count <= siege.sessionsMax && budget.used <= budget.max);
  }
  siege.calm();
  siege.meet();
}

/** Exact with --v8-flags=--expose-gc; else what the process holds, garbage and all. */
async function bytesInUse(): Promise<number> {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) return Deno.memoryUsage().rss;
  // The memory of arrays that are gone is given back between tasks.
  for (let i = 0; i < 2; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** That all is well, and all was let go of. */
function inspect({ server, witness, slowestMs }: Siege): void {
  assert.ok(slowestMs < ROUND_MS_MAX, `a round took ${slowestMs} ms`);
  const { targets, associations } = server.worker;
  const { resolver } = server.host;
  const faults = targets.counters.faults + targets.splicer.counters.faults +
    associations.counters.faults + resolver.counters.faults;
  assert.equal(faults, 0);
  assert.ok(witness.session.isOpen);
  // The witness has one stream at a time, and the tunnel its own memory.
  assert.ok(server.tunnel.budget.used < 2 << 20, `${server.tunnel.budget.used} bytes held`);
  assert.ok(targets.count <= 2, `${targets.count} connections stay`);
}

/** That everything was counted. */
function count({ server, witness, ...siege }: Siege): void {
  const { received } = server.tunnel.pump;
  const { targets, associations } = server.worker;
  const { counters } = server.tunnel;
  const expected = {
    ...{ junk: received.junk, forged: received.forged, repeated: received.repeated },
    ...{ strangers: received.strangers, hellosRepeated: counters.repeated },
    ...{ handshakes: counters.handshakes, resets: counters.resets },
    ...{ connected: targets.counters.connected, refused: targets.counters.refused },
    ...{ sent: associations.counters.sent, notSent: associations.counters.refused },
  };
  for (const [name, count] of Object.entries(expected)) {
    assert.ok(count > 0, `nothing counted as ${name}`);
  }
  if (!isLoud) return;
  const { cases, hellos, slowestMs } = siege;
  console.log({ cases, hellos, slowestMs, cycles: witness.cycles });
  console.log({ ...received }, { ...counters });
  console.log({ ...targets.counters }, { ...associations.counters });
}

Deno.test("a server that has just been installed, besieged: 0-RTT data is held back", () => {
  const siege = new Siege(FEW_SESSIONS);
  const types = new Set(siege.texts.flatMap(typesIn));
  assert.ok(types.size >= 17, `only frames ${[...types]}`);
  besiege(siege, CASES / 6);
  inspect(siege);
  assert.ok(siege.server.tunnel.counters.sessionsRefused > 0, "sessions never ran out");
  siege.close();
});

Deno.test("a server with its record of replays, besieged", async () => {
  const siege = new Siege(MANY_SESSIONS, tellingReplay());
  besiege(siege, CASES / 2);
  inspect(siege);
  const before = await bytesInUse();
  besiege(siege, CASES * 5 / 6);
  inspect(siege);
  count(siege);
  const growth = await bytesInUse() - before;
  if (isLoud) console.log({ before, growth, ...Deno.memoryUsage() });
  assert.ok(growth < GROWTH_BYTES_MAX, `memory in use grew by ${growth} bytes`);
  siege.close();
});

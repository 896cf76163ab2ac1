import assert from "node:assert/strict";
import { ADDRESS, LoneSession } from "../../tests/fixtures/session.ts";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import { FrameRecords } from "../reliability/frame_records.ts";
import { Budget } from "../session/budget.ts";
import { ShareGroup } from "../session/share.ts";
import { FrameType, OpenedCode, writeOpen } from "../wire/frames.ts";
import { Peer } from "./peer.ts";
import { PeerTable } from "./peer_table.ts";
import { Relief } from "./relief.ts";

testNative();

const STREAMS = 40;
const MIB = 1 << 20;

class Worker {
  readonly loop = new Loop(testNative());
  readonly budget = new Budget(16 * MIB);
  readonly records = new FrameRecords(4096);
  readonly woken = new Set<Peer>();
  readonly #peers = new PeerTable<Peer>(64);
  readonly relief: Relief<Peer>;

  constructor() {
    const { loop, budget, records } = this;
    const wake = (peer: Peer) => void this.woken.add(peer);
    this.relief = new Relief({ loop, budget, records, peers: this.#peers, wake });
  }

  /** A session with open streams. */
  session(group?: ShareGroup): LoneSession {
    const { budget, records } = this;
    const lone = new LoneSession({ budget, records });
    lone.session.shareGroup = group;
    lone.events.answer = OpenedCode.ok;
    for (let id = 0; id < STREAMS; id++) {
      lone.receive((w) => writeOpen(w, id, 1, ADDRESS, 0, ADDRESS.length));
    }
    const owner = { peerDue: () => {} };
    this.#peers.add(
      new Peer(lone.session, this.#peers.count + 1, owner, { packets: 1e9, ms: 1e9 }),
    );
    return lone;
  }

  rounds(ms: number): void {
    for (const end = this.loop.now + ms; this.loop.now < end;) {
      this.relief.watch(this.loop.now);
      this.loop.round(10);
    }
  }

  [Symbol.dispose](): void {
    this.relief.stop();
    this.loop.close();
  }
}

/** Takes what memory it gets. */
function fill(lone: LoneSession): void {
  const bytes = new Uint8Array(MIB);
  for (let id = 0; id < STREAMS; id++) lone.session.write(id, bytes, 0, bytes.length);
}

Deno.test("where memory is short the session that holds most gives up streams", () => {
  using worker = new Worker();
  const [first, ...others] = Array.from({ length: 16 }, () => worker.session());
  fill(first!);
  for (const lone of others) fill(lone);
  assert(worker.budget.isShort);
  const before = first!.session.memoryBytes;
  worker.rounds(1000);
  assert(!worker.budget.isShort);
  const cut = first!.session.counters.streamsCut;
  assert(cut > 0 && first!.session.memoryBytes < before);
  assert.equal(first!.events.lines.filter((line) => line.startsWith("reset")).length, cut);
  assert(worker.woken.size > 0);
  assert.equal(others.at(-1)!.session.counters.streamsCut, 0, "who holds little pays nothing");
});

Deno.test("memory is short: the user with most pays, whoever has the largest session", () => {
  using worker = new Worker();
  const honest = worker.session(new ShareGroup());
  fill(honest);
  const users = Array.from({ length: 9 }, () => new ShareGroup());
  const bad = users.map((group) => Array.from({ length: 4 }, () => worker.session(group)));
  for (const lone of bad.flat()) fill(lone);
  assert(worker.budget.isShort && users[0]!.held > honest.session.memoryBytes);
  assert(bad[0]!.every(({ session }) => session.memoryBytes <= honest.session.memoryBytes));
  const before = users[0]!.held;
  worker.rounds(1000);
  assert(users[0]!.held < before);
  assert.equal(honest.session.counters.streamsCut, 0);
});

Deno.test("sessions that hold about the same keep it, however short memory is", () => {
  using worker = new Worker();
  const all = Array.from({ length: 40 }, () => worker.session());
  const bytes = new Uint8Array(16 * 1024);
  for (let turn = 0; turn < 4 * STREAMS; turn++) {
    for (const { session } of all) session.write(turn % STREAMS, bytes, 0, bytes.length);
  }
  assert(worker.budget.isShort);
  worker.rounds(500);
  assert(all.every(({ session }) => session.counters.streamsCut === 0));
});

Deno.test("where records are short the session with most says its oldest packets anew", () => {
  using worker = new Worker();
  const all = Array.from({ length: 12 }, () => worker.session());
  for (const { session: { recovery } } of all) {
    while (recovery.record(FrameType.maxData, 0, 0, 0)) recovery.onSent(0, 0, 100, 1);
  }
  assert(worker.records.isShort, `${worker.records.used}`);
  worker.rounds(500);
  assert(!worker.records.isShort, `${worker.records.used}`);
  const forced = all.map(({ session }) => session.recovery.forced);
  assert(forced[0]! > 0 && forced.at(-1) === 0, forced.join());
  assert(all.every(({ session }) => session.isOpen));
});

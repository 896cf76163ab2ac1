// Whatever frames come: a session never throws, never spins, keeps its memory within the budget,
// and is open, closing or done, with all memory given back at the end.

import assert from "node:assert/strict";
import { FrameRecords } from "../../src/reliability/frame_records.ts";
import { Budget } from "../../src/session/budget.ts";
import { Writer } from "../../src/wire/cursor.ts";
import * as f from "../../src/wire/frames.ts";
import { ADDRESS, LoneSession } from "../fixtures/session.ts";
import { fuzz, type Rng } from "./rng.ts";

const budget = new Budget(1 << 20);
const records = new FrameRecords(5000);
const DATA = new Uint8Array(2000).fill(0x61);
const PACKETS_MAX = 12;

/** Mostly sensible, since only what is nearly right gets far. */
function anyId(rng: Rng): number {
  return rng.chance(0.95) ? rng.int(0, 5) : rng.pick([63, 16_384, 2 ** 30, 2 ** 53 - 1]);
}

function anyOffset(rng: Rng): number {
  if (rng.chance(0.8)) return rng.int(0, 3000);
  return rng.pick([0, 1 << 20, (1 << 20) - 1, 2 ** 32, 2 ** 53 - 1, rng.int(0, 1 << 20)]);
}

function writeAck(rng: Rng, w: Writer, newest: number): boolean {
  const ranges = new f.AckRanges();
  let top = rng.chance(0.95) ? Math.max(0, newest - rng.int(1, 3)) : rng.pick([0, 5, 2 ** 53 - 1]);
  for (let i = rng.int(1, 4); i > 0 && top >= 0; i--) {
    const smallest = Math.max(0, top - rng.int(0, 3));
    ranges.add(top, smallest);
    top = smallest - 2 - rng.int(0, 3);
  }
  return f.writeAck(w, ranges, ranges.count, rng.int(0, 30_000));
}

function writeAny(rng: Rng, w: Writer, newest: number): boolean {
  const id = anyId(rng);
  const offset = anyOffset(rng);
  const length = rng.int(0, 300);
  switch (rng.int(0, 15)) {
    case 0:
    case 1:
      return f.writeOpen(w, id, 1, ADDRESS, 0, ADDRESS.length);
    case 2:
      return f.writeOpened(w, id, rng.int(0, 6), ADDRESS, 0, ADDRESS.length);
    case 3:
    case 4:
    case 5:
      return f.writeStream(w, id, Math.min(offset, 2 ** 53 - 400), DATA, 0, length);
    case 6:
      return f.writeFin(w, id, offset);
    case 7:
      return f.writeRst(w, id, rng.int(0, 100));
    case 8:
      return f.writeMaxData(w, offset);
    case 9:
      return f.writeMaxStream(w, id, offset);
    case 10:
      return f.writeDatagram(w, id, ADDRESS, 0, ADDRESS.length, DATA, 0, length);
    case 11:
    case 12:
      return writeAck(rng, w, newest);
    case 13:
      return f.writePathStatus(w, offset, rng.chance(0.5)) && f.writeAssocEnd(w, id);
    case 14:
      return writeEcho(rng, w);
    default:
      return rng.chance(0.1) ? f.writeClose(w, id, DATA.subarray(0, 20)) : f.writePadding(w, 3);
  }
}

function writeEcho(rng: Rng, w: Writer): boolean {
  const [high, low] = [rng.int(0, 1), rng.int(0, 1)];
  return rng.pick([f.writePing, f.writePong, f.writePathChallenge, f.writePathResponse])(
    w,
    high,
    low,
  );
}

/** What the driver might do at any time, also from within events. */
function act(rng: Rng, { session, now }: LoneSession): void {
  const id = rng.int(0, 5);
  switch (rng.int(0, 9)) {
    case 0:
      session.openStream(ADDRESS);
      return;
    case 1:
      return session.answer(id, rng.int(0, 6), ADDRESS);
    case 2:
    case 3:
      session.write(id, DATA, 0, rng.int(0, DATA.length));
      return;
    case 4:
      return session.finish(id);
    case 5:
      return session.reset(id, 1);
    case 6:
      return session.resume(id);
    case 7:
      session.sendDatagram(id, ADDRESS, 0, ADDRESS.length, DATA, 0, rng.int(0, 1500));
      return session.endAssoc(id);
    case 8:
      session.ping(rng.int(0, 3), rng.int(0, 1), rng.int(0, 1));
      return session.challenge(now, rng.int(0, 3));
    default:
      if (rng.chance(0.02)) session.close(now, 1);
      else session.activate(rng.int(0, 3));
  }
}

function makeSession(rng: Rng): LoneSession {
  const lone = new LoneSession({
    isClient: rng.chance(0.5),
    budget,
    records,
    random: () => rng.float(),
    idleMs: 60_000,
  }, rng.chance(0.7));
  const { events } = lone;
  events.takes = (length) => rng.chance(0.6) ? length : rng.int(0, length);
  events.answer = rng.pick([-1, 0, 0, 1]);
  if (rng.chance(0.5)) {
    let depth = 0;
    events.on = () => {
      if (depth > 0 || !rng.chance(0.2)) return;
      depth++;
      act(rng, lone);
      depth--;
    };
  }
  if (rng.chance(0.4)) lone.addPath(rng.chance(0.5));
  if (lone.session.pathState(1) === undefined && rng.chance(0.1)) lone.addPath(true);
  return lone;
}

function receiveAny(rng: Rng, lone: LoneSession): void {
  const writer = new Writer(new Uint8Array(1500));
  const { nextNumber } = lone.session.recovery;
  for (let i = rng.int(1, 6); i > 0; i--) writeAny(rng, writer, nextNumber);
  let bytes = writer.bytes.slice(0, writer.at);
  if (rng.chance(0.15)) bytes = rng.mutate(bytes);
  else if (rng.chance(0.02)) bytes = rng.bytes(rng.int(0, 60));
  if (rng.chance(0.2)) lone.number += rng.int(1, 5);
  const path = rng.chance(0.8) ? 0 : rng.int(0, 3);
  const wasOpen = lone.session.isOpen;
  const good = lone.receive((w) => w.copy(bytes, 0, bytes.length), path);
  if (lone.session.pathState(path) === undefined) return;
  if (wasOpen) assert.equal(good, lone.session.isOpen);
  else assert(!good);
}

Deno.test("any frames: no throw, no spin, no leak, a legal state", () => {
  fuzz({ cases: 50_000 }, (rng) => {
    const lone = makeSession(rng);
    for (let i = rng.int(1, PACKETS_MAX); i > 0; i--) {
      if (rng.chance(0.4)) act(rng, lone);
      receiveAny(rng, lone);
      if (rng.chance(0.5)) lone.send();
      if (rng.chance(0.3)) lone.pass(rng.int(0, 300));
      assert(budget.used <= budget.max);
      if (!lone.session.isOpen) assert.equal(budget.used, 0);
    }
    lone.session.close(lone.now);
    assert.equal(lone.events.lines.filter((line) => line.startsWith("closed")).length, 1);
    lone.pass(4000);
    assert(lone.session.isDone);
    assert.equal(budget.used, 0, "memory is not given back");
    assert.equal(records.used, 0, "frame records leaked");
  });
});

import assert from "node:assert/strict";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { Rng } from "../../../tests/fuzz/rng.ts";
import { stateFolder } from "../../../tests/fixtures/state.ts";
import { testNative } from "../../../tests/native.ts";
import { Log } from "../../base/log.ts";
import { WINDOW_MS } from "../../wire/limits.ts";
import { EndedSessions } from "./ended_sessions.ts";
import {
  HandshakeClaim,
  ReplayMemory,
  replayMemory,
  RestingMemory,
  SaltVerdict,
} from "../../crypto/replay_memory.ts";
import {
  inherit,
  type Inheritance,
  type Instant,
  keepReplayRecord,
  replayRecord,
  takeReplayRecord,
} from "./replay_record.ts";

const primitives = new NativePrimitives(testNative());
const lines: string[] = [];
const write = (line: string) => void lines.push(line);
const log = Log.to({ level: "warn", format: "text", write, now: () => 0 });
const rng = new Rng(3);
const user = new Uint8Array(8);
const WINDOW = 58_000_000;
const STOP: Instant = {
  unixMs: WINDOW * WINDOW_MS + 10_000,
  bootMs: 700_123,
  bootId: new Uint8Array(16).fill(1),
};
const memory = () => replayMemory(() => rng.int(0, 0xffff_ffff));

/** So much later, on the same start of the machine or another. */
function later(ms: number, bootMs = STOP.bootMs + ms): Instant {
  const isSame = bootMs === STOP.bootMs + ms;
  const bootId = isSame ? STOP.bootId : new Uint8Array(16).fill(2);
  return { unixMs: STOP.unixMs + ms, bootMs, bootId };
}

Deno.test("a replay record is kept for one start, and for its owner alone", () => {
  using state = stateFolder();
  assert.equal(takeReplayRecord(state.folder), undefined);
  keepReplayRecord(state.folder, Uint8Array.of(1, 2, 3), log);
  assert.equal(Deno.statSync(state.folder.pathOf("replay")).mode! & 0o777, 0o600);
  assert.deepEqual(takeReplayRecord(state.folder), Uint8Array.of(1, 2, 3));
  assert.equal(takeReplayRecord(state.folder), undefined);
  assert.deepEqual(state.names, []);
  assert.deepEqual(lines, []);
});

Deno.test("a folder that is not there costs the record, and a line", () => {
  using state = stateFolder({ isPossible: false });
  keepReplayRecord(state.folder, Uint8Array.of(1), log);
  assert.equal(takeReplayRecord(state.folder), undefined);
  assert.match(lines.pop()!, /0-RTT begins 90 s after the next start/);
});

for (const salts of [0, 1000, 600_000]) {
  Deno.test(`${salts} salts, handshakes and sessions outlive a clean stop, by any clock`, () => {
    const former = memory();
    const one = new ReplayMemory(former, 3);
    const bytes = rng.bytes(16 * (salts + 3));
    for (let i = 0; i < salts; i++) one.claimSalt(0, WINDOW, bytes, 16 * i);
    for (const window of [-1, 0, 1]) {
      one.claimSalt(0, WINDOW + window, bytes, 16 * (salts + 1 + window));
    }
    const key = rng.bytes(32);
    for (let i = 999; i >= 0; i--) one.claimHandshake(i, key, user, STOP.bootMs - 100 * i);
    const ended = new EndedSessions();
    ended.remember(77, 5, 0);
    const record = replayRecord(primitives, former, STOP, [ended.save(4000)]);
    assert.ok(record.length < 8 * Math.min(salts + 3, 2 ** 19) + 9 * 1000 + 600);
    for (const now of [later(20_000), later(20_000, 5100), later(-20_000), later(-20_000, 5100)]) {
      const shared = memory();
      const { oldestWindow, ended: sessions } = inherit(primitives, record, shared, now)!;
      assert.equal(oldestWindow, WINDOW - 1);
      const two = new ReplayMemory(shared, 0);
      assert.ok(two.canTell(now.bootMs) && two.canTell(now.bootMs + 0.1));
      for (let i = 0; i < Math.min(salts, 2000); i++) {
        assert.equal(two.claimSalt(0, WINDOW, bytes, 16 * i), SaltVerdict.replay);
      }
      for (const window of [-1, 0, 1]) {
        const at = 16 * (salts + 1 + window);
        assert.equal(two.claimSalt(0, WINDOW + window, bytes, at), SaltVerdict.replay);
      }
      assert.equal(two.claimSalt(0, WINDOW, rng.bytes(16), 0), SaltVerdict.fresh);
      const awayS = Math.max(0, now.unixMs - STOP.unixMs) / 1000;
      for (let i = 0; i < 1000; i++) {
        const claim = two.claimHandshake(i, key, user, now.bootMs);
        const ageS = i / 10 + awayS;
        if (ageS < 88) assert.equal(claim, HandshakeClaim.beforeRestart, `${i}`);
        if (ageS > 92) assert.equal(claim, HandshakeClaim.isNew, `${i}`);
      }
      const known = new EndedSessions();
      known.restore(sessions, now.bootMs, () => true);
      assert.ok(!known.mayReset(77, 5, now.bootMs) && known.mayReset(77, 6, now.bootMs));
      const leftMs = 1000 * (86 - awayS);
      assert.ok(!known.mayReset(77, 5, now.bootMs + leftMs - 1000));
      assert.ok(known.mayReset(77, 5, now.bootMs + leftMs + 1000));
    }
  });
}

Deno.test("a server that could not tell yet leaves that to the next one", () => {
  const former = memory();
  new RestingMemory(former).startOver(STOP.bootMs - 30_000);
  const record = replayRecord(primitives, former, STOP, []);
  for (const [now, blindMs] of [[later(20_000), 40_000], [later(20_000, 5000), 40_000]] as const) {
    const shared = memory();
    inherit(primitives, record, shared, now);
    const next = new ReplayMemory(shared, 0);
    assert.ok(!next.canTell(now.bootMs + blindMs - 1000));
    assert.ok(next.canTell(now.bootMs + blindMs + 1000));
  }
});

Deno.test("a damaged record, another's, and one of a clock that was set back are none", () => {
  const former = memory();
  const salt = rng.bytes(16);
  new ReplayMemory(former, 0).claimSalt(0, WINDOW, salt, 0);
  const record = replayRecord(primitives, former, STOP, []);
  const taken = (bytes: Uint8Array, now: Instant): Inheritance | undefined => {
    const shared = memory();
    const before = new Int32Array(shared).slice(0, 16);
    const result = inherit(primitives, bytes, shared, now);
    if (result === undefined) {
      assert.deepEqual(new Int32Array(shared).slice(0, 16), before);
      assert.equal(new ReplayMemory(shared, 0).claimSalt(0, WINDOW, salt, 0), SaltVerdict.fresh);
    }
    return result;
  };
  assert.ok(taken(record, later(0)) !== undefined);
  assert.ok(taken(record, later(-35_000)) !== undefined);
  assert.equal(taken(record, later(-41_000)), undefined);
  for (let at = 0; at < record.length; at++) {
    const spoilt = record.slice();
    spoilt[at]! ^= 1 << rng.int(0, 7);
    assert.equal(taken(spoilt, later(0)), undefined);
  }
  for (const length of [0, 10, 40, record.length - 1]) {
    assert.equal(taken(record.subarray(0, length), later(0)), undefined);
  }
  const old = record.slice(0, -32);
  old[3] = 0x31;
  const sum = primitives.sha256(old);
  assert.equal(taken(Uint8Array.of(...old, ...sum), later(0)), undefined);
});

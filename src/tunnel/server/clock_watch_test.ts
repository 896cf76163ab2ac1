import assert from "node:assert/strict";
import { testNative } from "../../../tests/native.ts";
import { Log } from "../../base/log.ts";
import { ClockReader } from "../../crypto/server_clock.ts";
import { ClockWatch } from "./clock_watch.ts";
import { ReplayMemory, replayMemory, SaltVerdict } from "../../crypto/replay_memory.ts";

const native = testNative();
const START = 1_800_000_000_000;

class Machine {
  boot = 1_000_000;
  wall = START;
  readonly lines: string[] = [];
  readonly replay = replayMemory(() => 7);
  readonly watch = new ClockWatch({
    native,
    replay: this.replay,
    log: Log.to({
      ...{ level: "warn", format: "text", now: () => 0 },
      write: (line) => void this.lines.push(line),
    }),
    wallMs: () => this.wall,
    bootMs: () => this.boot,
  });
  readonly reader = new ClockReader(this.watch.memory, () => this.boot);

  run(ms: number): void {
    for (let i = 0; i < ms; i += 250) {
      this.boot += 250;
      this.wall += 250;
      this.watch.tick();
    }
  }

  events(): string[] {
    return this.lines.splice(0).map((line) => /the wall clock .* by_s=\S+/.exec(line)?.[0] ?? line);
  }
}

Deno.test("a wall clock that jumps for a second is told of twice, and moves no thread", () => {
  const machine = new Machine();
  machine.run(1000);
  machine.wall += 3_600_000;
  machine.run(1000);
  assert.equal(machine.reader.unixMs(), START + 2000);
  machine.wall -= 3_600_000;
  machine.run(1000);
  assert.equal(machine.reader.unixMs(), START + 3000);
  const [first, second, ...more] = machine.events();
  assert.match(first!, /has jumped: unless it comes back.* by_s=3600/);
  assert.match(second!, /is back where it was/);
  assert.deepEqual(more, []);
});

Deno.test("one that is set back and stays counts in all threads, and salts begin anew", () => {
  const machine = new Machine();
  const salts = new ReplayMemory(machine.replay, 0);
  const salt = new Uint8Array(16).fill(1);
  assert.equal(salts.claimSalt(0, 60_000_000, salt, 0), SaltVerdict.fresh);
  machine.wall -= 3_600_000;
  machine.run(60_000);
  assert.equal(machine.reader.beginnings, 0);
  assert.ok(salts.canTell(machine.boot));
  machine.run(1000);
  assert.equal(machine.reader.unixMs(), machine.wall);
  assert.equal(machine.reader.beginnings, 1);
  assert.equal(machine.watch.unixMs(), machine.wall);
  assert.ok(!salts.canTell(machine.boot + 88_000) && salts.canTell(machine.boot + 90_000));
  assert.equal(salts.claimSalt(1, 59_999_880, salt, 0), SaltVerdict.fresh);
  assert.match(machine.events().at(-1)!, /was set back and stayed there.* by_s=-3600/);
});

Deno.test("of this machine a moment has both clocks, and which start it is", () => {
  const replay = replayMemory(() => 7);
  const log = Log.to({ level: "warn", format: "text", write: () => {}, now: () => 0 });
  const watch = new ClockWatch({ native, replay, log });
  const { unixMs, bootMs, bootId } = watch.now();
  assert.ok(Math.abs(unixMs - Date.now()) < 1000);
  assert.ok(bootMs >= performance.now());
  assert.ok(bootId.length === 16 && bootId.some((byte) => byte !== 0));
  watch.tick();
});

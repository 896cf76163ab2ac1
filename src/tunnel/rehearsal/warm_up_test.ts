import assert from "node:assert/strict";
import { EpollEvent, EventFd, monotonicMs } from "../../../ffi/loop.ts";
import { libraries } from "../../../tests/fixtures/libraries.ts";
import { ClientRehearsal } from "./client.ts";
import { Loop } from "../../loop/loop.ts";
import { ServerRehearsal } from "./server.ts";
import { type Course, type Rehearsal, Stage, WarmUp } from "./warm_up.ts";

const libs = libraries();
const { native } = libs;
const WAIT_MS = 30_000;

type Make = (course: Course) => Rehearsal;
const KINDS: readonly [string, Make][] = [
  ["server", (course) => new ServerRehearsal(libs, course)],
  ["client", (course) => new ClientRehearsal(libs, course)],
];

function openFiles(): string[] {
  return Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => name).toSorted();
}

function until(loop: Loop, what: () => boolean): void {
  const deadline = monotonicMs(native) + WAIT_MS;
  while (!what()) {
    assert.ok(monotonicMs(native) < deadline, `waited in vain for ${what}`);
    loop.round(5);
  }
}

for (const [kind, make] of KINDS) {
  Deno.test(`a ${kind}'s warm-up goes its whole way and leaves nothing open`, () => {
    const loop = new Loop(native);
    const before = openFiles();
    const rehearsals: Rehearsal[] = [];
    const warmUp = new WarmUp(loop, 0, (course) => {
      const rehearsal = make(course);
      rehearsals.push(rehearsal);
      return rehearsal;
    });
    warmUp.start();
    until(loop, () => warmUp.isOver);
    assert.equal(warmUp.failure, "");
    assert.deepEqual(rehearsals.map(({ isOver }) => isOver), [true, true]);
    assert.deepEqual(openFiles(), before);
    assert.equal(warmUp.heapIndex, -1);
    loop.close();
  });

  Deno.test(`a ${kind}'s warm-up that is cut short closes what it has opened`, () => {
    const loop = new Loop(native);
    const before = openFiles();
    let rehearsal: Rehearsal | undefined;
    const warmUp = new WarmUp(loop, 0, (course) => rehearsal = make(course));
    warmUp.start();
    until(loop, () => rehearsal !== undefined);
    assert.notDeepEqual(openFiles(), before);
    warmUp.stop();
    assert.equal(rehearsal?.isOver, false);
    assert.deepEqual(openFiles(), before);
    loop.close();
  });
}

Deno.test("a warm-up waits while the worker has something to do", () => {
  const loop = new Loop(native);
  const bell = new EventFd(native);
  let rings = 0;
  loop.watch(bell.fd, EpollEvent.in, { ready: () => rings++ });
  let made = 0;
  const warmUp = new WarmUp(loop, 0, (course) => {
    made++;
    return new ServerRehearsal(libs, course);
  });
  bell.signal();
  loop.round(0);
  warmUp.start();
  // Never drained: something is ready in every round.
  const end = monotonicMs(native) + 50;
  while (monotonicMs(native) < end) loop.round(1);
  assert.ok(rings > 1);
  assert.equal(made, 0);
  bell.drain();
  until(loop, () => made > 0);
  warmUp.stop();
  bell.close();
  loop.close();
});

Deno.test("a warm-up that fails is over, says why, and harms nobody", () => {
  const loop = new Loop(native);
  const warmUp = new WarmUp(loop, 0, () => {
    throw new Error("no loopback");
  });
  warmUp.start();
  until(loop, () => warmUp.isOver);
  assert.match(warmUp.failure, /no loopback/);
  loop.round(5);
  loop.close();
});

Deno.test("a stage wipes every key that it gave out", () => {
  const stage = new Stage(libs);
  const server = stage.server([]);
  const client = stage.client(1, []);
  const keys = [server.psk, server.serverSecret, client.psk];
  assert.deepEqual(server.psk, client.psk);
  for (const key of keys) assert.ok(key.some((byte) => byte !== 0));
  stage.close();
  for (const key of keys) assert.ok(key.every((byte) => byte === 0));
});

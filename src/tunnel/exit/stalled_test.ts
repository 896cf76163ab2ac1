import assert from "node:assert/strict";
import { Stalled, type StalledItem } from "./stalled.ts";

const PIECE = 100;

class Item implements StalledItem {
  stalled = 0;
  isOver = false;
  readonly #bytes: number;

  constructor(bytes = PIECE) {
    this.#bytes = bytes;
  }

  look(): number {
    return this.stalled = this.#bytes;
  }

  giveWay(): void {
    this.isOver = true;
  }
}

class Session {
  readonly user: string;
  items: Item[];

  constructor(user: string, count: number, bytes?: number) {
    this.user = user;
    this.items = Array.from({ length: count }, () => new Item(bytes));
  }

  get left(): number {
    this.items = this.items.filter(({ isOver }) => !isOver);
    return this.items.length;
  }
}

function run(sessions: readonly Session[], max: number, ticks = 40): Stalled<Session> {
  const counters = { stalledCut: 0 };
  const stalled = new Stalled<Session>({
    inUse: () => [...sessions],
    each: ({ items }) => items.filter(({ isOver }) => !isOver),
    userOf: ({ user }) => user,
  }, counters);
  stalled.max = max;
  const before = sessions.reduce((sum, { left }) => sum + left, 0);
  for (let i = 0; i < ticks; i++) stalled.tick();
  assert.equal(counters.stalledCut, before - sessions.reduce((sum, { left }) => sum + left, 0));
  return stalled;
}

Deno.test("as long as all have room nobody gives up anything", () => {
  const sessions = [new Session("", 3000), new Session("", 10), new Session("a", 1)];
  const stalled = run(sessions, 3011 * PIECE);
  assert.equal(stalled.bytes, 3011 * PIECE);
  assert.deepEqual(sessions.map(({ left }) => left), [3000, 10, 1]);
});

Deno.test("beyond that whoever has most comes down to an equal part, and nobody else", () => {
  const sessions = [new Session("", 3000), new Session("", 10), new Session("a", 400)];
  const stalled = run(sessions, 1000 * PIECE);
  assert.deepEqual(sessions.map(({ left }) => left), [590, 10, 400]);
  assert.equal(stalled.bytes, 1000 * PIECE);
});

Deno.test("a user's sessions have one part together", () => {
  const many = Array.from({ length: 20 }, () => new Session("a", 50));
  const other = new Session("b", 300);
  run([...many, other], 600 * PIECE);
  assert.equal(many.reduce((sum, { left }) => sum + left, 0), 300);
  assert.equal(other.left, 300);
});

Deno.test("what moves is not stalled, and is not given up", () => {
  const moving = new Session("", 2000, 0);
  const stuck = new Session("", 20);
  run([moving, stuck], 5 * PIECE);
  assert.deepEqual([moving.left, stuck.left], [2000, 5]);
});

Deno.test("thousands go lap by lap", () => {
  const session = new Session("", 20_000);
  run([session], 1000 * PIECE, 200);
  assert.equal(session.left, 1000);
});

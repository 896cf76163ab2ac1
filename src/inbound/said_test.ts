import assert from "node:assert/strict";
import { FakeSession } from "../../tests/fixtures/stream_session.ts";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import { HELD_BYTES_MAX, Splicer } from "../outbound/splicer.ts";
import type { Session } from "../session/session.ts";
import { Said, UNHEARD_BYTES_MAX } from "./said.ts";

const native = testNative();

class Bench implements Disposable {
  readonly #loop = new Loop(native);
  readonly splicer = new Splicer(this.#loop);
  readonly said = new Said(this.splicer);
  readonly fake = new FakeSession();
  readonly session = this.fake as unknown as Session;

  say(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.said.say(this.session, 0, bytes, 0, bytes.length);
  }

  heard(stream = 0): string {
    return new TextDecoder().decode(this.fake.stream(stream).bytes());
  }

  [Symbol.dispose](): void {
    this.said.drop();
    assert.equal(this.splicer.held, 0);
    this.#loop.close();
  }
}

Deno.test("what a session does not take waits, is counted, and is said in order", () => {
  using bench = new Bench();
  const { said, fake, session, splicer } = bench;
  fake.stream(0).room = 4;
  bench.say("hello, ");
  assert.ok(said.hasRest);
  assert.equal(bench.heard(), "hell");
  // The copy that can be said again, and the rest.
  assert.equal(splicer.held, 7 + 3);
  fake.stream(0).room = 2;
  assert.equal(said.sayRest(session, 0), false);
  fake.stream(0).room = 100;
  assert.equal(said.sayRest(session, 0), true);
  bench.say("world");
  assert.equal(bench.heard(), "hello, world");
  assert.equal(said.bytes, 12);
  assert.equal(said.hasRest, false);
});

Deno.test("what was said is said again on another stream, its end too, once", () => {
  using bench = new Bench();
  const { said, fake, session } = bench;
  fake.stream(0).room = 5;
  bench.say("hello, world");
  said.sayRest(session, 0);
  said.finish(session, 0);
  assert.ok(said.canRepeat);
  said.repeat(session, 4);
  assert.equal(bench.heard(4), "hello, world");
  assert.ok(fake.stream(4).isFinished);
  assert.equal(said.hasRest, false);
  assert.equal(said.canRepeat, false);
});

Deno.test("said again to a session without room, the rest waits, and the end after it", () => {
  using bench = new Bench();
  const { said, fake, session } = bench;
  bench.say("hello");
  said.finish(session, 0);
  fake.stream(4).room = 3;
  said.repeat(session, 4);
  assert.ok(said.hasRest);
  assert.equal(said.isFinished, false);
  assert.equal(fake.stream(4).isFinished, false);
  assert.equal(new TextDecoder().decode(said.takeRest()), "lo");
});

Deno.test("what was heard, or is too much, can't be said again", () => {
  using bench = new Bench();
  bench.say("hello");
  bench.said.wasHeard();
  assert.equal(bench.said.canRepeat, false);
  assert.equal(bench.splicer.held, 0);
  for (const held of [0, HELD_BYTES_MAX]) {
    using other = new Bench();
    other.splicer.held += held;
    other.say("x".repeat(held === 0 ? UNHEARD_BYTES_MAX : 1));
    assert.equal(other.said.canRepeat, held === 0);
    other.say("y");
    assert.equal(other.said.canRepeat, false);
    other.splicer.held -= held;
  }
});

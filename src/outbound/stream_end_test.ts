import assert from "node:assert/strict";
import { FakeSession, waker } from "../../tests/fixtures/stream_session.ts";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import type { ByteEnd } from "./byte_end.ts";
import { Splicer } from "./splicer.ts";
import { StreamEnd } from "./stream_end.ts";

const native = testNative();
const bytes = new Uint8Array(100);

class Bench implements Disposable {
  readonly loop = new Loop(native);
  readonly session = new FakeSession();
  resumes = 0;
  readonly end: StreamEnd;

  constructor() {
    const peer: ByteEnd = {
      write: () => 0,
      room: () => 0,
      finish() {},
      reset() {},
      resume: () => void this.resumes++,
    };
    this.end = new StreamEnd(new Splicer(this.loop), waker, this.session, 7, peer);
  }

  [Symbol.dispose](): void {
    this.loop.close();
  }
}

Deno.test("StreamEnd passes everything on to its stream, and wakes the session", () => {
  using bench = new Bench();
  const { end, session } = bench;
  const stream = session.stream(7);
  assert.equal(end.write(bytes, 10, 90), 90);
  assert.equal(stream.receivedBytes, 90);
  stream.isPaused = true;
  end.resume();
  assert.equal(stream.isPaused, false);
  end.finish();
  assert.ok(stream.isFinished);
  end.reset(5);
  assert.equal(stream.resetCode, 5);
  assert.equal(session.wakes, 4);
});

Deno.test("StreamEnd has the session tell of room where there is none", () => {
  using bench = new Bench();
  const stream = bench.session.stream(7);
  stream.room = 30;
  assert.equal(bench.end.room(), 30);
  assert.equal(stream.writerWaits, false);
  stream.room = 0;
  assert.equal(bench.end.room(), 0);
  assert.ok(stream.writerWaits);
  assert.equal(stream.receivedBytes, 0);
});

Deno.test("StreamEnd has its peer try again where the session had room, but no memory", () => {
  using bench = new Bench();
  bench.session.stream(7).writeMax = 40;
  assert.equal(bench.end.write(bytes, 0, 100), 40);
  assert.equal(bench.end.write(bytes, 40, 60), 40);
  assert.equal(bench.resumes, 0);
  const deadline = performance.now() + 5000;
  while (bench.resumes === 0) {
    assert.ok(performance.now() < deadline);
    bench.loop.round(5);
  }
  assert.equal(bench.resumes, 1);
});

import assert from "node:assert/strict";
import { createHash, type Hash } from "node:crypto";
import { endpoint } from "../../ffi/endpoint.ts";
import { errnoCode } from "../../ffi/errors.ts";
import { tcpAgain, TcpListener, TcpSocket } from "../../ffi/tcp.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { Loop } from "../loop/loop.ts";
import { RstCode } from "../wire/frames.ts";
import type { ByteEnd } from "./byte_end.ts";
import { SocketEnd } from "./socket_end.ts";
import { GATHER_BYTES, HELD_BYTES_MAX, READ_BYTES, Splicer } from "./splicer.ts";

const native = testNative();
const LOOPBACK = ipBytes("127.0.0.1");
const WAIT_MS = 20_000;

const utf8 = (value: string) => new TextEncoder().encode(value);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A connection: the end that a test uses, and the one that is joined. */
interface Pair {
  readonly far: TcpSocket;
  readonly near: TcpSocket;
}

class Bench implements Disposable {
  readonly faults: unknown[] = [];
  readonly loop = new Loop(native, (error) => void this.faults.push(error));
  readonly splicer = new Splicer(this.loop);
  readonly closed: SocketEnd[] = [];
  readonly #listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  readonly #sockets: TcpSocket[] = [];
  readonly #ends: SocketEnd[] = [];

  endClosed(end: SocketEnd): void {
    this.closed.push(end);
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + WAIT_MS;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  pair(): Pair {
    const far = TcpSocket.connect(native, { peer: this.#listener.local });
    let near: TcpSocket | undefined;
    this.until(() => (near = this.#listener.accept(1)[0]) !== undefined);
    this.#sockets.push(far, near!);
    return { far, near: near! };
  }

  end(socket: TcpSocket, early?: Uint8Array<ArrayBuffer>): SocketEnd {
    const end = new SocketEnd(this.splicer, this, socket, early);
    this.#ends.push(end);
    return end;
  }

  /** Two connections, joined one to the other. */
  join(early?: Uint8Array<ArrayBuffer>): { one: TcpSocket; two: TcpSocket; ends: SocketEnd[] } {
    const [first, second] = [this.pair(), this.pair()];
    const ends = [this.end(first.near, early), this.end(second.near)] as const;
    ends[0].join(ends[1]);
    ends[1].join(ends[0]);
    for (const end of ends) end.start();
    return { one: first.far, two: second.far, ends: [...ends] };
  }

  /** Reads until so many bytes, the end or an error. */
  read(socket: TcpSocket, length: number): { data: Uint8Array; ending: number } {
    const data = new Uint8Array(length);
    let at = 0;
    let ending = tcpAgain;
    this.until(() => {
      const count = socket.read(data, at, length - at);
      if (count > 0) at += count;
      else if (count !== tcpAgain) ending = count;
      return at === length || ending !== tcpAgain;
    });
    return { data: data.subarray(0, at), ending };
  }

  ending(socket: TcpSocket): number {
    return this.read(socket, 1).ending;
  }

  [Symbol.dispose](): void {
    for (const end of this.#ends) end.reset();
    for (const socket of this.#sockets) if (!socket.closed) socket.close();
    assert.equal(this.splicer.held, 0);
    assert.deepEqual(this.faults, []);
    this.loop.close();
    this.#listener.close();
  }
}

function say(socket: TcpSocket, words: string): void {
  const bytes = utf8(words);
  assert.equal(socket.write(bytes, 0, bytes.length), bytes.length);
}

/** Writes so many bytes as the socket takes them, and then the end. */
class Writer {
  readonly hash: Hash = createHash("sha256");
  readonly #socket: TcpSocket;
  readonly #block: Uint8Array<ArrayBuffer>;
  left: number;

  constructor(socket: TcpSocket, length: number, block: number) {
    this.#socket = socket;
    this.left = length;
    this.#block = new Uint8Array(block);
    for (let i = 0; i < block; i++) this.#block[i] = i * 31 + (i >> 8) * 7;
  }

  turn(): void {
    while (this.left > 0) {
      const length = Math.min(this.left, this.#block.length);
      this.#block[0]!++;
      const taken = this.#socket.write(this.#block, 0, length);
      if (taken === tcpAgain) return;
      assert.ok(taken > 0);
      this.hash.update(this.#block.subarray(0, taken));
      this.left -= taken;
      if (this.left === 0) this.#socket.finish();
    }
  }
}

class Reader {
  readonly hash: Hash = createHash("sha256");
  readonly #socket: TcpSocket;
  readonly #room: Uint8Array<ArrayBuffer>;
  bytes = 0;
  hasEnded = false;

  constructor(socket: TcpSocket, most: number) {
    this.#socket = socket;
    this.#room = new Uint8Array(most);
  }

  turn(): void {
    const count = this.#socket.read(this.#room, 0, this.#room.length);
    if (count === 0) this.hasEnded = true;
    if (count <= 0) return;
    this.hash.update(this.#room.subarray(0, count));
    this.bytes += count;
  }
}

Deno.test("two SocketEnds join TCP to TCP, each way until its own end", () => {
  using bench = new Bench();
  const { one, two, ends } = bench.join(utf8("early, "));
  say(one, "question");
  assert.equal(text(bench.read(two, 15).data), "early, question");
  // One side has said all: the other one still answers.
  one.finish();
  assert.equal(bench.ending(two), 0);
  say(two, "answer");
  assert.equal(text(bench.read(one, 6).data), "answer");
  assert.deepEqual(bench.closed, []);
  two.finish();
  assert.equal(bench.ending(one), 0);
  bench.until(() => bench.closed.length === 2);
  assert.deepEqual(new Set(bench.closed), new Set(ends));
  assert.ok(ends.every(({ isClosed }) => isClosed));
});

Deno.test("an end with nothing said before it goes through, too", () => {
  using bench = new Bench();
  const { one, two } = bench.join();
  two.finish();
  assert.equal(bench.ending(one), 0);
  one.finish();
  assert.equal(bench.ending(two), 0);
  bench.until(() => bench.closed.length === 2);
});

Deno.test("a reset goes through from either side, and its owner hears of it once", () => {
  for (const isFirst of [true, false]) {
    using bench = new Bench();
    const { one, two, ends } = bench.join();
    say(one, "hello");
    bench.read(two, 5);
    const [broken, other] = isFirst ? [one, two] : [two, one];
    broken.abort();
    assert.equal(errnoCode(-bench.ending(other)), "ECONNRESET");
    assert.equal(bench.closed.length, 1);
    assert.ok(ends.every(({ isClosed }) => isClosed));
  }
});

Deno.test("a reset after both have said all ends the pair", () => {
  using bench = new Bench();
  const { one, two, ends } = bench.join();
  one.finish();
  assert.equal(bench.ending(two), 0);
  one.abort();
  bench.until(() => bench.closed.length > 0);
  assert.deepEqual(bench.closed, [ends[0]]);
  assert.ok(ends.every(({ isClosed }) => isClosed));
});

Deno.test("a slow reader stops the writer: memory is bounded, and nothing is lost", () => {
  using bench = new Bench();
  const { one, two } = bench.join();
  const length = 40 << 20;
  const writer = new Writer(one, length, 200_000);
  let most = 0;
  const turn = (): void => {
    writer.turn();
    bench.loop.round(0);
    most = Math.max(most, bench.splicer.held);
  };
  // Nobody reads: what the kernel takes, and a piece, is all that is written.
  let before = -1;
  for (let still = 0; still < 20; still = writer.left === before ? still + 1 : 0) {
    before = writer.left;
    turn();
  }
  assert.ok(writer.left > 0, "the writer was not stopped");
  const reader = new Reader(two, 64 << 10);
  bench.until(() => {
    turn();
    reader.turn();
    return reader.hasEnded;
  });
  assert.equal(reader.bytes, length);
  assert.equal(reader.hash.digest("hex"), writer.hash.digest("hex"));
  assert.ok(most > 0 && most <= READ_BYTES + GATHER_BYTES, `${most} bytes were held`);
  two.finish();
  assert.equal(bench.ending(one), 0);
});

Deno.test("many pairs at once, both ways, in small pieces, arrive whole", () => {
  using bench = new Bench();
  const pairs = Array.from({ length: 50 }, () => bench.join());
  const ways = pairs.flatMap(({ one, two }) => [[one, two], [two, one]] as const);
  const writers = ways.map(([from]) => new Writer(from, 300_000, 1300));
  const readers = ways.map(([, to]) => new Reader(to, 7000));
  bench.until(() => {
    for (const writer of writers) writer.turn();
    for (const reader of readers) reader.turn();
    return readers.every(({ hasEnded }) => hasEnded);
  });
  for (const [i, reader] of readers.entries()) {
    assert.equal(reader.hash.digest("hex"), writers[i]!.hash.digest("hex"));
  }
  bench.until(() => bench.closed.length === 2 * pairs.length);
});

Deno.test("a socket that is let go of is somebody else's, and is taken up again", () => {
  using bench = new Bench();
  const { one, two, ends } = bench.join();
  say(one, "before");
  bench.until(() => bench.splicer.counters.bytesDown === 6);
  assert.ok(ends.every((end) => end.letGo()));
  // Also what had only gathered is out.
  assert.equal(text(bench.read(two, 6).data), "before");
  assert.equal(ends[0]!.write(utf8("x"), 0, 1), 0);
  say(one, "meanwhile");
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(two.read(new Uint8Array(9), 0, 9), tcpAgain);
  for (const end of ends) end.takeUp();
  assert.equal(text(bench.read(two, 9).data), "meanwhile");
  say(two, "and back");
  assert.equal(text(bench.read(one, 8).data), "and back");
  one.finish();
  two.finish();
  bench.until(() => bench.closed.length === 2);
  assert.equal(ends[0]!.letGo(), false);
});

Deno.test("a socket is not let go of while something waits for it or its peer", () => {
  using bench = new Bench();
  const { one, two, ends } = bench.join();
  const writer = new Writer(one, 40 << 20, 200_000);
  bench.until(() => {
    writer.turn();
    return bench.splicer.held > 0;
  });
  assert.equal(ends.every((end) => end.letGo()), false);
  for (const end of ends) end.takeUp();
  const reader = new Reader(two, 1 << 20);
  bench.until(() => {
    writer.turn();
    reader.turn();
    return reader.hasEnded;
  });
  assert.equal(reader.hash.digest("hex"), writer.hash.digest("hex"));
});

/** A peer that takes so much, and keeps it. */
class FakeEnd implements ByteEnd {
  readonly heard: string[] = [];
  takes = Infinity;
  has = Infinity;
  text = "";

  write(bytes: Uint8Array, at: number, length: number): number {
    const taken = Math.min(length, this.takes);
    this.takes -= taken;
    this.text += text(bytes.subarray(at, at + taken));
    return taken;
  }

  room(): number {
    return this.has;
  }

  finish(): void {
    this.heard.push("finish");
  }

  reset(code: number): void {
    this.heard.push(`reset ${code}`);
  }

  resume(): void {
    this.heard.push("resume");
  }
}

function joined(bench: Bench): { far: TcpSocket; end: SocketEnd; peer: FakeEnd } {
  const { far, near } = bench.pair();
  const end = bench.end(near);
  const peer = new FakeEnd();
  end.join(peer);
  return { far, end, peer };
}

Deno.test("SocketEnd reads what its peer has room for, and keeps what it does not take", () => {
  using bench = new Bench();
  const { far, end, peer } = joined(bench);
  end.start();
  peer.has = 4;
  peer.takes = 2;
  say(far, "0123456789");
  far.finish();
  bench.until(() => bench.splicer.held > 0);
  assert.equal(peer.text, "01");
  assert.equal(bench.splicer.held, 2);
  peer.takes = Infinity;
  peer.has = 0;
  end.resume();
  bench.until(() => peer.text.length === 4);
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(peer.text, "0123");
  assert.deepEqual(peer.heard, []);
  peer.has = Infinity;
  end.resume();
  bench.until(() => peer.heard.length > 0);
  assert.equal(peer.text, "0123456789");
  assert.deepEqual(peer.heard, ["finish"]);
});

Deno.test("SocketEnd reads nothing while all hold too much, and tries again by itself", () => {
  using bench = new Bench();
  const { far, end, peer } = joined(bench);
  end.start();
  bench.splicer.held += HELD_BYTES_MAX;
  say(far, "hello");
  bench.until(() => bench.splicer.counters.heldFull > 0);
  assert.equal(peer.text, "");
  bench.splicer.held -= HELD_BYTES_MAX;
  bench.until(() => peer.text === "hello");
});

Deno.test("an error of this program resets both sides, and is heard", () => {
  using bench = new Bench();
  const { far, end, peer } = joined(bench);
  peer.write = () => {
    throw new Error("no");
  };
  end.start();
  say(far, "hello");
  assert.equal(errnoCode(-bench.ending(far)), "ECONNRESET");
  assert.deepEqual(peer.heard, [`reset ${RstCode.internal}`]);
  assert.deepEqual(bench.closed, [end]);
  assert.deepEqual(bench.faults.splice(0).map(String), ["Error: no"]);
  assert.equal(bench.splicer.counters.faults, 1);
});

import assert from "node:assert/strict";
import { type Endpoint, endpoint } from "../../ffi/endpoint.ts";
import { errnoNumber } from "../../ffi/errors.ts";
import { tcpAgain, TcpListener, type TcpSocket } from "../../ffi/tcp.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { Loop } from "../loop/loop.ts";
import { Target } from "../proxy/target.ts";
import { OpenedCode } from "../wire/frames.ts";
import { Dial, type DialEvents, type DialOptions, openedCodeOf } from "./dial.ts";

const native = testNative();
const LOOPBACK = ipBytes("127.0.0.1");
const utf8 = (value: string) => new TextEncoder().encode(value);
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

class Bench implements DialEvents, Disposable {
  readonly loop = new Loop(native);
  readonly listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  socket: TcpSocket | undefined;
  early: Uint8Array | undefined;
  code: number | undefined;
  told = 0;

  connected(socket: TcpSocket, early: Uint8Array): void {
    this.socket = socket;
    this.early = early;
    this.told++;
  }

  failed(code: number): void {
    this.code = code;
    this.told++;
  }

  dial(addresses: readonly Endpoint[], options: DialOptions = {}): Dial {
    return new Dial(this.loop, addresses, this, options);
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + 5000;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  accept(): TcpSocket {
    let socket: TcpSocket | undefined;
    this.until(() => (socket = this.listener.accept(1)[0]) !== undefined);
    return socket!;
  }

  read(far: TcpSocket, length: number): Uint8Array {
    const data = new Uint8Array(length);
    let at = 0;
    this.until(() => {
      const count = far.read(data, at, length - at);
      assert.ok(count > 0 || count === tcpAgain);
      if (count > 0) at += count;
      return at === length;
    });
    return data;
  }

  [Symbol.dispose](): void {
    this.socket?.close();
    this.listener.close();
    this.loop.close();
  }
}

/** A port of this machine that nobody listens on. */
function closedPort(): Endpoint {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  return listener.local;
}

Deno.test("Dial takes the first of the addresses that answers, and tells once", () => {
  using bench = new Bench();
  bench.dial([closedPort(), bench.listener.local]).start();
  assert.equal(bench.told, 0);
  bench.accept().close();
  bench.until(() => bench.told > 0);
  assert.ok(bench.socket !== undefined);
  assert.equal(bench.early?.length, 0);
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(bench.told, 1);
});

Deno.test("Dial tells why none answered", () => {
  using bench = new Bench();
  bench.dial([closedPort()]).start();
  bench.until(() => bench.told > 0);
  assert.equal(bench.code, OpenedCode.refused);
  bench.dial([]).start();
  assert.equal(bench.told, 2);
});

Deno.test("Dial gives up what nobody waits for", () => {
  using bench = new Bench();
  const dial = bench.dial([bench.listener.local]);
  dial.start();
  dial.abort();
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(bench.told, 0);
});

Deno.test("Dial comes from the source of the peer's family", () => {
  using bench = new Bench();
  const source = ipBytes("127.0.0.9");
  const sources = [endpoint(ipBytes("::1"), 0), endpoint(source, 0)];
  bench.dial([bench.listener.local], { sources }).start();
  const far = bench.accept();
  assert.deepEqual(far.peer.ip, source);
  bench.until(() => bench.told > 0);
  far.close();
});

Deno.test("Dial tells an upstream where to, and hands on what came with its answer", () => {
  using bench = new Bench();
  const peers = [bench.listener.local];
  const target = new Target();
  assert.ok(target.setText("t.example:80"));
  bench.dial(peers).through({ kind: "http", peers }, target).start();
  const far = bench.accept();
  assert.equal(text(bench.read(far, 34)), "CONNECT t.example:80 HTTP/1.1\r\nHos");
  assert.equal(bench.told, 0);
  const answer = utf8("HTTP/1.1 200 OK\r\n\r\nearly");
  far.write(answer, 0, answer.length);
  bench.until(() => bench.told > 0);
  assert.equal(text(bench.early), "early");
  far.close();
});

Deno.test("Dial fails with an upstream that ends, or says nothing in time", () => {
  for (const isSilent of [false, true]) {
    using bench = new Bench();
    const peers = [bench.listener.local];
    const target = new Target();
    assert.ok(target.setText("t.example:80"));
    bench.dial(peers, { timeoutMs: isSilent ? 100 : 60_000 })
      .through({ kind: "socks5", peers }, target).start();
    const far = bench.accept();
    bench.read(far, 3);
    if (!isSilent) far.close();
    bench.until(() => bench.told > 0);
    assert.equal(bench.code, isSilent ? OpenedCode.timedOut : OpenedCode.unreachable);
    if (isSilent) far.close();
  }
});

Deno.test("an errno has its code of OPENED", () => {
  const codes = {
    ECONNREFUSED: OpenedCode.refused,
    ETIMEDOUT: OpenedCode.timedOut,
    EACCES: OpenedCode.denied,
    EMFILE: OpenedCode.tooManyStreams,
    ENETUNREACH: OpenedCode.unreachable,
  };
  for (const [name, code] of Object.entries(codes)) {
    assert.equal(openedCodeOf(errnoNumber(name) ?? 0), code, name);
  }
});

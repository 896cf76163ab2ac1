import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import { tcpAgain, TcpListener, type TcpSocket } from "../../ffi/tcp.ts";
import { HostBench } from "../../tests/fixtures/host.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { clientStart, Notes, PSK, serverStart } from "../../tests/fixtures/tunnel.ts";
import { ipBytes } from "../base/ip.ts";
import type { Session } from "../session/session.ts";
import { encodeAddress } from "../wire/address.ts";
import { ClientTunnel } from "./client/tunnel.ts";
import { ServerTunnel } from "./server/tunnel.ts";
import { TunnelService } from "./server/service.ts";
import { HELD_BYTES_MAX } from "../outbound/splicer.ts";

const libs = libraries();
const { native } = libs;
const LOOPBACK = ipBytes("127.0.0.1");
const WAIT_MS = 30_000;

/** What a byte of a stream is, by its offset. */
const byteAt = (stream: number, offset: number) => (offset * 7 + (offset >>> 9) + stream) & 0xff;

/** The client's end of one stream: writes and reads a pattern. */
class Client {
  written = 0;
  read = 0;
  isRight = true;
  hasEnded = false;
  finished = false;
}

/** A target that echoes, reading and writing at most so much a turn. */
class Echo {
  readonly #socket: TcpSocket;
  readonly #buffer = new Uint8Array(256 << 10);
  #from = 0;
  #to = 0;
  #ended = false;
  isOver = false;

  constructor(socket: TcpSocket) {
    this.#socket = socket;
  }

  turn(most: number): void {
    if (this.isOver) return;
    if (this.#from === this.#to && !this.#ended) {
      const count = this.#socket.read(this.#buffer, 0, Math.min(most, this.#buffer.length));
      this.#from = 0;
      this.#to = Math.max(0, count);
      if (count === 0) this.#ended = true;
      assert.ok(count >= 0 || count === tcpAgain, `${count}`);
    }
    if (this.#from < this.#to) {
      const count = this.#socket.write(this.#buffer, this.#from, this.#to - this.#from);
      assert.ok(count > 0 || count === tcpAgain, `${count}`);
      this.#from += Math.max(0, count);
    } else if (this.#ended) {
      this.isOver = true;
      this.#socket.close();
    }
  }
}

class Application extends Notes {
  readonly streams = new Map<number, Client>();
  readonly #piece = new Uint8Array(64 << 10);
  readonly #total: number;
  isSlow = false;
  #turn = 0;

  constructor(total: number) {
    super();
    this.#total = total;
  }

  pump(session: Session, id: number): void {
    const stream = this.streams.get(id)!;
    while (stream.written < this.#total) {
      const length = Math.min(this.#piece.length, this.#total - stream.written);
      for (let i = 0; i < length; i++) this.#piece[i] = byteAt(id, stream.written + i);
      const taken = session.write(id, this.#piece, 0, length);
      stream.written += taken;
      if (taken < length) return;
    }
    if (!stream.finished) session.finish(id);
    stream.finished = true;
  }

  override writable(session: Session, id: number): void {
    this.pump(session, id);
  }

  override data(
    _session: Session,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): number {
    const stream = this.streams.get(id)!;
    // Now and then it takes less, and resumes later.
    const take = this.isSlow && ++this.#turn % 50 === 0 ? length >> 1 : length;
    for (let i = 0; i < take; i++) {
      stream.isRight &&= bytes[at + i] === byteAt(id, stream.read + i);
    }
    stream.read += take;
    return take;
  }

  override ended(_session: Session, id: number): void {
    this.streams.get(id)!.hasEnded = true;
  }
}

interface Course {
  readonly streams: number;
  readonly total: number;
  /** Bytes an echo moves a turn. */
  readonly most: number;
  readonly isSlow?: boolean;
  readonly bufferBytes?: number;
}

function echoAll({ streams, total, most, isSlow = false, bufferBytes }: Course): void {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  const start = serverStart({
    psk: PSK.slice(),
    rules: [{ cidr: ["127.0.0.0/8"], outbound: "direct" }],
  });
  const tuning = bufferBytes === undefined ? {} : { bufferBytes };
  using bench = new HostBench();
  const { host } = bench;
  const { loop } = host;
  let server: ServerTunnel | undefined;
  const { targets } = new TunnelService(host, start, (_, start, events) => {
    return server = new ServerTunnel(loop, start, libs, events, tuning);
  });
  server!.start();
  const application = new Application(total);
  application.isSlow = isSlow;
  const clientOptions = clientStart([endpoint(LOOPBACK, server!.port)], { psk: PSK.slice() });
  const client = new ClientTunnel(loop, clientOptions, { native }, application);
  client.start();
  const session = client.session();
  for (let i = 0; i < streams; i++) {
    const id = session.openStream(encodeAddress("127.0.0.1", listener.local.port)!);
    application.streams.set(id, new Client());
    application.pump(session, id);
  }
  client.wake(session);
  const echoes: Echo[] = [];
  const all = [...application.streams.values()];
  let held = 0;
  const deadline = performance.now() + WAIT_MS;
  while (!all.every(({ hasEnded }) => hasEnded)) {
    assert.ok(performance.now() < deadline, `${all.map(({ read, written }) => [written, read])}`);
    loop.round(1);
    echoes.push(...listener.accept().map((socket) => new Echo(socket)));
    for (const echo of echoes) echo.turn(most);
    if (isSlow) { for (const id of application.streams.keys()) session.resume(id); }
    client.wake(session);
    held = Math.max(held, targets.splicer.held);
  }
  for (const { read, isRight } of all) assert.deepEqual([read, isRight], [total, true]);
  assert.ok(held <= HELD_BYTES_MAX);
  assert.equal(targets.counters.faults + targets.splicer.counters.faults, 0);
  assert.equal(targets.splicer.counters.bytesUp, streams * total);
  assert.equal(targets.splicer.counters.bytesDown, streams * total);
  for (let i = 0; i < 100 && targets.count > 0; i++) loop.round(1);
  assert.equal(targets.count, 0);
  assert.equal(targets.splicer.held, 0);
  client.stop();
  server!.stop();
}

Deno.test("one stream through a tunnel to an echo and back, whole", () => {
  echoAll({ streams: 1, total: 24 << 20, most: 256 << 10 });
});

Deno.test("eight streams at once, read and written slowly at both ends", () => {
  echoAll({ streams: 8, total: 2 << 20, most: 24_000, isSlow: true });
});

Deno.test("forty streams where memory for them is short", () => {
  echoAll({ streams: 40, total: 300_000, most: 40_000, bufferBytes: 4 << 20 });
});

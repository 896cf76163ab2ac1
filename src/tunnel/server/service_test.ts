import assert from "node:assert/strict";
import { endpoint } from "../../../ffi/endpoint.ts";
import { tcpAgain, TcpListener, type TcpSocket } from "../../../ffi/tcp.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../../ffi/udp.ts";
import { libraries } from "../../../tests/fixtures/libraries.ts";
import { clientStart, Notes, PSK, serverStart } from "../../../tests/fixtures/tunnel.ts";
import { ipBytes } from "../../base/ip.ts";
import { encodeAddress } from "../../wire/address.ts";
import { CloseCode, OpenedCode } from "../../wire/frames.ts";
import { ringMemory, RingWriter } from "../../base/ring.ts";
import { EventFd } from "../../../ffi/loop.ts";
import type { Session } from "../../session/session.ts";
import { ClientTunnel } from "../client/tunnel.ts";
import { piecesOf } from "../../loop/inbox.ts";
import { Loop } from "../../loop/loop.ts";
import { type MakeTunnel, type Tunnel, TunnelService } from "./service.ts";
import type { RuleText } from "../../outbound/routing.ts";
import { SharedWord, type ToWorker, type WorkerMessage } from "../protocol.ts";

const libs = libraries();
const { native } = libs;
const LOOPBACK = ipBytes("127.0.0.1");
const LOCAL: RuleText[] = [{ cidr: ["127.0.0.0/8"], outbound: "direct" }];
const WAIT_MS = 5000;
const utf8 = (value: string) => new TextEncoder().encode(value);

/** A worker in its thread, told things as main tells them, and a client in this one. */
class Bench implements AsyncDisposable {
  readonly loop = new Loop(native);
  readonly notes = new Notes();
  readonly messages: WorkerMessage[] = [];
  readonly wake = new EventFd(native);
  readonly words: BigInt64Array;
  readonly worker: Worker;
  readonly ring: RingWriter;
  client: ClientTunnel | undefined;

  constructor(rules: readonly RuleText[] = LOCAL) {
    const shared = new SharedArrayBuffer(8 * SharedWord.count);
    const inbox = ringMemory(65_536);
    this.words = new BigInt64Array(shared);
    this.ring = new RingWriter(inbox);
    this.worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.messages.push(data);
    const start = serverStart({ wakeFd: this.wake.fd, shared, inbox, rules, psk: PSK.slice() });
    this.worker.postMessage(start);
  }

  async connect(): Promise<Session> {
    const ready = await this.heard("ready");
    const start = clientStart([endpoint(LOOPBACK, ready.ports[0]!)], { psk: PSK.slice() });
    this.client = new ClientTunnel(this.loop, start, { native }, this.notes);
    this.client.start();
    this.notes.isKept = true;
    return this.client.session();
  }

  async until(what: () => boolean): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}: ${this.notes.log}`);
      this.loop.round(1);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  async heard<K extends WorkerMessage["kind"]>(kind: K): Promise<WorkerMessage & { kind: K }> {
    const find = () => this.messages.findIndex((message) => message.kind === kind);
    await this.until(() => find() >= 0);
    return this.messages.splice(find(), 1)[0] as WorkerMessage & { kind: K };
  }

  tell(message: ToWorker): void {
    assert.ok(this.ring.write(utf8(JSON.stringify(message))));
    this.wake.signal();
  }

  /** The ring has room for a part of it at a time. */
  async tellLong(message: ToWorker): Promise<void> {
    for (const piece of piecesOf(message)) {
      await this.until(() => this.ring.write(piece) || (this.wake.signal(), false));
    }
    this.wake.signal();
  }

  async open(session: Session, host: string, port: number): Promise<number> {
    const id = session.openStream(encodeAddress(host, port)!);
    this.client!.wake(session);
    await this.until(() => true);
    return id;
  }

  async answer(id: number, code: number): Promise<void> {
    await this.until(() => this.notes.log.some((line) => line.startsWith(`answered ${id} `)));
    assert.ok(this.notes.log.includes(`answered ${id} ${code}`), `${this.notes.log}`);
  }

  word(word: number): number {
    return Number(Atomics.load(this.words, word));
  }

  stop(): void {
    Atomics.store(this.words, SharedWord.stop, 1n);
    this.wake.signal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    try {
      await this.heard("stopped");
    } finally {
      this.worker.terminate();
      this.client?.stop();
      this.loop.close();
      this.wake.close();
    }
    assert.deepEqual(this.messages.map(({ kind }) => kind).filter((one) => one !== "replay"), []);
  }
}

async function accept(bench: Bench, listener: TcpListener): Promise<TcpSocket> {
  let socket: TcpSocket | undefined;
  await bench.until(() => (socket = listener.accept(1)[0]) !== undefined);
  return socket!;
}

async function read(bench: Bench, far: TcpSocket, length: number): Promise<string> {
  const bytes = new Uint8Array(length);
  let at = 0;
  await bench.until(() => {
    const count = far.read(bytes, at, length - at);
    assert.ok(count > 0 || count === tcpAgain, `${count}`);
    at += Math.max(0, count);
    return at === length;
  });
  return new TextDecoder().decode(bytes);
}

Deno.test("a server's worker carries a stream to its target, by address and by name", async () => {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  await using bench = new Bench();
  const session = await bench.connect();
  const id = await bench.open(session, "127.0.0.1", listener.local.port);
  session.write(id, utf8("hello"), 0, 5);
  bench.client!.wake(session);
  const far = await accept(bench, listener);
  await bench.answer(id, OpenedCode.ok);
  assert.equal(await read(bench, far, 5), "hello");
  far.write(utf8("welcome"), 0, 7);
  await bench.until(() => bench.notes.received === 7);
  session.finish(id);
  bench.client!.wake(session);
  far.close();
  await bench.until(() => bench.notes.log.includes(`gone ${id}`));
  // By name: main is asked, and answers by the ring.
  const named = await bench.open(session, "target.example", listener.local.port);
  const asked = await bench.heard("resolve");
  assert.equal(asked.name, "target.example");
  bench.tell({ kind: "resolved", id: asked.id, addresses: ["127.0.0.1"] });
  (await accept(bench, listener)).close();
  await bench.answer(named, OpenedCode.ok);
  const none = await bench.open(session, "none.example", 1);
  const again = await bench.heard("resolve");
  bench.tell({ kind: "resolved", id: again.id, addresses: [], error: "not-found" });
  await bench.answer(none, OpenedCode.nameNotFound);
});

Deno.test("a server's worker relays datagrams, and takes new rules", async () => {
  using target = new UdpSocket(native, { local: endpoint(LOOPBACK, 0) });
  await using bench = new Bench([]);
  const session = await bench.connect();
  const address = encodeAddress("127.0.0.1", target.local.port)!;
  const send = (text: string) => {
    const data = utf8(text);
    session.sendDatagram(4, address, 0, address.length, data, 0, data.length);
    bench.client!.wake(session);
  };
  send("refused");
  await bench.until(() => bench.word(SharedWord.targetRefusals) === 1);
  bench.tell({ kind: "rules", rules: [{ cidr: ["rubbish"], outbound: "direct" }] });
  const log = await bench.heard("log");
  assert.match(String(log.record.fields.cause), /rules\[0\]\.cidr\[0\]/);
  bench.tell({ kind: "rules", rules: LOCAL });
  await bench.until(() => !bench.messages.some(({ kind }) => kind === "log"));
  const inbox = new UdpInbox();
  await bench.until(() => (send("allowed"), target.receive(inbox) > 0));
  const reply = new UdpOutbox(utf8("answer"));
  const route = new Uint32Array(12);
  inbox.copyRoute(0, route);
  reply.add(route, 0, 6);
  target.send(reply);
  await bench.until(() => bench.notes.log.includes("datagram 4 answer"));
});

Deno.test("a server's worker takes new users, however many, and cuts off who is gone", async () => {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  await using bench = new Bench();
  const session = await bench.connect();
  await bench.answer(await bench.open(session, "127.0.0.1", listener.local.port), OpenedCode.ok);
  // The one of the psk alone has to go; the message is longer than the ring.
  const users = Array.from({ length: 1000 }, (_, i) => ({
    ...{ name: `user ${i}`, key: i.toString(16).padStart(64, "0"), upRate: 0, downRate: 0 },
  }));
  await bench.tellLong({ kind: "users", users });
  await bench.until(() => bench.notes.log.some((line) => line.startsWith("closed")));
  assert.ok(bench.notes.log.includes(`closed ${CloseCode.denied} peer`), `${bench.notes.log}`);
});

Deno.test("a server's worker counts streams, and closes its sessions when it stops", async () => {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  await using bench = new Bench();
  const session = await bench.connect();
  const id = await bench.open(session, "127.0.0.1", listener.local.port);
  const far = await accept(bench, listener);
  await bench.answer(id, OpenedCode.ok);
  await bench.until(() => bench.word(SharedWord.streams) === 1);
  bench.stop();
  await bench.until(() => bench.notes.log.some((line) => line.startsWith("closed")));
  assert.match(bench.notes.log.at(-1)!, /^closed \d+ peer$/);
  far.close();
});

Deno.test("TunnelService tells of rules that are wrong, and wipes its keys", () => {
  const wake = new EventFd(native);
  const tunnel: Tunnel = { port: 9, start() {}, stop() {}, wake() {} };
  const make: MakeTunnel = () => tunnel;
  const start = () =>
    serverStart({
      wakeFd: wake.fd,
      inbox: ringMemory(1024),
      psk: PSK.slice(),
      rules: [{ outbound: "nowhere" }],
    });
  assert.throws(
    () => new TunnelService(libs, start(), () => {}, make),
    /rules\[0\]\.outbound "nowhere" is no outbound/,
  );
  const good = { ...start(), rules: [] };
  const messages: WorkerMessage[] = [];
  const worker = new TunnelService(libs, good, (message) => messages.push(message), make);
  new BigInt64Array(good.shared)[SharedWord.stop] = 1n;
  worker.run();
  assert.deepEqual(messages, [{ kind: "ready", ports: [9], features: 0 }]);
  assert.deepEqual(good.psk, new Uint8Array(32));
  wake.close();
});

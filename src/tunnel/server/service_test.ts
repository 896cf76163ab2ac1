import assert from "node:assert/strict";
import { endpoint } from "../../../ffi/endpoint.ts";
import { tcpAgain, TcpListener, type TcpSocket } from "../../../ffi/tcp.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../../ffi/udp.ts";
import { HostBench } from "../../../tests/fixtures/host.ts";
import { libraries } from "../../../tests/fixtures/libraries.ts";
import { clientStart, Notes, PSK, serverStart } from "../../../tests/fixtures/tunnel.ts";
import { ipBytes } from "../../base/ip.ts";
import { Log } from "../../base/log.ts";
import { CounterWriter } from "../../loop/counters.ts";
import { Loop } from "../../loop/loop.ts";
import { NameLookup } from "../../loop/name_lookup.ts";
import { Pool } from "../../loop/pool.ts";
import type { RuleText } from "../../outbound/routing.ts";
import { SpliceCounters } from "../../outbound/splicer.ts";
import { SessionCounters } from "../../session/counters.ts";
import type { Session } from "../../session/session.ts";
import { encodeAddress } from "../../wire/address.ts";
import { CloseCode, OpenedCode } from "../../wire/frames.ts";
import { ClientTunnel } from "../client/tunnel.ts";
import { AssociationCounters } from "../exit/associations.ts";
import { TargetCounters } from "../exit/targets.ts";
import { ReceiveCounters } from "../receive_side.ts";
import type { ServerProtocol } from "../protocol.ts";
import { SendCounters } from "../send_batch.ts";
import { summaryOf, type TunnelSummary } from "../summary.ts";
import { keysOfServer, type MakeTunnel, type Tunnel, TunnelService } from "./service.ts";
import { ServerCounters } from "./tunnel.ts";

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
  readonly lines: string[] = [];
  readonly asked: string[] = [];
  readonly #pool: Promise<Pool<ServerProtocol>>;
  client: ClientTunnel | undefined;
  pool!: Pool<ServerProtocol>;
  /** What names lead to. */
  addresses: Readonly<Record<string, string>> = {};

  constructor(rules: readonly RuleText[] = LOCAL) {
    const write = (line: string) => void this.lines.push(line);
    this.#pool = Pool.start<ServerProtocol>({
      libs,
      code: new URL("worker.ts", import.meta.url),
      name: "server",
      starts: [serverStart({ rules, psk: PSK.slice() })],
      lookup: new NameLookup((name) => {
        this.asked.push(name);
        const address = this.addresses[name];
        return Promise.resolve(
          address === undefined ? { addresses: [], error: "not-found" } : { addresses: [address] },
        );
      }),
      log: Log.to({ level: "warn", format: "text", write, now: () => 0 }),
    });
  }

  async connect(): Promise<Session> {
    this.pool = await this.#pool;
    const { port } = this.pool.ready("tunnel")[0]!;
    const start = clientStart([endpoint(LOOPBACK, port)], { psk: PSK.slice() });
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

  get summary(): TunnelSummary {
    return summaryOf(this.pool.counters());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.stop();
    this.client?.stop();
    this.loop.close();
    assert.deepEqual(this.lines, []);
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
  bench.addresses = { "target.example": "127.0.0.1" };
  const named = await bench.open(session, "target.example", listener.local.port);
  (await accept(bench, listener)).close();
  await bench.answer(named, OpenedCode.ok);
  const none = await bench.open(session, "none.example", 1);
  await bench.answer(none, OpenedCode.nameNotFound);
  assert.deepEqual(bench.asked, ["target.example", "none.example"]);
});

Deno.test("a server's worker passes datagrams on, and takes new rules", async () => {
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
  await bench.until(() => bench.summary.targetRefusals === 1);
  bench.pool.tell("tunnel", { kind: "rules", rules: [{ cidr: ["rubbish"], outbound: "direct" }] });
  await bench.until(() => bench.lines.length > 0);
  assert.match(bench.lines.pop()!, /rules\[0\]\.cidr\[0\].*event=message_ignored/);
  bench.pool.tell("tunnel", { kind: "rules", rules: LOCAL });
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
  // The one of the psk alone has to go; the message goes in parts.
  const users = Array.from({ length: 1000 }, (_, i) => ({
    ...{ name: `user ${i}`, key: i.toString(16).padStart(64, "0"), upRate: 0, downRate: 0 },
  }));
  bench.pool.tell("tunnel", { kind: "users", users });
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
  await bench.until(() => bench.summary.streams === 1);
  bench.pool.stop();
  await bench.until(() => bench.notes.log.some((line) => line.startsWith("closed")));
  assert.match(bench.notes.log.at(-1)!, /^closed \d+ peer$/);
  far.close();
});

Deno.test("TunnelService tells of rules that are wrong, and wipes its keys", () => {
  const tunnel: Tunnel = { port: 9, start() {}, stop() {}, wake() {} };
  const make: MakeTunnel = () => tunnel;
  const start = serverStart({ psk: PSK.slice(), rules: [] });
  using bench = new HostBench();
  assert.throws(
    () => new TunnelService(bench.host, { ...start, rules: [{ outbound: "nowhere" }] }, make),
    /rules\[0\]\.outbound "nowhere" is no outbound/,
  );
  bench.stop();
  bench.run([new TunnelService(bench.host, start, make)]);
  const [ready, ...rest] = bench.messages;
  assert.ok(ready?.kind === "ready");
  assert.deepEqual(ready.services, { tunnel: { port: 9, features: 0 } });
  assert.deepEqual(rest, []);
  bench.host.close();
  for (const key of keysOfServer(start)) assert.ok(key.every((byte) => byte === 0));
});

Deno.test("all that a server counts reaches main by name", async () => {
  using target = new UdpSocket(native, { local: endpoint(LOOPBACK, 0) });
  await using bench = new Bench();
  const session = await bench.connect();
  const address = encodeAddress("127.0.0.1", target.local.port)!;
  session.sendDatagram(4, address, 0, address.length, utf8("x"), 0, 1);
  bench.client!.wake(session);
  await bench.until(() => bench.pool.counters().tunnel?.associationsSent === 1);
  const { tunnel = {}, loop, resolver } = bench.pool.counters();
  assert.deepEqual(loop, { faults: 0, linesHeldBack: 0 });
  assert.equal(resolver?.lookups, 0);
  assert.ok(tunnel.sessionsPacketsReceived! > 0);
  const sources = {
    "": new ServerCounters(),
    received: new ReceiveCounters(),
    sent: new SendCounters(),
    targets: new TargetCounters(),
    splices: new SpliceCounters(),
    associations: new AssociationCounters(),
    sessions: new SessionCounters(),
  };
  const { view } = new CounterWriter([{ name: "tunnel", counters: sources }]);
  for (const name of view.tables[0]!.names) assert.ok(Object.hasOwn(tunnel, name), name);
  // A name that is not counted would leave its part of the summary at 0.
  const ones = Object.fromEntries(Object.keys(tunnel).map((name) => [name, 1]));
  for (const [name, value] of Object.entries(summaryOf({ tunnel: ones }))) {
    assert.equal(value, name === "junk" ? 2 : 1, name);
  }
});

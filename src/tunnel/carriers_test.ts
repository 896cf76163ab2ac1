import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { endpoint, readEndpoint, type Route } from "../../ffi/endpoint.ts";
import { EventFd } from "../../ffi/loop.ts";
import type { UdpOutbox } from "../../ffi/udp.ts";
import {
  ADDRESS,
  clientStart,
  LOOPBACK,
  Notes,
  Pair,
  type PairOptions,
  serverStart,
  Source,
} from "../../tests/fixtures/tunnel.ts";
import { testNative } from "../../tests/native.ts";
import { TOY_ID, ToyStream } from "../../tests/fixtures/toy_stream.ts";
import { HandOver, handOverSpec } from "../loop/hand_over.ts";
import type { Session } from "../session/session.ts";
import { UdpCarrier } from "../transport/udp.ts";
import { OpenedCode } from "../wire/frames.ts";
import { ClientTunnel } from "./client/tunnel.ts";
import { ServerTunnel } from "./server/tunnel.ts";
import { DATAGRAM_SIZES } from "./tunnel.ts";

testNative();
const MEGABYTE = 1 << 20;
/** Where nobody answers. */
const NOWHERE = endpoint(LOOPBACK, 9);

/** A pair that has a stream carrier beside UDP. */
class ToyPair extends Pair {
  readonly toyServer: ToyStream;
  readonly toyClient: ToyStream;
  readonly route: Route;

  constructor(options: PairOptions = {}) {
    super(options);
    this.toyServer = addToy(this, this.server);
    this.toyClient = addToy(this, this.client);
    this.route = this.toyClient.connect(this.toyServer.listen(endpoint(LOOPBACK, 0)));
  }
}

function addToy({ loop }: Pair, tunnel: ServerTunnel | ClientTunnel, over?: HandOver): ToyStream {
  const toy = new ToyStream(loop, tunnel.pump, over);
  tunnel.pump.addCarrier(toy);
  return toy;
}

/** Sends bytes up and down the first stream of a session, and hashes what comes. */
class Transfer {
  readonly got = { up: 0, down: 0 };
  readonly #hashes = { up: createHash("sha256"), down: createHash("sha256") };
  readonly #total: number;
  readonly #atServer: Notes;
  readonly #atClient: Notes;
  readonly session: Session;

  constructor(pair: Pair, total: number, client = pair.client, atClient = pair.atClient) {
    const { atServer } = pair;
    const [up, down] = [new Source(total), new Source(total)];
    this.#total = total;
    this.#atServer = atServer;
    this.#atClient = atClient;
    const session = this.session = client.session();
    let opened: Session | undefined;
    const others = atServer.writable;
    const pump = (own: Session, stream: number) => {
      if (own !== opened) return others(own, stream);
      down.pump(own, stream);
      pair.server.wake(own);
    };
    atServer.opened = (own, stream) => {
      opened = own;
      own.answer(stream, OpenedCode.ok, ADDRESS);
      pump(own, stream);
    };
    atServer.writable = pump;
    atServer.data = (_own, _stream, bytes, at, length) => this.#take("up", bytes, at, length);
    atClient.data = (_own, _stream, bytes, at, length) => this.#take("down", bytes, at, length);
    atClient.writable = (own, stream) => up.pump(own, stream);
    const stream = session.openStream(ADDRESS);
    up.pump(session, stream);
    client.wake(session);
  }

  #take(which: "up" | "down", bytes: Uint8Array, at: number, length: number): number {
    this.got[which] += length;
    this.#hashes[which].update(bytes.subarray(at, at + length));
    return length;
  }

  get share(): number {
    return (this.got.up + this.got.down) / (2 * this.#total);
  }

  get isOver(): boolean {
    return this.#atServer.log.includes("ended 0") && this.#atClient.log.includes("ended 0");
  }

  /** Every byte came, in its place. */
  check(): void {
    assert.deepEqual(this.got, { up: this.#total, down: this.#total });
    const expected = patternHash(this.#total);
    assert.deepEqual(
      [this.#hashes.up.digest("hex"), this.#hashes.down.digest("hex")],
      [expected, expected],
    );
  }
}

function patternHash(total: number): string {
  const hash = createHash("sha256");
  const source = new Source(total);
  const taken = {
    write: (_stream: number, bytes: Uint8Array, at: number, length: number) => {
      hash.update(bytes.subarray(at, at + length));
      return length;
    },
    finish: () => {},
  };
  source.pump(taken as unknown as Session, 0);
  return hash.digest("hex");
}

function isBy(session: Session | undefined, client: ClientTunnel | ServerTunnel, id: number) {
  const peer = session === undefined ? undefined : client.pump.peerOf(session);
  const route = peer?.routes[peer.session.activePath];
  return route !== undefined && client.pump.carrierOf(route)?.id === id;
}

Deno.test("a session moves to a stream carrier and back amid its data, and loses nothing", () => {
  using pair = new ToyPair();
  const { client, server, toyServer, toyClient } = pair;
  const transfer = new Transfer(pair, 48 * MEGABYTE);
  pair.until(() => transfer.share > 0.1, 20_000);
  const { session } = transfer;
  const [own] = pair.atServer.sessions;
  const udp = session.activePath;
  const toy = client.openPath(pair.route);
  pair.until(() => pair.atClient.log.includes(`proven ${toy}`));
  assert.ok(isBy(own, server, 0), "a path that was only opened carries no data");
  for (const share of [0.3, 0.5]) {
    client.moveTo(toy);
    pair.until(() => isBy(own, server, TOY_ID));
    const before = [toyServer.received, toyClient.received];
    pair.until(() => transfer.share > share, 20_000);
    assert.ok(toyServer.received > before[0]! + 100 && toyClient.received > before[1]! + 100);
    client.moveTo(udp);
    pair.until(() => isBy(own, server, 0));
    const { datagrams } = server.pump.received;
    pair.until(() => transfer.share > share + 0.1, 20_000);
    assert.ok(server.pump.received.datagrams > datagrams + 100);
  }
  pair.until(() => transfer.isOver, 30_000);
  transfer.check();
  for (const { pump } of [client, server]) {
    const { junk, forged, strangers } = pump.received;
    assert.deepEqual([junk, forged, strangers, pump.sent.refused], [0, 0, 0, 0]);
  }
});

Deno.test("packet size and congestion control of a path are its carrier's", () => {
  using pair = new ToyPair();
  const session = pair.greet();
  pair.until(() => pair.client.state === "open");
  const path = pair.client.openPath(pair.route);
  const [byUdp, byToy] = [session.recovery.path(0)!, session.recovery.path(path)!];
  assert.deepEqual([byUdp.controller.name, byToy.controller.name], ["bbr", "carrier"]);
  assert.deepEqual([byToy.pmtu.size, byToy.pmtu.probe(0)], [8000, 0]);
  assert.ok(byUdp.pmtu.size < 1500);
});

Deno.test("a session is opened by a stream carrier where UDP leads nowhere", () => {
  using pair = new ToyPair();
  const { client } = pair;
  client.setServers([NOWHERE]);
  client.addRoute(pair.route);
  const transfer = new Transfer(pair, 4 * MEGABYTE);
  pair.until(() => transfer.isOver, 20_000);
  transfer.check();
  assert.ok(isBy(transfer.session, client, TOY_ID) && pair.toyClient.received > 100);
  assert.ok(isBy(pair.atServer.sessions[0], pair.server, TOY_ID));
});

/** Writes a block to each stream, as far as there is room; tells of the bytes. */
function pourer(
  server: ServerTunnel,
  block: Uint8Array,
  told: (bytes: number) => void,
): (own: Session, stream: number) => void {
  const left = new Map<Session, Map<number, number>>();
  return (own, stream) => {
    const streams = left.get(own) ?? new Map<number, number>();
    left.set(own, streams);
    const wanted = streams.get(stream) ?? block.length;
    const bytes = own.write(stream, block, 0, wanted);
    streams.set(stream, wanted - bytes);
    told(bytes);
    server.wake(own);
  };
}

Deno.test("a blocked stream connection holds up its own session and no other", () => {
  using pair = new ToyPair();
  const { loop, server, toyServer, atServer } = pair;
  // Another client, that downloads more than the kernel's buffers hold, and reads nothing.
  const start = clientStart([endpoint(LOOPBACK, server.port)]);
  const notes = new Notes();
  const other = new ClientTunnel(loop, start, loop, notes);
  other.start();
  const toy = addToy(pair, other);
  const route = toy.connect(readEndpoint(pair.route, 0));
  const block = new Uint8Array(MEGABYTE / 8);
  let written = 0;
  const pour = pourer(server, block, (bytes) => written += bytes);
  const streams: number[] = [];
  atServer.opened = (own, stream) => {
    own.answer(stream, OpenedCode.ok, ADDRESS);
    streams.push(stream);
    server.wake(own);
  };
  atServer.writable = pour;
  const session = other.session();
  other.wake(session);
  pair.until(() => other.state === "open");
  const path = other.openPath(route);
  pair.until(() => notes.log.includes(`proven ${path}`));
  other.moveTo(path);
  const [own] = atServer.sessions;
  pair.until(() => isBy(own, server, TOY_ID));
  for (let i = 0; i < 200; i++) session.openStream(ADDRESS);
  other.wake(session);
  pair.until(() => streams.length === 200);
  toy.pause(true);
  for (const stream of streams) pour(own!, stream);
  const isFull = () => [...toyServer.connections.values()].some(({ isBlocked }) => isBlocked);
  pair.until(isFull, 20_000);
  const before = notes.received;
  const transfer = new Transfer(pair, 8 * MEGABYTE);
  pair.until(() => transfer.isOver, 20_000);
  transfer.check();
  assert.ok(isFull() && notes.received === before, "it was blocked all the time");
  toy.pause(false);
  pair.until(() => notes.received === written, 20_000);
  assert.ok(session.isOpen && server.pump.sent.refused === 0);
  other.stop();
});

/** A second UDP socket, that takes nothing while its gate is closed. */
class Gate extends UdpCarrier {
  isShut = false;

  override send(outbox: UdpOutbox): number {
    return this.isShut ? 0 : super.send(outbox);
  }
}

Deno.test("a socket that takes nothing keeps what it was given, and others are served", () => {
  using pair = new Pair();
  const { loop, client, server, atServer } = pair;
  const gate = new Gate(loop, server.pump, { id: 3, mtu: DATAGRAM_SIZES });
  gate.open({ local: endpoint(LOOPBACK, 0) });
  server.pump.addCarrier(gate);
  const start = clientStart([gate.local]);
  const notes = new Notes();
  const other = new ClientTunnel(loop, start, loop, notes);
  other.start();
  let sent = 0;
  const block = new Uint8Array(MEGABYTE);
  const pour = pourer(server, block, (bytes) => sent += bytes);
  atServer.opened = (own, stream) => {
    own.answer(stream, OpenedCode.ok, ADDRESS);
    gate.isShut = true;
    pour(own, stream);
  };
  atServer.writable = pour;
  const session = other.session();
  session.openStream(ADDRESS);
  other.wake(session);
  pair.until(() => server.pump.sent.blocked === 1);
  const [own] = atServer.sessions;
  assert.ok(isBy(own, server, 3));
  assert.equal(server.pump.peerOf(own!)!.routes[0]![10], gate.local.port);
  const before = notes.received;
  const transfer = new Transfer(pair, 4 * MEGABYTE);
  pair.until(() => transfer.isOver, 20_000);
  transfer.check();
  assert.ok(isBy(client.session(), client, 0));
  assert.ok(notes.received === before && sent > 0 && sent < block.length);
  gate.isShut = false;
  server.pump.writable(gate);
  pair.until(() => notes.received === block.length, 20_000);
  assert.deepEqual([server.pump.sent.refused, server.pump.sent.blocked], [0, 1]);
  other.stop();
});

Deno.test("a carrier that fails loses its packets and no others", () => {
  const faults: unknown[] = [];
  using pair = new Pair({ onError: (error) => faults.push(error) });
  const { client, server, loop } = pair;
  const session = pair.greet();
  pair.until(() => client.state === "open" && pair.atServer.received === 5);
  const broken = new ToyStream(loop, client.pump);
  broken.send = () => {
    throw new Error("broken");
  };
  broken.isBlocked = () => false;
  client.pump.addCarrier(broken);
  const toy = new ToyStream(loop, server.pump);
  const path = client.openPath(broken.connect(toy.listen(endpoint(LOOPBACK, 0))));
  pair.until(() => faults.length > 0);
  assert.ok(path > 0);
  session.write(0, new Uint8Array(100), 0, 100);
  client.wake(session);
  pair.until(() => pair.atServer.received === 105);
  toy.close();
});

Deno.test("a connection that ends takes its path along; the session goes on by another", () => {
  using pair = new ToyPair();
  const { client, server, toyClient } = pair;
  const transfer = new Transfer(pair, 16 * MEGABYTE);
  pair.until(() => transfer.share > 0.1, 20_000);
  const path = client.openPath(pair.route);
  client.moveTo(path);
  const [own] = pair.atServer.sessions;
  pair.until(() => isBy(own, server, TOY_ID) && transfer.share > 0.3, 20_000);
  for (const connection of [...toyClient.connections.values()]) connection.close();
  assert.ok(isBy(transfer.session, client, 0));
  pair.until(() => transfer.isOver, 30_000);
  transfer.check();
});

Deno.test("a carrier that is removed takes its paths along", () => {
  using pair = new ToyPair();
  const { client, server } = pair;
  const transfer = new Transfer(pair, 16 * MEGABYTE);
  pair.until(() => transfer.share > 0.1, 20_000);
  client.moveTo(client.openPath(pair.route));
  const [own] = pair.atServer.sessions;
  pair.until(() => isBy(own, server, TOY_ID));
  server.pump.removeCarrier(pair.toyServer);
  assert.ok(isBy(own, server, 0));
  pair.until(() => transfer.isOver, 30_000);
  transfer.check();
});

Deno.test("a session whose only path has gone is lost, and the next one is opened", () => {
  using pair = new ToyPair({ clientTuning: { backoffMs: [10] } });
  const { client, toyClient } = pair;
  client.setServers([NOWHERE]);
  client.addRoute(pair.route);
  pair.greet();
  pair.until(() => client.state === "open");
  for (const connection of [...toyClient.connections.values()]) connection.close();
  assert.equal(client.state, "lost");
  client.removeRoute(pair.route);
  client.setServers([endpoint(LOOPBACK, pair.server.port)]);
  pair.greet();
  pair.until(() => client.state === "open");
});

Deno.test("a connection that lands on another worker is handed to the session's own", () => {
  using bells = new DisposableStack();
  const spec = handOverSpec([0, 1].map(() => bells.use(new EventFd(testNative())).fd));
  using pair = new Pair({ server: { workers: 2, index: 1 } });
  const { loop, client, server } = pair;
  const overs = [0, 1].map((index) => new HandOver(loop, index, spec));
  // The other worker: it has the listener, and none of the sessions.
  const start = serverStart({ workers: 2, index: 0 });
  const wrong = new ServerTunnel(loop, start, loop, new Notes());
  wrong.start();
  const landing = addToy(pair, wrong, overs[0]);
  const home = addToy(pair, server, overs[1]);
  const toy = addToy(pair, client);
  const transfer = new Transfer(pair, 8 * MEGABYTE);
  pair.until(() => transfer.share > 0.1, 20_000);
  const path = client.openPath(toy.connect(landing.listen(endpoint(LOOPBACK, 0))));
  pair.until(() => pair.atClient.log.includes(`proven ${path}`), 10_000);
  client.moveTo(path);
  pair.until(() => transfer.isOver, 20_000);
  transfer.check();
  assert.ok(isBy(pair.atServer.sessions[0], server, TOY_ID));
  assert.deepEqual([landing.strays, landing.connections.size, home.strays], [1, 0, 0]);
  assert.deepEqual([overs[0]!.counters.given, overs[1]!.counters.taken], [1, 1]);
  wrong.stop();
  for (const over of overs) over.close();
});

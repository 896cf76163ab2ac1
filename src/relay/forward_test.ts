/** The relay in user space, over loopback: sockets of its own, and a loop that turns by hand. */

import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { ipBytes } from "../base/ip.ts";
import type { RelayPlan } from "./kernel_relay.ts";
import { Loop } from "../loop/loop.ts";
import { Forwarder } from "./forward.ts";
import { RelayByte, RelayCounters } from "./protocol.ts";

const { native } = libraries();
const LOOPBACK = Uint8Array.from(ipBytes("127.0.0.1"));

function socket(): UdpSocket {
  return new UdpSocket(native, { local: endpoint(LOOPBACK, 0), packetInfo: false });
}

function freePort(): number {
  using one = socket();
  return one.local.port;
}

class Bench implements Disposable {
  readonly counters = new RelayCounters();
  readonly states: Uint8Array;
  readonly port = freePort();
  readonly backends: UdpSocket[];
  readonly loop: Loop;
  readonly forwarder: Forwarder;
  readonly inbox = new UdpInbox();

  constructor(count: number, settings: Partial<RelayPlan> = {}) {
    this.backends = Array.from({ length: count }, socket);
    this.states = new Uint8Array(count);
    this.loop = new Loop(native);
    const plan: RelayPlan = {
      services: [{
        ...{ first: this.port, last: this.port, byPort: true },
        backends: this.backends.map(({ local }) => ({ ip: LOOPBACK, port: local.port, weight: 1 })),
      }],
      ports: { first: 20_000, count: 10 },
      idleMs: 60_000,
      flowsMax: 100,
      ...settings,
    };
    this.forwarder = new Forwarder(this.loop, {
      plan,
      counters: this.counters,
      flowsMax: plan.flowsMax,
      states: this.states,
    });
    this.forwarder.start();
  }

  send(from: UdpSocket, text: string, to = this.port): void {
    const bytes = new TextEncoder().encode(text);
    const outbox = new UdpOutbox(bytes);
    outbox.add(routeTo(endpoint(LOOPBACK, to)), 0, bytes.length);
    assert.equal(from.send(outbox), 1);
    for (let round = 0; round < 3; round++) this.loop.round(5);
  }

  /** What has come, with the port of who sent it. */
  received(at: UdpSocket): [string, number][] {
    const count = at.receive(this.inbox);
    return Array.from({ length: count }, (_, i) => [
      new TextDecoder().decode(this.inbox.bytes(i)),
      this.inbox.peer(i).port,
    ]);
  }

  setState(backend: number, state: number): void {
    this.states[backend] = state;
    this.forwarder.changed();
  }

  [Symbol.dispose](): void {
    this.forwarder.stop();
    this.loop.close();
    for (const one of this.backends) one.close();
  }
}

Deno.test("Forwarder carries there and back, and keeps strangers out", () => {
  using bench = new Bench(1);
  using client = socket();
  using stranger = socket();
  bench.send(client, "there");
  const [[text, port] = ["", 0]] = bench.received(bench.backends[0]!);
  assert.equal(text, "there");
  assert.notEqual(port, client.local.port);
  bench.send(stranger, "not you", port);
  bench.send(bench.backends[0]!, "back", port);
  assert.deepEqual(bench.received(client), [["back", bench.port]]);
  assert.deepEqual([bench.counters.forwarded, bench.counters.returned, bench.counters.flows], [
    1,
    1,
    1,
  ]);
});

Deno.test("Forwarder moves flows of a backend that is down, and no others", () => {
  using bench = new Bench(2);
  const clients = Array.from({ length: 12 }, socket);
  const where = () =>
    clients.map((client) => {
      bench.send(client, "x");
      return bench.backends.findIndex((one) => bench.received(one).length > 0);
    });
  const first = where();
  assert.deepEqual([...new Set(first)].toSorted(), [0, 1]);
  bench.setState(0, RelayByte.draining);
  assert.deepEqual(where(), first);
  bench.setState(0, RelayByte.down);
  assert.ok(where().every((backend) => backend === 1));
  assert.equal(bench.counters.moved, first.filter((backend) => backend === 0).length);
  bench.setState(1, RelayByte.down);
  using late = socket();
  bench.send(late, "x");
  assert.equal(bench.counters.noBackend, 1);
  for (const client of clients) client.close();
});

Deno.test("Forwarder holds so many flows and no more: whoever comes is let in", () => {
  using bench = new Bench(1, { flowsMax: 2 });
  const clients = Array.from({ length: 3 }, socket);
  for (const client of clients) bench.send(client, "x");
  assert.deepEqual([bench.counters.flows, bench.counters.evicted], [2, 1]);
  assert.equal(bench.received(bench.backends[0]!).length, 3);
  // One that was answered stays, however many strangers come.
  bench.send(clients[0]!, "again");
  const [[, port]] = bench.received(bench.backends[0]!) as [[string, number]];
  bench.send(bench.backends[0]!, "back", port);
  assert.deepEqual(bench.received(clients[0]!), [["back", bench.port]]);
  for (const client of [clients[1]!, clients[2]!, clients[1]!]) bench.send(client, "x");
  bench.send(bench.backends[0]!, "still here", port);
  assert.deepEqual(bench.received(clients[0]!), [["still here", bench.port]]);
  for (const client of clients) client.close();
});

Deno.test("Forwarder lets idle flows go, and unanswered ones sooner", () => {
  using bench = new Bench(1, { idleMs: 60_000 });
  const clients = Array.from({ length: 3 }, socket);
  for (const client of clients) bench.send(client, "x");
  const [[, port]] = bench.received(bench.backends[0]!) as [[string, number]];
  bench.send(bench.backends[0]!, "back", port);
  const { now } = bench.loop;
  bench.forwarder.fire(now + 9000);
  assert.equal(bench.counters.flows, 3);
  bench.forwarder.fire(now + 11_000);
  assert.equal(bench.counters.flows, 1);
  bench.forwarder.fire(now + 61_000);
  assert.equal(bench.counters.flows, 0);
  bench.send(clients[2]!, "x");
  assert.equal(bench.counters.flows, 1);
  for (const client of clients) client.close();
});

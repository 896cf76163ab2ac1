import assert from "node:assert/strict";
import { testNative } from "../../../tests/native.ts";
import { FakeTunnel } from "../../../tests/fixtures/fake_tunnel.ts";
import { type Endpoint, endpoint, formatEndpoint } from "../../../ffi/endpoint.ts";
import { EventFd } from "../../../ffi/loop.ts";
import { ringMemory, RingWriter } from "../../base/ring.ts";
import type { Session } from "../../session/session.ts";
import { ClientService, type Tunnel } from "./service.ts";
import { type Loop, NOT_ARMED } from "../../loop/loop.ts";
import type { TunnelEvents } from "../tunnel.ts";
import type { InboundSpec } from "../../inbound/spec.ts";
import type { ClientStart, ToWorker, WorkerMessage } from "../protocol.ts";
import { SharedWord } from "../protocol.ts";

const native = testNative();
const loop4 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1);
const listen = endpoint(loop4, 0);

/** A tunnel whose session has one path, and whose state the test sets. */
class TestTunnel extends FakeTunnel implements Tunnel {
  state: Tunnel["state"] = "idle";
  isStarted = false;
  isStopped = false;
  pings: number[] = [];
  servers: readonly Endpoint[] = [];

  setServers(servers: readonly Endpoint[]): void {
    this.servers = servers;
  }

  start(): void {
    this.isStarted = true;
  }

  stop(): void {
    this.isStopped = true;
  }

  override session(): Session {
    if (this.state !== "open") this.state = "connecting";
    const counters = { lostPackets: 1, sentPackets: 4 };
    return Object.assign(super.session(), {
      activePath: 0,
      recovery: { path: () => ({ rtt: { smoothed: 7 }, counters }) },
      ping: (_path: number, _high: number, low: number) => this.pings.push(low),
    });
  }
}

class Main {
  readonly messages: WorkerMessage[] = [];
  readonly wake = new EventFd(native);
  readonly words: BigInt64Array;
  readonly start: ClientStart;
  readonly side: ClientService;
  readonly #ring: RingWriter;
  tunnel!: TestTunnel;
  events!: TunnelEvents;

  constructor(inbounds: readonly InboundSpec[]) {
    const shared = new SharedArrayBuffer(8 * SharedWord.count);
    const inbox = ringMemory(4096);
    this.words = new BigInt64Array(shared);
    this.#ring = new RingWriter(inbox);
    this.start = {
      kind: "client",
      wakeFd: this.wake.fd,
      psk: new Uint8Array(32).fill(1),
      userKey: new Uint8Array(32).fill(2),
      ...{ shared, inbox, inbounds, servers: [listen], user: "ann" },
      ...{ upRate: 0, downRate: 0, windowPackets: 64, maxRetries: 10 },
    };
    const post = (message: WorkerMessage) => this.messages.push(message);
    this.side = new ClientService({ native }, this.start, post, (loop, _start, _libs, events) => {
      this.events = events;
      this.tunnel = new TestTunnel(loop);
      this.tunnel.events = events;
      return this.tunnel;
    });
  }

  tell(message: ToWorker): void {
    assert.ok(this.#ring.write(new TextEncoder().encode(JSON.stringify(message))));
    this.wake.signal();
  }

  stop(): void {
    Atomics.store(this.words, SharedWord.stop, 1n);
    this.wake.signal();
  }

  /** Runs the loop, and these between its rounds. */
  run(...steps: (() => void)[]): void {
    const timer = {
      heapIndex: NOT_ARMED,
      dueAt: 0,
      fire: (now: number): void => {
        steps.shift()?.();
        if (steps.length > 0) this.loop.arm(timer, now + 2);
      },
    };
    this.loop.arm(timer, this.loop.now);
    this.side.run();
    this.wake.close();
  }

  get loop(): Loop {
    return this.side.loop;
  }
}

Deno.test("ready tells the ports in order; stop ends everything and wipes the keys", () => {
  const main = new Main([
    { kind: "mixed", listen },
    { kind: "udp", listen, target: "t.example:53" },
    { kind: "tcp", listen, target: "t.example:80" },
  ]);
  main.run(() => main.stop());
  const [ready] = main.messages;
  assert.ok(ready?.kind === "ready");
  assert.equal(ready.ports.length, 3);
  assert.ok(ready.ports.every((port) => port > 0));
  assert.ok(main.tunnel.isStarted && main.tunnel.isStopped);
  assert.ok(main.start.psk.every((byte) => byte === 0));
  assert.ok(main.start.userKey.every((byte) => byte === 0));
});

Deno.test("a stop that was said before the start is heard", () => {
  const main = new Main([]);
  main.stop();
  main.run();
  assert.ok(main.tunnel.isStopped);
});

Deno.test("the session's state is told when it changes, and when it is asked for", () => {
  const main = new Main([]);
  const session = (): Session => main.tunnel.current!.asSession;
  main.run(
    // Nobody has used it yet: who asks has it connected.
    () => main.tell({ kind: "report" }),
    () => {
      main.tunnel.state = "open";
      main.events.sessionOpened(session(), "ann");
    },
    () => main.tell({ kind: "report" }),
    () => {},
    () => main.events.pong(session(), 0, 0, main.tunnel.pings[0]!),
    () => {
      main.events.closed(session(), 0, true);
      main.tunnel.state = "lost";
    },
    () => {},
    () => main.stop(),
  );
  const reports = main.messages.filter((message) => message.kind === "session");
  assert.deepEqual(reports.map(({ state }) => state), ["connecting", "open", "open", "lost"]);
  assert.equal(reports[1]!.rttMs, 7);
  assert.equal(reports[1]!.lostShare, 0.25);
  // Measured, not what recovery believes.
  assert.ok(reports[2]!.rttMs > 1 && reports[2]!.rttMs !== 7);
  assert.equal(main.tunnel.pings.length, 1);
});

Deno.test("the server's addresses of now reach the tunnel", () => {
  const main = new Main([]);
  const servers = [{ host: "192.0.2.1", port: 1 }, { host: "2001:db8::1", port: 1 }];
  main.run(() => main.tell({ kind: "servers", servers }), () => {}, () => main.stop());
  assert.deepEqual(main.tunnel.servers.map(formatEndpoint), ["192.0.2.1:1", "[2001:db8::1]:1"]);
});

Deno.test("an inbound that can't be had fails the worker, and leaves none open", () => {
  const first = new Main([{ kind: "mixed", listen }]);
  first.run(() => first.stop());
  const bad = new Main([
    { kind: "mixed", listen },
    { kind: "tcp", listen, target: "no port" },
  ]);
  assert.throws(() => bad.run(), /host:port/);
  assert.equal(bad.messages.length, 0);
  assert.deepEqual(bad.side.inbounds.ports, []);
});

Deno.test("a message that is no JSON is told of, and left", () => {
  const main = new Main([]);
  main.run(
    () => main.tell("nonsense" as never),
    () => {},
    () => main.stop(),
  );
  // A text is JSON; what it says is nothing that is known.
  assert.deepEqual(main.messages.map(({ kind }) => kind), ["ready"]);
});

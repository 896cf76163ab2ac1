import assert from "node:assert/strict";
import { FakeTunnel } from "../../../tests/fixtures/fake_tunnel.ts";
import { HostBench } from "../../../tests/fixtures/host.ts";
import { clientStart } from "../../../tests/fixtures/tunnel.ts";
import { type Endpoint, endpoint, formatEndpoint } from "../../../ffi/endpoint.ts";
import type { Session } from "../../session/session.ts";
import { ClientService, type Tunnel } from "./service.ts";
import type { TunnelEvents } from "../tunnel.ts";
import type { InboundSpec } from "../../inbound/spec.ts";
import type { ClientReady, ClientStart, SessionReport, ToClient } from "../protocol.ts";

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

class Main implements Disposable {
  readonly bench = new HostBench();
  readonly start: ClientStart;
  readonly side: ClientService;
  tunnel!: TestTunnel;
  events!: TunnelEvents;

  constructor(inbounds: readonly InboundSpec[]) {
    this.start = clientStart([listen], { inbounds, user: "ann" });
    this.side = new ClientService(this.bench.host, this.start, ({ loop }, _start, events) => {
      this.events = events;
      this.tunnel = new TestTunnel(loop);
      this.tunnel.events = events;
      return this.tunnel;
    });
  }

  tell(message: ToClient): void {
    this.bench.tell("tunnel", message);
  }

  stop(): void {
    this.bench.stop();
  }

  /** Runs the loop, and these between its rounds. */
  run(...steps: (() => void)[]): void {
    this.bench.run([this.side], ...steps);
  }

  [Symbol.dispose](): void {
    this.bench[Symbol.dispose]();
  }
}

Deno.test("ready tells the ports in order; stop ends everything and wipes the keys", () => {
  using main = new Main([
    { kind: "mixed", listen },
    { kind: "udp", listen, target: "t.example:53" },
    { kind: "tcp", listen, target: "t.example:80" },
  ]);
  main.run(() => main.stop());
  const [ready] = main.bench.messages;
  assert.ok(ready?.kind === "ready");
  const { ports } = ready.services.tunnel as ClientReady;
  assert.equal(ports.length, 3);
  assert.ok(ports.every((port) => port > 0));
  assert.ok(main.tunnel.isStarted && main.tunnel.isStopped);
  main.bench.host.close();
  assert.ok(main.start.psk.every((byte) => byte === 0));
  assert.ok(main.start.userKey.every((byte) => byte === 0));
});

Deno.test("a stop that was said before the start is heard", () => {
  using main = new Main([]);
  main.stop();
  main.run();
  assert.ok(main.tunnel.isStopped);
});

Deno.test("the session's state is told when it changes, and when it is asked for", () => {
  using main = new Main([]);
  const session = (): Session => main.tunnel.current!.asSession;
  main.run(
    // Nobody has used it yet: who asks has it connected.
    () => main.tell({ kind: "report" }),
    () => {
      main.tunnel.state = "open";
      main.events.sessionOpened(session(), "ann");
    },
    // It is told of once its round trip is measured.
    () => {},
    () => main.events.pong(session(), 0, 0, main.tunnel.pings[0]!),
    () => main.tell({ kind: "report" }),
    () => {},
    () => main.events.pong(session(), 0, 0, main.tunnel.pings[1]!),
    () => {
      main.events.closed(session(), 0, true);
      main.tunnel.state = "lost";
    },
    () => {},
    () => main.stop(),
  );
  const reports = main.bench.said<SessionReport>("tunnel");
  assert.deepEqual(reports.map(({ state }) => state), ["connecting", "open", "open", "lost"]);
  assert.equal(reports[1]!.lostShare, 0.25);
  // Measured, not what recovery believes.
  for (const { rttMs } of reports.slice(1, 3)) assert.ok(rttMs > 1 && rttMs !== 7);
  assert.equal(main.tunnel.pings.length, 2);
});

Deno.test("the server's addresses of now reach the tunnel", () => {
  using main = new Main([]);
  const servers = [{ host: "192.0.2.1", port: 1 }, { host: "2001:db8::1", port: 1 }];
  main.run(() => main.tell({ kind: "servers", servers }), () => {}, () => main.stop());
  assert.deepEqual(main.tunnel.servers.map(formatEndpoint), ["192.0.2.1:1", "[2001:db8::1]:1"]);
});

Deno.test("an inbound that can't be had fails the worker, and leaves none open", () => {
  using first = new Main([{ kind: "mixed", listen }]);
  first.run(() => first.stop());
  using bad = new Main([
    { kind: "mixed", listen },
    { kind: "tcp", listen, target: "no port" },
  ]);
  assert.throws(() => bad.run(), /host:port/);
  assert.equal(bad.bench.messages.length, 0);
  assert.ok(bad.tunnel.isStopped);
  assert.deepEqual(bad.side.inbounds.ports, []);
});

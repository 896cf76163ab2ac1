import assert from "node:assert/strict";
import { endpoint, formatEndpoint } from "../../ffi/endpoint.ts";
import { TcpListener, type TcpSocket } from "../../ffi/tcp.ts";
import { UdpInbox, UdpSocket } from "../../ffi/udp.ts";
import { FakeSession, waker } from "../../tests/fixtures/stream_session.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { Log } from "../base/log.ts";
import { UserAccount } from "../proxy/users.ts";
import { encodeAddress } from "../wire/address.ts";
import { OpenedCode } from "../wire/frames.ts";
import { Loop } from "../loop/loop.ts";
import type { Resolution } from "../loop/resolver.ts";
import { routesOf } from "./routes.ts";
import { routingText } from "./rule_text.ts";
import { Targets } from "../tunnel/exit/targets.ts";
import { TargetAssociations } from "../tunnel/exit/associations.ts";
import type { Routing } from "./routing.ts";

const native = testNative();
const WAIT_MS = 5000;
const LOCAL = ["127.0.0.0/8", "::1/128"];
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "both.example": ["::1", "127.0.0.1"],
  "six.example": ["::1"],
};

/** Targets and associations with these routes, and a session of alice. */
class Bench implements Disposable {
  readonly loop = new Loop(native);
  readonly session = new FakeSession();
  readonly targets: Targets;
  readonly associations: TargetAssociations;
  readonly account: UserAccount = new UserAccount();
  #opened = 0;

  constructor(routing: Routing) {
    const resolver = {
      resolve(name: string): Resolution {
        return { addresses: (NAMES[name] ?? []).map(ipBytes), until: Infinity };
      },
      forget() {},
    };
    const options = { ...routesOf(routing), waker, resolver, accountOf: () => this.account };
    this.targets = new Targets(this.loop, options);
    this.associations = new TargetAssociations(this.loop, options);
    this.session.sink = this.targets;
    this.targets.sessionOpened(this.session, "alice");
    this.associations.sessionOpened(this.session, "alice");
  }

  set(routing: Routing): void {
    this.targets.setRoutes(routesOf(routing));
    this.associations.setRoutes(routesOf(routing));
  }

  open(host: string, port: number): number {
    const address = encodeAddress(host, port)!;
    this.targets.opened(this.session, this.#opened, address, 0, address.length);
    return this.#opened++;
  }

  send(assoc: number, host: string, port: number): void {
    const address = encodeAddress(host, port)!;
    this.associations.datagram(this.session, assoc, address, 0, address.length, 0, 1);
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + WAIT_MS;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  code(id: number): number {
    const stream = this.session.stream(id);
    this.until(() => stream.answer !== undefined);
    return stream.answer!.code;
  }

  accept(listener: TcpListener): TcpSocket {
    let socket: TcpSocket | undefined;
    this.until(() => (socket = listener.accept(1)[0]) !== undefined);
    return socket!;
  }

  [Symbol.dispose](): void {
    this.targets.stop();
    this.associations.stop();
    assert.equal(this.account.connections, 0);
    this.loop.close();
  }
}

function listen(ip: string, port = 0): TcpListener {
  return new TcpListener(native, { local: endpoint(ipBytes(ip), port) });
}

const rules = [{ cidr: LOCAL, outbound: "direct" }];

Deno.test("a stream that no rule matches goes by the default outbound", () => {
  using proxy = listen("127.0.0.1");
  using target = listen("127.0.0.1");
  const { port } = proxy.local;
  const outbounds = [
    { name: "up", kind: "socks5" as const, peers: [{ host: "127.0.0.1", port }] },
  ];
  using bench = new Bench({ rules: [], outbounds, defaultOutbound: "up" });
  // What is not public is refused all the same, and the proxy hears nothing of it.
  assert.equal(bench.code(bench.open("127.0.0.1", target.local.port)), OpenedCode.notPublic);
  const id = bench.open("1.1.1.1", 80);
  const far = bench.accept(proxy);
  bench.set({ rules });
  const direct = bench.open("127.0.0.1", target.local.port);
  assert.equal(bench.code(direct), OpenedCode.ok);
  bench.accept(target).close();
  // The first one's way is not disturbed.
  assert.equal(bench.session.stream(id).answer, undefined);
  far.close();
  assert.equal(bench.code(id), OpenedCode.unreachable);
  assert.throws(() => bench.set({ rules: [{ outbound: "gone" }] }), /rules\[0\]\.outbound "gone"/);
  assert.throws(() => bench.set({ rules, defaultOutbound: "gone" }), /rules\.fallback "gone"/);
});

Deno.test("names go to a proxy as addresses, or as they are", () => {
  using proxy = listen("127.0.0.1");
  const peers = [{ host: "127.0.0.1", port: proxy.local.port }];
  const make = (passesNames: boolean): Routing => ({
    rules: [{ cidr: LOCAL, outbound: "up" }],
    outbounds: [{ name: "up", kind: "http", peers, passesNames }],
    defaultOutbound: "up",
    ipPreference: "ipv4",
  });
  using bench = new Bench(make(false));
  const asked = (): string => {
    bench.open("both.example", 80);
    const far = bench.accept(proxy);
    const bytes = new Uint8Array(100);
    let length = 0;
    bench.until(() => (length = far.read(bytes, 0, bytes.length)) > 0);
    far.close();
    return new TextDecoder().decode(bytes.subarray(0, length)).split(" ")[1]!;
  };
  assert.equal(asked(), "127.0.0.1:80");
  bench.set({ ...make(false), ipPreference: "ipv6-only" });
  assert.equal(asked(), "[::1]:80");
  // Still judged by the CIDR of its addresses, as there are such rules.
  bench.set({ ...make(true), rules: [] });
  assert.equal(asked(), "both.example:80");
});

Deno.test("outbounds of this machine have their own source, for streams and datagrams", () => {
  using target = listen("127.0.0.1");
  using socket = new UdpSocket(native, { local: endpoint(ipBytes("127.0.0.1"), 0) });
  const inbox = new UdpInbox();
  const outbounds = [{ name: "second", kind: "direct" as const, source: "127.0.0.9" }];
  const second: Routing = { rules: [{ cidr: LOCAL, outbound: "second" }], outbounds };
  using bench = new Bench(second);
  bench.open("127.0.0.1", target.local.port);
  const far = bench.accept(target);
  assert.match(formatEndpoint(far.peer), /^127\.0\.0\.9:/);
  far.close();
  const from = () => {
    bench.send(1, "127.0.0.1", socket.local.port);
    bench.until(() => socket.receive(inbox) > 0);
    return formatEndpoint(inbox.peer(0));
  };
  const first = from();
  assert.match(first, /^127\.0\.0\.9:/);
  assert.equal(from(), first);
  bench.set({ rules });
  assert.match(from(), /^127\.0\.0\.1:/);
  // No proxy carries datagrams.
  bench.set({ rules: [], outbounds: [{ name: "up", kind: "socks5" }], defaultOutbound: "up" });
  bench.send(1, "1.1.1.1", 9);
  assert.equal(bench.associations.counters.refused, 1);
});

Deno.test("an interface that is not there fails streams and datagrams, and nothing else", () => {
  const outbounds = [{ name: "away", kind: "direct" as const, device: "nowhere7" }];
  using bench = new Bench({ rules: [{ cidr: LOCAL, outbound: "away" }], outbounds });
  assert.notEqual(bench.code(bench.open("127.0.0.1", 9)), OpenedCode.ok);
  bench.send(1, "127.0.0.1", 9);
  assert.equal(bench.associations.counters.noSocket, 1);
});

Deno.test("addresses of one family alone are tried where that is wanted", () => {
  using four = listen("127.0.0.1");
  using _six = listen("::1", four.local.port);
  using bench = new Bench({ rules, ipPreference: "ipv4-only" });
  assert.equal(bench.code(bench.open("both.example", four.local.port)), OpenedCode.ok);
  bench.accept(four).close();
  assert.notEqual(bench.code(bench.open("six.example", four.local.port)), OpenedCode.ok);
});

Deno.test("a user's connections are limited, streams and associations together", () => {
  using target = listen("127.0.0.1");
  using bench = new Bench({ rules });
  bench.account.limits = { connectionsMax: 2 };
  const { port } = target.local;
  const id = bench.open("127.0.0.1", port);
  assert.equal(bench.code(id), OpenedCode.ok);
  bench.send(1, "127.0.0.1", 9);
  assert.equal(bench.associations.count, 1);
  assert.equal(bench.code(bench.open("127.0.0.1", port)), OpenedCode.tooManyStreams);
  bench.send(2, "127.0.0.1", 9);
  assert.equal(bench.associations.count, 1);
  assert.equal(bench.account.connections, 2);
  bench.associations.assocEnded(bench.session, 1);
  assert.equal(bench.code(bench.open("127.0.0.1", port)), OpenedCode.ok);
  bench.targets.wasReset(bench.session, id);
  assert.equal(bench.account.connections, 1);
  // Who may not be here any more is told so.
  bench.account.limits = { expiresAtMs: 1 };
  assert.equal(bench.code(bench.open("127.0.0.1", port)), OpenedCode.userRefused);
  assert.equal(bench.targets.counters.refused, 2);
});

Deno.test("routingText() looks the proxies' names up", async () => {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const log = Log.to({ level: "warn", format: "text", write, now: () => 0 });
  const find = (name: string) =>
    Promise.resolve({ addresses: name === "a.example" ? ["192.0.2.1", "2001:db8::1"] : [] });
  const none = { user: "", password: "", interface: "", source: "", passNames: false };
  const common = { ...none, type: "socks5" as const };
  const { outbounds } = await routingText(
    {
      rules: [],
      outbounds: [
        { ...common, name: "a", address: { host: "a.example", port: 1 }, user: "u", password: "p" },
        { ...common, name: "b", address: { host: "b.example", port: 2 } },
        { ...common, name: "c", address: { host: "2001:db8::2", port: 3 } },
        { ...common, name: "d", type: "direct", address: undefined, interface: "eth1" },
      ],
      defaultOutbound: "a",
      ipPreference: "auto",
      bench: true,
    },
    { find },
    log,
  );
  assert.deepEqual(outbounds!.map(({ peers }) => peers), [
    [{ host: "192.0.2.1", port: 1 }, { host: "2001:db8::1", port: 1 }],
    [],
    [{ host: "2001:db8::2", port: 3 }],
    [],
  ]);
  assert.deepEqual(outbounds![0]!.credential, { user: "u", password: "p" });
  assert.equal(outbounds![3]!.device, "eth1");
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /an outbound has no address .*b\.example/);
});

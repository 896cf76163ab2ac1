import assert from "node:assert/strict";
import { type Endpoint, endpoint } from "../../ffi/endpoint.ts";
import { tcpAgain, TcpListener, type TcpSocket } from "../../ffi/tcp.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { Loop } from "../loop/loop.ts";
import type { NameWaiter, Resolution } from "../loop/resolver.ts";
import { OpenedCode } from "../wire/frames.ts";
import { compileRules } from "../proxy/rules.ts";
import type { RuleSpec } from "../proxy/rule_form.ts";
import { Target } from "../proxy/target.ts";
import { type ConnectEvents, Connector } from "./connector.ts";
import type { Routes } from "./routes.ts";

const native = testNative();
const LOOPBACK = ipBytes("127.0.0.1");
const LOCAL: RuleSpec = { cidr: ["127.0.0.0/8", "::1/128"], outbound: "direct" };
const WAIT_MS = 5000;

function routes(rules: readonly RuleSpec[], more: Partial<Routes> = {}): Routes {
  const names = [...more.upstreams?.keys() ?? [], ...more.origins?.keys() ?? []];
  const outbounds = names.map((name) => ({ name, resolvesNames: name === "by-name" }));
  const compiled = compileRules({ rules, outbounds });
  assert.ok("rules" in compiled, JSON.stringify(compiled));
  return { rules: compiled.rules, ...more };
}

function targetOf(text: string): Target {
  const target = new Target();
  assert.ok(target.setText(text));
  return target;
}

/** Hears how one attempt went. */
class Heard implements ConnectEvents {
  socket: TcpSocket | undefined;
  code: number | undefined;
  told = 0;

  connected(socket: TcpSocket): void {
    this.socket = socket;
    this.told++;
  }

  failed(code: number): void {
    this.code = code;
    this.told++;
  }
}

class Bench implements Disposable {
  readonly loop = new Loop(native, (error) => void this.faults.push(error));
  readonly faults: unknown[] = [];
  readonly listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  readonly waiting = new Map<string, NameWaiter>();
  readonly connector: Connector;
  readonly #heard: Heard[] = [];

  constructor(made: (local: Endpoint) => Routes) {
    const resolver = {
      resolve: (name: string, waiter: NameWaiter) => void this.waiting.set(name, waiter),
      forget: (name: string) => void this.waiting.delete(name),
    };
    this.connector = new Connector(this.loop, resolver, made(this.listener.local));
  }

  connect(text: string, user = "alice"): Heard {
    const heard = new Heard();
    this.#heard.push(heard);
    this.connector.connect(user, targetOf(text), heard);
    return heard;
  }

  answer(name: string, resolution: Omit<Resolution, "until">): void {
    this.waiting.get(name)!.resolved({ ...resolution, until: Infinity });
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + WAIT_MS;
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

  [Symbol.dispose](): void {
    for (const { socket } of this.#heard) socket?.close();
    this.loop.close();
    this.listener.close();
  }
}

Deno.test("Connector judges, resolves and dials, and tells once how it went", () => {
  using bench = new Bench(() => routes([LOCAL]));
  const { port } = bench.listener.local;
  const byAddress = bench.connect(`127.0.0.1:${port}`);
  const byName = bench.connect(`a.example:${port}`);
  bench.answer("a.example", { addresses: [ipBytes("10.0.0.1"), LOOPBACK] });
  const far = [bench.accept(), bench.accept()];
  bench.until(() => byAddress.socket !== undefined && byName.socket !== undefined);
  for (const socket of far) socket.close();
  assert.deepEqual([byAddress.told, byName.told], [1, 1]);
});

Deno.test("Connector tells before it returns what the rules alone decide", () => {
  using bench = new Bench(() => routes([{ domain: ["no.example"], outbound: "reject" }, LOCAL]));
  assert.equal(bench.connect("no.example:80").code, OpenedCode.denied);
  assert.equal(bench.connect("10.0.0.1:80").code, OpenedCode.notPublic);
  assert.equal(bench.waiting.size, 0);
});

Deno.test("Connector tells why a name led nowhere", () => {
  using bench = new Bench(() => routes([LOCAL]));
  const errors = [
    ["not-found", OpenedCode.nameNotFound],
    ["failed", OpenedCode.resolverSilent],
    ["timed-out", OpenedCode.resolverSilent],
    ["busy", OpenedCode.tooManyStreams],
  ] as const;
  for (const [error, code] of errors) {
    const heard = bench.connect(`${error}.example:80`);
    bench.answer(`${error}.example`, { addresses: [], error });
    assert.equal(heard.code, code, error);
  }
});

Deno.test("Connector has nothing told after an abort, and waits for no name", () => {
  using bench = new Bench(() => routes([LOCAL]));
  const { port } = bench.listener.local;
  const heard = new Heard();
  const resolving = bench.connector.connect("alice", targetOf("a.example:80"), heard);
  const waiter = bench.waiting.get("a.example")!;
  resolving.abort();
  assert.equal(bench.waiting.size, 0);
  waiter.resolved({ addresses: [LOOPBACK], until: Infinity });
  bench.connector.connect("alice", targetOf(`127.0.0.1:${port}`), heard).abort();
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(heard.told, 0);
});

Deno.test("Connector keeps the rules that a target began with", () => {
  using bench = new Bench(() => routes([LOCAL]));
  const before = bench.connect("a.example:9");
  bench.connector.setRoutes(routes([{ cidr: ["127.0.0.0/8"], outbound: "reject" }]));
  const after = bench.connect("b.example:9");
  bench.answer("b.example", { addresses: [LOOPBACK] });
  assert.equal(after.code, OpenedCode.denied);
  bench.answer("a.example", { addresses: [LOOPBACK] });
  bench.until(() => before.told > 0);
  assert.equal(before.code, OpenedCode.refused);
});

Deno.test("Connector comes from the address of an outbound of its own", () => {
  const source = ipBytes("127.0.0.5");
  using bench = new Bench(() =>
    routes([{ cidr: ["127.0.0.0/8"], outbound: "way" }], {
      origins: new Map([["way", { sources: [endpoint(source, 0)] }]]),
    })
  );
  const heard = bench.connect(`127.0.0.1:${bench.listener.local.port}`);
  const far = bench.accept();
  assert.deepEqual(far.peer.ip, source);
  bench.until(() => heard.socket !== undefined);
  far.close();
});

Deno.test("an upstream is told the target of its own connection, whatever comes after it", () => {
  using bench = new Bench((peer) =>
    routes([{ domainSuffix: ["example"], outbound: "by-name" }], {
      upstreams: new Map([["by-name", { kind: "socks5", peers: [peer] }]]),
    })
  );
  // As Targets does it: one Target is read into again and again.
  const target = targetOf("first.example:1");
  const heard = new Heard();
  const first = bench.connector.connect("alice", target, heard);
  assert.ok(target.setText("second.example:2"));
  const far = bench.accept();
  const said = readFrom(bench, far, 3);
  assert.deepEqual(said, Uint8Array.of(5, 1, 0));
  far.write(Uint8Array.of(5, 0), 0, 2);
  const named = readFrom(bench, far, 20).subarray(5, 18);
  assert.equal(new TextDecoder().decode(named), "first.example");
  first.abort();
  far.close();
});

Deno.test("an error of this program while a name is judged is heard, and fails the target", () => {
  using bench = new Bench(() => routes([LOCAL]));
  const heard = bench.connect("a.example:80");
  bench.answer("a.example", { addresses: undefined as unknown as Uint8Array[] });
  assert.equal(heard.code, OpenedCode.unreachable);
  assert.equal(bench.faults.length, 1);
  assert.ok(bench.faults[0] instanceof TypeError);
});

function readFrom(bench: Bench, far: TcpSocket, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  let at = 0;
  bench.until(() => {
    const count = far.read(data, at, bytes - at);
    assert.ok(count > 0 || count === tcpAgain);
    if (count > 0) at += count;
    return at === bytes;
  });
  return data;
}

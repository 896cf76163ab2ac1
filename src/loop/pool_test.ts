import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { serverStart } from "../../tests/fixtures/tunnel.ts";
import { ipBytes } from "../base/ip.ts";
import { Log } from "../base/log.ts";
import { keysOfServer } from "../tunnel/server/service.ts";
import type { ServerProtocol } from "../tunnel/protocol.ts";
import { NameLookup } from "./name_lookup.ts";
import { EarlyWorkers } from "./early_workers.ts";
import { Pool, type PoolOptions } from "./pool.ts";
import type { Protocol } from "./protocol.ts";

const libs = libraries();
const ip = ipBytes("127.0.0.1");

/** What a made-up worker is told and says. */
interface Numbers extends Protocol {
  readonly start: { readonly key: Uint8Array };
  readonly services: {
    readonly one: { readonly hears: number; readonly says: number; readonly ready: string };
    readonly two: { readonly hears: number; readonly says: number };
  };
}

function code(text: string): URL {
  return new URL(`data:application/javascript,${encodeURIComponent(text)}`);
}

/** A worker that says this to its first message. */
function saying(...messages: unknown[]): URL {
  return code(
    `self.onmessage = () => { for (const one of ${JSON.stringify(messages)}) ` +
      "self.postMessage(one); }",
  );
}

const READY = { kind: "ready", services: { one: "here" } };

type Setup = Partial<PoolOptions<Numbers>> & {
  readonly code: URL;
  readonly count?: number;
  readonly lines?: string[];
};

function options({ count = 1, lines = [], ...setup }: Setup): PoolOptions<Numbers> {
  const write = (line: string): void => void lines.push(line);
  return {
    libs,
    name: "test",
    starts: Array.from({ length: count }, () => ({ key: new Uint8Array(32).fill(7) })),
    log: Log.to({ level: "debug", format: "text", write, now: () => 0 }),
    ...setup,
  };
}

function serverOptions(count: number, port: number): PoolOptions<ServerProtocol> {
  return {
    libs,
    code: new URL("../tunnel/server/worker.ts", import.meta.url),
    name: "server",
    starts: Array.from(
      { length: count },
      (_, index) => serverStart({ index, workers: count, listen: endpoint(ip, port) }),
    ),
    keysOf: keysOfServer,
    log: new Log(({ message }) => assert.fail(message)),
  };
}

/** One that nothing listens on. */
function freePort(): number {
  using socket = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  return socket.local.port;
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !isTrue(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(isTrue());
}

Deno.test("a pool's workers share a port, count its datagrams and stop", async () => {
  const port = freePort();
  const pool = await Pool.start(serverOptions(3, port));
  try {
    assert.equal(pool.count, 3);
    assert.deepEqual(pool.ready("tunnel").map((ready) => ready.port), [port, port, port]);
    using sender = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
    for (let i = 0; i < 20; i++) {
      const outbox = new UdpOutbox(new Uint8Array(9));
      outbox.add(routeTo(endpoint(ip, port)), 0, 9);
      sender.send(outbox);
    }
    await until(() => pool.counters().tunnel!.receivedDatagrams === 20);
  } finally {
    await pool.stop();
  }
  // Counted to the last one when they have stopped.
  const { tunnel, loop } = pool.counters();
  assert.equal(tunnel!.receivedDatagrams, 20);
  assert.equal(tunnel!.openSessions, 0);
  assert.equal(loop!.faults, 0);
  // The port is free again.
  new UdpSocket(libs.native, { local: endpoint(ip, port) }).close();
});

Deno.test("workers that can't start say why, and none is left", async () => {
  using taken = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  const { port } = taken.local;
  await assert.rejects(Pool.start(serverOptions(2, port)), /EADDRINUSE/);
  const failing = saying({ kind: "failed", reason: "no wings" });
  await assert.rejects(Pool.start(options({ code: failing, count: 2 })), /^Error: no wings$/);
  const throwing = code("throw new Error('no code')");
  const failed = /^Error: a worker \(test\) failed: .*no code/;
  await assert.rejects(Pool.start(options({ code: throwing })), failed);
});

Deno.test("early workers are taken, those left over end, missing ones are made", async () => {
  const entry = { code: saying(READY, { kind: "stopped" }), name: "early" };
  for (const [early, count] of [[3, 2], [1, 2]] as const) {
    const workers = new EarlyWorkers(entry);
    workers.want(early);
    const pool = await Pool.start<Numbers>({
      ...options({ code: entry.code, count }),
      early: workers,
    });
    assert.equal(pool.count, count);
    assert.equal(workers.take(), undefined);
    await pool.stop();
  }
});

Deno.test("a worker that fails later is told of", async () => {
  const falling = saying(READY, { kind: "failed", reason: "fell" });
  const pool = await Pool.start(options({ code: falling, count: 2 }));
  await assert.rejects(pool.failure, /^Error: fell$/);
  await pool.stop();
});

Deno.test("the keys go over to the worker, and none is left here", async () => {
  const echo = code(
    `self.onmessage = ({ data }) =>
      self.postMessage({ kind: "failed", reason: String(data.start.key[0]) });`,
  );
  const given = options({ code: echo, keysOf: ({ key }) => [key] });
  await assert.rejects(Pool.start(given), /^Error: 7$/);
  assert.equal(given.starts[0]!.key.length, 0);
});

Deno.test("what a service says comes with its worker's index", async () => {
  const lines: string[] = [];
  const said: [string, number, number][] = [];
  const record = { level: "warn", component: "c", event: "e", message: "careful\n", fields: {} };
  const talking = saying(
    { kind: "log", record },
    { kind: "said", service: "two", message: 5 },
    { kind: "said", service: "nobody", message: 6 },
    READY,
    { kind: "stopped" },
  );
  const heard = {
    two: (message: number, index: number) => void said.push(["two", message, index]),
  };
  const pool = await Pool.start(options({ code: talking, count: 2, lines, heard }));
  assert.deepEqual(pool.ready("one"), ["here", "here"]);
  await pool.stop();
  assert.match(lines[0]!, /WARN {2}c: careful\\x0a event=e\n$/);
  assert.deepEqual(said.toSorted(), [["two", 5, 0], ["two", 5, 1]]);
});

/** Asks for names, and gives back by log what comes through the ring. */
const ASKING = code(`self.onmessage = ({ data }) => {
  const words = new Int32Array(data.host.inbox, 0, 2);
  const bytes = new Uint8Array(data.host.inbox, 8);
  const mask = bytes.length - 1;
  for (let id = 0; id < 3000; id++) self.postMessage({ kind: "resolve", id, name: "n" + id % 7 });
  self.postMessage(${JSON.stringify(READY)});
  setInterval(() => {
    for (;;) {
      const at = Atomics.load(words, 1);
      if (Atomics.load(words, 0) === at) return;
      let length = 0;
      for (let i = 0; i < 4; i++) length |= bytes[(at + i) & mask] << 8 * i;
      let message = "";
      for (let i = 0; i < length; i++) message += String.fromCharCode(bytes[(at + 4 + i) & mask]);
      Atomics.store(words, 1, at + 4 + (length + 3 & ~3));
      const record = { level: "info", component: "c", event: "e", message, fields: {} };
      self.postMessage({ kind: "log", record });
    }
  }, 20);
}`);

Deno.test("names are looked up for workers, and a full ring loses no answer", async () => {
  const lines: string[] = [];
  // As many as an answer may have: 3000 of these are more than the ring holds.
  const addresses = Array.from({ length: 32 }, (_, i) => `2001:db8::${i}`);
  const lookup = new NameLookup((name) =>
    Promise.resolve(
      name === "n0" ? { addresses: [], error: "not-found" as const } : { addresses },
    )
  );
  const pool = await Pool.start(options({ code: ASKING, lines, lookup }));
  try {
    pool.tell("one", 8);
    pool.tellEach("two", (index) => 9 + index);
    pool.tellEach("two", () => undefined);
    await until(() => lines.length === 3002);
  } finally {
    await pool.stop();
  }
  const heard = lines.map((line) =>
    JSON.parse(line.slice(line.indexOf("{"), line.lastIndexOf("}") + 1))
  );
  assert.deepEqual(heard.filter(({ to }) => to !== "resolver"), [
    { to: "one", message: 8 },
    { to: "two", message: 9 },
  ]);
  const answers = heard.filter(({ to }) => to === "resolver").map(({ message }) => message);
  assert.equal(new Set(answers.map(({ id }) => id)).size, 3000);
  for (const { id, addresses: found, error } of answers) {
    assert.deepEqual([found, error], id % 7 === 0 ? [[], "not-found"] : [addresses, undefined]);
  }
});

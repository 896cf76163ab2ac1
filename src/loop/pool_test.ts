import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { ipBytes } from "../base/ip.ts";
import { Log } from "../base/log.ts";
import { NameLookup } from "./name_lookup.ts";
import { type SessionReport, Workers, type WorkersOptions, type WorkerTask } from "./pool.ts";

const libs = libraries();
const ip = ipBytes("127.0.0.1");
const REAL = new URL("../tunnel/server/worker.ts", import.meta.url);

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

const READY = { kind: "ready", ports: [9], features: 0 };

/** One that nothing listens on. */
function freePort(): number {
  using socket = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  return socket.local.port;
}

function tasks(count: number, port: number): WorkerTask[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: "server",
    index,
    workers: count,
    listen: endpoint(ip, port),
    psk: new Uint8Array(32).fill(7),
    serverSecret: new Uint8Array(32).fill(8),
    upRate: 0,
    downRate: 0,
    windowPackets: 256,
    maxRetries: 10,
    users: [{ name: "a", key: new Uint8Array(32).fill(9), upRate: 0, downRate: 0 }],
    rules: [],
    idleMs: 10_000,
    sessionsMax: 16,
  }));
}

interface Setup {
  readonly code: URL;
  readonly count?: number;
  readonly port?: number;
  readonly find?: ConstructorParameters<typeof NameLookup>[0];
  readonly lines?: string[];
  readonly onSession?: (report: SessionReport) => void;
}

function options(setup: Setup): WorkersOptions {
  const { find = () => Promise.resolve({ addresses: [] }), lines = [], onSession } = setup;
  const write = (line: string): void => void lines.push(line);
  return {
    libs,
    code: setup.code,
    tasks: tasks(setup.count ?? 1, setup.port ?? 9),
    lookup: new NameLookup(find),
    log: Log.to({ level: "debug", format: "text", write, now: () => 0 }),
    ...(onSession === undefined ? {} : { onSession }),
  };
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !isTrue(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(isTrue());
}

Deno.test("Workers share a port, count its datagrams and stop", async () => {
  const port = freePort();
  const workers = await Workers.start(options({ code: REAL, count: 3, port }));
  try {
    assert.equal(workers.count, 3);
    assert.deepEqual(workers.ports, [port]);
    using sender = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
    for (let i = 0; i < 20; i++) {
      const outbox = new UdpOutbox(new Uint8Array(9));
      outbox.add(routeTo(endpoint(ip, port)), 0, 9);
      sender.send(outbox);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  } finally {
    await workers.stop();
  }
  // Counted to the last one when they have stopped.
  assert.equal(workers.counters().datagrams, 20);
  assert.equal(workers.counters().sessions, 0);
  // The port is free again.
  new UdpSocket(libs.native, { local: endpoint(ip, port) }).close();
});

Deno.test("Workers that can't start say why, and none is left", async () => {
  using taken = new UdpSocket(libs.native, { local: endpoint(ip, 0) });
  const { port } = taken.local;
  await assert.rejects(Workers.start(options({ code: REAL, count: 2, port })), /EADDRINUSE/);
  const failing = saying({ kind: "failed", reason: "no wings" });
  await assert.rejects(Workers.start(options({ code: failing, count: 2 })), /^Error: no wings$/);
});

Deno.test("a worker that fails later is told of", async () => {
  const falling = saying(READY, { kind: "failed", reason: "fell" });
  const workers = await Workers.start(options({ code: falling, count: 2 }));
  await assert.rejects(workers.failure, /^Error: fell$/);
  await workers.stop();
});

Deno.test("the keys go over to the worker, and none is left here", async () => {
  const echo = code(
    "self.onmessage = ({ data }) => { const { psk, serverSecret, users } = data;" +
      "const firsts = [psk, serverSecret, users[0].key].map((one) => one[0]).join();" +
      `self.postMessage({ kind: "failed", reason: firsts }); }`,
  );
  const given = options({ code: echo });
  await assert.rejects(Workers.start(given), /^Error: 7,8,9$/);
  const [task] = given.tasks;
  assert.ok(task?.kind === "server");
  assert.deepEqual([task.psk, task.serverSecret, task.users[0]!.key].map((one) => one.length), [
    0,
    0,
    0,
  ]);
});

Deno.test("what a worker logs and tells of its session is passed on", async () => {
  const report = { state: "open", rttMs: 5, lostShare: 0, bytesUp: 1, bytesDown: 2 } as const;
  const lines: string[] = [];
  const reports: SessionReport[] = [];
  const talking = saying(
    {
      kind: "log",
      record: {
        ...{ level: "warn", component: "tunnel", event: "said" },
        ...{ message: "careful\n", fields: {} },
      },
    },
    { kind: "session", ...report },
    READY,
    { kind: "stopped" },
  );
  const onSession = (one: SessionReport) => void reports.push(one);
  const workers = await Workers.start(options({ code: talking, lines, onSession }));
  await workers.stop();
  assert.match(lines[0]!, /WARN {2}tunnel: careful\\x0a event=said\n$/);
  assert.deepEqual(reports, [report]);
});

/** Asks for names, and gives back by log what comes through the ring. */
const ASKING = code(`self.onmessage = ({ data }) => {
  const words = new Int32Array(data.inbox, 0, 2);
  const bytes = new Uint8Array(data.inbox, 8);
  const mask = bytes.length - 1;
  for (let id = 0; id < 3000; id++) self.postMessage({ kind: "resolve", id, name: "n" + id % 7 });
  self.postMessage({ kind: "ready", ports: [9], features: 0 });
  setInterval(() => {
    for (;;) {
      const at = Atomics.load(words, 1);
      if (Atomics.load(words, 0) === at) return;
      let length = 0;
      for (let i = 0; i < 4; i++) length |= bytes[(at + i) & mask] << 8 * i;
      let text = "";
      for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[(at + 4 + i) & mask]);
      Atomics.store(words, 1, at + 4 + (length + 3 & ~3));
      self.postMessage({
        kind: "log",
        record: { level: "info", component: "tunnel", event: "said", message: text, fields: {} },
      });
    }
  }, 20);
}`);

Deno.test("names are looked up for workers, and a full ring loses no answer", async () => {
  const lines: string[] = [];
  // As many as an answer may have: 3000 of these are more than the ring holds.
  const addresses = Array.from({ length: 32 }, (_, i) => `2001:db8::${i}`);
  const find = (name: string) =>
    Promise.resolve(
      name === "n0" ? { addresses: [], error: "not-found" as const } : { addresses },
    );
  const workers = await Workers.start(options({ code: ASKING, lines, find }));
  try {
    workers.tell({ kind: "report" });
    await until(() => lines.length === 3001);
  } finally {
    await workers.stop();
  }
  const heard = lines.map((line) =>
    JSON.parse(line.slice(line.indexOf("{"), line.lastIndexOf(" event=")))
  );
  const answers = heard.filter(({ kind }) => kind === "resolved");
  assert.equal(heard.filter(({ kind }) => kind === "report").length, 1);
  assert.equal(new Set(answers.map(({ id }) => id)).size, 3000);
  for (const { id, addresses: found, error } of answers) {
    assert.deepEqual([found, error], id % 7 === 0 ? [[], "not-found"] : [addresses, undefined]);
  }
});

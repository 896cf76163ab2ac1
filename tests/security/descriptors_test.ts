/**
 * One client takes every descriptor that it can get: the server lives, tells its state, goes on
 * logging, and another user has connections.
 */

import assert from "node:assert/strict";
import { close, EchoTarget, GreedyBench, isEchoed, throughSocks } from "../fixtures/greedy.ts";

/** Open at a time: as many as the greedy one asks for at once. */
const AT_ONCE = 64;
const FREE_MS = 10_000;

interface Case {
  readonly openFiles: number;
  /** Connections that the greedy one tries to hold. */
  readonly asked: number;
  /** Those that the other user is to have meanwhile. */
  readonly granted: number;
}

const CASES: readonly Case[] = [
  { openFiles: 64, asked: 100, granted: 3 },
  { openFiles: 256, asked: 400, granted: 40 },
  { openFiles: 4096, asked: 4500, granted: 500 },
];

async function take(inbound: number, port: number, count: number): Promise<Deno.TcpConn[]> {
  const taken: Deno.TcpConn[] = [];
  for (let at = 0; at < count; at += AT_ONCE) {
    const tries = Array.from(
      { length: Math.min(AT_ONCE, count - at) },
      () => throughSocks(inbound, port),
    );
    taken.push(...(await Promise.all(tries)).filter((one) => one !== undefined));
  }
  return taken;
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + FREE_MS;
  while (!await what()) assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
}

for (const { openFiles, asked, granted } of CASES) {
  Deno.test(`${openFiles} open files: one user takes all, another has its share`, async () => {
    await using bench = new GreedyBench(["greedy", "modest"]);
    using target = new EchoTarget();
    const server = await bench.startServer(openFiles);
    const [greedy, modest] = [await bench.startClient("greedy"), await bench.startClient("modest")];

    const taken = await take(greedy, target.port, asked);
    assert.ok(taken.length > 0);
    const status = await bench.status();
    assert.equal(status.descriptors.limit, openFiles);
    assert.ok(status.descriptors.inUse < openFiles, `${status.descriptors.inUse}`);
    assert.ok(status.services["tunnel"]!["openStreams"]! < asked);

    const others = await take(modest, target.port, granted);
    assert.equal(others.length, granted);
    const echoed = await Promise.all(others.map(isEchoed));
    assert.deepEqual(echoed.filter((one) => one).length, granted);

    // To look up a name takes files and sockets as well.
    for (const one of others.splice(0)) close(one);
    await until(async () => {
      const named = await throughSocks(modest, target.port, "localhost");
      if (named !== undefined) others.push(named);
      return named !== undefined;
    });

    server.signal("SIGHUP");
    await server.until("event=config_reloaded");
    const { services } = await bench.status();
    // Of very few there may have been one more for nobody's sake.
    if (openFiles > 64) assert.ok(services["tunnel"]!["targetsGaveWay"]! > 0);
    assert.equal(services["loop"]!["faults"], 0);
    assert.doesNotMatch(server.output, / ERROR /);

    for (const one of [...taken, ...others]) close(one);
    // What was taken is there for everybody again, once its ends have come through.
    await until(async () => {
      const after = await take(modest, target.port, Math.min(granted, 100));
      for (const one of after) close(one);
      return after.length === Math.min(granted, 100);
    });
    assert.equal(await server.kill("SIGTERM"), 0);
  });
}

Deno.test("a client of 64 open files serves all who ask, some at a time", async () => {
  await using bench = new GreedyBench(["user"]);
  using target = new EchoTarget();
  await bench.startServer(4096);
  const inbound = await bench.startClient("user", 64);
  const isServed = async (): Promise<boolean> => {
    const connection = await throughSocks(inbound, target.port);
    if (connection === undefined) return false;
    const isGood = await isEchoed(connection);
    close(connection);
    return isGood;
  };
  const served = await Promise.all(Array.from({ length: 100 }, isServed));
  // Those above the limit may be refused at once; nobody is left without an answer.
  assert.ok(served.filter((one) => one).length >= 10, `${served}`);
  await until(isServed);
});

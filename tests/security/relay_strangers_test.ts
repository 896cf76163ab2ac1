/** Finding 9: strangers at a user-space relay cost neither its clients nor its log. */

import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { closedPort, Server } from "../interop/peers.ts";
import { pour, Stranger } from "./attacker.ts";
import { delay, either, measuredTest } from "./stage.ts";

const FLOWS_MAX = 256;
/** Each with one datagram: 1,000 a second, so that a flow lives until its answer is there. */
const STRANGERS = 400;
const PACE = { burst: 8, everyMs: 8 };
const HONEST_EVERY_MS = 40;
const SPAN_MS = either(2000, 8000);
const LOG_BYTES = 30_000;
const HONEST = 1;

/** Answers what begins with the byte HONEST, and is silent to the rest. */
function openBackend(): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.on("message", (data: Uint8Array, from: { port: number; address: string }) => {
    if (data[0] === HONEST) socket.send(data, from.port, from.address);
  });
  return new Promise((done) => socket.bind(0, "127.0.0.1", () => done(socket)));
}

/** Of so many honest datagrams, the share that is answered: by one old flow, and by new ones. */
async function honestShares(relay: { host: string; port: number }, old: Stranger) {
  const before = old.got;
  const fresh: Stranger[] = [];
  let said = 0;
  for (const end = performance.now() + SPAN_MS; performance.now() < end;) {
    old.send(relay, Uint8Array.of(HONEST));
    const newcomer = await Stranger.bind();
    fresh.push(newcomer);
    newcomer.send(relay, Uint8Array.of(HONEST));
    said++;
    await delay(HONEST_EVERY_MS);
  }
  await delay(300);
  const answered = fresh.filter(({ got }) => got > 0).length;
  for (const one of fresh) one.close();
  return { old: (old.got - before) / said, newcomers: answered / said };
}

async function strangersAt(prefix: readonly string[]): Promise<void> {
  const backend = await openBackend();
  const port = closedPort();
  const relays = [{
    listen: `127.0.0.1:${port}`,
    to: [{ address: `127.0.0.1:${backend.address().port}` }],
  }];
  const settings = { relays, relay: { flows_max: FLOWS_MAX } };
  const server = await Server.run({ settings, prefix });
  const relay = { host: "127.0.0.1", port };
  const strangers: Stranger[] = [];
  try {
    const old = await Stranger.bind();
    strangers.push(old);
    const before = await honestShares(relay, old);
    assert.ok(before.old > 0.9 && before.newcomers > 0.9, JSON.stringify(before));
    const logged = server.logged;
    let isOver = false;
    // Opened beforehand, as that would keep this thread from answering; each has lost its flow
    // when it is its turn again.
    const some = await Promise.all(
      Array.from({ length: STRANGERS }, () => Stranger.bind("127.0.0.5")),
    );
    strangers.push(...some);
    const flood = (async () => {
      while (!isOver) {
        const packets = some.map(() => Uint8Array.of(0));
        let next = 0;
        await pour(packets, (bytes) => some[next++]!.send(relay, bytes), PACE);
      }
    })();
    // Until all flows are taken.
    await delay(1500);
    const during = await honestShares(relay, old);
    isOver = true;
    await flood;
    const bytes = server.logged - logged;
    console.log(`  during ${JSON.stringify(during)}, ${bytes} B logged`);
    assert.ok(during.old >= 0.8 * before.old, JSON.stringify({ before, during }));
    assert.ok(during.newcomers >= 0.8 * before.newcomers, JSON.stringify({ before, during }));
    assert.ok(bytes <= LOG_BYTES, `${bytes} B logged`);
  } finally {
    for (const one of strangers) one.close();
    backend.close();
    await server.end();
  }
}

measuredTest("relay: more strangers than flows", () => strangersAt([]));

measuredTest(
  "relay: strangers where descriptors are short",
  () => strangersAt(["prlimit", "--nofile=250:250"]),
);

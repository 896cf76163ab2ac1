/**
 * Finding 3 from outside: the handshake of one client, again and again from many addresses, with
 * fresh salts and as it was, over restarts with other numbers of workers, and to another instance.
 */

import assert from "node:assert/strict";
import { Client } from "../interop/client.ts";
import { freeUdpPort, Server, TcpTarget } from "../interop/peers.ts";
import { Stranger } from "./attacker.ts";
import { leaveRecord } from "./record.ts";
import { delay, securityTest } from "./stage.ts";

const ADDRESSES = 16;
const SETTLE_MS = 1500;

async function started(workers: number): Promise<Server> {
  const server = new Server({ settings: { workers } });
  server.port = await freeUdpPort();
  leaveRecord(server.folder);
  await server.start();
  return server;
}

/** Counts what it was told, by the whole of each connection. */
class Till {
  readonly told = new Map<string, number>();
  readonly target = new TcpTarget(async (connection) => {
    const bytes = new Uint8Array(100);
    const count = await connection.read(bytes);
    const word = new TextDecoder().decode(bytes.subarray(0, count ?? 0));
    this.told.set(word, (this.told.get(word) ?? 0) + 1);
    await connection.read(bytes);
  });

  /** A client whose HELLO pays. */
  payer(server: Server, word: string): Client {
    const client = new Client(server.options);
    client.open("127.0.0.1", this.target.port).write(new TextEncoder().encode(word));
    return client;
  }

  times(word: string): number {
    return this.told.get(word) ?? 0;
  }
}

/** Sends each packet from an address of its own; how many were answered. */
async function fromEverywhere(
  server: Server,
  packets: readonly Uint8Array[],
  again?: () => Uint8Array,
): Promise<number> {
  const strangers = await Promise.all(packets.map(() => Stranger.bind()));
  packets.forEach((packet, i) => strangers[i]!.send(server, packet));
  await delay(SETTLE_MS);
  const unanswered = strangers.filter(({ got }) => got === 0);
  if (again !== undefined && unanswered.length > 0) {
    // A busy machine loses some, as a line does.
    for (const stranger of unanswered) stranger.send(server, again());
    await delay(SETTLE_MS);
  }
  const answered = strangers.filter(({ got }) => got > 0).length;
  for (const stranger of strangers) stranger.close();
  return answered;
}

for (const [before, after] of [[2, 4], [4, 1]] as const) {
  securityTest(`pay once: at ${before} workers, and at ${after} after a restart`, async () => {
    const till = new Till();
    const server = await started(before);
    const client = till.payer(server, "PAY ONCE");
    try {
      const fresh = () => client.hello();
      const hellos = Array.from({ length: ADDRESSES }, fresh);
      // Whichever worker a HELLO lands at, the one that has the handshake answers.
      assert.equal(await fromEverywhere(server, hellos, fresh), ADDRESSES);
      assert.equal(till.times("PAY ONCE"), 1);
      assert.equal(await fromEverywhere(server, hellos), 0, "copies are silent");
      assert.equal(await server.kill("SIGTERM"), 0);
      server.settings = { workers: after };
      await server.start();
      assert.equal(await fromEverywhere(server, hellos), 0, "copies of before are silent");
      const again = Array.from({ length: ADDRESSES }, fresh);
      assert.equal(await fromEverywhere(server, again, fresh), ADDRESSES);
      assert.equal(till.times("PAY ONCE"), 1);
      const other = till.payer(server, "ANOTHER");
      assert.equal(await fromEverywhere(server, [other.hello()], () => other.hello()), 1);
      assert.equal(till.times("ANOTHER"), 1, "0-RTT works from the first HELLO on");
      other.stop();
    } finally {
      client.stop();
      await server.end();
      till.target.stop();
    }
  });
}

securityTest("pay once: two instances of one state folder know nothing of each other", async () => {
  const till = new Till();
  const first = await started(2);
  const second = new Server({
    settings: { workers: 2, instance: "two", state_dir: first.folder },
  });
  second.port = await freeUdpPort();
  leaveRecord(first.folder, "two");
  await second.start();
  const client = till.payer(first, "PAY ONCE");
  const other = till.payer(second, "OTHER");
  try {
    const hellos = [client.hello(), client.hello()];
    assert.equal(await fromEverywhere(first, hellos, () => client.hello()), 2);
    assert.equal(await fromEverywhere(second, [...hellos, client.hello()]), 0);
    assert.equal(await fromEverywhere(second, [other.hello()], () => other.hello()), 1);
    for (const server of [first, second]) {
      assert.equal(await server.kill("SIGTERM"), 0);
      await server.start();
      assert.equal(await fromEverywhere(server, hellos), 0);
    }
    assert.deepEqual([...till.told], [["PAY ONCE", 1], ["OTHER", 1]]);
  } finally {
    client.stop();
    other.stop();
    await second.end();
    await first.end();
    till.target.stop();
  }
});

/** Finding 3: what a HELLO asks for is done once, however often and wherever it arrives. */

import assert from "node:assert/strict";
import { text } from "../interop/bytes.ts";
import { Client } from "../interop/client.ts";
import { freeUdpPort, Server } from "../interop/peers.ts";
import { type Place, Stranger } from "./attacker.ts";
import { leaveRecord } from "./record.ts";
import { delay, either, Program, securityTest } from "./stage.ts";
import type { Ports } from "./targets.ts";

const HANDSHAKES = either(10, 1000);
/** HELLOs of one handshake, each from a port of its own, so that all workers get some. */
const COPIES = 12;
const DONE_MS = 800;

/** A target that counts who pays. */
class Till implements AsyncDisposable {
  readonly #program = new Program("targets.ts");
  port = 0;

  static async open(): Promise<Till> {
    const till = new Till();
    const ports: Ports = JSON.parse(await till.#program.line());
    till.port = ports.counted;
    return till;
  }

  /** How often each of these was paid. */
  paid(names: readonly string[]): number[] {
    const lines = this.#program.waiting;
    return names.map((name) => lines.filter((line) => line === `COUNT PAY ONCE ${name}`).length);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** One handshake that pays, never answered by its client; its HELLOs, each with a fresh salt. */
class Payment {
  readonly name: string;
  readonly #client: Client;
  readonly hellos: Uint8Array[] = [];

  constructor(server: Place & { psk: Uint8Array }, name: string, till: Till) {
    this.name = name;
    this.#client = new Client({ ...server, quiet: true });
    this.#client.open("127.0.0.1", till.port).write(text(`PAY ONCE ${name}\n`));
    for (let i = 0; i < COPIES; i++) this.hellos.push(this.#client.hello());
    this.#client.stop();
  }
}

/** Sends each HELLO of each payment twice over, from many ports and in a mixed order. */
async function sendAll(server: Place, payments: readonly Payment[], seed: number): Promise<void> {
  const ports = await Promise.all(Array.from({ length: 16 }, () => Stranger.bind()));
  const packets = payments.flatMap(({ hellos }) => [...hellos, ...hellos]);
  let state = seed;
  for (let i = packets.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [packets[i], packets[j]] = [packets[j]!, packets[i]!];
  }
  for (const [i, packet] of packets.entries()) {
    ports[(i + (state >>> 8)) % ports.length]!.send(server, packet);
    if (i % 32 === 31) await delay(5);
  }
  await delay(DONE_MS);
  for (const port of ports) port.close();
}

function makePayments(server: Server, till: Till, label: string): Payment[] {
  return Array.from(
    { length: HANDSHAKES },
    (_, i) => new Payment(server.options, `${label}-${i}`, till),
  );
}

function assertPaidOnce(till: Till, payments: readonly Payment[], when: string): void {
  const paid = till.paid(payments.map(({ name }) => name));
  assert.deepEqual(paid, payments.map(() => 1), when);
}

/** A server that knows what came before. */
async function warmServer(workers: number): Promise<Server> {
  const server = new Server({ settings: { workers } });
  server.port = await freeUdpPort();
  leaveRecord(server.folder);
  await server.start();
  return server;
}

async function restart(server: Server, workers: number): Promise<void> {
  await server.kill("SIGTERM");
  server.settings = { ...server.settings, workers };
  await server.start();
}

for (const workers of [2, 4]) {
  securityTest(`replay: PAY ONCE with ${workers} workers, and over clean restarts`, async () => {
    await using till = await Till.open();
    const server = await warmServer(workers);
    try {
      const payments = makePayments(server, till, `w${workers}`);
      await sendAll(server, payments, workers);
      assertPaidOnce(till, payments, "while the server runs");
      await restart(server, workers);
      await sendAll(server, payments, workers + 1);
      assertPaidOnce(till, payments, "after a restart");
      await restart(server, workers === 2 ? 3 : 1);
      await sendAll(server, payments, workers + 2);
      assertPaidOnce(till, payments, "after a restart with another number of workers");
      const later = makePayments(server, till, `w${workers}-later`);
      await sendAll(server, later, workers + 3);
      assertPaidOnce(till, later, "0-RTT works from the first HELLO");
    } finally {
      await server.end();
    }
  });
}

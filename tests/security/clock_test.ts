/** Finding 10: a wall clock that jumps keeps nobody out, and is told of once. */

import assert from "node:assert/strict";
import { compiled } from "../fixtures/compiled.ts";
import { Client } from "../interop/client.ts";
import { Server } from "../interop/peers.ts";
import { Stranger } from "./attacker.ts";
import { delay, securityTest } from "./stage.ts";

const HOUR_S = 3600;
const STEP_MS = 1500;
const ANSWER_MS = 400;
const BELIEVED_MS = 63_000;

/** A server of two workers whose wall clock can be set. */
class SetServer implements AsyncDisposable {
  server!: Server;
  readonly #file = Deno.makeTempFileSync();

  async start(): Promise<void> {
    this.set(0);
    const library = compiled("wall", "-shared", "-fPIC");
    const prefix = ["env", `LD_PRELOAD=${library}`, `WALL=${this.#file}`];
    this.server = await Server.run({ settings: { workers: 2 }, prefix });
  }

  /** From now on it is so many seconds wrong. */
  set(wrongS: number): void {
    // In place: the server has the file mapped.
    using file = Deno.openSync(this.#file, { write: true });
    file.writeSync(new Uint8Array(Float64Array.of(wrongS).buffer));
  }

  /** Whether a client gets an answer whose clock is so many seconds wrong. */
  async lets(wrongS: number): Promise<boolean> {
    const wrong = { timeOffsetMs: 1000 * wrongS, windowOffset: wrongS / 30 };
    const client = new Client({ ...this.server.options, ...wrong });
    const socket = await Stranger.bind();
    try {
      for (let tries = 0; tries < 3 && socket.got === 0; tries++) {
        socket.send(this.server, client.hello());
        await delay(ANSWER_MS);
      }
      return socket.got > 0;
    } finally {
      socket.close();
      client.stop();
    }
  }

  /** How often the log says each of these. */
  said(...words: string[]): number[] {
    return words.map((word) => this.server.log.split(word).length - 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.end();
    Deno.removeSync(this.#file);
  }
}

const WORDS = ["has jumped", "is back where it was", "has stayed", "was set back"];

for (const hours of [1, -1]) {
  securityTest(`clock: ${hours} h for a moment keeps nobody out`, async () => {
    await using machine = new SetServer();
    await machine.start();
    assert.ok(await machine.lets(0));
    for (let i = 1; i <= 2; i++) {
      machine.set(hours * HOUR_S);
      await delay(STEP_MS);
      assert.deepEqual(machine.said(...WORDS), [i, i - 1, 0, 0]);
      assert.ok(await machine.lets(0), "while it is elsewhere");
      assert.ok(!await machine.lets(hours * HOUR_S));
      machine.set(0);
      await delay(STEP_MS);
      assert.deepEqual(machine.said(...WORDS), [i, i, 0, 0]);
      assert.ok(await machine.lets(0), "when it is back");
    }
    machine.set(20 * hours);
    await delay(STEP_MS);
    assert.ok(await machine.lets(0));
    assert.deepEqual(machine.said(...WORDS), [2, 2, 0, 0]);
  });
}

securityTest("clock: what stays for 60 s counts, back too", async () => {
  await using machine = new SetServer();
  await machine.start();
  machine.set(HOUR_S);
  await delay(BELIEVED_MS);
  assert.deepEqual(machine.said(...WORDS), [1, 0, 1, 0]);
  assert.ok(await machine.lets(HOUR_S));
  assert.ok(!await machine.lets(0));
  machine.set(-HOUR_S);
  await delay(BELIEVED_MS);
  assert.deepEqual(machine.said(...WORDS), [2, 0, 1, 1]);
  assert.ok(await machine.lets(-HOUR_S));
  assert.ok(!await machine.lets(HOUR_S));
}, { longOnly: true });

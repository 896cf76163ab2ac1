/** Finding 5a: paused players and a vanished laptop, with the product's own client. */

import assert from "node:assert/strict";
import { piped, Running } from "../fixtures/process.ts";
import { closedPort, TREE } from "../interop/peers.ts";
import { assertUnharmed, beside, delay, measuredTest, Stage } from "./stage.ts";

const STREAMS = 200;
const BEGUN_MS = 4000;
const FILLED_MS = 2000;

/** The product's client, and as many downloads by it as wanted. */
class Player implements AsyncDisposable {
  readonly #client: Running;
  readonly #port: number;
  readonly #connections: Deno.TcpConn[] = [];

  private constructor(client: Running, port: number) {
    this.#client = client;
    this.#port = port;
  }

  static async start(stage: Stage): Promise<Player> {
    const port = closedPort();
    const path = `${stage.server.folder}/player.yaml`;
    const { host, psk } = stage.server;
    const settings = {
      ...{ server: `${host}:${stage.server.port}`, psk: psk.toBase64() },
      forwards: [{ listen: `127.0.0.1:${port}`, target: `127.0.0.1:${stage.ports.endless}` }],
    };
    Deno.writeTextFileSync(path, JSON.stringify(settings), { mode: 0o600 });
    const args = ["run", "-A", "main.ts", "client", "-c", path];
    const client = new Running(new Deno.Command(Deno.execPath(), { ...piped, args, cwd: TREE }));
    await client.until(" ready ");
    return new Player(client, port);
  }

  /** Begins downloads, of each of which something is read; how many of them got it. */
  async begin(count: number): Promise<number> {
    let begun = 0;
    const buffer = new Uint8Array(1024);
    const all = Promise.all(Array.from({ length: count }, async () => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
      this.#connections.push(connection);
      if (await connection.read(buffer) !== null) begun++;
    }));
    await Promise.race([all.catch(() => {}), delay(BEGUN_MS)]);
    return begun;
  }

  /** Reads all downloads from now on. */
  play(): void {
    const buffer = new Uint8Array(64 << 10);
    for (const connection of this.#connections) {
      const read = async () => {
        while (await connection.read(buffer) !== null);
      };
      read().catch(() => {});
    }
  }

  signal(signal: Deno.Signal): void {
    this.#client.signal(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    for (const connection of this.#connections) connection.close();
  }
}

measuredTest(`players: ${STREAMS} paused downloads of the product's client`, async () => {
  await using stage = await Stage.set();
  const spans = await beside(stage, async () => {
    const player = await Player.start(stage);
    assert.equal(await player.begin(STREAMS), STREAMS, "downloads of the player itself");
    return () => player[Symbol.asyncDispose]();
  }, { settleMs: FILLED_MS });
  assertUnharmed(spans);
});

measuredTest(`players: a laptop that vanishes with ${STREAMS} downloads`, async () => {
  await using stage = await Stage.set();
  const spans = await beside(stage, async () => {
    const player = await Player.start(stage);
    assert.equal(await player.begin(STREAMS), STREAMS, "downloads of the player itself");
    player.play();
    await delay(500);
    // No ICMP, no CLOSE: nothing at all comes from it any more.
    player.signal("SIGSTOP");
    return () => player[Symbol.asyncDispose]();
  }, { settleMs: FILLED_MS });
  assertUnharmed(spans);
});

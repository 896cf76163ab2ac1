/**
 * An honest client, as a process of its own so that nothing of an attack slows it down but the
 * server: downloads, pings and opens new streams all the time.
 *
 *     deno run -A honest.ts OPTIONS     in JSON, see `HonestOptions`
 *
 * It says "ready" once data flows; to each line "MS" of its input it says, MS later, what it had.
 */

import { unhex } from "../interop/bytes.ts";
import { Client } from "../interop/client.ts";
import type { Stream } from "../interop/stream.ts";
import type { Ports } from "./targets.ts";

export interface HonestOptions {
  readonly host: string;
  readonly port: number;
  /** In hex. */
  readonly psk: string;
  readonly user?: { readonly name: string; readonly key: string };
  readonly ports: Pick<Ports, "download" | "echo">;
  /** Where the ports are, as the server sees it. */
  readonly target: string;
  /** Each new stream asks for a name of its own below this one. */
  readonly domain?: string;
}

/** What an honest client had in one span of time. */
export interface Had {
  /** Downloaded, bytes a second. */
  readonly rate: number;
  readonly pings: number;
  /** Of all round trips in the span; one that is under way counts with its age. */
  readonly medianMs: number;
  readonly p97Ms: number;
  /** Of those that ended: a PONG that a full buffer lost is nobody's delay. */
  readonly slowestMs: number;
  readonly opened: number;
  /** New streams that were refused, or not there after `OPEN_MS`. */
  readonly failed: number;
  readonly slowestOpenMs: number;
  /** UDP associations that gave a datagram back. */
  readonly associated: number;
  /** Why, for people. */
  readonly failures: readonly string[];
}

const PING_EVERY_MS = 25;
const OPEN_EVERY_MS = 150;
const OPEN_MS = 3000;
const ASSOCIATE_EVERY_MS = 250;
const DATAGRAM_TRIES = 3;
const DATAGRAM_MS = 1000;
const PING_MS = 1000;

function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

class Honest {
  readonly #client: Client;
  readonly #options: HonestOptions;
  #bytes = 0;
  #roundTrips: number[] = [];
  #asking = new Set<number>();
  #opens: number[] = [];
  #associated = 0;
  #associations = 0;
  #failures: string[] = [];

  constructor(client: Client, options: HonestOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Resolves once a first chunk has come. */
  async begin(): Promise<void> {
    const stream = this.#client.open(this.#options.target, this.#options.ports.download);
    await stream.read();
    void this.#download(stream);
    setInterval(() => void this.#ping(), PING_EVERY_MS);
    setInterval(() => void this.#open(), OPEN_EVERY_MS);
    setInterval(() => void this.#associate(), ASSOCIATE_EVERY_MS);
  }

  async measure(ms: number): Promise<Had> {
    const bytes = this.#bytes;
    const begin = performance.now();
    const asked = new Set(this.#asking);
    this.#roundTrips = [];
    this.#opens = [];
    this.#associated = 0;
    this.#failures = [];
    await delay(ms);
    const now = performance.now();
    // Of what was asked before the span and has come since, only the part inside is of it.
    const late = [...this.#asking].map((at) => now - (asked.has(at) ? begin : at));
    const trips = [...this.#roundTrips, ...late].toSorted((a, b) => a - b);
    const at = (share: number) => trips[Math.min(trips.length - 1, trips.length * share | 0)] ?? ms;
    return {
      rate: Math.round((this.#bytes - bytes) * 1000 / (now - begin)),
      pings: this.#roundTrips.length,
      ...{ medianMs: at(0.5), p97Ms: at(0.97) },
      slowestMs: Math.max(0, ...this.#roundTrips.filter((trip) => trip < PING_MS)),
      ...{ opened: this.#opens.length, failed: this.#failures.length },
      slowestOpenMs: Math.max(0, ...this.#opens),
      associated: this.#associated,
      failures: this.#failures.slice(0, 5),
    };
  }

  async #download(stream: Stream): Promise<void> {
    try {
      for (let part = await stream.read(); part !== null; part = await stream.read()) {
        this.#bytes += part.length;
      }
    } catch (error) {
      this.#failures.push(`download: ${error}`);
    }
  }

  async #ping(): Promise<void> {
    const at = performance.now();
    this.#asking.add(at);
    const ms = await this.#client.ping(PING_MS).catch(() => PING_MS);
    this.#asking.delete(at);
    this.#roundTrips.push(ms);
  }

  async #open(): Promise<void> {
    const begin = performance.now();
    const { target, domain, ports } = this.#options;
    const host = domain === undefined ? target : `${crypto.randomUUID()}.${domain}`;
    const stream = this.#client.open(host, ports.echo);
    stream.write(Uint8Array.of(42));
    const late = delay(OPEN_MS).then(() => {
      throw new Error(`not within ${OPEN_MS} ms`);
    });
    late.catch(() => {});
    try {
      await Promise.race([stream.readExactly(1), late]);
      this.#opens.push(performance.now() - begin);
      stream.finish();
      await stream.readAll();
    } catch (error) {
      this.#failures.push(`stream ${stream.id}: ${error}`);
    }
  }

  /** A datagram may get lost: it is sent again. */
  async #associate(): Promise<void> {
    const assoc = this.#associations++;
    const { target, ports } = this.#options;
    for (let i = 0; i < DATAGRAM_TRIES; i++) {
      this.#client.datagram(assoc, target, ports.echo, Uint8Array.of(i));
      if (await this.#client.receiveDatagram(assoc, DATAGRAM_MS) === undefined) continue;
      this.#associated++;
      this.#client.queue([{ type: "assoc_end", assoc }]);
      return;
    }
    this.#failures.push(`association ${assoc}: nothing came back`);
  }
}

async function main(options: HonestOptions): Promise<void> {
  const { host, port, psk, user } = options;
  const client = await Client.connect({
    ...{ host, port, psk: unhex(psk) },
    ...(user === undefined ? {} : { user: { name: user.name, key: unhex(user.key) } }),
  });
  client.closed.then((close) => console.error(`CLOSE ${close.code} ${close.reason}`));
  client.reset.then(() => console.error("RESET"));
  const honest = new Honest(client, options);
  await honest.begin();
  console.log("ready");
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const text of lines) {
    for (const line of text.split("\n")) {
      if (line !== "") console.log(JSON.stringify(await honest.measure(Number(line))));
    }
  }
  await client.close();
}

if (import.meta.main) {
  await main(JSON.parse(Deno.args[0] ?? "{}"));
  Deno.exit(0);
}

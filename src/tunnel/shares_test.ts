import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import {
  ADDRESS,
  clientStart,
  LOOPBACK,
  Notes,
  Pair,
  type PairOptions,
} from "../../tests/fixtures/tunnel.ts";
import { testNative } from "../../tests/native.ts";
import type { Session } from "../session/session.ts";
import { ClientTunnel } from "./client/tunnel.ts";

testNative();

const STREAMS = 200;
const KIB = 1024;
const BLOCK = new Uint8Array(64 * KIB);
/** What rings of a power of two, and what was in flight, may add to what was read ahead. */
const SLACK = 32 << 20;
const SPANS = 5;

/** A server whose streams never end, the client of the pair, and an honest one beside it. */
class Neighbours {
  readonly pair: Pair;
  readonly notes = new Notes();
  readonly client: ClientTunnel;
  /** The client of the pair takes nothing. */
  isPaused = false;
  taken = 0;

  constructor(options: PairOptions = {}) {
    const pair = this.pair = new Pair(options);
    const pour = (session: Session, stream: number) => {
      while (session.write(stream, BLOCK, 0, BLOCK.length) === BLOCK.length);
      pair.server.wake(session);
    };
    pair.atServer.opened = (session, stream) => {
      session.answer(stream, 0, ADDRESS);
      pour(session, stream);
    };
    pair.atServer.writable = pour;
    pair.atClient.data = (_session, _stream, _bytes, _at, length) => {
      if (this.isPaused) return 0;
      this.taken += length;
      return length;
    };
    const start = clientStart([endpoint(LOOPBACK, pair.server.port)]);
    this.client = new ClientTunnel(pair.loop, start, pair.loop, this.notes);
    this.client.start();
  }

  open(client: ClientTunnel, streams: number): Session {
    const session = client.session();
    for (let i = 0; i < streams; i++) session.openStream(ADDRESS);
    client.wake(session);
    return session;
  }

  /** What the honest one receives in a time, in MiB. */
  rate(ms: number): number {
    const before = this.notes.received;
    this.pair.run(ms);
    return (this.notes.received - before) / (1 << 20);
  }

  /** ... in the best of a few spans: what else the machine does takes from any of them. */
  best(ms: number): number {
    return Math.max(...Array.from({ length: SPANS }, () => this.rate(ms)));
  }

  get used(): number {
    return this.pair.server.budget.used;
  }

  [Symbol.dispose](): void {
    this.client.stop();
    this.pair[Symbol.dispose]();
  }
}

Deno.test("200 paused downloads hold little, and leave the download of another what it had", () => {
  using both = new Neighbours();
  both.open(both.client, 1);
  both.rate(500);
  const alone = both.best(200);
  both.open(both.pair.client, STREAMS);
  both.pair.run(1000);
  assert(both.taken > 0);
  both.isPaused = true;
  both.pair.run(1000);
  assert(both.used <= STREAMS * 64 * KIB + SLACK, `${both.used} bytes are held`);
  const beside = both.best(200);
  assert(beside >= alone / 3, `${beside} of ${alone} MiB`);
});

Deno.test("one that vanished amid 200 downloads is read for no further till it is back", () => {
  using both = new Neighbours({ middle: {} });
  both.open(both.client, 1);
  both.open(both.pair.client, STREAMS);
  both.pair.run(1000);
  const { middle } = both.pair;
  middle.isCut = true;
  both.pair.run(1500);
  const used = both.used;
  assert(used <= STREAMS * 64 * KIB + SLACK, `${used} bytes are held`);
  assert(both.rate(1000) > 0);
  assert(both.used <= used + (1 << 20), "nothing more is read");
  const before = both.taken;
  middle.isCut = false;
  both.pair.until(() => both.taken > before + (8 << 20), 10_000);
});

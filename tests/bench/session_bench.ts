/**
 * Benchmark: one stream through two sessions in memory, with neither keys nor a link between.
 *
 *     deno run -A tests/bench/session_bench.ts [--json]
 */
import type { CongestionController } from "../../src/reliability/congestion/controller.ts";
import { FrameRecords } from "../../src/reliability/frame_records.ts";
import { PathMtu } from "../../src/reliability/pmtu.ts";
import { Budget } from "../../src/session/budget.ts";
import { Session, type SessionEvents } from "../../src/session/session.ts";
import { DATA_OVERHEAD } from "../../src/wire/limits.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const ADDRESS = Uint8Array.of(1, 192, 0, 2, 1, 1, 187);
const PACKET = 1452;
const WINDOW_PACKETS = 2048;
const BATCH = 64;
const WRITE_BYTES = 65_536;
const WARM_BYTES = 200e6;
const TOTAL_BYTES = 1e9;
const MS_PER_BATCH = 0.1;

/** No congestion: what is measured is the session. */
class Open implements CongestionController {
  readonly name = "brutal";
  onSent(): void {}
  onLost(): void {}
  onAck(): void {}
  onSpuriousLoss(): void {}
  onPersistentCongestion(): void {}
  setPacketBytes(): void {}
  window(): number {
    return WINDOW_PACKETS * PACKET;
  }
  pacingRate(): number {
    return Infinity;
  }
}

class Sink implements SessionEvents {
  bytes = 0;
  blocked = false;
  opened(session: Session, stream: number): void {
    session.answer(stream, 0, ADDRESS);
  }
  answered(): void {}
  data(
    _session: Session,
    _stream: number,
    _bytes: Uint8Array,
    _at: number,
    length: number,
  ): number {
    this.bytes += length;
    return length;
  }
  ended(): void {}
  wasReset(): void {}
  writable(): void {
    this.blocked = false;
  }
  gone(): void {}
  datagram(): void {}
  assocEnded(): void {}
  pong(): void {}
  pathProven(): void {}
  closed(): void {}
}

class Pair {
  readonly client: Session;
  readonly server: Session;
  readonly clientEvents = new Sink();
  readonly serverEvents = new Sink();
  readonly #arena: Uint8Array;
  readonly #at: number;
  readonly #source: number;
  readonly #lengths = new Int32Array(BATCH);
  readonly #numbers = new Float64Array(BATCH);
  readonly #stream: number;
  packets = 0;
  now = 0;

  /** `shared`: packets lie in the memory of the budget, as a driver should have it. */
  constructor(shared: boolean) {
    const budget = new Budget(64 << 20);
    const records = new FrameRecords();
    const make = (isClient: boolean, events: SessionEvents) => {
      const random = () => 0.5;
      const limits = { maxRetries: 10, idleMs: 1e12, keepAliveMs: Infinity };
      const session = new Session(0, { isClient, events, budget, records, random, ...limits });
      session.addPath(true, new Open(), new PathMtu(PACKET, PACKET));
      return session;
    };
    this.client = make(true, this.clientEvents);
    this.server = make(false, this.serverEvents);
    this.#arena = shared ? budget.memory : new Uint8Array(1 << 20);
    this.#at = shared ? budget.take(1 << 19) : 0;
    this.#source = shared ? budget.take(1 << 17) : 1 << 19;
    this.#stream = this.client.openStream(ADDRESS);
  }

  /** Moves at least so many bytes through. */
  run(bytes: number): void {
    const until = this.serverEvents.bytes + bytes;
    while (this.serverEvents.bytes < until) {
      // One number for the whole batch, as in a worker: a number that a field gives is a new one.
      const now = this.now + MS_PER_BATCH;
      this.now = now;
      this.#write();
      this.#move(now, this.client, this.server);
      this.#move(now, this.server, this.client);
    }
  }

  #write(): void {
    const { client, clientEvents } = this;
    while (!clientEvents.blocked) {
      const taken = client.write(this.#stream, this.#arena, this.#source, WRITE_BYTES);
      if (taken < WRITE_BYTES) clientEvents.blocked = true;
    }
  }

  /** One batch: all is built, then all is received. */
  #move(now: number, from: Session, to: Session): void {
    let count = 0;
    while (count < BATCH) {
      const at = this.#at + count * 2048;
      const length = from.build(now, this.#arena, at, PACKET - DATA_OVERHEAD);
      if (length === 0) break;
      this.#lengths[count] = length;
      this.#numbers[count++] = from.builtNumber;
    }
    for (let i = 0; i < count; i++) {
      const at = this.#at + i * 2048;
      const length = this.#lengths[i]!;
      to.receive(now, 0, this.#numbers[i]!, this.#arena, at, length, length + DATA_OVERHEAD);
    }
    this.packets += count;
    if (count === 0 && from.nextTimeout() <= now) from.onTimeout(now);
  }
}

function measure(shared: boolean): Figure[] {
  const pair = new Pair(shared);
  pair.run(WARM_BYTES);
  const packets = pair.packets;
  const start = performance.now();
  pair.run(TOTAL_BYTES);
  const seconds = (performance.now() - start) / 1000;
  const name = shared ? "one arena" : "arrays apart";
  const rate = (pair.packets - packets) / seconds;
  return [
    { name: `${name}: build and receive`, value: rate / 1e6, unit: "M packets/s", aim: "1" },
    { name: `${name}: payload`, value: TOTAL_BYTES / seconds / 1e6, unit: "MB/s" },
    { name: `${name}: garbage`, value: garbage(pair), unit: "B a packet", aim: "0" },
  ];
}

/** By how much the heap grows with each packet, where no collection comes between. */
function garbage(pair: Pair): number {
  const grown: number[] = [];
  for (let i = 0; i < 50; i++) {
    const packets = pair.packets;
    const before = Deno.memoryUsage().heapUsed;
    pair.run(4e6);
    const bytes = Deno.memoryUsage().heapUsed - before;
    if (bytes >= 0) grown.push(bytes / (pair.packets - packets));
  }
  return median(grown);
}

printFigures([...measure(true), ...measure(false)]);

// The driver of a session in a simulation: what a worker does but for sockets and keys. It drops
// repeated numbers, gives every new way of packets a path, and watches that the session keeps its
// word: no timer that spins, no more than three times the bytes to a stranger.

import assert from "node:assert/strict";
import type { CongestionController } from "../../src/reliability/congestion/controller.ts";
import { FrameRecords } from "../../src/reliability/frame_records.ts";
import { PathMtu } from "../../src/reliability/pmtu.ts";
import { Budget } from "../../src/session/budget.ts";
import { Session, type SessionEvents } from "../../src/session/session.ts";
import { DATA_OVERHEAD, UNPROVEN_PATH_FACTOR } from "../../src/wire/limits.ts";
import type { Rng } from "../fuzz/rng.ts";
import type { VirtualClock } from "./clock.ts";
import { Link, type LinkShape } from "./network.ts";

const ROOM = 1500;
/** Pacing wakes at most once a millisecond; the rest is timers of recovery and of the session. */
const WAKES_PER_SECOND_MAX = 2500;

export interface SessionPacket {
  readonly number: number;
  /** Which way it goes by. */
  readonly way: number;
  readonly bytes: Uint8Array;
}

export interface EndpointOptions {
  readonly clock: VirtualClock;
  readonly rng: Rng;
  readonly isClient: boolean;
  readonly events: SessionEvents;
  readonly controller: () => CongestionController;
  readonly budget?: Budget;
  readonly records?: FrameRecords;
  readonly maxRetries?: number;
  readonly idleMs?: number;
  readonly keepAliveMs?: number;
  /** The first path of a server. */
  readonly isProven?: boolean;
  readonly pmtu?: () => PathMtu;
  /** The worker gets no processor for `ms` once in every `every` ms. */
  readonly stalls?: { readonly every: number; readonly ms: number };
}

export class Endpoint {
  readonly session: Session;
  readonly budget: Budget;
  readonly records: FrameRecords;
  readonly clock: VirtualClock;
  /** Times that the timer ran, and in the present second. */
  wakes = 0;
  sentPackets = 0;
  readonly #options: EndpointOptions;
  readonly #links = new Map<number, Link<SessionPacket>>();
  /** By way: index of the path, and bytes received and sent while it was not proven. */
  readonly #paths = new Map<number, number>();
  readonly #heard = new Map<number, number>();
  readonly #said = new Map<number, number>();
  readonly #seen = new Set<number>();
  readonly #room = new Uint8Array(ROOM);
  #timer = 0;
  #timerAt = Infinity;
  #second = 0;
  #wakesInSecond = 0;
  #inPump = false;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.budget = options.budget ?? new Budget(256 << 20);
    this.records = options.records ?? new FrameRecords();
    this.session = new Session(options.clock.now, {
      isClient: options.isClient,
      events: options.events,
      budget: this.budget,
      records: this.records,
      random: () => options.rng.float(),
      maxRetries: options.maxRetries ?? 15,
      idleMs: options.idleMs ?? 120_000,
      keepAliveMs: options.keepAliveMs ?? 15_000,
    });
  }

  setLink(way: number, link: Link<SessionPacket>): void {
    this.#links.set(way, link);
  }

  /** Adds a path over a way; its index. */
  addPath(way: number, isProven: boolean): number {
    const pmtu = this.#options.pmtu?.() ?? new PathMtu(1200, 1452);
    const index = this.session.addPath(isProven, this.#options.controller(), pmtu);
    assert.ok(index >= 0, "no room for a path");
    this.#paths.set(way, index);
    return index;
  }

  pathOf(way: number): number {
    return this.#paths.get(way) ?? -1;
  }

  /** Runs something now, or when the worker has a processor again. */
  #whenAwake(run: () => void): void {
    const { now } = this.clock;
    const { every, ms } = this.#options.stalls ?? { every: 1, ms: 0 };
    if (now % every >= ms) run();
    else this.clock.at(now - now % every + ms, run);
  }

  receive(packet: SessionPacket, wireBytes: number): void {
    this.#whenAwake(() => this.#receive(packet, wireBytes));
  }

  #receive({ number, way, bytes }: SessionPacket, wireBytes: number): void {
    if (this.#seen.has(number)) return;
    this.#seen.add(number);
    this.#heard.set(way, (this.#heard.get(way) ?? 0) + wireBytes);
    if (!this.#paths.has(way)) this.addPath(way, false);
    const { now } = this.clock;
    // At an odd place, as in a batch.
    const at = number % 7;
    const arena = new Uint8Array(at + bytes.length + 5).fill(0xee);
    arena.set(bytes, at);
    const length = bytes.length;
    this.session.receive(now, this.pathOf(way), number, arena, at, length, wireBytes);
    this.pump();
  }

  /** Runs due timers, sends all that may be sent, sets the timer. */
  pump(): void {
    if (this.#inPump) return;
    this.#inPump = true;
    const { session, clock } = this;
    if (session.nextTimeout() <= clock.now) session.onTimeout(clock.now);
    while (this.#sendOne());
    const next = session.nextTimeout();
    assert.ok(next > clock.now, `a timer that spins: ${next} at ${clock.now}`);
    this.#setTimer(next);
    this.#inPump = false;
  }

  #sendOne(): boolean {
    const { session, clock } = this;
    const length = session.build(clock.now, this.#room, 0, ROOM - DATA_OVERHEAD);
    if (length === 0) return false;
    assert.ok(length > 0 && length <= ROOM - DATA_OVERHEAD);
    const { builtPath, builtNumber } = session;
    const way = [...this.#paths].find(([, index]) => index === builtPath)?.[0];
    assert.ok(way !== undefined, "a packet on no path");
    const wire = length + DATA_OVERHEAD;
    this.sentPackets++;
    const isProven = session.pathState(builtPath)!.isProven || this.#options.isClient;
    const said = (this.#said.get(way) ?? 0) + wire;
    if (!isProven) {
      this.#said.set(way, said);
      const heard = this.#heard.get(way) ?? 0;
      assert.ok(said <= UNPROVEN_PATH_FACTOR * heard, `${said} bytes for ${heard} of a stranger`);
    }
    const bytes = this.#room.slice(0, length);
    this.#links.get(way)!.send({ number: builtNumber, way, bytes }, wire);
    return true;
  }

  #setTimer(next: number): void {
    const { clock } = this;
    if (next === Infinity || (this.#timerAt > clock.now && this.#timerAt <= next)) return;
    const timer = ++this.#timer;
    this.#timerAt = next;
    clock.at(next, () => {
      if (timer !== this.#timer) return;
      this.#timerAt = Infinity;
      this.#countWake();
      this.#whenAwake(() => this.pump());
    });
  }

  #countWake(): void {
    const second = Math.floor(this.clock.now / 1000);
    if (second !== this.#second) this.#wakesInSecond = 0;
    this.#second = second;
    this.wakes++;
    this.#wakesInSecond++;
    assert.ok(this.#wakesInSecond <= WAKES_PER_SECOND_MAX, `it spins at ${this.clock.now} ms`);
  }
}

export interface Way {
  readonly there: Link<SessionPacket>;
  readonly back: Link<SessionPacket>;
}

/** Joins a client and a server by one more way. */
export function joinEndpoints(client: Endpoint, server: Endpoint, way: number, rng: Rng, shapes: {
  there: Partial<LinkShape>;
  back: Partial<LinkShape>;
}): Way {
  const link = (to: Endpoint, shape: Partial<LinkShape>) =>
    new Link<SessionPacket>({
      clock: client.clock,
      rng,
      shape,
      deliver: (packet, bytes) => to.receive(packet, bytes),
    });
  const there = link(server, shapes.there);
  const back = link(client, shapes.back);
  client.setLink(way, there);
  server.setLink(way, back);
  return { there, back };
}

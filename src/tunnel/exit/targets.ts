/**
 * The server's end of streams: for each that a client opens, a connection to its target, and then
 * bytes both ways.
 */

import type { BenchLimits } from "../../proxy/bench.ts";
import type { Admission } from "../../proxy/users.ts";
import { OpenedCode } from "../../wire/frames.ts";
import type { Rules } from "../../proxy/rules.ts";
import { Target } from "../../proxy/target.ts";
import { BAD_ADDRESS, NO_ADDRESS } from "../../wire/address.ts";
import type { Loop } from "../../loop/loop.ts";
import { Connector } from "../../outbound/connector.ts";
import type { Routes } from "../../outbound/routes.ts";
import { Splicer } from "../../outbound/splicer.ts";
import { Turns } from "../../outbound/turns.ts";
import type { Waker } from "../../outbound/stream_end.ts";
import { BenchTargets } from "./bench_target.ts";
import { type ExitOptions, ExitSessions } from "./exit_sessions.ts";
import { Stalled } from "./stalled.ts";
import type { TargetLog } from "./target_log.ts";
import { type StreamHost, type TargetSession, TargetStream } from "./target_stream.ts";

/**
 * Connections of one worker, where there are descriptors for so many, and of one session; further
 * ones are answered "too many".
 */
export const CONNECTIONS_MAX = 65_536;
const SESSION_CONNECTIONS_MAX = 16_384;

export interface TargetsOptions extends ExitOptions<TargetSession> {
  readonly connectionsMax?: number;
  readonly sessionConnectionsMax?: number;
  readonly benchLimits?: BenchLimits;
}

/** Counted since the start. */
export class TargetCounters {
  opened = 0;
  connected = 0;
  /** By OpenedCode. */
  readonly failed: number[] = new Array(Object.keys(OpenedCode).length).fill(0);
  tooMany = 0;
  /** Of users who have as many as they may. */
  overLimit = 0;
  /** Ended so that others could begin. */
  gaveWay = 0;
  /** Ended since they held too much of the kernel's memory, and did not move. */
  stalledCut = 0;
  /** Exceptions that ended one stream: none is expected. */
  faults = 0;

  get refused(): number {
    const { failed } = this;
    const { denied, notPublic, userRefused } = OpenedCode;
    return failed[denied]! + failed[notPublic]! + failed[userRefused]! + this.tooMany +
      this.overLimit;
  }
}

export class Targets implements StreamHost {
  readonly counters: TargetCounters = new TargetCounters();
  readonly connector: Connector;
  readonly turns: Turns;
  readonly splicer: Splicer;
  readonly bench: BenchTargets;
  readonly loop: Loop;
  readonly waker: Waker<TargetSession>;
  readonly log: TargetLog | undefined;
  readonly #sessions: ExitSessions<TargetSession, TargetStream>;
  readonly #stalled: Stalled<TargetSession>;
  readonly #target = new Target();
  readonly #max: number;

  constructor(loop: Loop, options: TargetsOptions) {
    const {
      connectionsMax = CONNECTIONS_MAX,
      sessionConnectionsMax = SESSION_CONNECTIONS_MAX,
    } = options;
    this.loop = loop;
    this.waker = options.waker;
    this.log = options.log;
    this.turns = options.turns ?? new Turns(loop);
    this.connector = new Connector(loop, options.resolver, options, this.turns);
    this.splicer = new Splicer(loop);
    this.bench = new BenchTargets(loop, options.benchLimits);
    this.#max = connectionsMax;
    const limits = { max: connectionsMax, sessionMax: sessionConnectionsMax };
    this.#sessions = new ExitSessions(options, limits, this.counters, this.turns);
    this.#stalled = new Stalled(this.#sessions, this.counters);
  }

  /** A few times a second. */
  tick(): void {
    this.#stalled.tick();
  }

  /** Bytes that the kernel holds for connections that do not move, and how many it may. */
  get stalledBytes(): number {
    return this.#stalled.bytes;
  }

  setStalledMax(bytes: number): void {
    this.#stalled.max = bytes;
  }

  /** Streams that are not over. */
  get count(): number {
    return this.#sessions.count;
  }

  get max(): number {
    return this.#sessions.max;
  }

  /** Streams that there may be; where there are more, they end as others begin. */
  setMax(max: number): void {
    this.#sessions.max = Math.min(max, this.#max);
  }

  get routes(): Routes {
    return this.connector.routes;
  }

  /** For streams opened from now on. */
  setRoutes(routes: Routes): void {
    this.connector.setRoutes(routes);
  }

  setRules(rules: Rules): void {
    this.connector.setRules(rules);
  }

  // ---- what the tunnel tells ----

  sessionOpened(session: TargetSession, user: string): void {
    this.#sessions.opened(session, user);
  }

  opened(
    session: TargetSession,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    this.counters.opened++;
    const admission = this.#sessions.admit(session);
    if (admission !== "ok") return this.#deny(session, id, admission);
    const code = this.#prepare(session, bytes, at, length);
    if (code !== OpenedCode.ok) {
      this.#sessions.giveBack(session);
      return this.refuse(session, id, code);
    }
    const stream = new TargetStream(this, session, id);
    this.#sessions.add(session, id, stream);
    stream.begin(this.#sessions.userOf(session), this.#target);
  }

  #deny(session: TargetSession, id: number, admission: Admission): void {
    const isFull = admission === "too-many-connections";
    if (isFull) this.counters.overLimit++;
    this.refuse(session, id, isFull ? OpenedCode.tooManyStreams : OpenedCode.userRefused);
  }

  /** Reads the target, and has room made for the stream. */
  #prepare(session: TargetSession, bytes: Uint8Array, at: number, length: number): number {
    const size = this.#target.readSocks(bytes, at, length);
    if (size === BAD_ADDRESS) return OpenedCode.nameNotFound;
    if (size <= 0) return OpenedCode.unreachable;
    if (this.#sessions.makeRoom(session)) return OpenedCode.ok;
    this.counters.tooMany++;
    return OpenedCode.tooManyStreams;
  }

  data(
    session: TargetSession,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): number {
    const stream = this.#sessions.get(session, id);
    if (stream?.end === undefined) return 0;
    // Packets and buffers of this worker are never shared memory.
    const taken = stream.end.write(bytes as Uint8Array<ArrayBuffer>, at, length);
    if (stream.story !== undefined) stream.story.bytesIn += taken;
    return taken;
  }

  ended(session: TargetSession, id: number): void {
    this.#sessions.get(session, id)?.finish();
  }

  wasReset(session: TargetSession, id: number): void {
    this.#sessions.get(session, id)?.abort();
  }

  writable(session: TargetSession, id: number): void {
    this.#sessions.get(session, id)?.end?.resume();
  }

  gone(session: TargetSession, id: number): void {
    this.#sessions.get(session, id)?.abort();
  }

  closed(session: TargetSession): void {
    for (const stream of this.#sessions.itemsOf(session)) stream.abort();
    this.#sessions.closed(session);
  }

  /** Ends everything, with RST to the targets. */
  stop(): void {
    for (const session of this.#sessions.all()) this.closed(session);
    this.turns.stop();
  }

  // ---- what its streams ask ----

  refuse(session: TargetSession, id: number, code: number): void {
    this.counters.failed[code]!++;
    session.answer(id, code, NO_ADDRESS);
    this.waker.wake(session);
  }

  remove(session: TargetSession, id: number): void {
    this.#sessions.remove(session, id);
  }

  release(session: TargetSession): void {
    this.#sessions.release(session);
  }

  free(session: TargetSession): boolean {
    return this.#sessions.free(session);
  }
}

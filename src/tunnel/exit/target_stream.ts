/**
 * One stream at the server's end, from OPEN to its end: what the session is answered, and what is
 * at the stream's other end.
 *
 *     connecting → open → over
 *          └→ answered with a code
 *
 * Data that comes before the connection stands stays in the session, within its window.
 */

import type { TcpSocket } from "../../../ffi/tcp.ts";
import type { Loop } from "../../loop/loop.ts";
import type { ConnectEvents, Connecting, Connector } from "../../outbound/connector.ts";
import type { ByteEnd } from "../../outbound/byte_end.ts";
import { SocketEnd, type SocketEndOwner } from "../../outbound/socket_end.ts";
import type { Splicer } from "../../outbound/splicer.ts";
import type { Turn, Turns } from "../../outbound/turns.ts";
import { StreamEnd, type StreamSession, type Waker } from "../../outbound/stream_end.ts";
import { BENCH_HOST } from "../../proxy/bench.ts";
import { OpenedCode, RstCode } from "../../wire/frames.ts";
import { NO_RULE } from "../../proxy/rules.ts";
import type { Target } from "../../proxy/target.ts";
import type { Session } from "../../session/session.ts";
import { NO_ADDRESS, writeIpAddress } from "../../wire/address.ts";
import { type BenchOwner, BenchTargets } from "./bench_target.ts";
import type { ExitItem } from "./exit_sessions.ts";
import { CountedEnd, type TargetLog, type TargetStory } from "./target_log.ts";

const ADDRESS_BYTES_MAX = 19;

/** What is asked of the session of a stream. */
export type TargetSession = StreamSession & Pick<Session, "answer">;

/** What a stream needs of all of them; Targets. */
export interface StreamHost {
  readonly loop: Loop;
  readonly connector: Connector;
  readonly splicer: Splicer;
  readonly bench: BenchTargets;
  readonly waker: Waker<TargetSession>;
  readonly counters: { connected: number; faults: number };
  /** Nothing where nobody reads it. */
  readonly log: TargetLog | undefined;
  /** Answers OPEN with a code. */
  refuse(session: TargetSession, id: number, code: number): void;
  readonly turns: Turns;
  /** Nobody asks for the stream by its id any more. */
  remove(session: TargetSession, id: number): void;
  /** The stream is over: its place is free. */
  release(session: TargetSession): void;
  /** Has another stream give up its descriptor for one of this session; whether one did. */
  free(session: TargetSession): boolean;
}

export class TargetStream implements ConnectEvents, SocketEndOwner, BenchOwner, ExitItem, Turn {
  readonly id: number;
  user = "";
  /** What its bytes go to: a connection, or what the server itself serves. */
  end: ByteEnd | undefined;
  /** What the log is told of it at its end, where somebody reads that. */
  story: TargetStory | undefined;
  readonly #host: StreamHost;
  readonly #session: TargetSession;
  #connecting: Connecting | undefined;
  /** The client had nothing more to say before the connection stood. */
  #endedEarly = false;
  #isOver = false;
  /** Over, and still to be closed. */
  #isClosing = false;
  readonly #begunAt: number;

  constructor(host: StreamHost, session: TargetSession, id: number) {
    this.#begunAt = host.loop.now;
    this.#host = host;
    this.#session = session;
    this.id = id;
  }

  /** Names are looked up, and copies held, on the session's account. */
  get asker(): object {
    return this.#session;
  }

  get lastUsed(): number {
    return this.end?.lastUsed ?? this.#begunAt;
  }

  look(): number {
    return this.end?.look?.() ?? 0;
  }

  get stalled(): number {
    return this.end?.stalled ?? 0;
  }

  begin(user: string, target: Target): void {
    this.user = user;
    this.story = this.#host.log?.story(user, target);
    try {
      if (target.name === BENCH_HOST) return this.#measure(target.port);
      const connecting = this.#host.connector.connect(user, target, this);
      if (!this.#isOver) this.#connecting = connecting;
    } catch (error) {
      this.#fault(error);
    }
  }

  /** The server itself is the target: for whoever is let in, whatever the rules say of others. */
  #measure(port: number): void {
    const { bench, connector, waker } = this.#host;
    this.story?.judged("bench", NO_RULE);
    if (connector.routes.bench === false) return this.failed(OpenedCode.denied);
    if (!BenchTargets.isPort(port)) return this.failed(OpenedCode.refused);
    const end = bench.open(this, port);
    if (end === undefined) return this.failed(OpenedCode.tooManyStreams);
    this.end = end;
    this.#session.answer(this.id, OpenedCode.ok, NO_ADDRESS);
    end.join(this.#joinedWith(end));
    this.#session.resume(this.id);
    waker.wake(this.#session);
  }

  benchClosed(): void {
    this.#remove();
    this.end = undefined;
  }

  judged(outbound: string, rule: number): void {
    this.story?.judged(outbound, rule);
  }

  #joinedWith(end: ByteEnd): ByteEnd {
    const { splicer, waker } = this.#host;
    const stream = new StreamEnd(splicer, waker, this.#session, this.id, end);
    return this.story === undefined ? stream : new CountedEnd(this.story, stream);
  }

  connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void {
    this.#connecting = undefined;
    // Given up, and not closed yet.
    if (this.#isOver) return socket.abort();
    const { splicer, counters, waker } = this.#host;
    try {
      const end = new SocketEnd(splicer, this, socket, early);
      this.end = end;
      end.join(this.#joinedWith(end));
      this.#session.answer(this.id, OpenedCode.ok, boundAddress(socket));
      end.start();
      counters.connected++;
      this.#session.resume(this.id);
      if (this.#endedEarly) this.end?.finish();
      waker.wake(this.#session);
    } catch (error) {
      if (this.end === undefined) socket.abort();
      this.#fault(error);
    }
  }

  failed(code: number): void {
    this.#connecting = undefined;
    if (this.#isOver) return;
    this.story?.failed(code);
    this.#remove();
    this.#host.refuse(this.#session, this.id, code);
  }

  short(): boolean {
    return this.#host.free(this.#session);
  }

  giveWay(): void {
    const { end } = this;
    this.story?.ended("it made room for others");
    this.#abortNow();
    if (end === undefined) {
      this.#host.refuse(this.#session, this.id, OpenedCode.tooManyStreams);
      return;
    }
    this.#session.reset(this.id, RstCode.internal);
    this.#host.waker.wake(this.#session);
  }

  /** The client has nothing more to say. */
  finish(): void {
    if (this.end === undefined) this.#endedEarly = true;
    else this.end.finish();
  }

  /** The client, or its session, has gone: what is open is closed when it is its turn. */
  abort(): void {
    if (this.#isOver) return;
    this.story?.ended("the client ended it");
    const hasSocket = this.end?.abandon !== undefined || this.#connecting?.isDialling === true;
    if (!hasSocket) return this.#abortNow();
    this.#isOver = this.#isClosing = true;
    this.end?.abandon?.();
    this.#host.remove(this.#session, this.id);
    this.#host.turns.close(this);
  }

  takeTurn(): void {
    this.#close();
    this.#release();
  }

  endClosed(): void {
    this.end = undefined;
    this.#remove();
  }

  #abortNow(): void {
    this.#close();
    this.#remove();
  }

  #close(): void {
    this.end?.reset(RstCode.cancelled);
    this.#connecting?.abort();
    this.end = this.#connecting = undefined;
  }

  #remove(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.story?.ended();
    this.#host.remove(this.#session, this.id);
    this.#host.release(this.#session);
  }

  /** The place of one that was to be closed is free. */
  #release(): void {
    if (!this.#isClosing) return;
    this.#isClosing = false;
    this.#host.release(this.#session);
  }

  #fault(error: unknown): void {
    const { counters, loop, waker } = this.#host;
    counters.faults++;
    loop.fault(error);
    this.abort();
    this.#session.reset(this.id, RstCode.internal);
    waker.wake(this.#session);
  }
}

/** The address a connection has here, as OPENED tells it. */
function boundAddress(socket: TcpSocket): Uint8Array {
  const { ip, port } = socket.local();
  const bytes = new Uint8Array(ADDRESS_BYTES_MAX);
  return bytes.subarray(0, writeIpAddress(bytes, 0, bytes.length, ip, 0, port));
}

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
import { Splice, type SpliceOwner, type Splicer } from "../../outbound/splice.ts";
import type { StreamSession, Waker } from "../../outbound/splice.ts";
import { BENCH_HOST } from "../../proxy/bench.ts";
import { OpenedCode, RstCode } from "../../wire/frames.ts";
import type { Target } from "../../proxy/target.ts";
import type { Session } from "../../session/session.ts";
import { NO_ADDRESS, writeIpAddress } from "../../wire/address.ts";
import { type BenchOwner, BenchTargets } from "./bench_target.ts";

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
  /** Answers OPEN with a code. */
  refuse(session: TargetSession, id: number, code: number): void;
  /** The stream is over. */
  remove(session: TargetSession, id: number): void;
}

/** Where the bytes of a stream go: a connection's splice, or what the server itself serves. */
type Carrier = Pick<Splice, "data" | "end" | "abort" | "writable">;

export class TargetStream implements ConnectEvents, SpliceOwner, BenchOwner {
  readonly id: number;
  carrier: Carrier | undefined;
  readonly #host: StreamHost;
  readonly #session: TargetSession;
  #connecting: Connecting | undefined;
  /** The client had nothing more to say before the connection stood. */
  #endedEarly = false;
  #isOver = false;

  constructor(host: StreamHost, session: TargetSession, id: number) {
    this.#host = host;
    this.#session = session;
    this.id = id;
  }

  begin(user: string, target: Target): void {
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
    if (connector.routes.bench === false) return this.failed(OpenedCode.denied);
    if (!BenchTargets.isPort(port)) return this.failed(OpenedCode.refused);
    this.carrier = bench.open(this, this.#session, this.id, port);
    if (this.carrier === undefined) return this.failed(OpenedCode.tooManyStreams);
    this.#session.answer(this.id, OpenedCode.ok, NO_ADDRESS);
    this.#session.resume(this.id);
    waker.wake(this.#session);
  }

  benchClosed(): void {
    this.#remove();
    this.carrier = undefined;
  }

  connected(socket: TcpSocket, early: Uint8Array<ArrayBuffer>): void {
    this.#connecting = undefined;
    const { splicer, counters, waker } = this.#host;
    try {
      const splice = new Splice(splicer, this, this.#session, this.id, socket, early);
      this.carrier = splice;
      this.#session.answer(this.id, OpenedCode.ok, boundAddress(socket));
      splice.start();
      counters.connected++;
      this.#session.resume(this.id);
      if (this.#endedEarly) this.carrier?.end();
      waker.wake(this.#session);
    } catch (error) {
      if (this.carrier === undefined) socket.abort();
      this.#fault(error);
    }
  }

  failed(code: number): void {
    if (this.#isOver) return;
    this.#connecting = undefined;
    this.#remove();
    this.#host.refuse(this.#session, this.id, code);
  }

  end(): void {
    if (this.carrier === undefined) this.#endedEarly = true;
    else this.carrier.end();
  }

  /** The client, or its session, has gone. */
  abort(): void {
    if (this.#isOver) return;
    this.#remove();
    this.carrier?.abort();
    this.#connecting?.abort();
    this.carrier = this.#connecting = undefined;
  }

  spliceClosed(): void {
    this.#remove();
    this.carrier = undefined;
  }

  #remove(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#host.remove(this.#session, this.id);
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

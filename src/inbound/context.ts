/** What the inbounds of a client's worker share: limits, counters, and who uses which stream. */

import type { Native } from "../../ffi/native.ts";
import type { TcpSocket } from "../../ffi/tcp.ts";
import { Outcome, wordsOf } from "../proxy/outcome.ts";
import { Target } from "../proxy/target.ts";
import type { Session } from "../session/session.ts";
import { SessionIndex } from "../session/session_index.ts";
import { Associations } from "./associations.ts";
import { Doorstep } from "./doorstep.ts";
import { InboundCounters, type InboundTunnel } from "./counters.ts";
import { Reopening } from "./said.ts";
import type { Loop } from "../loop/loop.ts";
import { Splicer } from "../outbound/splicer.ts";

/** Local connections at a time; one more is closed at once. */
export const CONNECTIONS_MAX = 16_384;
/** For a request, from its first byte (or the connection's begin) to its last. */
export const GREETING_MS = 10_000;
/** Bytes read from a client in one go while a request is awaited. */
const REQUEST_READ_BYTES = 16 << 10;
/** A refusal is at most some 400 bytes. */
const REPLY_BYTES = 2048;

/** Who has opened a stream: gets its SessionEvents. */
export interface StreamUser {
  /** Set by Streams. */
  session: Session | undefined;
  stream: number;
  /** With a code of OPENED and the bound address, as on the wire. */
  answered(code: number, bytes: Uint8Array, at: number, length: number): void;
  data(bytes: Uint8Array<ArrayBufferLike>, at: number, length: number): number;
  ended(): void;
  wasReset(code: number): void;
  writable(): void;
  /** The session is over, and the stream with it. The server may never have heard of it. */
  lost(isUnheard: boolean): void;
}

/** Something that a stop has to end. */
export interface Live {
  abort(): void;
}

/** Who uses which stream. */
export class Streams {
  readonly #tunnel: InboundTunnel;
  readonly #users = new SessionIndex<Session, StreamUser>();

  constructor(tunnel: InboundTunnel) {
    this.#tunnel = tunnel;
  }

  get count(): number {
    return this.#users.count;
  }

  /** Opens a stream for a user; false: the session takes no more. */
  open(user: StreamUser, address: Uint8Array): boolean {
    const session = this.#tunnel.session();
    const stream = session.openStream(address);
    if (stream < 0) return false;
    this.adopt(user, session, stream);
    return true;
  }

  /** Has a user of an open stream hear of it. */
  adopt(user: StreamUser, session: Session, stream: number): void {
    user.session = session;
    user.stream = stream;
    this.#users.set(session, stream, user);
  }

  /** The user wants to hear no more of its stream. */
  forget(user: StreamUser): void {
    if (user.session === undefined) return;
    this.#users.delete(user.session, user.stream);
    user.session = undefined;
  }

  get(session: Session, stream: number): StreamUser | undefined {
    return this.#users.get(session, stream);
  }

  /** The session is over; `isReopened`: streams that it told nobody of may go to another. */
  lose(session: Session, isReopened = false): void {
    for (const user of this.#users.take(session)) {
      user.session = undefined;
      user.lost(isReopened && session.wasUnheard(user.stream));
    }
  }
}

/** A parser with something to say to the local client. */
interface ReplySource {
  readonly pending: number;
  drain(out: Uint8Array, at: number, room: number): number;
}

export class InboundContext {
  readonly counters: InboundCounters = new InboundCounters();
  readonly native: Native;
  readonly loop: Loop;
  readonly tunnel: InboundTunnel;
  readonly connectionsMax: number;
  readonly splicer: Splicer;
  readonly streams: Streams;
  readonly reopening: Reopening;
  readonly associations: Associations;
  /** All local connections, each as what it is at the moment. */
  readonly live: Set<Live> = new Set();
  readonly doorstep: Doorstep = new Doorstep();
  /** For requests: holds something during one call only. */
  readonly arena: Uint8Array<ArrayBuffer> = new Uint8Array(REQUEST_READ_BYTES);
  /** Hears of requests and forwards that came to nothing: their target, and why in words. */
  onFailed: (target: Target, cause: string) => void = () => {};
  /** Hears of what is refused before it comes to a target. */
  onRefused: (what: string, cause: string) => void = () => {};
  readonly #reply = new Uint8Array(REPLY_BYTES);

  constructor(loop: Loop, tunnel: InboundTunnel, connectionsMax = CONNECTIONS_MAX) {
    this.connectionsMax = Math.min(connectionsMax, CONNECTIONS_MAX);
    this.loop = loop;
    this.native = loop.native;
    this.tunnel = tunnel;
    this.splicer = new Splicer(loop);
    this.streams = new Streams(tunnel);
    this.reopening = new Reopening(loop);
    this.associations = new Associations(loop, tunnel, this.counters);
  }

  /** An error ended one connection, and no more than that. */
  fault(error: unknown): void {
    this.counters.faults++;
    this.loop.fault(error);
  }

  /** What a stream was opened for came to nothing, `address` as on the wire; what more is known. */
  failed(address: Uint8Array, outcome: number): string | undefined {
    const target = new Target();
    const isTarget = target.readSocks(address, 0, address.length) > 0;
    return isTarget ? this.targetFailed(target, outcome) : undefined;
  }

  targetFailed(target: Target, outcome: number): string | undefined {
    const more = outcome === Outcome.tunnelDown ? this.tunnel.why?.() : undefined;
    this.onFailed(target, wordsOf(outcome, more));
    return more;
  }

  /** Writes what a parser has to say; false: the socket did not take all of it. */
  reply(socket: TcpSocket, source: ReplySource): boolean {
    while (source.pending > 0) {
      const length = source.drain(this.#reply, 0, REPLY_BYTES);
      if (socket.write(this.#reply, 0, length) !== length) return false;
    }
    return true;
  }
}

/**
 * Has a worker's code compiled before the first user comes.
 *
 * A fresh isolate interprets: the first round trips of a tunnel cost several times what they cost
 * later, and the first handshake tens of milliseconds. So each worker rehearses: a throwaway copy
 * of itself and of its peer, with keys of their own, carry made-up traffic over loopback, in short
 * slices of the time that nobody needs. Nothing of it is counted, told or kept.
 */

import { type Endpoint, endpoint } from "../../../ffi/endpoint.ts";
import { EventFd, monotonicMs } from "../../../ffi/loop.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { NativePrimitives } from "../../../ffi/primitives.ts";
import { ipBytes } from "../../base/ip.ts";
import { ringMemory } from "../../base/ring.ts";
import type { Session } from "../../session/session.ts";
import { Host, type Service } from "../../loop/host.ts";
import type { FromHost } from "../../loop/protocol.ts";
import { type Loop, NOT_ARMED, textOfError, type Timer } from "../../loop/loop.ts";
import type { InboundSpec } from "../../inbound/spec.ts";
import type { RuleText } from "../../outbound/routing.ts";
import type { TunnelEvents } from "../tunnel.ts";
import type { ClientStart, ServerStart, TunnelStart } from "../protocol.ts";

const LOOPBACK = ipBytes("127.0.0.1");
/** Where a throwaway server, inbound or target listens. */
export const anyPort: Endpoint = endpoint(LOOPBACK, 0);
/** Of a throwaway tunnel's streams. */
export const BUFFER_BYTES = 4 << 20;
const SESSIONS_MAX = 8;
const KEY_BYTES = 32;
const INBOX_BYTES = 64;

/**
 * The first part of a rehearsal has many short streams, each over a session of its own, some with
 * more to say: what the optimiser takes for constant should have changed before it looks. The
 * second part, by other instances of everything, has long ones, which are what it looks at.
 */
const PARTS: readonly Part[] = [
  { streams: 12, trips: 24, isBusy: true },
  { streams: 4, trips: 700, isBusy: false },
];
/** Bytes of one message, there and back: of most streams, and of every third of a busy part. */
const MESSAGE_BYTES = 64;
export const MESSAGE_BYTES_MAX = 12 << 10;

interface Part {
  readonly streams: number;
  /** Round trips of each stream. */
  readonly trips: number;
  readonly isBusy: boolean;
}

/** Work is done in slices of so many ms, with a pause between: packets wait no longer. */
const SLICE_MS = 1;
const PAUSE_MS = 1;
/** The worker is left alone for so long after something came in. */
const QUIET_MS = 5;
/** A rehearsal that has not ended by then is given up: somebody else has warmed the code. */
const GIVE_UP_MS = 20_000;

/** A throwaway copy of a worker and its peer. */
export interface Rehearsal {
  /** Why it can't go on; empty: it can. */
  readonly failure: string;
  readonly isOver: boolean;
  /** Does what can be done without waiting. */
  round(): void;
  /** Closes all sockets, wipes all keys. */
  close(): void;
}

/** How far the made-up traffic has come. */
export class Course {
  readonly #part: Part;
  #stream = 0;
  #trip = 0;

  constructor(part: Part) {
    this.#part = part;
  }

  /** The stream at hand, or the next. */
  get stream(): number {
    return this.#stream;
  }

  get isOver(): boolean {
    return this.#stream >= this.#part.streams;
  }

  /** The next stream is to be opened over a session of its own. */
  get endsSession(): boolean {
    return this.#part.isBusy;
  }

  get messageBytes(): number {
    return this.#part.isBusy && this.#stream % 3 === 2 ? MESSAGE_BYTES_MAX : MESSAGE_BYTES;
  }

  /** A message came back; whether the stream has another one to send. */
  nextTrip(): boolean {
    return ++this.#trip < this.#part.trips;
  }

  nextStream(): void {
    this.#trip = 0;
    this.#stream++;
  }
}

/** Rehearses in a worker's idle time, beside its other services. */
export class WarmUp implements Service, Timer {
  readonly name = "rehearsal";
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  /** What went wrong; empty: nothing. The worker runs as well without. */
  failure = "";
  isOver = false;
  readonly #loop: Loop;
  readonly #delayMs: number;
  readonly #make: (course: Course) => Rehearsal;
  #part = 0;
  #rehearsal: Rehearsal | undefined;
  #givesUpAt = Infinity;

  /** Begins `delayMs` after its start. */
  constructor(loop: Loop, delayMs: number, make: (course: Course) => Rehearsal) {
    this.#loop = loop;
    this.#delayMs = delayMs;
    this.#make = make;
  }

  start(): void {
    this.#givesUpAt = this.#loop.now + this.#delayMs + GIVE_UP_MS;
    this.#loop.arm(this, this.#loop.now + this.#delayMs);
  }

  fire(now: number): void {
    const quietAt = this.#loop.readyAt + QUIET_MS;
    if (now >= this.#givesUpAt) return this.stop();
    if (now < quietAt) return this.#loop.arm(this, quietAt);
    try {
      this.#slice();
    } catch (error) {
      this.failure = textOfError(error);
      this.stop();
    }
    if (!this.isOver) this.#loop.arm(this, monotonicMs(this.#loop.native) + PAUSE_MS);
  }

  #slice(): void {
    const { native } = this.#loop;
    const rehearsal = this.#rehearsal ??= this.#make(new Course(PARTS[this.#part]!));
    const until = monotonicMs(native) + SLICE_MS;
    while (!rehearsal.isOver && rehearsal.failure === "" && monotonicMs(native) < until) {
      rehearsal.round();
    }
    this.failure = rehearsal.failure;
    if (this.failure !== "") return this.stop();
    if (!rehearsal.isOver) return;
    this.#rehearsal = undefined;
    rehearsal.close();
    this.#part++;
    this.isOver = this.#part === PARTS.length;
  }

  /** Ends it, done or not. */
  stop(): void {
    this.isOver = true;
    this.#loop.disarm(this);
    const rehearsal = this.#rehearsal;
    this.#rehearsal = undefined;
    rehearsal?.close();
  }
}

/** What throwaway workers and tunnels are started with; it wipes all keys that it gave out. */
export class Stage {
  /** What a worker said went wrong. */
  failure = "";
  readonly #libs: Libraries;
  readonly #wake: EventFd;
  readonly #psk = new Uint8Array(KEY_BYTES);
  readonly #keys: Uint8Array[] = [this.#psk];

  constructor(libs: Libraries) {
    this.#libs = libs;
    this.#wake = new EventFd(libs.native);
    new NativePrimitives(libs.native).random(this.#psk);
  }

  /** A worker's, without the worker. */
  host(): Host {
    const stop = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const inbox = ringMemory(INBOX_BYTES);
    return new Host(this.#libs, { wakeFd: this.#wake.fd, stop, inbox }, this.#heard);
  }

  server(rules: readonly RuleText[]): ServerStart {
    const serverSecret = new Uint8Array(KEY_BYTES);
    new NativePrimitives(this.#libs.native).random(serverSecret);
    this.#keys.push(serverSecret);
    return {
      index: 0,
      // As one of several.
      workers: 2,
      listen: anyPort,
      users: [],
      rules,
      serverSecret,
      generation: 0,
      sessionsMax: SESSIONS_MAX,
      ...this.#common(),
    };
  }

  client(serverPort: number, inbounds: readonly InboundSpec[]): ClientStart {
    return {
      servers: [endpoint(LOOPBACK, serverPort)],
      user: "",
      userKey: new Uint8Array(0),
      inbounds,
      ...this.#common(),
    };
  }

  #common(): TunnelStart & { readonly idleMs: number } {
    const psk = this.#psk.slice();
    this.#keys.push(psk);
    return {
      psk,
      upRate: 0,
      downRate: 0,
      windowPackets: 256,
      maxRetries: 10,
      idleMs: GIVE_UP_MS,
    };
  }

  /** In place of main. */
  readonly #heard = (message: FromHost): void => {
    if (message.kind !== "log" || message.record.level !== "error") return;
    const { message: text, fields } = message.record;
    this.failure = `${text}: ${fields.stack ?? fields.cause}`;
  };

  close(): void {
    for (const key of this.#keys) key.fill(0);
    this.#wake.close();
  }
}

/** An application that does nothing; what one wants to do it overwrites. */
export class SilentEvents implements TunnelEvents {
  sessionOpened(_session: Session, _user: string): void {}
  opened(_session: Session, _id: number, _bytes: Uint8Array, _at: number, _length: number): void {}
  answered(_session: Session, _id: number, _code: number): void {}
  data(_session: Session, _id: number, _bytes: Uint8Array, _at: number, length: number): number {
    return length;
  }
  ended(_session: Session, _id: number): void {}
  wasReset(_session: Session, _id: number, _code: number): void {}
  writable(_session: Session, _id: number): void {}
  gone(_session: Session, _id: number): void {}
  datagram(): void {}
  assocEnded(): void {}
  pong(): void {}
  pathProven(): void {}
  closed(_session: Session, _code: number, _isLocal: boolean): void {}
}

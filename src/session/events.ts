/** What a session and its driver owe each other: what it is made with, and what it tells. */

import type { FrameRecords } from "../reliability/frame_records.ts";
import type { Budget } from "./budget.ts";

/** What a session tells its driver of its streams. */
export interface StreamEvents<Owner> {
  /** The peer opened a stream; `answer` it. Data may follow at once. */
  opened(session: Owner, stream: number, bytes: Uint8Array, at: number, length: number): void;
  /** The peer's answer to our stream: an OpenedCode, and the address it is bound to. */
  answered(
    session: Owner,
    stream: number,
    code: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void;
  /** Data in order; how much was taken. After less than `length` comes no more before `resume`. */
  data(
    session: Owner,
    stream: number,
    bytes: Uint8Array<ArrayBufferLike>,
    at: number,
    length: number,
  ): number;
  /** The peer has finished; all data was taken. */
  ended(session: Owner, stream: number): void;
  /** The peer gave the stream up. */
  wasReset(session: Owner, stream: number, code: number): void;
  /** A write that was cut short has room again. */
  writable(session: Owner, stream: number): void;
  /** Both halves are over; the id means nothing any more. */
  gone(session: Owner, stream: number): void;
}

/**
 * What a session tells its driver. Called from receive() and onTimeout(): they may open, write,
 * finish and reset streams, but not build(), nor remove a path.
 */
export interface Events<Owner> extends StreamEvents<Owner> {
  datagram(
    session: Owner,
    assoc: number,
    bytes: Uint8Array<ArrayBufferLike>,
    addressAt: number,
    addressLength: number,
    at: number,
    length: number,
  ): void;
  assocEnded(session: Owner, assoc: number): void;
  pong(session: Owner, path: number, high: number, low: number): void;
  pathProven(session: Owner, path: number): void;
  /** No answer on a path to so many probes; where there is another, it is active now. */
  pathDied?(session: Owner, path: number): void;
  /** The end: by the peer, by close(), by silence. `isLocal`: it was not the peer. */
  closed(session: Owner, code: number, isLocal: boolean): void;
}

export interface Options<Owner> {
  readonly isClient: boolean;
  readonly events: Events<Owner>;
  /** Of all sessions of a worker. */
  readonly budget: Budget;
  readonly records: FrameRecords;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  readonly maxRetries: number;
  /** Nothing received for so long ends the session. */
  readonly idleMs: number;
  /** Our own sign of life, where streams are open; Infinity: none. */
  readonly keepAliveMs: number;
  /** Whether a PATH_RESPONSE proves a path whose challenge was not the session's own. */
  readonly provesPath?: (session: Owner, path: number, high: number, low: number) => boolean;
  /** The peer stated its line in kbit/s, 0: not stated. For whoever chooses controllers. */
  readonly onRates?: (session: Owner, upKbps: number, downKbps: number) => void;
}

/**
 * What main (pool.ts) and a worker's host (host.ts) tell each other, whatever runs in the worker.
 *
 * Main → worker: one first message, then Envelopes by a ring in shared memory (inbox.ts), with an
 * eventfd as a bell, since a loop that never returns hears no messages. Worker → main: postMessage.
 */

import type { LogRecord } from "../base/log.ts";
import type { CounterView } from "./counters.ts";
import type { HandOverSpec } from "./hand_over.ts";

/** What a host needs to be reached; owned by main. */
export interface HostStart {
  /** Rings when there is something in the ring, or to stop. */
  readonly wakeFd: number;
  /** One Int32, not 0: stop. Set before the bell is rung. */
  readonly stop: SharedArrayBuffer;
  /** The ring's memory. */
  readonly inbox: SharedArrayBuffer;
  /** Of a LogThreshold: lines beyond it are not made. @default all are */
  readonly logLevel?: SharedArrayBuffer;
  /** Which of several workers this is, and how connections go to the others. */
  readonly handOver?: { readonly index: number; readonly spec: HandOverSpec };
}

/** The first message; `start` is for the services. */
export interface FirstMessage<Start> {
  readonly host: HostStart;
  readonly start: Start;
}

export type FromHost =
  /** All services have started; what each tells of itself, by name. */
  | {
    readonly kind: "ready";
    readonly services: Readonly<Record<string, unknown>>;
    readonly counters: CounterView;
  }
  | { readonly kind: "said"; readonly service: string; readonly message: unknown }
  /** `asker`: a number for each whose look-ups are counted together; 0 is nobody. */
  | {
    readonly kind: "resolve";
    readonly id: number;
    readonly name: string;
    readonly asker: number;
    readonly user: string;
  }
  /** A name that was asked for is not wanted any more. */
  | { readonly kind: "forget"; readonly name: string; readonly asker: number }
  | { readonly kind: "log"; readonly record: LogRecord }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

/**
 * What main and the services of a worker tell each other, as types: how the services are started,
 * and for each, by name, what it hears, what it says, and what it tells of itself once it has
 * started.
 */
export interface Protocol {
  readonly start: unknown;
  readonly services: Readonly<Record<string, ServiceWords>>;
}

export interface ServiceWords {
  readonly hears?: unknown;
  readonly says?: unknown;
  readonly ready?: unknown;
}

/** The name under which a host's resolver hears and counts; no service has it. */
export const RESOLVER = "resolver";

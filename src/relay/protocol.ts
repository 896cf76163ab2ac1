/** What main and the relay's worker tell each other: one first message, then shared memory. */

import type { LogRecord } from "../base/log.ts";
import type { RelayPlan } from "./kernel_relay.ts";

export interface RelayStart {
  readonly kind: "relay";
  readonly plan: RelayPlan;
  /** Owned by main; rings when states have changed, or to stop. */
  readonly wakeFd: number;
  /** Words of RelayWord. */
  readonly words: SharedArrayBuffer;
  /** A byte for each backend of all services, in their order: RelayByte. */
  readonly states: SharedArrayBuffer;
  /** relay_flows, owned by main; where XDP relays. */
  readonly flowsFd?: number;
  /** 32 bytes; where a relay takes only what unmasks. */
  readonly psk?: Uint8Array;
}

export const RelayByte = { up: 0, draining: 1, down: 2 } as const;

/** 64-bit words, written by the worker but for the first two. */
export const RelayWord = {
  stop: 0,
  /** Grows with every change of the states. */
  generation: 1,
  flows: 2,
  forwarded: 3,
  returned: 4,
  newFlows: 5,
  moved: 6,
  junk: 7,
  noBackend: 8,
  tooMany: 9,
  notSent: 10,
  count: 11,
} as const;

export type RelayMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "log"; readonly record: LogRecord }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

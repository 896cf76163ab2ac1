/** What main and a data-plane worker tell each other. */

import type { Endpoint } from "../../ffi/endpoint.ts";

/** The first and only message to a worker. */
export interface WorkerStart {
  readonly listen: Endpoint;
  /** Owned by main; wakes the worker. */
  readonly wakeFd: number;
  /** Words of SharedWord. */
  readonly shared: SharedArrayBuffer;
}

/** 64-bit words that both sides see. */
export const SharedWord = {
  /** Not 0: stop. Set by main, before it wakes the worker. */
  stop: 0,
  /** Datagrams received. Written by the worker. */
  datagrams: 1,
  count: 2,
} as const;

export type WorkerMessage =
  | { readonly kind: "ready"; readonly port: number; readonly features: number }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

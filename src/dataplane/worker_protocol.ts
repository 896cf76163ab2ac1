/**
 * What main and a data-plane worker tell each other.
 *
 * Main → worker: one first message (WorkerStart), then JSON (ToWorker) by a ring in shared memory,
 * with the eventfd as a bell, since a loop that never returns hears no messages. Worker → main:
 * postMessage (WorkerMessage). Counters stand in shared words that both see.
 */

import type { Endpoint } from "../../ffi/endpoint.ts";

/** What every worker gets. */
export interface WorkerCommon {
  /** Owned by main; rings when there is something in the ring, or to stop. */
  readonly wakeFd: number;
  /** Words of SharedWord. */
  readonly shared: SharedArrayBuffer;
  /** Ring memory of ToWorker messages. */
  readonly inbox: SharedArrayBuffer;
  /** 32 bytes; the worker wipes its copy when it stops. */
  readonly psk: Uint8Array;
  /** This side's line, bytes a second; 0: not stated. */
  readonly upRate: number;
  readonly downRate: number;
  /** `arq.window_size` and `arq.max_retries`. */
  readonly windowPackets: number;
  readonly maxRetries: number;
}

export interface ServerStart extends WorkerCommon {
  readonly kind: "server";
  /** This worker, and how many there are. */
  readonly index: number;
  readonly workers: number;
  readonly listen: Endpoint;
  /** 32 bytes that outlive the process: the reset tokens' key. */
  readonly serverSecret: Uint8Array;
  /** Empty: `psk` alone. */
  readonly users: readonly UserSpec[];
  readonly rules: readonly RuleText[];
  readonly idleMs: number;
  readonly sessionsMax: number;
}

export interface ClientStart extends WorkerCommon {
  readonly kind: "client";
  /** Addresses of the server, best first. */
  readonly servers: readonly Endpoint[];
  /** Empty: `psk` alone. */
  readonly user: string;
  readonly userKey: Uint8Array;
  readonly inbounds: readonly InboundSpec[];
}

export type WorkerStart = ServerStart | ClientStart;

export interface UserSpec {
  readonly name: string;
  readonly key: Uint8Array;
  /** Bytes a second; 0: no limit. */
  readonly upRate: number;
  readonly downRate: number;
}

/** An outbound rule as configured; compiled by proxy/rules.ts. */
export interface RuleText {
  readonly domain?: readonly string[];
  readonly domainSuffix?: readonly string[];
  readonly domainKeyword?: readonly string[];
  readonly cidr?: readonly string[];
  readonly port?: readonly string[];
  readonly network?: "tcp" | "udp";
  readonly user?: readonly string[];
  readonly outbound: string;
}

export interface InboundSpec {
  /** mixed: SOCKS5 and HTTP by the first byte; tcp, udp: a port forward to `target`. */
  readonly kind: "mixed" | "socks5" | "http" | "tcp" | "udp";
  readonly listen: Endpoint;
  /** host:port. */
  readonly target?: string;
  readonly users?: readonly { readonly name: string; readonly password: string }[];
}

/** JSON in the ring. */
export type ToWorker =
  | {
    readonly kind: "resolved";
    readonly id: number;
    /** IP texts; empty with an error. */
    readonly addresses: readonly string[];
    readonly error?: "not-found" | "failed";
  }
  /** The server only: rules for streams and datagrams from now on. */
  | { readonly kind: "rules"; readonly rules: readonly RuleText[] }
  /** The client only: tell the state of the session (WorkerMessage "session"). */
  | { readonly kind: "report" };

/** 64-bit words that both sides see; written by the worker but for `stop`. */
export const SharedWord = {
  /** Not 0: stop. Set by main, before it rings. */
  stop: 0,
  datagrams: 1,
  junk: 2,
  sessions: 3,
  handshakes: 4,
  replays: 5,
  streams: 6,
  bytesIn: 7,
  bytesOut: 8,
  refusals: 9,
  /** Streams and datagrams that rules or a limit refused. */
  targetRefusals: 10,
  count: 16,
} as const;

export type WorkerMessage =
  | { readonly kind: "ready"; readonly ports: readonly number[]; readonly features: number }
  | { readonly kind: "resolve"; readonly id: number; readonly name: string }
  | {
    readonly kind: "log";
    readonly level: "error" | "warn" | "info" | "debug";
    readonly text: string;
  }
  /** The client's session: by itself when it changes, and as the answer to "report". */
  | {
    readonly kind: "session";
    readonly state: "connecting" | "open" | "lost";
    readonly rttMs: number;
    readonly lostShare: number;
    readonly bytesUp: number;
    readonly bytesDown: number;
  }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

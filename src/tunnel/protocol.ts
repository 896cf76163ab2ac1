/**
 * What main and a data-plane worker tell each other.
 *
 * Main → worker: one first message (WorkerStart), then JSON (ToWorker) by a ring in shared memory,
 * with the eventfd as a bell, since a loop that never returns hears no messages. Worker → main:
 * postMessage (WorkerMessage). Counters stand in shared words that both see.
 */

import type { Endpoint } from "../../ffi/endpoint.ts";
import type { LogRecord } from "../base/log.ts";
import type { InboundSpec } from "../inbound/spec.ts";
import type { NameAnswer } from "../loop/resolver.ts";
import type { Routing } from "../outbound/routing.ts";
import type { UserLimits } from "../proxy/users.ts";
import type { XskSpec } from "../transport/xsk_spec.ts";

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

export interface ServerStart extends WorkerCommon, Routing {
  readonly kind: "server";
  /** This worker, and how many there are. */
  readonly index: number;
  readonly workers: number;
  readonly listen: Endpoint;
  /** HELLO salts that any worker has seen (shared_salts.ts); where there are several. */
  readonly salts?: SharedArrayBuffer;
  /** The last clean stop's (replay_record.ts); where there is one worker. */
  readonly replayRecord?: Uint8Array;
  /** 32 bytes that outlive the process: the reset tokens' key. */
  readonly serverSecret: Uint8Array;
  /** Empty: `psk` alone. */
  readonly users: readonly UserSpec[];
  /** What users have used, a slot each, for all workers; see proxy/users.ts. */
  readonly accounts?: SharedArrayBuffer;
  readonly idleMs: number;
  readonly sessionsMax: number;
  /** Tell of sessions' addresses ("marks"). */
  readonly marks?: boolean;
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

export interface UserSpec extends UserLimits {
  readonly name: string;
  /** Theirs in `accounts`. */
  readonly slot?: number;
  readonly key: Uint8Array;
  /** Bytes a second; 0: no limit. */
  readonly upRate: number;
  readonly downRate: number;
}

/** A user as JSON carries them. */
export interface UserText extends Omit<UserSpec, "key"> {
  /** Hex digits. */
  readonly key: string;
}

/** JSON in the ring. */
export type ToWorker =
  | NameAnswer
  /** The server only: rules for streams and datagrams from now on. */
  | ({ readonly kind: "rules" } & Routing)
  /** The server only: all users from now on. */
  | { readonly kind: "users"; readonly users: readonly UserText[] }
  /** The server only: how datagrams come in from now on; nothing: by the UDP socket alone. */
  | { readonly kind: "delivery"; readonly xsk?: XskSpec }
  /** The client only: where the server is from now on, best first. */
  | { readonly kind: "servers"; readonly servers: readonly { host: string; port: number }[] }
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
  /** Datagrams that came in and went out by AF_XDP. */
  xskReceived: 11,
  xskSent: 12,
  count: 16,
} as const;

export type WorkerMessage =
  | {
    readonly kind: "ready";
    readonly ports: readonly number[];
    readonly features: number;
    /** The server's: a descriptor of this process. */
    readonly socket?: number;
  }
  /** Requests to the kernel's table of sessions. */
  | { readonly kind: "marks"; readonly marks: Uint8Array }
  | { readonly kind: "resolve"; readonly id: number; readonly name: string }
  | {
    readonly kind: "log";
    readonly record: LogRecord;
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
  /** Of a clean stop, for the next start. */
  | { readonly kind: "replay"; readonly record: Uint8Array }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly reason: string };

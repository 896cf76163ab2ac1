/**
 * What main and the tunnel's services tell each other: how a server's and a client's are started,
 * and what each hears and says (loop/protocol.ts tells how).
 */

import type { Endpoint } from "../../ffi/endpoint.ts";
import type { Cipher } from "../crypto/ciphers.ts";
import type { InboundSpec, InboundText } from "../inbound/spec.ts";
import type { Protocol } from "../loop/protocol.ts";
import type { Routing } from "../outbound/routing.ts";
import type { OwnBlock } from "../proxy/own_addresses.ts";
import type { UserLimits } from "../proxy/users.ts";
import type { Inheritance } from "./server/replay_record.ts";
import type { XskSpec } from "../transport/xsk_spec.ts";

/** What both get. */
export interface TunnelStart {
  /** 32 bytes; the worker wipes its copy when it stops. */
  readonly psk: Uint8Array;
  /** This side's line, bytes a second; 0: not stated. */
  readonly upRate: number;
  readonly downRate: number;
  /** `arq.window_size` and `arq.max_retries`. */
  readonly windowPackets: number;
  readonly maxRetries: number;
  /** Whether the worker warms up its code, which takes a dozen of open files. @default {true} */
  readonly rehearses?: boolean;
  /** A cipher by its bit (crypto/ciphers.ts), where only one may be; else what suits both ends. */
  readonly cipher?: Cipher;
}

export interface ServerStart extends TunnelStart, Routing {
  /** This worker, and how many there are. */
  readonly index: number;
  readonly workers: number;
  readonly listen: Endpoint;
  /** What all workers remember of HELLOs (replay_memory.ts); else this one has its own. */
  readonly replay?: SharedArrayBuffer;
  /** The time that windows follow (server_clock.ts); else the wall clock's. */
  readonly clock?: SharedArrayBuffer;
  /** What is known of the server before (replay_record.ts). */
  readonly before?: Inheritance;
  /** 32 bytes that outlive the process: of ids, reset tokens and challenges. */
  readonly serverSecret: Uint8Array;
  /** Grows by 8 or more with each start (session_ids.ts). */
  readonly generation: number;
  /** Empty: `psk` alone. */
  readonly users: readonly UserSpec[];
  /** What users have used, a slot each, for all workers; see proxy/users.ts. */
  readonly accounts?: SharedArrayBuffer;
  readonly idleMs: number;
  readonly sessionsMax: number;
  /** Addresses of this machine, which are no targets. */
  readonly own?: readonly OwnBlock[];
  /** Tell of sessions' addresses ("marks"). */
  readonly marks?: boolean;
}

export interface ClientStart extends TunnelStart {
  /** Addresses of the server, best first. */
  readonly servers: readonly Endpoint[];
  /** Empty: `psk` alone. */
  readonly user: string;
  readonly userKey: Uint8Array;
  readonly inbounds: readonly InboundSpec[];
  /** Local connections at a time, where there are descriptors for fewer than usual. */
  readonly connectionsMax?: number;
}

export interface UserSpec extends UserLimits {
  readonly name: string;
  /** Theirs in `accounts`. */
  readonly slot?: number;
  readonly key: Uint8Array;
  /** False: known, and let in no more. */
  readonly isEnabled?: boolean;
  /** Bytes a second; 0: no limit. */
  readonly upRate: number;
  readonly downRate: number;
}

/** A user as JSON carries them. */
export interface UserText extends Omit<UserSpec, "key"> {
  /** Hex digits. */
  readonly key: string;
}

/** What a server's tunnel hears. */
export type ToServer =
  /** Rules for streams and datagrams from now on. */
  | ({ readonly kind: "rules" } & Routing)
  /** All users from now on. */
  | { readonly kind: "users"; readonly users: readonly UserText[] }
  /** Another worker has found this user at their maximum of sessions. */
  | { readonly kind: "crowded"; readonly user: string; readonly silentMs?: number }
  /** What may be open for clients from now on. */
  | {
    readonly kind: "limits";
    readonly connectionsMax: number;
    readonly associationsMax: number;
    /** What the kernel may hold for connections that do not move. */
    readonly stalledBytesMax: number;
  }
  /** Addresses of this machine from now on. */
  | { readonly kind: "own"; readonly own: readonly OwnBlock[] }
  /** How datagrams come in from now on; nothing: by the UDP socket alone. */
  | { readonly kind: "delivery"; readonly xsk?: XskSpec };

/** What a server's tunnel says. */
export type FromServer =
  /** Requests to the kernel's table of sessions. */
  | { readonly kind: "marks"; readonly marks: Uint8Array }
  /** For the other workers. */
  | {
    readonly kind: "crowded";
    readonly user: string;
    readonly by: number;
    /** Only sessions that have been silent for so long. */
    readonly silentMs?: number;
  }
  /** A session of a named user has begun to speak, from an address, or is over. */
  | { readonly kind: "seen"; readonly user: string; readonly from?: string }
  /** Of a clean stop: the sessions that ended (ended_sessions.ts), for the next start. */
  | { readonly kind: "ended"; readonly ended: Uint8Array };

export interface ServerReady {
  readonly port: number;
  /** Bits of UdpFlag that the socket has. */
  readonly features: number;
  /** The descriptor that packets come by, which is this process's. */
  readonly socket?: number;
}

/** What a client's tunnel hears. */
export type ToClient =
  /** Where the server is from now on, best first. */
  | { readonly kind: "servers"; readonly servers: readonly { host: string; port: number }[] }
  /** What listens from now on; the answer is an InboundsReport. */
  | { readonly kind: "inbounds"; readonly inbounds: readonly InboundText[] }
  /** Tell the state of the session. */
  | { readonly kind: "report" };

/** Why a server does not answer, where somebody says so: a hint, for ICMP can be forged. */
export interface Silence {
  /** As ICMP says; or this machine has no way there; or the server's name is not found. */
  readonly why: "refused" | "unreachable" | "prohibited" | "no-way" | "no-name";
  /** The server's address that it is about. */
  readonly peer: string;
  /** Who says so. */
  readonly by: string;
}

/** What a client's tunnel says of its session: when it changes, and as the answer to "report". */
export interface SessionReport {
  readonly state: "connecting" | "open" | "lost";
  /** Of one that is being connected, or could not be. */
  readonly silence?: Silence;
  /** How the last session ended: a CloseCode. */
  readonly closeCode: number;
  readonly rttMs: number;
  readonly lostShare: number;
  /** Of what streams and datagrams said, about: what the server has acknowledged. */
  readonly bytesArrived: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** What became of new inbounds: without a failure they listen, else all is as it was. */
export interface InboundsReport {
  readonly ports: readonly number[];
  readonly failure?: string;
}

/** What a client's tunnel says. */
export type FromClient = SessionReport | InboundsReport;

export interface ClientReady {
  /** Of the inbounds, in the order in which they were asked for. */
  readonly ports: readonly number[];
}

export interface ServerProtocol extends Protocol {
  readonly start: ServerStart;
  readonly services: {
    readonly tunnel: {
      readonly hears: ToServer;
      readonly says: FromServer;
      readonly ready: ServerReady;
    };
  };
}

export interface ClientProtocol extends Protocol {
  readonly start: ClientStart;
  readonly services: {
    readonly tunnel: {
      readonly hears: ToClient;
      readonly says: FromClient;
      readonly ready: ClientReady;
    };
  };
}

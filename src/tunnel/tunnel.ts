/** What the tunnels of client and server have in common towards the application. */

import type { FrameRecords } from "../reliability/frame_records.ts";
import { PMTU_BASE, PMTU_MAX_DEFAULT } from "../reliability/params.ts";
import type { Budget } from "../session/byte_ring.ts";
import type { Session, SessionEvents, SessionOptions } from "../session/session.ts";
import type { PacketSizes } from "../transport/carrier.ts";
import { KEY_UPDATE_MS, KEY_UPDATE_PACKETS } from "../wire/limits.ts";
import type { KeyLimits } from "./peer_keys.ts";

/** What a tunnel tells the application; the end of a session comes by SessionEvents.closed. */
export interface TunnelEvents extends SessionEvents {
  /**
   * The handshake is done. On the server before anything of the session comes; `user` is empty
   * where there is a PSK alone.
   */
  sessionOpened(session: Session, user: string): void;
}

/** What both tunnels can be given beside their start message; tests use it. */
export interface TunnelTuning {
  /** The next key after so many packets, or so long. */
  readonly keyUpdatePackets?: number;
  readonly keyUpdateMs?: number;
  /** The wall clock. */
  readonly unixMs?: () => number;
  /** Bytes that the streams of all sessions may hold. */
  readonly bufferBytes?: number;
}

/** Packets of carriers of datagrams: the path MTU is searched. */
export const DATAGRAM_SIZES: PacketSizes = { base: PMTU_BASE, max: PMTU_MAX_DEFAULT };
/** Bytes that the streams of a tunnel hold in all. */
export const BUFFER_BYTES_MAX = 256 << 20;
/** Our sign of life where streams are open: well below the 30 s after which NATs forget. */
export const KEEP_ALIVE_MS = 15_000;
/** Largest packet that we say we take: what UDP carries, in fragments where it has to be. */
export const DATAGRAM_BYTES_MAX = 65_507;

/** When a sender goes over to its next key. */
export function keyLimits(tuning: TunnelTuning): KeyLimits {
  const { keyUpdatePackets = KEY_UPDATE_PACKETS, keyUpdateMs = KEY_UPDATE_MS } = tuning;
  return { packets: keyUpdatePackets, ms: keyUpdateMs };
}

/** Options of a session that may still change: a client learns `idleMs` by ACCEPT. */
export class PeerOptions implements SessionOptions {
  readonly isClient: boolean;
  readonly events: SessionEvents;
  readonly budget: Budget;
  readonly records: FrameRecords;
  readonly random: () => number;
  readonly maxRetries: number;
  readonly keepAliveMs: number;
  idleMs: number;

  constructor(options: SessionOptions) {
    this.isClient = options.isClient;
    this.events = options.events;
    this.budget = options.budget;
    this.records = options.records;
    this.random = options.random;
    this.maxRetries = options.maxRetries;
    this.keepAliveMs = options.keepAliveMs;
    this.idleMs = options.idleMs;
  }
}

/**
 * Handshakes on the server: what a HELLO is worth, the keys of a new session, the ACCEPT that
 * answers it.
 */

import { BYTES_A_KBIT } from "../../base/units.ts";
import { buildAccept } from "../../crypto/accept.ts";
import { HandshakeCache } from "../../crypto/handshake_cache.ts";
import { HelloOpened } from "../../crypto/hello.ts";
import { HelloGate, type HelloVerdict } from "../../crypto/hello_gate.ts";
import { ReceiveKeys, SendKeys } from "../../crypto/key_update.ts";
import type { Bytes, Primitives } from "../../crypto/primitives.ts";
import type { ReplayFilter } from "../../crypto/replay_filter.ts";
import { resetToken } from "../../crypto/reset.ts";
import { deriveSessionKeys, SessionKeys } from "../../crypto/session_keys.ts";
import type { Tskd } from "../../crypto/tskd.ts";
import { KEY_BYTES } from "../../wire/limits.ts";
import type { AeadTable } from "../../../ffi/aead.ts";
import { DATAGRAM_BYTES_MAX } from "../tunnel.ts";
import type { TunnelUsers } from "./users.ts";

/** Handshakes that are remembered beyond those of the sessions that there are. */
const HANDSHAKES_KEPT = 262_144;
const NO_FRAMES = new Uint8Array(0);
const U32_MAX = 0xffff_ffff;
const IDLE_S_MAX = 0xffff;

export interface HandshakeOptions {
  readonly primitives: Primitives;
  readonly tskd: Tskd;
  readonly users: TunnelUsers;
  readonly filter: ReplayFilter;
  readonly sessionsMax: number;
  /** 32 bytes: the reset tokens' key. */
  readonly secret: Uint8Array;
  readonly idleMs: number;
  /** The server's line, bytes a second; 0: not stated. */
  readonly upRate: number;
  readonly downRate: number;
}

/** The keys of a new session, in the table. */
export interface ServerKeys {
  readonly sendKeys: SendKeys;
  readonly receiveKeys: ReceiveKeys;
  /** Its place in the cache of handshakes. */
  readonly handshake: number;
}

export class ServerHandshakes {
  readonly gate: HelloGate;
  readonly cache: HandshakeCache;
  /** The HELLO that is being dealt with. */
  readonly hello: HelloOpened = new HelloOpened();
  readonly #options: HandshakeOptions;
  readonly #secret: Bytes;
  // For one handshake after another; wiped after each.
  readonly #privateKey: Bytes = new Uint8Array(KEY_BYTES);
  readonly #serverPublic: Bytes = new Uint8Array(KEY_BYTES);
  readonly #keys = new SessionKeys();

  constructor(options: HandshakeOptions) {
    const { primitives, tskd, users, filter, sessionsMax, secret } = options;
    this.#options = options;
    this.#secret = Uint8Array.from(secret);
    this.cache = new HandshakeCache(primitives, sessionsMax + HANDSHAKES_KEPT);
    this.gate = new HelloGate(primitives, tskd, users.table, filter, this.cache);
  }

  /** What to do with a HELLO, which is in `hello` then. */
  receive(
    arena: Bytes,
    at: number,
    length: number,
    window: number,
    unixMs: number,
    now: number,
  ): HelloVerdict {
    this.cache.expire(now);
    return this.gate.receive(arena, at, length, window, unixMs, now, this.hello);
  }

  /** Keys for a session of `hello`; undefined when its public key is refused, or nothing fits. */
  agree(now: number, serverSession: number, table: AeadTable): ServerKeys | undefined {
    const { primitives } = this.#options;
    const { clientSession, clientPublic, user } = this.hello;
    const { cache } = this;
    const privateKey = this.#privateKey;
    const serverPublic = this.#serverPublic;
    using keys = this.#keys;
    primitives.random(privateKey);
    primitives.x25519Public(privateKey, serverPublic);
    const agreement = {
      privateKey,
      peerPublic: clientPublic,
      clientPublic,
      serverPublic,
      userKey: user!.key,
    };
    const agreed = deriveSessionKeys(primitives, agreement, keys);
    privateKey.fill(0);
    if (!agreed) return undefined;
    const handshake = cache.add(clientSession, clientPublic, user!.id, serverSession, serverPublic);
    if (handshake < 0) return undefined;
    return {
      sendKeys: new SendKeys(table, keys.serverToClient, now),
      receiveKeys: new ReceiveKeys(table, keys.clientToServer),
      handshake,
    };
  }

  /** Builds the ACCEPT for `hello`, whose handshake is in the cache; its length, 0: no room. */
  answer(handshake: number, unixMs: number, arena: Bytes, at: number, room: number): number {
    const { primitives, tskd, users, idleMs, upRate, downRate } = this.#options;
    const { clientSession, clientPublic, user } = this.hello;
    const limits = users.of(user!);
    const serverSession = this.cache.serverSession(handshake);
    const peer = { userKey: user!.key, clientSession, clientPublic };
    const fields = {
      timeMs: unixMs,
      serverSession,
      serverPublic: this.cache.serverPublic(handshake),
      resetToken: this.token(serverSession),
      maxDatagram: DATAGRAM_BYTES_MAX,
      idleS: Math.min(IDLE_S_MAX, Math.ceil(idleMs / 1000)),
      upKbps: kbps(lower(upRate, limits.downRate)),
      downKbps: kbps(lower(downRate, limits.upRate)),
      frames: NO_FRAMES,
    };
    return buildAccept(primitives, tskd, peer, fields, arena, at, room);
  }

  /** The reset token of a session, be it here or not. */
  token(serverSession: number): Bytes {
    return resetToken(this.#options.primitives, this.#secret, serverSession);
  }

  wipe(): void {
    this.#secret.fill(0);
  }
}

/** The lower of two rates, where 0 is none. */
export function lower(a: number, b: number): number {
  return a === 0 ? b : b === 0 ? a : Math.min(a, b);
}

/** 0 stays "no limit"; any limit is at least 1. */
function kbps(rate: number): number {
  return rate === 0 ? 0 : Math.min(U32_MAX, Math.max(1, Math.floor(rate / BYTES_A_KBIT)));
}

/**
 * Handshakes on the server: what a HELLO is worth, the keys of a new session, the ACCEPT that
 * answers it.
 */

import { BYTES_A_KBIT } from "../../base/units.ts";
import { type AcceptFields, AcceptFlag, buildAccept } from "../../crypto/accept.ts";
import { chooseCipher, Cipher, type NO_CIPHER } from "../../crypto/ciphers.ts";
import { HandshakeCache } from "../../crypto/handshake_cache.ts";
import { HelloOpened } from "../../crypto/hello.ts";
import { type HelloClock, HelloGate, HelloVerdict } from "../../crypto/hello_gate.ts";
import { ReceiveKeys, SendKeys } from "../../crypto/key_update.ts";
import { UNDERSTOOD } from "../../crypto/parameters.ts";
import type { Bytes, Primitives } from "../../crypto/primitives.ts";
import type { PathTokens } from "../../crypto/path_tokens.ts";
import type { ReplayMemory } from "../../crypto/replay_memory.ts";
import type { SessionIds } from "../../crypto/session_ids.ts";
import { deriveSessionKeys, SessionKeys } from "../../crypto/session_keys.ts";
import type { Tskd } from "../../crypto/tskd.ts";
import { Writer } from "../../wire/cursor.ts";
import { CloseCode, writeClose, writePathChallenge } from "../../wire/frames.ts";
import { KEY_BYTES, RESET_TOKEN_BYTES } from "../../wire/limits.ts";
import type { AeadTable } from "../../../ffi/aead.ts";
import type { Route } from "../../../ffi/endpoint.ts";
import { DATAGRAM_BYTES_MAX } from "../tunnel.ts";
import { readHandedOver, writeHandedOver } from "./handed_over.ts";
import type { TunnelUsers } from "./users.ts";

/** Handshakes that are remembered beyond those of the sessions that there are. */
const HANDSHAKES_KEPT = 262_144;
/** Frames of an ACCEPT: one PATH_CHALLENGE, or a CLOSE without a reason. */
const FRAMES_BYTES = 16;
const NO_BYTES = new Uint8Array(0);
// Of a refusal.
const NO_PUBLIC = new Uint8Array(KEY_BYTES);
const NO_TOKEN = new Uint8Array(RESET_TOKEN_BYTES);
/** Bits of a choice: the cipher below, and above whether the frames were not run. */
const CIPHER_BITS = 0x0f;
const NOT_RUN = 0x10;
const U32_MAX = 0xffff_ffff;
const IDLE_S_MAX = 0xffff;

export interface HandshakeOptions {
  readonly primitives: Primitives;
  readonly tskd: Tskd;
  readonly users: TunnelUsers;
  readonly memory: ReplayMemory;
  readonly sessionsMax: number;
  readonly ids: SessionIds;
  readonly tokens: PathTokens;
  /** What this machine offers: see ciphers.ts. */
  readonly ciphers: number;
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
  readonly #frames = new Uint8Array(FRAMES_BYTES);
  // For one handshake after another; wiped after each.
  readonly #privateKey: Bytes = new Uint8Array(KEY_BYTES);
  readonly #serverPublic: Bytes = new Uint8Array(KEY_BYTES);
  readonly #keys = new SessionKeys();

  constructor(options: HandshakeOptions) {
    const { primitives, tskd, users, memory, sessionsMax } = options;
    this.#options = options;
    this.cache = new HandshakeCache(primitives, sessionsMax + HANDSHAKES_KEPT);
    this.gate = new HelloGate(primitives, tskd, users.table, memory, this.cache);
  }

  /** What to do with a HELLO, which is in `hello` then. */
  receive(
    arena: Bytes,
    at: number,
    length: number,
    window: number,
    clock: HelloClock,
    now: number,
  ): HelloVerdict {
    this.cache.expire(now);
    return this.gate.receive(arena, at, length, window, clock, this.hello);
  }

  /** The handshake of `hello`, for the worker that has it. */
  handOver(route: Route, length: number): Uint8Array<ArrayBuffer> {
    return writeHandedOver(this.hello, route, length);
  }

  /**
   * Takes what another worker handed over, which is in `hello` and `route` then: the bytes of that
   * HELLO where it gets the answer of `gate.slot` once more, or 0.
   */
  receiveHandedOver(message: Uint8Array, route: Route): number {
    const bytes = readHandedOver(message, this.#options.users.table, this.hello, route);
    if (bytes < 0 || this.gate.receiveHandedOver(this.hello) !== HelloVerdict.repeated) return 0;
    return bytes;
  }

  /** The cipher for a session of `hello`; NO_CIPHER: there is none that both have. */
  choose(): Cipher | typeof NO_CIPHER {
    return chooseCipher(this.hello.parameters.ciphers, this.#options.ciphers);
  }

  /**
   * Keys for a session of `hello`; undefined when its public key is refused, or nothing fits.
   * `isNotRun`: its frames will never be run.
   */
  agree(
    serverSession: number,
    chosen: Cipher,
    isNotRun: boolean,
    table: AeadTable,
  ): ServerKeys | undefined {
    const { primitives } = this.#options;
    const { clientSession, clientPublic, user, parameters } = this.hello;
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
      offered: parameters.ciphers,
      chosen,
    };
    const agreed = deriveSessionKeys(primitives, agreement, keys);
    privateKey.fill(0);
    if (!agreed) return undefined;
    const choice = chosen | (isNotRun ? NOT_RUN : 0);
    const handshake = cache.add(
      clientSession,
      clientPublic,
      user!.id,
      serverSession,
      serverPublic,
      choice,
    );
    if (handshake < 0) return undefined;
    return {
      sendKeys: new SendKeys(table, keys.serverToClient, chosen),
      receiveKeys: new ReceiveKeys(table, keys.clientToServer, chosen),
      handshake,
    };
  }

  /**
   * Builds the ACCEPT for `hello`, whose handshake is in the cache, to where it goes; its length,
   * 0: no room.
   */
  answer(
    handshake: number,
    route: Route,
    unixMs: number,
    arena: Bytes,
    at: number,
    room: number,
  ): number {
    const { ids, tokens, tskd, idleMs, upRate, downRate } = this.#options;
    const limits = this.#options.users.of(this.hello.user!);
    const serverSession = this.cache.serverSession(handshake);
    const choice = this.cache.choice(handshake);
    tokens.make(serverSession, route, tskd.current);
    const frames = new Writer(this.#frames);
    writePathChallenge(frames, tokens.high, tokens.low);
    const fields = {
      flags: (choice & NOT_RUN) !== 0 ? AcceptFlag.notRun : 0,
      timeMs: unixMs,
      serverSession,
      serverPublic: this.cache.serverPublic(handshake),
      resetToken: ids.token(serverSession),
      maxDatagram: DATAGRAM_BYTES_MAX,
      idleS: Math.min(IDLE_S_MAX, Math.ceil(idleMs / 1000)),
      upKbps: kbps(lower(upRate, limits.downRate)),
      downKbps: kbps(lower(downRate, limits.upRate)),
      chosen: (choice & CIPHER_BITS) as Cipher,
      understood: UNDERSTOOD,
      frames: this.#frames.subarray(0, frames.at),
    };
    return this.#build(fields, arena, at, room);
  }

  /** Builds the ACCEPT that says why there is no session for `hello`; its length. */
  refuse(code: CloseCode, unixMs: number, arena: Bytes, at: number, room: number): number {
    const frames = new Writer(this.#frames);
    writeClose(frames, code, NO_BYTES);
    const fields = {
      ...{ flags: AcceptFlag.refused, timeMs: unixMs, serverSession: 0, serverPublic: NO_PUBLIC },
      ...{ resetToken: NO_TOKEN, maxDatagram: 0, idleS: 0, upKbps: 0, downKbps: 0 },
      ...{
        chosen: Cipher.chacha20,
        understood: UNDERSTOOD,
        frames: this.#frames.subarray(0, frames.at),
      },
    };
    return this.#build(fields, arena, at, room);
  }

  #build(fields: AcceptFields, arena: Bytes, at: number, room: number): number {
    const { primitives, tskd } = this.#options;
    const { clientSession, clientPublic, user } = this.hello;
    const peer = { userKey: user!.key, clientSession, clientPublic };
    return buildAccept(primitives, tskd, peer, fields, arena, at, room);
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

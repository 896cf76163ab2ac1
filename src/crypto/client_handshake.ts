/**
 * One handshake of a client: its HELLOs, each with a fresh salt around the same 0-RTT frames, and
 * the ACCEPT that makes keys of it.
 */

import { AcceptOpened, openAccept } from "./accept.ts";
import type { Aead } from "./aead.ts";
import { OpenResult } from "./handshake.ts";
import { buildHello } from "./hello.ts";
import { ReceiveKeys, SendKeys } from "./key_update.ts";
import type { Bytes, Primitives } from "./primitives.ts";
import { deriveSessionKeys, SessionKeys } from "./session_keys.ts";
import type { Tskd } from "./tskd.ts";
import type { User } from "./users.ts";
import { KEY_BYTES } from "../wire/limits.ts";

const NO_FRAMES = new Uint8Array(0);

export class ClientHandshake {
  readonly clientSession: number;
  /** What the last ACCEPT said. */
  readonly accept: AcceptOpened = new AcceptOpened();
  /** 0-RTT frames: the same in each HELLO. */
  frames: Bytes = NO_FRAMES;
  readonly #primitives: Primitives;
  readonly #tskd: Tskd;
  readonly #user: User;
  readonly #privateKey: Bytes = new Uint8Array(KEY_BYTES);
  readonly #clientPublic: Bytes;

  constructor(primitives: Primitives, tskd: Tskd, user: User, clientSession: number) {
    this.#primitives = primitives;
    this.#tskd = tskd;
    this.#user = user;
    this.clientSession = clientSession;
    primitives.random(this.#privateKey);
    this.#clientPublic = primitives.x25519Public(this.#privateKey);
  }

  /** Builds a HELLO of at most `room` bytes with a fresh salt; its length. */
  hello(unixMs: number, arena: Bytes, at: number, room: number): number {
    const fields = {
      userId: this.#user.id,
      userKey: this.#user.key,
      timeMs: Math.floor(unixMs),
      clientSession: this.clientSession,
      clientPublic: this.#clientPublic,
      frames: this.frames,
    };
    return buildHello(this.#primitives, this.#tskd, fields, arena, at, room);
  }

  /** Whether an ACCEPT opens: then it is in `accept`. */
  open(arena: Bytes, at: number, length: number, window: number): boolean {
    const { clientSession } = this;
    const peer = {
      userKey: this.#user.key,
      clientSession,
      clientPublic: this.#clientPublic,
    };
    const { accept } = this;
    const result = openAccept(
      this.#primitives,
      this.#tskd,
      peer,
      arena,
      at,
      length,
      window,
      accept,
    );
    return result === OpenResult.ok;
  }

  /** The keys that `accept` makes; undefined when the server's public key is refused. */
  agree(
    now: number,
    aead: Aead,
  ): { readonly sendKeys: SendKeys; readonly receiveKeys: ReceiveKeys } | undefined {
    using keys = new SessionKeys();
    const { serverPublic } = this.accept;
    const agreement = {
      privateKey: this.#privateKey,
      peerPublic: serverPublic,
      clientPublic: this.#clientPublic,
      serverPublic,
      userKey: this.#user.key,
    };
    if (!deriveSessionKeys(this.#primitives, agreement, keys)) return undefined;
    this.wipe();
    return {
      sendKeys: new SendKeys(aead, keys.clientToServer, now),
      receiveKeys: new ReceiveKeys(aead, keys.serverToClient),
    };
  }

  wipe(): void {
    this.#privateKey.fill(0);
    this.frames.fill(0);
  }
}

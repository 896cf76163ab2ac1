/**
 * One handshake of a client: its HELLOs, each with a fresh salt around the same 0-RTT frames, and
 * the ACCEPT that makes keys of it.
 */

import { AcceptFlag, AcceptOpened, openAccept } from "./accept.ts";
import type { Aead } from "./aead.ts";
import { type Cipher, isOffered, OFFERED_DEFAULT } from "./ciphers.ts";
import { OpenResult } from "./handshake.ts";
import { buildHello } from "./hello.ts";
import { ReceiveKeys, SendKeys } from "./key_update.ts";
import { UNDERSTOOD } from "./parameters.ts";
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
  readonly #offered: number;
  readonly #privateKey: Bytes = new Uint8Array(KEY_BYTES);
  readonly #clientPublic: Bytes;

  /** `offered`: ciphers for the session, see ciphers.ts. */
  constructor(
    primitives: Primitives,
    tskd: Tskd,
    user: User,
    clientSession: number,
    offered: number = OFFERED_DEFAULT,
  ) {
    this.#offered = offered;
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
      offered: this.#offered,
      understood: UNDERSTOOD,
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
    if (result !== OpenResult.ok) return false;
    return this.isRefused || isOffered(accept.parameters.ciphers, this.#offered);
  }

  /** The server has let nobody in: `accept` holds a CLOSE. */
  get isRefused(): boolean {
    return (this.accept.flags & AcceptFlag.refused) !== 0;
  }

  /** The server does not run what the HELLO asked for. */
  get isNotRun(): boolean {
    return (this.accept.flags & AcceptFlag.notRun) !== 0;
  }

  /** The keys that `accept` makes; undefined when the server's public key is refused. */
  agree(
    aead: Aead,
  ): { readonly sendKeys: SendKeys; readonly receiveKeys: ReceiveKeys } | undefined {
    using keys = new SessionKeys();
    const { serverPublic, parameters } = this.accept;
    const chosen = parameters.ciphers as Cipher;
    const agreement = {
      privateKey: this.#privateKey,
      peerPublic: serverPublic,
      clientPublic: this.#clientPublic,
      serverPublic,
      userKey: this.#user.key,
      offered: this.#offered,
      chosen,
    };
    if (!deriveSessionKeys(this.#primitives, agreement, keys)) return undefined;
    this.wipe();
    return {
      sendKeys: new SendKeys(aead, keys.clientToServer, chosen),
      receiveKeys: new ReceiveKeys(aead, keys.serverToClient, chosen),
    };
  }

  wipe(): void {
    this.#privateKey.fill(0);
    this.frames.fill(0);
  }
}

/** Keys, masks and packets of the protocol (sections 1 and 2), written from its page alone. */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { Buffer } from "node:buffer";
import * as crypto from "node:crypto";
import { concat, Reader, text, uint, unhex } from "./bytes.ts";

export const VERSION = 4;
export const KIND = { hello: 1, accept: 2, data0: 3, reset: 4, data1: 5 } as const;
export const WINDOW_MS = 30_000;

const NONE = new Uint8Array(0);
const ZERO_NONCE = new Uint8Array(12);
const U64 = (1n << 64n) - 1n;

export interface Header {
  session: number;
  kind: number;
  number: bigint;
}

export interface User {
  name: string;
  key: Uint8Array;
}

export function derive(
  ikm: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return hkdf(sha256, ikm, salt, info, length);
}

export function windowOf(unixMs: number): number {
  return Math.floor(unixMs / WINDOW_MS);
}

/** The window and mask keys of one PSK. */
export class Tskd {
  #psk: Uint8Array;
  #cache = new Map<string, Uint8Array>();

  constructor(psk: Uint8Array) {
    if (psk.length !== 32) throw new Error("the PSK has exactly 32 bytes");
    this.#psk = psk;
  }

  windowKey(window: number): Uint8Array {
    return this.#key("phantom-tskd-v1", window, 32);
  }

  maskKey(window: number): Uint8Array {
    return this.#key("phantom-mask-v1", window, 16);
  }

  #key(salt: string, window: number, length: number): Uint8Array {
    const name = `${salt}/${window}`;
    let key = this.#cache.get(name);
    if (key === undefined) {
      key = derive(this.#psk, text(salt), uint(window, 8), length);
      this.#cache.set(name, key);
    }
    return key;
  }
}

function little(bytes: Uint8Array, at: number, length: number): bigint {
  let value = 0n;
  for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i] ?? 0);
  return value;
}

function rotate(value: bigint, bits: bigint): bigint {
  return ((value << bits) | (value >> (64n - bits))) & U64;
}

/** SipHash-2-4, its output little-endian. */
export function sipHash(key: Uint8Array, message: Uint8Array): Uint8Array {
  const k0 = little(key, 0, 8);
  const k1 = little(key, 8, 8);
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v0 = (v0 + v1) & U64;
      v1 = rotate(v1, 13n) ^ v0;
      v0 = rotate(v0, 32n);
      v2 = (v2 + v3) & U64;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = (v0 + v3) & U64;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = (v2 + v1) & U64;
      v1 = rotate(v1, 17n) ^ v2;
      v2 = rotate(v2, 32n);
    }
  };
  const whole = message.length - (message.length % 8);
  const last = (BigInt(message.length & 0xff) << 56n) |
    little(message, whole, message.length - whole);
  for (let at = 0; at <= whole; at += 8) {
    const word = at < whole ? little(message, at, 8) : last;
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  v2 ^= 0xffn;
  rounds(4);
  return uint(v0 ^ v1 ^ v2 ^ v3, 8).reverse();
}

/** Masks a clear packet's header; the same again takes the mask off. */
export function mask(maskKey: Uint8Array, packet: Uint8Array): Uint8Array {
  const sample = packet.subarray(16, 32);
  const pad = concat(
    sipHash(maskKey, concat(sample, uint(0, 1))),
    sipHash(maskKey, concat(sample, uint(1, 1))),
  );
  const out = packet.slice();
  for (let i = 0; i < 16; i++) out[i] = (out[i] ?? 0) ^ (pad[i] ?? 0);
  return out;
}

export function encodeHeader(header: Header): Uint8Array {
  return concat(
    uint(header.session, 4),
    uint(header.kind, 1),
    uint(0, 3),
    uint(header.number, 8),
  );
}

export interface Unmasked {
  header: Header;
  clear: Uint8Array;
  window: number;
}

/** The clear packet under the first of the three windows that fits, or nothing: junk. */
export function unmask(keys: Tskd, packet: Uint8Array, now: number): Unmasked | undefined {
  if (packet.length < 32) return undefined;
  for (const window of [now, now - 1, now + 1]) {
    const clear = mask(keys.maskKey(window), packet);
    const reader = new Reader(clear);
    const session = reader.uint(4);
    const kind = reader.uint(1);
    const zero = reader.uint(3);
    const number = reader.big(8);
    if (zero === 0 && kind >= 1 && kind <= 5) {
      return { header: { session, kind, number }, clear, window };
    }
  }
  return undefined;
}

function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  head: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  return concat(head, chacha20poly1305(key, nonce, head).encrypt(plaintext));
}

/** What the tag vouches for, or nothing. `head` is header, salt and ident. */
function open(
  key: Uint8Array,
  nonce: Uint8Array,
  clear: Uint8Array,
  head: number,
): Uint8Array | undefined {
  if (clear.length < head + 16) return undefined;
  try {
    const aad = clear.subarray(0, head);
    return chacha20poly1305(key, nonce, aad).decrypt(clear.subarray(head));
  } catch {
    return undefined;
  }
}

export function userId(name: string): Uint8Array {
  return sha256(concat(text("phantom-user-v1"), text(name))).slice(0, 8);
}

export interface Hello {
  window: number;
  user?: User | undefined;
  userKey: Uint8Array;
  number: bigint;
  salt: Uint8Array;
  version: number;
  timeMs: number;
  clientSession: number;
  clientPublic: Uint8Array;
  padding: Uint8Array;
  frames: Uint8Array;
}

export function identOf(keys: Tskd, hello: Hello): Uint8Array {
  const pad = derive(keys.windowKey(hello.window), hello.salt, text("phantom-ident-v1"), 8);
  const id = hello.user === undefined ? new Uint8Array(8) : userId(hello.user.name);
  return id.map((byte, i) => byte ^ (pad[i] ?? 0));
}

export function helloKey(keys: Tskd, hello: Hello): Uint8Array {
  const ikm = concat(keys.windowKey(hello.window), hello.userKey);
  return derive(ikm, hello.salt, text("phantom-hello-v1"), 32);
}

export function helloPlaintext(hello: Hello): Uint8Array {
  return concat(
    uint(hello.version, 1),
    uint(0, 1),
    uint(hello.timeMs, 8),
    uint(hello.clientSession, 4),
    hello.clientPublic,
    uint(hello.padding.length, 2),
    hello.padding,
    hello.frames,
  );
}

/** The packet before its mask. */
export function sealHello(keys: Tskd, hello: Hello): Uint8Array {
  const head = concat(
    encodeHeader({ session: 0, kind: KIND.hello, number: hello.number }),
    hello.salt,
    identOf(keys, hello),
  );
  return seal(helloKey(keys, hello), ZERO_NONCE, head, helloPlaintext(hello));
}

export interface Accept {
  version: number;
  flags: number;
  timeMs: number;
  serverSession: number;
  serverPublic: Uint8Array;
  resetToken: Uint8Array;
  maxDatagram: number;
  idleS: number;
  upKbps: number;
  downKbps: number;
  padding: Uint8Array;
  frames: Uint8Array;
}

export function acceptKey(
  windowKey: Uint8Array,
  userKey: Uint8Array,
  clientPublic: Uint8Array,
  salt: Uint8Array,
): Uint8Array {
  const ikm = concat(windowKey, userKey);
  return derive(ikm, concat(clientPublic, salt), text("phantom-accept-v1"), 32);
}

export function acceptPlaintext(accept: Accept): Uint8Array {
  return concat(
    uint(accept.version, 1),
    uint(accept.flags, 1),
    uint(accept.timeMs, 8),
    uint(accept.serverSession, 4),
    accept.serverPublic,
    accept.resetToken,
    uint(accept.maxDatagram, 2),
    uint(accept.idleS, 2),
    uint(accept.upKbps, 4),
    uint(accept.downKbps, 4),
    uint(accept.padding.length, 2),
    accept.padding,
    accept.frames,
  );
}

export function parseAccept(plaintext: Uint8Array): Accept {
  const reader = new Reader(plaintext);
  return {
    version: reader.uint(1),
    flags: reader.uint(1),
    timeMs: reader.uint(8),
    serverSession: reader.uint(4),
    serverPublic: reader.take(32),
    resetToken: reader.take(16),
    maxDatagram: reader.uint(2),
    idleS: reader.uint(2),
    upKbps: reader.uint(4),
    downKbps: reader.uint(4),
    padding: reader.take(reader.uint(2)),
    frames: reader.take(reader.left),
  };
}

/** ACCEPT and RESET: header, salt, ciphertext; the key is unique by its salt. */
export function sealSalted(
  key: Uint8Array,
  header: Header,
  salt: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  return seal(key, ZERO_NONCE, concat(encodeHeader(header), salt), plaintext);
}

export function openSalted(key: Uint8Array, clear: Uint8Array): Uint8Array | undefined {
  return open(key, ZERO_NONCE, clear, 32);
}

export function resetKey(windowKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return derive(windowKey, salt, text("phantom-reset-v1"), 32);
}

export interface Reset {
  timeMs: number;
  session: number;
  number: bigint;
  resetToken: Uint8Array;
  reason: number;
}

export function resetPlaintext(reset: Reset): Uint8Array {
  return concat(
    uint(reset.timeMs, 8),
    uint(reset.session, 4),
    uint(reset.number, 8),
    reset.resetToken,
    uint(reset.reason, 1),
  );
}

export function parseReset(plaintext: Uint8Array): Reset {
  const reader = new Reader(plaintext);
  return {
    timeMs: reader.uint(8),
    session: reader.uint(4),
    number: reader.big(8),
    resetToken: reader.take(16),
    reason: reader.uint(1),
  };
}

export function resetToken(serverSecret: Uint8Array, serverSession: number): Uint8Array {
  const message = concat(text("phantom-token-v1"), uint(serverSession, 4));
  return hmac(sha256, serverSecret, message).slice(0, 16);
}

const PRIVATE_PREFIX = unhex("302e020100300506032b656e04220420");
const PUBLIC_PREFIX = unhex("302a300506032b656e032100");

/** X25519 (RFC 7748); an all-zero result is refused. */
export function x25519(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const shared = new Uint8Array(crypto.diffieHellman({
    privateKey: crypto.createPrivateKey({
      key: Buffer.from(concat(PRIVATE_PREFIX, privateKey)),
      format: "der",
      type: "pkcs8",
    }),
    publicKey: crypto.createPublicKey({
      key: Buffer.from(concat(PUBLIC_PREFIX, publicKey)),
      format: "der",
      type: "spki",
    }),
  }));
  if (shared.every((byte) => byte === 0)) throw new Error("all-zero shared secret");
  return shared;
}

const BASE_POINT = concat(uint(9, 1), new Uint8Array(31));

export function publicOf(privateKey: Uint8Array): Uint8Array {
  return x25519(privateKey, BASE_POINT);
}

export interface SessionKeys {
  clientToServer: Uint8Array;
  serverToClient: Uint8Array;
}

export function sessionKeys(
  shared: Uint8Array,
  userKey: Uint8Array,
  clientPublic: Uint8Array,
  serverPublic: Uint8Array,
): SessionKeys {
  const salt = concat(clientPublic, serverPublic);
  const okm = derive(concat(shared, userKey), salt, text("phantom-session-v1"), 64);
  return { clientToServer: okm.slice(0, 32), serverToClient: okm.slice(32, 64) };
}

export function nextKey(key: Uint8Array): Uint8Array {
  return derive(key, NONE, text("phantom-next-v1"), 32);
}

function dataNonce(number: number | bigint): Uint8Array {
  return concat(uint(0, 4), uint(number, 8));
}

export function sealData(
  key: Uint8Array,
  session: number,
  phase: number,
  number: number,
  plaintext: Uint8Array,
): Uint8Array {
  const kind = phase === 0 ? KIND.data0 : KIND.data1;
  const head = encodeHeader({ session, kind, number: BigInt(number) });
  return seal(key, dataNonce(number), head, plaintext);
}

export function openData(
  key: Uint8Array,
  number: bigint,
  clear: Uint8Array,
): Uint8Array | undefined {
  return open(key, dataNonce(number), clear, 16);
}

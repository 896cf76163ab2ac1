/** Keys, masks and packets of the protocol (sections 1 and 2), written from its page alone. */
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { Buffer } from "node:buffer";
import * as crypto from "node:crypto";
import { concat, Reader, text, uint, unhex, varint } from "./bytes.ts";

export const VERSION = 5;
export const KIND = { hello: 1, accept: 2, data0: 3, reset: 4, data1: 5 } as const;
/** d of the page. */
export const TO_SERVER = 0;
export const TO_CLIENT = 1;
export type Direction = typeof TO_SERVER | typeof TO_CLIENT;
const KINDS_OF: readonly (readonly number[])[] = [
  [KIND.hello, KIND.data0, KIND.data1],
  [KIND.accept, KIND.data0, KIND.data1, KIND.reset],
];
/** What parameter 1 may hold: ciphers, and that ChaCha20 is fast at this end. */
export const CIPHER = { chacha20: 1, aes256: 2, avx512: 0x80 } as const;
export const FLAG = { framesNotRun: 1, refused: 2 } as const;
export const WINDOW_MS = 30_000;

const NONE = new Uint8Array(0);
/** "somepseudorandomlygeneratedbytes", as the words that v starts from. */
const SIP_START = [
  ...[0x70736575, 0x736f6d65, 0x6e646f6d, 0x646f7261],
  ...[0x6e657261, 0x6c796765, 0x79746573, 0x74656462],
];
const ZERO_NONCE = new Uint8Array(12);

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
    return this.#key("phantom-mask-v5", window, 16);
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

function little(bytes: Uint8Array, at: number): number {
  return bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
}

/** v0 to v3 as halves, low first, after `count` rounds. Written out: a client's hottest loop. */
function sipRounds(v: Int32Array, count: number): void {
  let al = v[0]!;
  let ah = v[1]!;
  let bl = v[2]!;
  let bh = v[3]!;
  let cl = v[4]!;
  let ch = v[5]!;
  let dl = v[6]!;
  let dh = v[7]!;
  let low = 0;
  for (let i = 0; i < count; i++) {
    low = (al >>> 0) + (bl >>> 0);
    ah = ah + bh + (low > 0xffff_ffff ? 1 : 0) | 0;
    al = low | 0;
    low = (bl << 13 | bh >>> 19) ^ al;
    bh = (bh << 13 | bl >>> 19) ^ ah;
    bl = low;
    low = al;
    al = ah;
    ah = low;
    low = (cl >>> 0) + (dl >>> 0);
    ch = ch + dh + (low > 0xffff_ffff ? 1 : 0) | 0;
    cl = low | 0;
    low = (dl << 16 | dh >>> 16) ^ cl;
    dh = (dh << 16 | dl >>> 16) ^ ch;
    dl = low;
    low = (al >>> 0) + (dl >>> 0);
    ah = ah + dh + (low > 0xffff_ffff ? 1 : 0) | 0;
    al = low | 0;
    low = (dl << 21 | dh >>> 11) ^ al;
    dh = (dh << 21 | dl >>> 11) ^ ah;
    dl = low;
    low = (cl >>> 0) + (bl >>> 0);
    ch = ch + bh + (low > 0xffff_ffff ? 1 : 0) | 0;
    cl = low | 0;
    low = (bl << 17 | bh >>> 15) ^ cl;
    bh = (bh << 17 | bl >>> 15) ^ ch;
    bl = low;
    low = cl;
    cl = ch;
    ch = low;
  }
  v[0] = al;
  v[1] = ah;
  v[2] = bl;
  v[3] = bh;
  v[4] = cl;
  v[5] = ch;
  v[6] = dl;
  v[7] = dh;
}

const v = new Int32Array(8);
const padded = new Uint8Array(64);

/** SipHash-2-4, its output little-endian; of at most 63 bytes. */
export function sipHash(key: Uint8Array, message: Uint8Array): Uint8Array {
  for (let i = 0; i < 8; i++) v[i] = little(key, i % 4 * 4) ^ SIP_START[i]!;
  const end = (message.length & ~7) + 8;
  padded.fill(0);
  padded.set(message);
  padded[end - 1] = message.length;
  for (let at = 0; at < end; at += 8) {
    const low = little(padded, at);
    const high = little(padded, at + 4);
    v[6] = v[6]! ^ low;
    v[7] = v[7]! ^ high;
    sipRounds(v, 2);
    v[0] = v[0]! ^ low;
    v[1] = v[1]! ^ high;
  }
  v[4] = v[4]! ^ 0xff;
  sipRounds(v, 4);
  const out = new Uint8Array(8);
  const view = new DataView(out.buffer);
  view.setInt32(0, v[0]! ^ v[2]! ^ v[4]! ^ v[6]!, true);
  view.setInt32(4, v[1]! ^ v[3]! ^ v[5]! ^ v[7]!, true);
  return out;
}

function xorInto(bytes: Uint8Array, at: number, pad: Uint8Array, length: number): void {
  for (let i = 0; i < length; i++) bytes[at + i] = (bytes[at + i] ?? 0) ^ (pad[i] ?? 0);
}

/** The hash of a packet's sample and of what comes behind it. */
function sampleHash(maskKey: Uint8Array, packet: Uint8Array, ...behind: number[]): Uint8Array {
  const message = new Uint8Array(16 + behind.length);
  message.set(packet.subarray(16, 32));
  message.set(behind, 16);
  return sipHash(maskKey, message);
}

/** What bytes 7 to 9 have to be, of a packet as it is on the wire. */
function checkOf(maskKey: Uint8Array, wire: Uint8Array, direction: Direction): Uint8Array {
  const [front, number] = [wire.subarray(0, 7), wire.subarray(10, 16)];
  return sampleHash(maskKey, wire, ...front, 4 + direction, ...number).subarray(0, 3);
}

function flipMask(maskKey: Uint8Array, packet: Uint8Array, direction: Direction): Uint8Array {
  const out = packet.slice();
  xorInto(out, 0, sampleHash(maskKey, packet, direction), 7);
  xorInto(out, 10, sampleHash(maskKey, packet, 2 + direction), 6);
  return out;
}

/** Hides a clear packet's header and seals it. */
export function mask(
  maskKey: Uint8Array,
  packet: Uint8Array,
  direction: Direction = TO_SERVER,
): Uint8Array {
  const out = flipMask(maskKey, packet, direction);
  out.set(checkOf(maskKey, out, direction), 7);
  return out;
}

export function encodeHeader(header: Header): Uint8Array {
  return concat(
    uint(header.session, 6),
    uint(header.kind, 1),
    uint(0, 3),
    uint(header.number, 6),
  );
}

export interface Unmasked {
  header: Header;
  /** With zeros in place of check, as the AEAD wants it. */
  clear: Uint8Array;
  window: number;
}

/** The clear packet under one window, or nothing: junk. */
export function unmaskUnder(
  maskKey: Uint8Array,
  packet: Uint8Array,
  direction: Direction,
): { header: Header; clear: Uint8Array } | undefined {
  if (packet.length < 32) return undefined;
  const check = checkOf(maskKey, packet, direction);
  if (check.some((byte, i) => byte !== packet[7 + i])) return undefined;
  const clear = flipMask(maskKey, packet, direction);
  clear.fill(0, 7, 10);
  const view = new DataView(clear.buffer);
  const session = view.getUint16(0) * 2 ** 32 + view.getUint32(2);
  const kind = view.getUint8(6);
  const number = BigInt(view.getUint16(10) * 2 ** 32 + view.getUint32(12));
  if (!KINDS_OF[direction]?.includes(kind)) return undefined;
  return { header: { session, kind, number }, clear };
}

/** The clear packet under the first of the three windows that fits, or nothing: junk. */
export function unmask(
  keys: Tskd,
  packet: Uint8Array,
  now: number,
  direction: Direction = TO_CLIENT,
): Unmasked | undefined {
  for (const window of [now, now - 1, now + 1]) {
    const found = unmaskUnder(keys.maskKey(window), packet, direction);
    if (found !== undefined) return { ...found, window };
  }
  return undefined;
}

export function sealAes(
  key: Uint8Array,
  nonce: Uint8Array,
  head: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const gcm = crypto.createCipheriv("aes-256-gcm", key, nonce);
  gcm.setAAD(head);
  return concat(head, gcm.update(plaintext), gcm.final(), gcm.getAuthTag());
}

function openAes(key: Uint8Array, nonce: Uint8Array, head: Uint8Array, sealed: Uint8Array) {
  const gcm = crypto.createDecipheriv("aes-256-gcm", key, nonce);
  gcm.setAAD(head);
  gcm.setAuthTag(sealed.subarray(-16));
  const plaintext = gcm.update(sealed.subarray(0, -16));
  return concat(plaintext, gcm.final());
}

function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  head: Uint8Array,
  plaintext: Uint8Array,
  cipher: number = CIPHER.chacha20,
): Uint8Array {
  if (cipher === CIPHER.aes256) return sealAes(key, nonce, head, plaintext);
  return concat(head, chacha20poly1305(key, nonce, head).encrypt(plaintext));
}

/** What the tag vouches for, or nothing. `head` is header, salt and ident. */
function open(
  key: Uint8Array,
  nonce: Uint8Array,
  clear: Uint8Array,
  head: number,
  cipher: number = CIPHER.chacha20,
): Uint8Array | undefined {
  if (clear.length < head + 16) return undefined;
  try {
    const aad = clear.subarray(0, head);
    if (cipher === CIPHER.aes256) return openAes(key, nonce, aad, clear.subarray(head));
    return chacha20poly1305(key, nonce, aad).decrypt(clear.subarray(head));
  } catch {
    return undefined;
  }
}

export function userId(name: string): Uint8Array {
  return sha256(concat(text("phantom-user-v1"), text(name))).slice(0, 8);
}

/** Those that this page knows. */
export interface Parameters {
  ciphers: number;
  frames: number;
}

/** A list of parameters: id, length and value of each. */
export function parameterList(entries: readonly [id: number, value: Uint8Array][]): Uint8Array {
  return concat(...entries.flatMap(([id, value]) => [varint(id), varint(value.length), value]));
}

export function encodeParameters({ ciphers, frames }: Parameters): Uint8Array {
  return parameterList([[1, uint(ciphers, 1)], [2, varint(frames)]]);
}

export function parseParameters(list: Uint8Array): Parameters {
  const parameters: Parameters = { ciphers: CIPHER.chacha20, frames: 0 };
  const reader = new Reader(list);
  const seen = new Set<number>();
  while (reader.left > 0) {
    const id = reader.varint();
    const value = new Reader(reader.take(reader.varint()));
    if (seen.has(id)) throw new Error(`parameter ${id} comes twice`);
    seen.add(id);
    if (id === 1) parameters.ciphers = value.uint(1);
    else if (id === 2) parameters.frames = value.varint();
    else continue;
    if (value.left > 0) throw new Error(`parameter ${id} is too long`);
  }
  return parameters;
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
  /** As they go: a list. */
  parameters: Uint8Array;
  padding: Uint8Array;
  frames: Uint8Array;
  flags?: number;
  /** Of the header. */
  session?: number;
}

export function identOf(keys: Tskd, hello: Hello): Uint8Array {
  const pad = derive(keys.windowKey(hello.window), hello.salt, text("phantom-ident-v5"), 8);
  const id = hello.user === undefined ? new Uint8Array(8) : userId(hello.user.name);
  return id.map((byte, i) => byte ^ (pad[i] ?? 0));
}

export function helloKey(keys: Tskd, hello: Hello): Uint8Array {
  const ikm = concat(keys.windowKey(hello.window), hello.userKey);
  return derive(ikm, hello.salt, text("phantom-hello-v5"), 32);
}

export function helloPlaintext(hello: Hello): Uint8Array {
  return concat(
    uint(hello.version, 1),
    uint(hello.flags ?? 0, 1),
    uint(hello.timeMs, 8),
    uint(hello.clientSession, 6),
    hello.clientPublic,
    uint(hello.parameters.length, 2),
    hello.parameters,
    uint(hello.padding.length, 2),
    hello.padding,
    hello.frames,
  );
}

/** The packet before its mask. */
export function sealHello(keys: Tskd, hello: Hello): Uint8Array {
  const head = concat(
    encodeHeader({ session: hello.session ?? 0, kind: KIND.hello, number: hello.number }),
    hello.salt,
    identOf(keys, hello),
  );
  return seal(helloKey(keys, hello), ZERO_NONCE, head, helloPlaintext(hello));
}

/** What a server reads of a HELLO, the key of whose user it knows. */
export function openHello(
  keys: Tskd,
  found: Unmasked,
  userKey: Uint8Array,
): Pick<Hello, "version" | "flags" | "timeMs" | "clientSession" | "clientPublic" | "parameters"> {
  const salt = found.clear.subarray(16, 32);
  const ikm = concat(keys.windowKey(found.window), userKey);
  const key = derive(ikm, salt, text("phantom-hello-v5"), 32);
  const plaintext = open(key, ZERO_NONCE, found.clear, 40);
  if (plaintext === undefined) throw new Error("HELLO does not open");
  const reader = new Reader(plaintext);
  return {
    version: reader.uint(1),
    flags: reader.uint(1),
    timeMs: reader.uint(8),
    clientSession: reader.uint(6),
    clientPublic: reader.take(32),
    parameters: reader.take(reader.uint(2)),
  };
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
  parameters: Uint8Array;
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
  return derive(ikm, concat(clientPublic, salt), text("phantom-accept-v5"), 32);
}

export function acceptPlaintext(accept: Accept): Uint8Array {
  return concat(
    uint(accept.version, 1),
    uint(accept.flags, 1),
    uint(accept.timeMs, 8),
    uint(accept.serverSession, 6),
    accept.serverPublic,
    accept.resetToken,
    uint(accept.maxDatagram, 2),
    uint(accept.idleS, 2),
    uint(accept.upKbps, 4),
    uint(accept.downKbps, 4),
    uint(accept.parameters.length, 2),
    accept.parameters,
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
    serverSession: reader.uint(6),
    serverPublic: reader.take(32),
    resetToken: reader.take(16),
    maxDatagram: reader.uint(2),
    idleS: reader.uint(2),
    upKbps: reader.uint(4),
    downKbps: reader.uint(4),
    parameters: reader.take(reader.uint(2)),
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
  return derive(windowKey, salt, text("phantom-reset-v5"), 32);
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
    uint(reset.session, 6),
    uint(reset.number, 6),
    reset.resetToken,
    uint(reset.reason, 1),
  );
}

export function parseReset(plaintext: Uint8Array): Reset {
  const reader = new Reader(plaintext);
  return {
    timeMs: reader.uint(8),
    session: reader.uint(6),
    number: reader.big(6),
    resetToken: reader.take(16),
    reason: reader.uint(1),
  };
}

export function resetToken(
  serverSecret: Uint8Array,
  serverSession: number,
  generation: number,
): Uint8Array {
  const message = concat(text("phantom-token-v5"), uint(serverSession, 6), uint(generation, 4));
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
  offered: number,
  chosen: number,
): SessionKeys {
  const salt = concat(clientPublic, serverPublic);
  const info = concat(text("phantom-session-v5"), uint(offered, 1), uint(chosen, 1));
  const okm = derive(concat(shared, userKey), salt, info, 64);
  return { clientToServer: okm.slice(0, 32), serverToClient: okm.slice(32, 64) };
}

export function nextKey(key: Uint8Array): Uint8Array {
  return derive(key, NONE, text("phantom-next-v5"), 32);
}

function dataNonce(number: number | bigint): Uint8Array {
  return concat(uint(0, 4), uint(number, 8));
}

/** Keys of one direction, one after the other, and the cipher that they are for. */
export interface DataKey {
  key: Uint8Array;
  cipher: number;
}

export function sealData(
  { key, cipher }: DataKey,
  session: number,
  phase: number,
  number: number,
  plaintext: Uint8Array,
): Uint8Array {
  const kind = phase === 0 ? KIND.data0 : KIND.data1;
  const head = encodeHeader({ session, kind, number: BigInt(number) });
  return seal(key, dataNonce(number), head, plaintext, cipher);
}

export function openData(
  { key, cipher }: DataKey,
  number: bigint,
  clear: Uint8Array,
): Uint8Array | undefined {
  return open(key, dataNonce(number), clear, 16, cipher);
}

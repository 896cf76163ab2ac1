// SOCKS5 as a server (RFC 1928, RFC 1929): bytes in at any split, one request out.
//
//   greeting  05 | n u8 | n methods          → 05 | method
//   auth      01 | u8 + user | u8 + password → 01 | 0 or 1
//   request   05 | command | 00 | address    → 05 | reply | 00 | bound address
//
// The request is the last thing read here: what follows belongs to the stream.

import { addressLength, BAD_TYPE, writeIpAddress } from "../wire/address.ts";
import { type Credentials, NO_CREDENTIAL } from "./credentials.ts";
import { SocksReply } from "./outcome.ts";
import { Target } from "./target.ts";

/** The longest message: user and password, 255 bytes each. */
const MESSAGE_BYTES_MAX = 1 + 1 + 255 + 1 + 255;
/** Replies to greeting, auth and request, all still unsent. */
const REPLY_BYTES_MAX = 2 + 2 + 22;

const VERSION = 5;
const AUTH_VERSION = 1;
const METHOD_NONE = 0;
const METHOD_PASSWORD = 2;
const METHOD_REFUSED = 0xff;
const UNSPECIFIED = new Uint8Array(16).fill(0xff, 10, 12);

export const SocksCommand = { CONNECT: 1, BIND: 2, UDP_ASSOCIATE: 3 } as const;

export type Socks5State =
  | "greeting"
  | "auth"
  | "request"
  /** The request is known: open the target, then `accept()` or `refuse()`. */
  | "ready"
  | "accepted"
  /** Drain the reply, then close. */
  | "failed";

export interface Socks5Options {
  /** Without them everybody is let in. */
  readonly credentials?: Credentials;
  /** @default {true} */
  readonly allowUdp?: boolean;
}

/** One connection's greeting. */
export class Socks5Inbound {
  /** The destination of CONNECT; for UDP ASSOCIATE where the client says it sends from. */
  readonly target: Target = new Target();
  /** Name of the credentials used, or "". */
  user = "";
  /** What went wrong, for a log line, or "". */
  fault = "";
  readonly #options: Socks5Options;
  readonly #message = new Uint8Array(MESSAGE_BYTES_MAX);
  #length = 0;
  #state: Socks5State = "greeting";
  #command = 0;
  readonly #reply = new Uint8Array(REPLY_BYTES_MAX);
  #replyLength = 0;
  #replySent = 0;

  constructor(options: Socks5Options = {}) {
    this.#options = options;
  }

  get state(): Socks5State {
    return this.#state;
  }

  /** CONNECT or UDP ASSOCIATE, once ready. */
  get command(): number {
    return this.#command;
  }

  /** Reply bytes that wait for {@linkcode drain}. */
  get pending(): number {
    return this.#replyLength - this.#replySent;
  }

  /** Takes bytes of the client; returns how many: the others are the stream's early data. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    let used = 0;
    while (used < length && this.#isReading()) {
      const missing = this.#wanted() - this.#length;
      const take = Math.min(missing, length - used);
      for (let i = 0; i < take; i++) this.#message[this.#length++] = bytes[at + used++] ?? 0;
      if (take === missing && this.#wanted() === this.#length) this.#handle();
    }
    return used;
  }

  /** Moves replies into a buffer; returns how many bytes. */
  drain(out: Uint8Array, at: number, room: number): number {
    const count = Math.min(room, this.pending);
    for (let i = 0; i < count; i++) out[at + i] = this.#reply[this.#replySent++] ?? 0;
    return count;
  }

  /** The target is open; for UDP ASSOCIATE the address is where to send datagrams to. */
  accept(boundIp: Uint8Array = UNSPECIFIED, boundPort = 0): void {
    if (this.#state !== "ready") throw new TypeError("Cannot accept before a request is read");
    this.#queueReply(SocksReply.OK, boundIp, boundPort);
    this.#state = "accepted";
  }

  /** The target can't be had: `reply` is one of `SocksReply`. */
  refuse(reply: number): void {
    if (this.#state !== "ready") throw new TypeError("Cannot refuse before a request is read");
    this.#fail("refused", reply);
  }

  #isReading(): boolean {
    const state = this.#state;
    return state === "greeting" || state === "auth" || state === "request";
  }

  /** Length of the message at hand, as far as its first bytes tell; 1 to the buffer's. */
  #wanted(): number {
    const message = this.#message;
    const length = this.#length;
    if (this.#state === "greeting") return length < 2 ? 2 : 2 + (message[1] ?? 0);
    if (this.#state === "auth") {
      if (length < 2) return 2;
      const passwordAt = 3 + (message[1] ?? 0);
      return length < passwordAt ? passwordAt : passwordAt + (message[passwordAt - 1] ?? 0);
    }
    // Four bytes and two of the address tell its length; no address has fewer.
    if (length < 5) return 5;
    const size = addressLength(message, 3, MESSAGE_BYTES_MAX);
    return size > 0 ? 3 + size : 5;
  }

  #handle(): void {
    if (this.#state === "greeting") this.#greet();
    else if (this.#state === "auth") this.#authenticate();
    else this.#request();
    this.#length = 0;
  }

  #greet(): void {
    const message = this.#message;
    if (message[0] !== VERSION) return this.#fail("not SOCKS5");
    const method = this.#options.credentials === undefined ? METHOD_NONE : METHOD_PASSWORD;
    let isOffered = false;
    for (let i = 2; i < this.#length; i++) isOffered ||= message[i] === method;
    this.#queue(VERSION, isOffered ? method : METHOD_REFUSED);
    if (isOffered) this.#state = method === METHOD_PASSWORD ? "auth" : "request";
    else this.#fail("no acceptable authentication method");
  }

  #authenticate(): void {
    const { credentials } = this.#options;
    const message = this.#message;
    if (message[0] !== AUTH_VERSION) return this.#fail("not the password sub-negotiation");
    const userLength = message[1] ?? 0;
    const passwordAt = 3 + userLength;
    const index = credentials?.match(
      message,
      2,
      userLength,
      passwordAt,
      this.#length - passwordAt,
    ) ?? NO_CREDENTIAL;
    message.fill(0);
    this.#queue(AUTH_VERSION, index === NO_CREDENTIAL ? 1 : 0);
    if (index === NO_CREDENTIAL) return this.#fail("wrong user or password");
    this.user = credentials?.userAt(index) ?? "";
    this.#state = "request";
  }

  #request(): void {
    const message = this.#message;
    if (message[0] !== VERSION) return this.#fail("not SOCKS5", SocksReply.FAILURE);
    const size = this.target.readSocks(message, 3, this.#length - 3);
    const command = message[1] ?? 0;
    const isUdp = command === SocksCommand.UDP_ASSOCIATE && this.#options.allowUdp !== false;
    if (size === BAD_TYPE) {
      return this.#fail("unknown address type", SocksReply.BAD_ADDRESS_TYPE);
    }
    if (command !== SocksCommand.CONNECT && !isUdp) {
      return this.#fail("command not supported", SocksReply.BAD_COMMAND);
    }
    if (size <= 0) return this.#fail("not an address", SocksReply.FAILURE);
    if (!isUdp && this.target.port === 0) return this.#fail("port 0", SocksReply.FAILURE);
    this.#command = command;
    this.#state = "ready";
  }

  #fail(fault: string, reply?: number): void {
    this.fault = fault;
    this.#state = "failed";
    if (reply !== undefined) this.#queueReply(reply, UNSPECIFIED, 0);
  }

  #queue(a: number, b: number): void {
    this.#reply[this.#replyLength++] = a;
    this.#reply[this.#replyLength++] = b;
  }

  #queueReply(reply: number, ip: Uint8Array, port: number): void {
    this.#queue(VERSION, reply);
    this.#reply[this.#replyLength++] = 0;
    const at = this.#replyLength;
    this.#replyLength += writeIpAddress(this.#reply, at, REPLY_BYTES_MAX, ip, 0, port);
  }
}

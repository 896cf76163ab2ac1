// SOCKS5 as a client of an upstream proxy (RFC 1928, RFC 1929): one request, bytes at any split.

import { ADDRESS_BYTES_MAX, addressLength } from "../wire/address.ts";
import { CREDENTIAL_BYTES_MAX } from "./credentials.ts";
import type { Credential } from "./credentials.ts";
import { OpenedCode } from "../wire/frames.ts";
import { openedCodeOfSocks } from "./outcome.ts";
import { SocksCommand } from "./socks5_inbound.ts";
import { Target } from "./target.ts";

const VERSION = 5;
const AUTH_VERSION = 1;
const METHOD_NONE = 0;
const METHOD_PASSWORD = 2;
const MESSAGE_BYTES_MAX = 3 + ADDRESS_BYTES_MAX;

const encoder = new TextEncoder();

export type OutboundState = "waiting" | "open" | "failed";

type Step = "method" | "auth" | "reply";

/** One connection's negotiation. It speaks first: drain, send, feed what comes back. */
export class Socks5Outbound {
  /** Where the proxy is bound: for UDP ASSOCIATE where to send datagrams to. */
  readonly bound: Target = new Target();
  /** A code of OPENED, once failed. */
  code: number = OpenedCode.ok;
  fault = "";
  readonly #target: Target;
  readonly #command: number;
  readonly #credential: Credential | undefined;
  readonly #message = new Uint8Array(MESSAGE_BYTES_MAX);
  #length = 0;
  #state: OutboundState = "waiting";
  #step: Step = "method";
  #output: Uint8Array;
  #sent = 0;

  constructor(target: Target, credential?: Credential, command: number = SocksCommand.CONNECT) {
    this.#target = new Target();
    this.#target.copyFrom(target);
    this.#credential = credential;
    this.#command = command;
    this.#output = credential === undefined
      ? Uint8Array.of(VERSION, 1, METHOD_NONE)
      : Uint8Array.of(VERSION, 2, METHOD_NONE, METHOD_PASSWORD);
  }

  get state(): OutboundState {
    return this.#state;
  }

  get pending(): number {
    return this.#output.length - this.#sent;
  }

  /** Moves what is to be sent into a buffer; returns how many bytes. */
  drain(out: Uint8Array, at: number, room: number): number {
    const count = Math.min(room, this.pending);
    for (let i = 0; i < count; i++) out[at + i] = this.#output[this.#sent++] ?? 0;
    return count;
  }

  /** Takes bytes of the proxy; returns how many: once open, the others are the stream's. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    let used = 0;
    while (used < length && this.#state === "waiting") {
      const missing = this.#wanted() - this.#length;
      const take = Math.min(missing, length - used);
      for (let i = 0; i < take; i++) this.#message[this.#length++] = bytes[at + used++] ?? 0;
      if (take === missing && this.#wanted() === this.#length) this.#handle();
    }
    return used;
  }

  #wanted(): number {
    if (this.#step !== "reply") return 2;
    if (this.#length < 5) return 5;
    const size = addressLength(this.#message, 3, MESSAGE_BYTES_MAX);
    return size > 0 ? 3 + size : 5;
  }

  #handle(): void {
    if (this.#step === "method") this.#chooseMethod();
    else if (this.#step === "auth") this.#checkAuth();
    else this.#checkReply();
    this.#length = 0;
  }

  #chooseMethod(): void {
    if (this.#message[0] !== VERSION) return this.#fail("not SOCKS5");
    const method = this.#message[1];
    if (method === METHOD_NONE) return this.#sendRequest();
    if (method !== METHOD_PASSWORD || this.#credential === undefined) {
      return this.#fail("wants an authentication that is not configured", OpenedCode.denied);
    }
    const user = encoder.encode(this.#credential.user);
    const password = encoder.encode(this.#credential.password);
    if (Math.max(user.length, password.length) > CREDENTIAL_BYTES_MAX) {
      return this.#fail("user or password is too long", OpenedCode.denied);
    }
    this.#queue([AUTH_VERSION, user.length, ...user, password.length, ...password]);
    this.#step = "auth";
  }

  #checkAuth(): void {
    // RFC 1929 says version 1; some proxies answer 5.
    if (this.#message[1] !== 0) return this.#fail("wrong user or password", OpenedCode.denied);
    this.#sendRequest();
  }

  #sendRequest(): void {
    const request = new Uint8Array(3 + this.#target.socksLength);
    request[0] = VERSION;
    request[1] = this.#command;
    this.#target.writeSocks(request, 3);
    this.#queue(request);
    this.#step = "reply";
  }

  #checkReply(): void {
    if (this.#message[0] !== VERSION) return this.#fail("not SOCKS5");
    const reply = this.#message[1] ?? 0;
    if (reply !== 0) return this.#fail(`refused with ${reply}`, openedCodeOfSocks(reply));
    const size = addressLength(this.#message, 3, this.#length);
    if (size <= 0) return this.#fail("no bound address");
    // Only UDP ASSOCIATE needs the address; some proxies send an empty or odd one for CONNECT.
    const isRead = this.bound.readSocks(this.#message, 3, size) > 0;
    if (!isRead && this.#command === SocksCommand.UDP_ASSOCIATE) {
      return this.#fail("no bound address");
    }
    this.#state = "open";
  }

  #queue(bytes: ArrayLike<number>): void {
    const rest = this.#output.subarray(this.#sent);
    const joined = new Uint8Array(rest.length + bytes.length);
    joined.set(rest);
    joined.set(bytes, rest.length);
    this.#output = joined;
    this.#sent = 0;
  }

  #fail(fault: string, code: number = OpenedCode.unreachable): void {
    this.fault = fault;
    this.code = code;
    this.#state = "failed";
  }
}

// CONNECT as a client of an upstream HTTP proxy: one request, bytes at any split.

import type { Credential } from "./credentials.ts";
import { HeadReader } from "./http_head.ts";
import { OpenedCode } from "../wire/frames.ts";
import { openedCodeOfHttp } from "./outcome.ts";
import type { OutboundState } from "./socks5_outbound.ts";
import { latin1, type Target } from "./target.ts";

/** Interim answers before the real one. */
const INTERIM_MAX = 16;
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |\r)/;
const STATUS_LINE_BYTES = 14;

const encoder = new TextEncoder();

/** One connection's negotiation. It speaks first: drain, send, feed what comes back. */
export class HttpOutbound {
  status = 0;
  /** A code of OPENED, once failed. */
  code: number = OpenedCode.ok;
  fault = "";
  readonly #reader = new HeadReader(false);
  #state: OutboundState = "waiting";
  readonly #output: Uint8Array;
  #sent = 0;
  #interims = 0;

  constructor(target: Target, credential?: Credential) {
    const authority = target.toString();
    const authorization = credential === undefined
      ? ""
      : `Proxy-Authorization: Basic ${encodeBasic(credential)}\r\n`;
    this.#output = encoder.encode(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`,
    );
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
    out.set(this.#output.subarray(this.#sent, this.#sent + count), at);
    this.#sent += count;
    return count;
  }

  /** Takes bytes of the proxy; returns how many: once open, the others are the stream's. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    let used = 0;
    while (used < length && this.#state === "waiting") {
      used += this.#reader.feed(bytes, at + used, length - used);
      const { state } = this.#reader;
      if (state === "reading") break;
      if (state === "done") this.#handle(this.#reader.bytes);
      else this.#fail(`the answer's header is ${state}`, OpenedCode.unreachable);
      this.#reader.reset();
    }
    return used;
  }

  #handle(bytes: Uint8Array): void {
    // CONNECT has no body whatever the fields say (RFC 9110 §9.3.6): only the status counts.
    const match = STATUS_LINE.exec(latin1(bytes, 0, Math.min(bytes.length, STATUS_LINE_BYTES)));
    if (match === null) return this.#fail("not an HTTP answer", OpenedCode.unreachable);
    this.status = Number(match[1]);
    if (this.status >= 200 && this.status < 300) {
      this.#state = "open";
    } else if (this.status >= 200) {
      this.#fail(`refused with ${this.status}`, openedCodeOfHttp(this.status));
    } else if (this.status === 101 || ++this.#interims > INTERIM_MAX) {
      this.#fail("odd interim answers", OpenedCode.unreachable);
    }
  }

  #fail(fault: string, code: number): void {
    this.fault = fault;
    this.code = code;
    this.#state = "failed";
  }
}

function encodeBasic({ user, password }: Credential): string {
  const bytes = encoder.encode(`${user}:${password}`);
  return btoa(latin1(bytes, 0, bytes.length));
}

// The answer to a plain HTTP request, on its way from the origin to the client: its head is
// checked and rewritten for the client's connection, its body passes on as it is.
//
//   head → head-ready (drain) → body → done
//                             ↘ head after an interim answer (1xx)

import { BodyReader } from "./http_body.ts";
import {
  type BodyLength,
  connectionOptions,
  framingOf,
  type Head,
  HeadReader,
  HeadWriter,
  parseHead,
} from "./http_head.ts";

/** Interim answers before the real one. */
export const INTERIM_MAX = 16;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const NOTHING = new Uint8Array(0);

export type ResponseState = "head" | "head-ready" | "body" | "done" | "failed";

export interface ResponseOptions {
  /** The request was HEAD: whatever the fields say, there is no body. */
  readonly isHead: boolean;
  /** The client speaks HTTP/1.1. */
  readonly isHttp11: boolean;
  /** The client's connection may live on. */
  readonly keepAlive: boolean;
}

/** Passes one response on. */
export class HttpResponse {
  status = 0;
  /** What went wrong, for a log line, or "". */
  fault = "";
  /** Whether anything has gone to the client: a 502 is no longer possible then. */
  isStarted = false;
  #keepAlive = false;
  readonly #options: ResponseOptions;
  readonly #reader = new HeadReader(false);
  readonly #body = new BodyReader();
  #state: ResponseState = "head";
  #after: ResponseState = "head";
  #head: Uint8Array<ArrayBuffer> = NOTHING;
  #headSent = 0;
  #interims = 0;

  constructor(options: ResponseOptions) {
    this.#options = options;
  }

  get state(): ResponseState {
    return this.#state;
  }

  /** Whether the client was told that its connection lives on. */
  get keepAlive(): boolean {
    return this.#keepAlive;
  }

  get pending(): number {
    return this.#head.length - this.#headSent;
  }

  /** Takes bytes of the origin up to the end of a head; returns how many. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    if (this.#state !== "head") return 0;
    const used = this.#reader.feed(bytes, at, length);
    const { state } = this.#reader;
    if (state === "reading") return used;
    if (state === "done") this.#handle(this.#reader.bytes);
    else this.#fail(`the origin's header is ${state}`);
    this.#reader.reset();
    return used;
  }

  /** Moves the rewritten head into a buffer; once it is empty the body follows. */
  drain(out: Uint8Array, at: number, room: number): number {
    const count = Math.min(room, this.pending);
    out.set(this.#head.subarray(this.#headSent, this.#headSent + count), at);
    this.#headSent += count;
    if (count > 0) this.isStarted = true;
    if (this.#state === "head-ready" && this.pending === 0) this.#state = this.#after;
    return count;
  }

  /** How many of the origin's bytes are the body, to be passed on as they are. */
  body(bytes: Uint8Array, at: number, length: number): number {
    if (this.#state !== "body") return 0;
    const count = this.#body.feed(bytes, at, length);
    if (this.#body.state === "done") this.#state = "done";
    else if (this.#body.state === "malformed") this.#fail("the origin's chunks are malformed");
    return count;
  }

  /** The origin has closed; returns whether the response is whole. */
  end(): boolean {
    if (this.#state === "body" && this.#body.end()) this.#state = "done";
    // A head that waits for the client is whole when nothing has to follow it.
    if (this.#state === "head-ready" && this.#after === "body" && this.#body.end()) {
      this.#after = "done";
    }
    const isWhole = this.#state === "done" ||
      (this.#state === "head-ready" && this.#after === "done");
    if (!isWhole) this.#fail("the origin closed too early");
    return isWhole;
  }

  #handle(bytes: Uint8Array): void {
    const head = parseHead(bytes);
    if (typeof head === "string") return this.#fail(`the origin's header is ${head}`);
    const match = STATUS_LINE.exec(head.startLine);
    if (match === null) return this.#fail("the origin's status line is malformed");
    const isHttp11 = match[1] === "1";
    this.status = Number(match[2]);
    const options = connectionOptions(head);
    const framing = framingOf(head, isHttp11, "close");
    if (options === undefined || framing === undefined) {
      return this.#fail("the origin's header contradicts itself");
    }
    if (this.status < 200) this.#passInterim(head);
    else this.#passFinal(head, framing);
  }

  #passInterim(head: Head): void {
    this.#interims += 1;
    // Upgrade was not asked for: it is a field of one connection, and was left out.
    if (this.status === 101) return this.#fail("the origin switched protocols unasked");
    if (this.#interims > INTERIM_MAX) return this.#fail("the origin sent too many interim answers");
    // HTTP/1.0 knows no interim answers.
    if (this.#options.isHttp11) this.#write(head, "", "head");
  }

  #passFinal(head: Head, framing: BodyLength): void {
    const isEmpty = this.#options.isHead || this.status === 204 || this.status === 304;
    if (isEmpty) this.#body.start("none", 0);
    else this.#body.start(framing.framing, framing.length);
    this.#keepAlive = this.#options.keepAlive && (isEmpty || framing.framing !== "close");
    const connection = `Connection: ${this.#keepAlive ? "keep-alive" : "close"}\r\n`;
    this.#write(head, connection, this.#body.state === "done" ? "done" : "body");
  }

  #write(head: Head, extra: string, after: ResponseState): void {
    const writer = new HeadWriter(head.bytes.length + head.fields.length + 64);
    const options = connectionOptions(head);
    writer.text(`HTTP/1.1${head.startLine.slice(8)}\r\n`);
    if (options !== undefined) writer.fields(head, options, "");
    writer.text(extra);
    this.#head = writer.finish();
    this.#headSent = 0;
    this.#after = after;
    this.#state = "head-ready";
  }

  #fail(fault: string): void {
    this.fault = fault;
    this.#keepAlive = false;
    this.#state = "failed";
  }
}

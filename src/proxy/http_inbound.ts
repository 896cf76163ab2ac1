// An HTTP proxy as a server: CONNECT, and plain requests in absolute form (RFC 9112).
//
// The client's connection is kept alive between plain requests. Each of them goes to its origin
// on a stream of its own and says "Connection: close" there, so that two requests can never run
// into each other; `http_response.ts` finds where the answer ends.
//
//   head → ready → connect                     CONNECT: what follows belongs to the stream
//              ↘ body → complete → (next) head plain
//   any of them → failed                       drain the reply, then close

import { tellingOf, wordsOf } from "./outcome.ts";
import { type Credentials, NO_CREDENTIAL } from "./credentials.ts";
import { BodyReader } from "./http_body.ts";
import {
  type BodyLength,
  type ConnectionOptions,
  connectionOptions,
  fieldsNamed,
  framingOf,
  type Head,
  HEAD_BYTES_MAX,
  HeadReader,
  HeadWriter,
  isToken,
  parseHead,
  STRANGER_HEAD_BYTES_MAX,
  valueOf,
} from "./http_head.ts";
import { Target } from "./target.ts";

const METHOD_BYTES_MAX = 32;
const HTTP_PORT = 80;
const VISIBLE = /^[\x21-\x7e\x80-\xff]+$/;
const REQUEST_LINE = /^([^ ]+) ([^ ]+) HTTP\/1\.([01])$/;
const ABSOLUTE_URI = /^http:\/\/([^/?#]*)([^#]*)$/i;
/** Longer than any pair of 255 bytes each in Base64. */
const BASIC_BYTES_MAX = 700;

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  407: "Proxy Authentication Required",
  431: "Request Header Fields Too Large",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};
const TEXTS: Readonly<Record<number, string>> = {
  400: "The proxy could not understand this request.",
  407: "The proxy wants a user name and a password.",
  431: "The header of this request is too large.",
};
const ESTABLISHED = ascii("HTTP/1.1 200 Connection established\r\n\r\n");
const NOTHING = new Uint8Array(0);

export type HttpState = "head" | "ready" | "connect" | "body" | "complete" | "failed";

export interface HttpOptions {
  /** Without them everybody is let in. */
  readonly credentials?: Credentials;
  /** Shown when a password is asked for. @default {"proxy"} */
  readonly realm?: string;
}

interface RequestLine {
  readonly method: string;
  readonly uri: string;
  readonly isHttp11: boolean;
}

/** One client connection. */
export class HttpInbound {
  /** Where the request goes. */
  readonly target: Target = new Target();
  /** Name of the credentials used, or "". */
  user = "";
  /** What went wrong, for a log line, or "". */
  fault = "";
  isConnect = false;
  /** Facts about the request that decide how its response is read. */
  isHead = false;
  isHttp11 = false;
  /** Whether the client's connection may serve another request after this one. */
  keepAlive = false;
  readonly #options: HttpOptions;
  readonly #reader: HeadReader;
  readonly #body = new BodyReader();
  #state: HttpState = "head";
  #reply: Uint8Array<ArrayBuffer> = NOTHING;
  #replySent = 0;
  #request: Uint8Array<ArrayBuffer> = NOTHING;
  #requestSent = 0;

  constructor(options: HttpOptions = {}) {
    this.#options = options;
    this.#reader = options.credentials === undefined
      ? new HeadReader(true)
      : new HeadReader(true, STRANGER_HEAD_BYTES_MAX);
  }

  get state(): HttpState {
    return this.#state;
  }

  /** Whether the client may close here without cutting a request short. */
  get isIdle(): boolean {
    return this.#state === "head" && this.#reader.isEmpty;
  }

  /** Reply bytes for the client that wait for {@linkcode drain}. */
  get pending(): number {
    return this.#reply.length - this.#replySent;
  }

  /** Bytes of the head for the origin that wait for {@linkcode drainRequest}. */
  get requestPending(): number {
    return this.#request.length - this.#requestSent;
  }

  /** Takes bytes of the client up to the end of the head; returns how many. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    if (this.#state !== "head") return 0;
    const used = this.#reader.feed(bytes, at, length);
    const { state } = this.#reader;
    if (state === "done") this.#handle(this.#reader.bytes);
    else if (state === "too-large") this.#fail(431, "the header is too large");
    else if (state === "malformed") this.#fail(400, "the header has a bare CR, LF or NUL");
    // The buffer of up to 64 KiB is not needed any longer.
    if (state !== "reading") this.#reader.reset();
    return used;
  }

  /** Moves a reply into a buffer; returns how many bytes. */
  drain(out: Uint8Array, at: number, room: number): number {
    const count = Math.min(room, this.pending);
    out.set(this.#reply.subarray(this.#replySent, this.#replySent + count), at);
    this.#replySent += count;
    return count;
  }

  /** The target is open. */
  accept(): void {
    this.#assertReady();
    if (this.isConnect) {
      this.#setReply(ESTABLISHED);
      this.#state = "connect";
    } else {
      this.#state = this.#body.state === "done" ? "complete" : "body";
    }
  }

  /**
   * The target can't be had, or gave no answer of which a byte went out: 403, 502, 503 or 504.
   * `more`: what else is known of it.
   */
  refuse(outcome: number, more?: string): void {
    const { state } = this;
    if (state !== "body" && (state !== "complete" || this.isConnect)) this.#assertReady();
    const { status, error } = tellingOf(outcome);
    const words = wordsOf(outcome, more);
    const text = `${words[0]!.toUpperCase()}${words.slice(1)}.`;
    this.#fail(status, "refused", text, `Proxy-Status: phantom; error=${error}\r\n`);
  }

  /** Moves the head for the origin into a buffer; it goes before the body. */
  drainRequest(out: Uint8Array, at: number, room: number): number {
    const count = Math.min(room, this.requestPending);
    out.set(this.#request.subarray(this.#requestSent, this.#requestSent + count), at);
    this.#requestSent += count;
    return count;
  }

  /** How many of the client's bytes are this request's body, to be passed on as they are. */
  body(bytes: Uint8Array, at: number, length: number): number {
    if (this.#state !== "body") return 0;
    const count = this.#body.feed(bytes, at, length);
    if (this.#body.state === "done") this.#state = "complete";
    // A reply may be under way already: all that is left is to cut both sides.
    if (this.#body.state === "malformed") this.#fail(0, "the body's chunks are malformed");
    return count;
  }

  /** The response has been passed on: the next request may come. */
  next(): void {
    if (this.#state !== "complete" || !this.keepAlive) {
      throw new TypeError("Cannot read another request on this connection");
    }
    this.#state = "head";
    this.isHead = false;
    this.user = "";
    this.#request = NOTHING;
    this.#requestSent = 0;
  }

  #assertReady(): void {
    if (this.#state !== "ready") throw new TypeError("Cannot answer before a request is read");
  }

  #handle(bytes: Uint8Array): void {
    const head = parseHead(bytes);
    if (head === "too-large") return this.#fail(431, "there are too many header fields");
    if (head === "malformed") return this.#fail(400, "a header field is malformed");
    const line = parseRequestLine(head.startLine);
    if (line === undefined) return this.#fail(400, "the request line is malformed");
    this.isHttp11 = line.isHttp11;
    this.isHead = line.method === "HEAD";
    this.isConnect = line.method === "CONNECT";
    const options = connectionOptions(head);
    const framing = framingOf(head, line.isHttp11, "none");
    const hosts = fieldsNamed(head, "host").length;
    if (options === undefined) return this.#fail(400, "Connection names a field that must stay");
    if (framing === undefined) return this.#fail(400, "the body's length is ambiguous");
    if (hosts > 1 || (hosts === 0 && line.isHttp11)) {
      return this.#fail(400, "there must be one Host field");
    }
    if (!this.#authenticate(head)) return this.#fail(407, "wrong or no credentials");
    this.keepAlive = line.isHttp11 && !options.close;
    if (this.isConnect) this.#connect(line, framing);
    else this.#forward(line, head, options, framing);
  }

  #connect(line: RequestLine, framing: BodyLength): void {
    if (framing.framing !== "none" && !(framing.framing === "length" && framing.length === 0)) {
      return this.#fail(400, "CONNECT has a body");
    }
    const authority = latin1Bytes(line.uri);
    if (!this.target.setAuthority(authority, 0, authority.length)) {
      return this.#fail(400, "CONNECT needs host:port");
    }
    this.#state = "ready";
  }

  #forward(
    line: RequestLine,
    head: Head,
    options: ConnectionOptions,
    framing: BodyLength,
  ): void {
    const match = ABSOLUTE_URI.exec(line.uri);
    if (match === null) return this.#fail(400, "the request names no http:// address");
    const authority = latin1Bytes(match[1] ?? "");
    // User information in front of the host is refused by the host's grammar.
    if (!this.target.setAuthority(authority, 0, authority.length, HTTP_PORT)) {
      return this.#fail(400, "the address of the request is malformed");
    }
    const path = originForm(match[2] ?? "", line.method);
    const { target } = this;
    const host = target.port === HTTP_PORT ? target.host : target.toString();
    // What is added is shorter than this, and no field grows by more than its space.
    const writer = new HeadWriter(head.bytes.length + head.fields.length + host.length + 64);
    writer.text(`${line.method} ${path} HTTP/1.${line.isHttp11 ? 1 : 0}\r\nHost: ${host}\r\n`);
    writer.fields(head, options, "host");
    writer.text("Connection: close\r\n");
    this.#request = writer.finish();
    this.#requestSent = 0;
    this.#body.start(framing.framing, framing.length);
    this.#state = "ready";
  }

  #authenticate(head: Head): boolean {
    const { credentials } = this.#options;
    if (credentials === undefined) return true;
    const fields = fieldsNamed(head, "proxy-authorization");
    const [field] = fields;
    if (field === undefined || fields.length > 1) return false;
    const match = /^basic +(\S+)$/i.exec(valueOf(head, field));
    const pair = decodeBase64(match?.[1] ?? "");
    const colon = pair.indexOf(0x3a);
    if (colon === -1) return false;
    const index = credentials.match(pair, 0, colon, colon + 1, pair.length - colon - 1);
    pair.fill(0);
    if (index === NO_CREDENTIAL) return false;
    this.user = credentials.userAt(index);
    this.#reader.max = HEAD_BYTES_MAX;
    return true;
  }

  #fail(status: number, fault: string, words = TEXTS[status]!, field = ""): void {
    this.fault = fault;
    this.#state = "failed";
    this.keepAlive = false;
    if (status === 0) return;
    const text = `${words}\n`;
    const realm = this.#options.realm ?? "proxy";
    const challenge = status === 407 ? `Proxy-Authenticate: Basic realm="${realm}"\r\n` : "";
    this.#setReply(ascii(
      `HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}\r\n${challenge}${field}` +
        `Content-Type: text/plain\r\nContent-Length: ${text.length}\r\n` +
        `Connection: close\r\n\r\n${this.isHead ? "" : text}`,
    ));
  }

  #setReply(reply: Uint8Array<ArrayBuffer>): void {
    this.#reply = reply;
    this.#replySent = 0;
  }
}

function parseRequestLine(line: string): RequestLine | undefined {
  const match = REQUEST_LINE.exec(line);
  const [, method = "", uri = "", minor] = match ?? [];
  if (match === null || method.length > METHOD_BYTES_MAX || !isToken(method)) return undefined;
  if (!VISIBLE.test(uri)) return undefined;
  return { method, uri, isHttp11: minor === "1" };
}

function originForm(path: string, method: string): string {
  if (path === "") return method === "OPTIONS" ? "*" : "/";
  return path.startsWith("?") ? `/${path}` : path;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Bytes of a Base64 text; none when it is malformed. */
function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const isWhole = text.length % 4 === 0 && text.length <= BASIC_BYTES_MAX;
  if (!isWhole || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return NOTHING;
  const digits = text.replace(/=+$/, "");
  const bytes = new Uint8Array(Math.floor(digits.length * 3 / 4));
  let bits = 0;
  let count = 0;
  let at = 0;
  for (const digit of digits) {
    bits = ((bits << 6) | BASE64.indexOf(digit)) & 0xffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[at++] = bits >> count;
  }
  return bytes;
}

function ascii(text: string): Uint8Array<ArrayBuffer> {
  return latin1Bytes(text);
}

function latin1Bytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

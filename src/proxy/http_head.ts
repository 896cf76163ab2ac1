// The head of an HTTP/1 message: gathered from bytes at any split, then cut into fields.
//
// Strict on purpose: what two parsers may read differently is refused, so that nobody can
// smuggle a request through this one (RFC 9112 §11.2).

import { latin1 } from "./target.ts";

/** Start line, fields and the empty line. */
export const HEAD_BYTES_MAX = 64 * 1024;
/** Of who has not said a password yet: many may come. */
export const STRANGER_HEAD_BYTES_MAX = 16 * 1024;
export const FIELDS_MAX = 200;

const FIRST_BUFFER_BYTES = 1024;
const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 0x20;
const COLON = 0x3a;
const DEL = 0x7f;

const TOKEN = tokenBytes();

function tokenBytes(): Uint8Array {
  const table = new Uint8Array(256);
  const signs = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (const char of signs) table[char.charCodeAt(0)] = 1;
  return table;
}

/** Whether a text is a token (RFC 9110 §5.6.2). */
export function isToken(text: string): boolean {
  if (text === "") return false;
  for (let i = 0; i < text.length; i++) {
    if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}

export type HeadState = "reading" | "done" | "malformed" | "too-large";

/** Gathers bytes up to the empty line. */
export class HeadReader {
  readonly #skipsBlank: boolean;
  /** Bytes that a head may have. */
  max: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #length = 0;
  #lineLength = 0;
  #previous = 0;
  #state: HeadState = "reading";
  #blanks = 0;

  /** `skipsBlank`: one empty line may stand in front, as old clients send it after a body. */
  constructor(skipsBlank: boolean, max: number = HEAD_BYTES_MAX) {
    this.#skipsBlank = skipsBlank;
    this.max = max;
  }

  get state(): HeadState {
    return this.#state;
  }

  /** The head with its empty line, once done. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Whether nothing has come yet: the peer may close here. */
  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** Starts over, for the next message. */
  reset(): void {
    this.#bytes = new Uint8Array(0);
    this.#length = 0;
    this.#lineLength = 0;
    this.#previous = 0;
    this.#blanks = 0;
    this.#state = "reading";
  }

  /** Takes bytes; returns how many: those after the empty line are not the head's. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    let used = 0;
    while (used < length && this.#state === "reading") this.#take(bytes[at + used++] ?? 0);
    return used;
  }

  #take(byte: number): void {
    // A line ends in CR LF; neither stands alone, and NUL stands nowhere.
    if ((byte === LF) !== (this.#previous === CR) || byte === 0) {
      this.#state = "malformed";
      return;
    }
    if (this.#length === this.max) {
      this.#state = "too-large";
      return;
    }
    if (this.#length === this.#bytes.length) this.#grow();
    this.#bytes[this.#length++] = byte;
    this.#previous = byte;
    if (byte !== LF) {
      if (byte !== CR) this.#lineLength += 1;
      return;
    }
    if (this.#lineLength === 0) this.#endOnBlank();
    this.#lineLength = 0;
  }

  #endOnBlank(): void {
    if (this.#length > 2) {
      this.#state = "done";
    } else if (this.#skipsBlank && this.#blanks === 0) {
      this.#blanks = 1;
      this.#length = 0;
      this.#previous = 0;
    } else {
      this.#state = "malformed";
    }
  }

  #grow(): void {
    const size = Math.min(this.max, Math.max(FIRST_BUFFER_BYTES, this.#bytes.length * 2));
    const grown = new Uint8Array(size);
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** A field line: its name in lower case, and where its parts are in the head. */
export interface Field {
  readonly name: string;
  readonly nameAt: number;
  readonly nameEnd: number;
  readonly valueAt: number;
  readonly valueEnd: number;
}

export interface Head {
  readonly bytes: Uint8Array;
  readonly startLine: string;
  readonly fields: readonly Field[];
}

/** Cuts a gathered head into its lines; undefined when a line breaks the grammar. */
export function parseHead(bytes: Uint8Array): Head | "malformed" | "too-large" {
  const fields: Field[] = [];
  const startEnd = lineEnd(bytes, 0);
  let at = startEnd + 2;
  while (at < bytes.length - 2) {
    if (fields.length === FIELDS_MAX) return "too-large";
    const end = lineEnd(bytes, at);
    const field = parseField(bytes, at, end);
    if (field === undefined) return "malformed";
    fields.push(field);
    at = end + 2;
  }
  return { bytes, startLine: latin1(bytes, 0, startEnd), fields };
}

function lineEnd(bytes: Uint8Array, at: number): number {
  return bytes.indexOf(CR, at);
}

function parseField(bytes: Uint8Array, at: number, end: number): Field | undefined {
  let colon = at;
  // A folded line, a space before the colon and a missing colon all fail here.
  while (colon < end && TOKEN[bytes[colon] ?? 0] === 1) colon += 1;
  if (colon === at || colon === end || bytes[colon] !== COLON) return undefined;
  let valueAt = colon + 1;
  let valueEnd = end;
  while (valueAt < valueEnd && isBlank(bytes[valueAt])) valueAt += 1;
  while (valueEnd > valueAt && isBlank(bytes[valueEnd - 1])) valueEnd -= 1;
  for (let i = valueAt; i < valueEnd; i++) {
    const byte = bytes[i] ?? 0;
    if ((byte < SPACE && byte !== TAB) || byte === DEL) return undefined;
  }
  const name = latin1(bytes, at, colon - at).toLowerCase();
  return { name, nameAt: at, nameEnd: colon, valueAt, valueEnd };
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB;
}

/** Value of a field as text. */
export function valueOf(head: Head, field: Field): string {
  return latin1(head.bytes, field.valueAt, field.valueEnd - field.valueAt);
}

/** Every field of a name. */
export function fieldsNamed(head: Head, name: string): Field[] {
  return head.fields.filter((field) => field.name === name);
}

export type Framing = "none" | "length" | "chunked" | "close";

/** How long a message's body is. */
export interface BodyLength {
  readonly framing: Framing;
  /** Bytes, when the framing is "length". */
  readonly length: number;
}

/**
 * The framing that fields state, or undefined when they contradict each other or say more than
 * "Content-Length: n" or "Transfer-Encoding: chunked" (RFC 9112 §6.3).
 */
export function framingOf(
  head: Head,
  isHttp11: boolean,
  fallback: Framing,
): BodyLength | undefined {
  const lengths = fieldsNamed(head, "content-length");
  const encodings = fieldsNamed(head, "transfer-encoding");
  if (lengths.length + encodings.length > 1) return undefined;
  const [length] = lengths;
  const [encoding] = encodings;
  if (encoding !== undefined) {
    const isChunked = valueOf(head, encoding).toLowerCase() === "chunked";
    return isHttp11 && isChunked ? { framing: "chunked", length: 0 } : undefined;
  }
  if (length === undefined) return { framing: fallback, length: 0 };
  const digits = valueOf(head, length);
  return /^\d{1,15}$/.test(digits) ? { framing: "length", length: Number(digits) } : undefined;
}

/** Fields that concern one connection and not the message (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  ...["connection", "keep-alive", "te", "upgrade", "http2-settings"],
]);

/** Fields that a Connection option may not remove: framing and routing depend on them. */
const UNREMOVABLE = new Set([
  ...["content-length", "transfer-encoding", "host", "content-type", "date", "trailer"],
  ...["authorization", "cookie", "set-cookie", "range", "content-range", "expect"],
]);

export interface ConnectionOptions {
  readonly close: boolean;
  /** Names of the fields that stay behind. */
  readonly dropped: ReadonlySet<string>;
}

/** What the Connection fields say; undefined when they name what must not go. */
export function connectionOptions(head: Head): ConnectionOptions | undefined {
  const dropped = new Set<string>();
  let close = false;
  for (const field of head.fields) {
    // What only a proxy's client says, under the name it should not have.
    if (field.name === "proxy-connection") {
      close ||= valueOf(head, field).toLowerCase() === "close";
    }
    if (field.name !== "connection") continue;
    for (const option of valueOf(head, field).toLowerCase().split(",")) {
      const name = option.trim();
      if (name === "") continue;
      if (!isToken(name) || UNREMOVABLE.has(name)) return undefined;
      if (name === "close") close = true;
      dropped.add(name);
    }
  }
  return { close, dropped };
}

/** Builds the head that goes on: a new start line, the fields kept, further fields. */
export class HeadWriter {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
  }

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  /** Copies the fields that are end to end. */
  fields(head: Head, options: ConnectionOptions, alsoDropped: string): void {
    for (const field of head.fields) {
      const { name } = field;
      const stays = name !== alsoDropped && !name.startsWith("proxy-") &&
        !HOP_BY_HOP.has(name) && !options.dropped.has(name);
      if (!stays) continue;
      this.#copy(head.bytes, field.nameAt, field.nameEnd);
      this.text(": ");
      this.#copy(head.bytes, field.valueAt, field.valueEnd);
      this.text("\r\n");
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.text("\r\n");
    return this.#bytes.subarray(0, this.#length);
  }

  #copy(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes.set(bytes.subarray(at, end), this.#length);
    this.#length += end - at;
  }
}

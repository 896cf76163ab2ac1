// Where the body of an HTTP/1 message ends. Its bytes pass on unchanged: only counted, and for
// chunks checked, so that nothing after the end can be taken for a part of it.

import type { Framing } from "./http_head.ts";

/** A chunk-size line's extension. */
export const CHUNK_EXTENSION_BYTES_MAX = 1024;
export const TRAILER_BYTES_MAX = 8192;
/** 2^52 - 1 at most. */
const SIZE_DIGITS_MAX = 13;

const LF = 10;
const CR = 13;
const SEMICOLON = 0x3b;
const TAB = 9;
const SPACE = 0x20;
const DEL = 0x7f;

export type BodyState = "open" | "done" | "malformed";

const Step = {
  SIZE: 0,
  EXTENSION: 1,
  SIZE_LF: 2,
  DATA: 3,
  DATA_CR: 4,
  DATA_LF: 5,
  TRAILER_START: 6,
  TRAILER: 7,
  TRAILER_LF: 8,
  LAST_LF: 9,
} as const;

/** Follows one body. */
export class BodyReader {
  #framing: Framing = "none";
  #state: BodyState = "done";
  /** Bytes left of a body or chunk. */
  #left = 0;
  #step: number = Step.SIZE;
  #digits = 0;
  /** Bytes of an extension or of all trailers. */
  #extra = 0;

  get state(): BodyState {
    return this.#state;
  }

  start(framing: Framing, length: number): void {
    this.#framing = framing;
    this.#left = framing === "length" ? length : 0;
    this.#state = framing === "none" || (framing === "length" && length === 0) ? "done" : "open";
    this.#step = Step.SIZE;
    this.#digits = 0;
    this.#extra = 0;
  }

  /** Returns how many of the bytes belong to the body. */
  feed(bytes: Uint8Array, at: number, length: number): number {
    if (this.#state !== "open") return 0;
    if (this.#framing === "close") return length;
    if (this.#framing === "length") {
      const count = this.#skip(length);
      if (this.#left === 0) this.#state = "done";
      return count;
    }
    let used = 0;
    while (used < length && this.#state === "open") {
      if (this.#step === Step.DATA) {
        used += this.#skip(length - used);
        if (this.#left === 0) this.#step = Step.DATA_CR;
      } else {
        this.#takeSign(bytes[at + used++] ?? 0);
      }
    }
    return used;
  }

  /** The peer has closed: whether the body is whole. */
  end(): boolean {
    if (this.#framing === "close" && this.#state === "open") this.#state = "done";
    return this.#state === "done";
  }

  #skip(length: number): number {
    const count = Math.min(length, this.#left);
    this.#left -= count;
    return count;
  }

  /** A byte that is not a chunk's data. */
  #takeSign(byte: number): void {
    switch (this.#step) {
      case Step.SIZE:
        this.#takeSize(byte);
        break;
      case Step.EXTENSION:
        this.#takeText(byte, Step.SIZE_LF, CHUNK_EXTENSION_BYTES_MAX);
        break;
      case Step.SIZE_LF:
        this.#expect(byte, LF, this.#left === 0 ? Step.TRAILER_START : Step.DATA);
        this.#extra = 0;
        this.#digits = 0;
        break;
      case Step.DATA_CR:
        this.#expect(byte, CR, Step.DATA_LF);
        break;
      case Step.DATA_LF:
        this.#expect(byte, LF, Step.SIZE);
        break;
      case Step.TRAILER_START:
        if (byte === CR) this.#step = Step.LAST_LF;
        // A folded line has nothing to belong to.
        else if (byte === SPACE || byte === TAB) this.#state = "malformed";
        else this.#takeText(byte, Step.TRAILER_LF, TRAILER_BYTES_MAX, Step.TRAILER);
        break;
      case Step.TRAILER:
        this.#takeText(byte, Step.TRAILER_LF, TRAILER_BYTES_MAX);
        break;
      case Step.TRAILER_LF:
        this.#expect(byte, LF, Step.TRAILER_START);
        break;
      default:
        this.#state = byte === LF ? "done" : "malformed";
    }
  }

  #takeSize(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0 && this.#digits < SIZE_DIGITS_MAX) {
      this.#left = this.#left * 16 + digit;
      this.#digits += 1;
    } else if (this.#digits > 0 && byte === CR) {
      this.#step = Step.SIZE_LF;
    } else if (this.#digits > 0 && byte === SEMICOLON) {
      this.#step = Step.EXTENSION;
    } else {
      this.#state = "malformed";
    }
  }

  #takeText(byte: number, onCr: number, max: number, next = this.#step): void {
    this.#extra += 1;
    const isControl = (byte < SPACE && byte !== TAB && byte !== CR) || byte === DEL;
    if (isControl || this.#extra > max) this.#state = "malformed";
    else this.#step = byte === CR ? onCr : next;
  }

  #expect(byte: number, expected: number, next: number): void {
    if (byte === expected) this.#step = next;
    else this.#state = "malformed";
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

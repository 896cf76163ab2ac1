/** One stream as the client sees it: what is still to be sent, and what came, put in order. */
import { concat } from "./bytes.ts";
import type { Address, Frame } from "./frames.ts";

export const STREAM_WINDOW = 2 ** 20;

export interface Opened {
  code: number;
  address: Address;
}

export class StreamReset extends Error {
  constructor(readonly code: number) {
    super(`the stream was reset with code ${code}`);
  }
}

/** What a stream asks of its client. */
export interface Host {
  /** Control frames to send, reliably. */
  queue(frames: Frame[]): void;
  /** There is data to send. */
  wake(): void;
  /** The application took so many bytes. */
  consumed(bytes: number): void;
}

export class Stream {
  readonly id: number;
  readonly opened: Promise<Opened>;
  /** The highest offset that came; never above what this side granted, if the server is right. */
  highest = 0;
  granted = STREAM_WINDOW;
  sendMax = STREAM_WINDOW;
  resetCode: number | undefined;

  #host: Host;
  #chunks: Uint8Array[] = [];
  #written = 0;
  #sent = 0;
  #ended = false;
  #early = new Map<number, Uint8Array>();
  #ready: Uint8Array[] = [];
  #inOrder = 0;
  #taken = 0;
  #final: number | undefined;
  #news = Promise.withResolvers<void>();
  #opened = Promise.withResolvers<Opened>();

  constructor(host: Host, id: number) {
    this.#host = host;
    this.id = id;
    this.opened = this.#opened.promise;
  }

  /** Queues data; the client sends it as flow control lets it. */
  write(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#chunks.push(data);
    this.#written += data.length;
    this.#host.wake();
  }

  /** No more data from this side; the other direction goes on. */
  finish(): void {
    this.#ended = true;
    this.#host.wake();
  }

  reset(code: number): void {
    this.#chunks = [];
    this.#ended = false;
    this.#host.queue([{ type: "rst", stream: this.id, code }]);
  }

  /** The next bytes, or null at the end. */
  async read(): Promise<Uint8Array | null> {
    while (true) {
      const chunk = this.#ready.shift();
      if (chunk !== undefined) {
        this.#took(chunk.length);
        return chunk;
      }
      if (this.resetCode !== undefined) throw new StreamReset(this.resetCode);
      if (this.#final === this.#inOrder) return null;
      await this.#news.promise;
    }
  }

  /** Everything up to the end. */
  async readAll(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let part = await this.read(); part !== null; part = await this.read()) parts.push(part);
    return concat(...parts);
  }

  async readExactly(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let got = 0;
    while (got < length) {
      const part = await this.read();
      if (part === null) throw new Error(`ended after ${got} of ${length} bytes`);
      parts.push(part);
      got += part.length;
    }
    return concat(...parts);
  }

  /** The next frame to send: data of at most `room` bytes, or the FIN after the last of it. */
  next(room: number, sessionRoom: number): Frame | undefined {
    const [head, ...rest] = this.#chunks;
    if (head === undefined) {
      if (!this.#ended) return undefined;
      this.#ended = false;
      return { type: "fin", stream: this.id, final: this.#written };
    }
    const length = Math.min(head.length, room, sessionRoom, this.sendMax - this.#sent);
    if (length <= 0) return undefined;
    const data = head.subarray(0, length);
    this.#chunks = length === head.length ? rest : [head.subarray(length), ...rest];
    const offset = this.#sent;
    this.#sent += length;
    return { type: "stream", stream: this.id, offset, data };
  }

  onOpened(opened: Opened): void {
    this.#opened.resolve(opened);
    if (opened.code !== 0) this.onReset(-opened.code);
  }

  /** Returns by how much the highest offset grew. */
  onData(offset: number, data: Uint8Array): number {
    const end = offset + data.length;
    const grown = Math.max(0, end - this.highest);
    this.highest += grown;
    const there = this.#early.get(offset);
    if (there === undefined || there.length < data.length) this.#early.set(offset, data);
    this.#drain();
    return grown;
  }

  onFin(final: number): void {
    this.#final = final;
    this.#tell();
  }

  onReset(code: number): void {
    this.resetCode = code;
    this.#tell();
  }

  /** Moves what is in order to the reader; pieces may overlap. */
  #drain(): void {
    let moved = true;
    while (moved) {
      moved = false;
      for (const [offset, data] of this.#early) {
        if (offset > this.#inOrder) continue;
        this.#early.delete(offset);
        if (offset + data.length <= this.#inOrder) continue;
        const fresh = data.subarray(this.#inOrder - offset);
        this.#ready.push(fresh);
        this.#inOrder += fresh.length;
        moved = true;
      }
    }
    this.#tell();
  }

  #took(bytes: number): void {
    this.#taken += bytes;
    this.#host.consumed(bytes);
    if (this.granted - this.#taken < STREAM_WINDOW / 2) {
      this.granted = this.#taken + STREAM_WINDOW;
      this.#host.queue([{ type: "max_stream", stream: this.id, max: this.granted }]);
    }
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }
}

/** What is said to the client of a plain HTTP proxy, gathered until the end of a round. */

import { tcpAgain, type TcpSocket } from "../../ffi/tcp.ts";
import { copyBytes } from "../base/copy.ts";
import type { SpliceCounters } from "../outbound/splicer.ts";
import type { HttpResponse } from "../proxy/http_response.ts";

const BUFFER_BYTES = 32 << 10;
const NOTHING = new Uint8Array(0);

export class ResponseBuffer {
  readonly #socket: TcpSocket;
  readonly #counters: SpliceCounters;
  #bytes: Uint8Array<ArrayBuffer> = NOTHING;
  #at = 0;
  #end = 0;
  /** The socket takes nothing until epoll says so. */
  isBlocked = false;
  /** The socket has failed. */
  isBroken = false;

  constructor(socket: TcpSocket, counters: SpliceCounters) {
    this.#socket = socket;
    this.#counters = counters;
  }

  get isEmpty(): boolean {
    return this.#end === 0;
  }

  /** Whether there is room for more; writes what there is where that makes some. */
  makeRoom(): boolean {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(BUFFER_BYTES);
    if (this.#end === BUFFER_BYTES) this.write();
    return this.#end < BUFFER_BYTES && !this.isBroken;
  }

  takeHead(response: HttpResponse): void {
    this.#end += response.drain(this.#bytes, this.#end, BUFFER_BYTES - this.#end);
  }

  /** How much of these bytes was the response's body, and taken. */
  takeBody(response: HttpResponse, bytes: Uint8Array, at: number, length: number): number {
    const count = response.body(bytes, at, Math.min(length, BUFFER_BYTES - this.#end));
    copyBytes(this.#bytes, this.#end, bytes, at, count);
    this.#end += count;
    return count;
  }

  /** Writes what there is; it is empty afterwards, or the socket is full or broken. */
  write(): void {
    const length = this.#end - this.#at;
    if (length > 0 && !this.isBlocked) {
      const taken = this.#socket.write(this.#bytes, this.#at, length);
      if (taken < 0 && taken !== tcpAgain) {
        this.isBroken = true;
        return;
      }
      if (taken < length) this.isBlocked = true;
      this.#at += Math.max(0, taken);
      this.#counters.bytesUp += Math.max(0, taken);
    }
    if (this.#at === this.#end) this.#at = this.#end = 0;
  }

  /** Gives the memory back until there is another response. */
  release(): void {
    this.#bytes = NOTHING;
  }
}

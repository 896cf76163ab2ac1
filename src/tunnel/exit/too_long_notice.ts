/** Tells, once a minute at most, of datagrams that no packet can carry: none is lost in silence. */

import { DATAGRAM_BYTES_MAX } from "../../session/limits.ts";

const NOTICE_MS = 60_000;

export class TooLongNotice {
  #told = 0;
  #nextAt = -Infinity;

  /** What to log now, where there is anything. `count`: of all, since the start. */
  text(now: number, count: number): string | undefined {
    if (count === this.#told || now < this.#nextAt) return undefined;
    const text = `${count - this.#told} datagrams were dropped as they are longer than a packet ` +
      `can carry (${DATAGRAM_BYTES_MAX} bytes and a little)`;
    this.#told = count;
    this.#nextAt = now + NOTICE_MS;
    return text;
  }
}

/** Tells, once a minute at most, of what is only counted meanwhile: nothing is lost in silence. */

import { DATAGRAM_BYTES_MAX } from "../../session/limits.ts";

const NOTICE_MS = 60_000;

export class Notice {
  readonly #words: (count: number) => string;
  #told = 0;
  #nextAt = -Infinity;

  /** `words`: what to say of so many more than were told of. */
  constructor(words: (count: number) => string) {
    this.#words = words;
  }

  /** What to log now, where there is anything. `count`: of all, since the start. */
  text(now: number, count: number): string | undefined {
    if (count === this.#told || now < this.#nextAt) return undefined;
    const text = this.#words(count - this.#told);
    this.#told = count;
    this.#nextAt = now + NOTICE_MS;
    return text;
  }
}

export function tooLongNotice(): Notice {
  return new Notice((count) =>
    `${count} datagrams were dropped as they are longer than a packet can carry ` +
    `(${DATAGRAM_BYTES_MAX} bytes and a little)`
  );
}

/**
 * What main says to a worker, as one message or in parts where the ring would not hold it:
 *
 *     "{" …                       a whole message, JSON
 *     1 …, 1 …, …, 2 …            the parts of one, 2 before the last
 */

import type { RingReader } from "../base/ring.ts";

/** What is said to one service of a worker; `message` is between the two. */
export interface Envelope {
  /** The name of the service. */
  readonly to: string;
  readonly message: unknown;
}

const Part = { more: 1, last: 2 } as const;
/** Longer messages go in parts. */
export const PART_BYTES_MAX = 16_000;

/** The pieces that a message goes in. */
export function piecesOf(message: Envelope): Uint8Array[] {
  const bytes = new TextEncoder().encode(JSON.stringify(message));
  if (bytes.length <= PART_BYTES_MAX) return [bytes];
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PART_BYTES_MAX) {
    const part = bytes.subarray(at, at + PART_BYTES_MAX);
    const piece = new Uint8Array(1 + part.length);
    piece[0] = at + PART_BYTES_MAX < bytes.length ? Part.more : Part.last;
    piece.set(part, 1);
    pieces.push(piece);
  }
  // It may hold keys, which the pieces still do.
  bytes.fill(0);
  return pieces;
}

export class Inbox {
  readonly #ring: RingReader;
  #parts: Uint8Array<ArrayBuffer>[] = [];

  constructor(ring: RingReader) {
    this.#ring = ring;
  }

  /** The next message, undefined when there is none. Throws where it is no JSON. */
  read(): Envelope | undefined {
    for (;;) {
      const bytes = this.#ring.read();
      if (bytes === undefined) return undefined;
      const [kind] = bytes;
      if (kind !== Part.more && kind !== Part.last) return parse(bytes);
      this.#parts.push(bytes.subarray(1));
      if (kind === Part.last) return parse(this.#joined());
    }
  }

  #joined(): Uint8Array<ArrayBuffer> {
    const parts = this.#parts;
    this.#parts = [];
    const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      joined.set(part, at);
      at += part.length;
      part.fill(0);
    }
    return joined;
  }
}

function parse(bytes: Uint8Array<ArrayBuffer>): Envelope {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } finally {
    bytes.fill(0);
  }
}

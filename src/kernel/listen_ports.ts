/**
 * The table in which a program on XDP finds whose a UDP port is: a row of bits for each use, which
 * is written by the system whose it is, and by no other.
 */

import { ListenWord, TunnelLimit } from "../../ffi/bpf/layout.gen.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";

export const LISTEN_PORTS = "listen_ports";
const PORTS_A_WORD = 64;

export type PortUse = keyof ListenWord;

/** Makes exactly these ports be of these uses; other uses stay as they are. */
export function setPorts(
  map: BpfMap,
  ports: Readonly<Partial<Record<PortUse, Iterable<number>>>>,
): void {
  const uses = Object.entries(ports).map(([use, numbers]) => ({
    at: ListenWord.offset[use as PortUse] / BigUint64Array.BYTES_PER_ELEMENT,
    bits: bitsOf(numbers),
  }));
  for (const rows of map.batches({ rows: map.rows(map.info.maxEntries) })) {
    const words = new Uint32Array(rows.keys.buffer, 0, rows.count);
    const values = new BigUint64Array(rows.values.buffer);
    const stride = ListenWord.size / BigUint64Array.BYTES_PER_ELEMENT;
    let isChanged = false;
    for (const [row, word] of words.entries()) {
      for (const { at, bits } of uses) {
        const index = row * stride + at;
        isChanged ||= values[index] !== bits[word];
        values[index] = bits[word]!;
      }
    }
    if (isChanged) map.setMany(rows);
  }
}

/** A bit a port, 64 of them a word. */
function bitsOf(ports: Iterable<number>): BigUint64Array {
  const words = new BigUint64Array(TunnelLimit.listenWords);
  for (const port of ports) {
    words[Math.floor(port / PORTS_A_WORD)]! |= 1n << BigInt(port % PORTS_A_WORD);
  }
  return words;
}

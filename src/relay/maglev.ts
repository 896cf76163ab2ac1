/**
 * Maglev hashing (Eisenbud et al., NSDI 2016): a table of places, each a backend's, so that every
 * backend has places by its weight, and few places change hands when a backend comes or goes.
 */

/** What a backend is to the table. */
export interface Candidate {
  /** Tells the backend from others, in this process and in every other: "192.0.2.7:443". */
  readonly name: string;
  readonly weight: number;
}

/** No backend has the place. */
export const NOBODY = 0xffff;

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const HASH_FACTOR = 0x9e3779b1;

/**
 * The backend, as an index of `candidates`, of each of `size` places; `size` is a prime. Each
 * backend takes places in an order of its own, in turn with the others, and as often as its weight
 * says; a weight of 0 takes none.
 */
export function maglevTable(candidates: readonly Candidate[], size: number): Uint16Array {
  const table = new Uint16Array(size).fill(NOBODY);
  const heaviest = Math.max(0, ...candidates.map(({ weight }) => weight));
  if (heaviest === 0) return table;
  const orders = candidates.map(({ name, weight }, index) => ({
    index,
    share: weight / heaviest,
    place: hashText(name, 1) % size,
    skip: hashText(name, 2) % (size - 1) + 1,
    credit: 0,
  }));
  for (let taken = 0; taken < size;) {
    for (const order of orders) {
      order.credit += order.share;
      if (order.credit < 1) continue;
      order.credit -= 1;
      while (table[order.place] !== NOBODY) order.place = (order.place + order.skip) % size;
      table[order.place] = order.index;
      if (++taken === size) break;
    }
  }
  return table;
}

/**
 * The hash by which a client finds its place: of its address (16 bytes) and, when it counts, its
 * port. relay_hash of bpf/relay/backend.h has to choose as this does (tests/bpf/relay).
 */
export function clientHash(ip: Uint8Array, port?: number): number {
  let hash = 0;
  for (let at = 0; at < 16; at += 4) {
    hash = mixed(hash, ip[at]! | ip[at + 1]! << 8 | ip[at + 2]! << 16 | ip[at + 3]! << 24);
  }
  // As it lies in memory: network byte order, read by a little-endian machine.
  if (port !== undefined) hash = mixed(hash, port >> 8 | (port & 255) << 8);
  return mixed(hash, 0) >>> 0;
}

function mixed(hash: number, word: number): number {
  const next = Math.imul(hash ^ word, HASH_FACTOR);
  return next ^ next >>> 16;
}

/** FNV-1a with a seed and a last stir. */
function hashText(text: string, seed: number): number {
  let hash = FNV_OFFSET ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b);
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35);
  return (hash ^ hash >>> 16) >>> 0;
}

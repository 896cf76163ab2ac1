/**
 * SipHash-2-4 (Aumasson, Bernstein 2012) in 32-bit halves: a keyed hash, 64 bits of output.
 *
 * A key is 16 bytes, kept as four little-endian words (`sipKey`). The output is two words, low and
 * high; written little-endian, as the protocol does, the low one comes first.
 */

/** Words of a key. */
export const SIP_KEY_WORDS = 4;

/** The words of a key of 16 bytes, put into `words` from `wordsAt` on. */
export function sipKey(bytes: Uint8Array, at: number, words: Uint32Array, wordsAt = 0): void {
  for (let i = 0; i < SIP_KEY_WORDS; i++) words[wordsAt + i] = littleWord(bytes, at + 4 * i, 4);
}

/** Hashes bytes under the key at `keyAt`; `output[0]` is the low word, `output[1]` the high one. */
export function sipHash(
  key: Uint32Array,
  keyAt: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  output: Uint32Array,
): void {
  sipHashWith(key, keyAt, bytes, at, length, -1, output);
}

/** Like {@linkcode sipHash}, of the bytes and, behind them, one more (none when it is -1). */
export function sipHashWith(
  key: Uint32Array,
  keyAt: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  extra: number,
  output: Uint32Array,
): void {
  const k0 = key[keyAt]! | 0, k1 = key[keyAt + 1]! | 0;
  const k2 = key[keyAt + 2]! | 0, k3 = key[keyAt + 3]! | 0;
  // v0 to v3, each a low and a high half.
  let a = k0 ^ 0x70736575, A = k1 ^ 0x736f6d65;
  let b = k2 ^ 0x6e646f6d, B = k3 ^ 0x646f7261;
  let c = k0 ^ 0x6e657261, C = k1 ^ 0x6c796765;
  let d = k2 ^ 0x79746573, D = k3 ^ 0x74656462;
  const total = extra < 0 ? length : length + 1;
  const blocks = total >>> 3;
  for (let block = 0; block <= blocks + 1; block++) {
    const from = 8 * block;
    let m = 0, M = 0, rounds = 2;
    if (block <= blocks) {
      m = word(bytes, at, length, extra, from);
      M = word(bytes, at, length, extra, from + 4);
      // The last block is what is left over, and the length in its highest byte.
      if (block === blocks) M |= total << 24;
      d ^= m, D ^= M;
    } else {
      c ^= 0xff;
      rounds = 4;
    }
    for (let round = 0; round < rounds; round++) {
      let low = (a >>> 0) + (b >>> 0), t = 0;
      A = A + B + (low > 0xffff_ffff ? 1 : 0) | 0, a = low | 0;
      t = b << 13 | B >>> 19, B = B << 13 | b >>> 19, b = t ^ a, B ^= A;
      t = a, a = A, A = t;
      low = (c >>> 0) + (d >>> 0);
      C = C + D + (low > 0xffff_ffff ? 1 : 0) | 0, c = low | 0;
      t = d << 16 | D >>> 16, D = D << 16 | d >>> 16, d = t ^ c, D ^= C;
      low = (a >>> 0) + (d >>> 0);
      A = A + D + (low > 0xffff_ffff ? 1 : 0) | 0, a = low | 0;
      t = d << 21 | D >>> 11, D = D << 21 | d >>> 11, d = t ^ a, D ^= A;
      low = (c >>> 0) + (b >>> 0);
      C = C + B + (low > 0xffff_ffff ? 1 : 0) | 0, c = low | 0;
      t = b << 17 | B >>> 15, B = B << 17 | b >>> 15, b = t ^ c, B ^= C;
      t = c, c = C, C = t;
    }
    a ^= m, A ^= M;
  }
  output[0] = a ^ b ^ c ^ d;
  output[1] = A ^ B ^ C ^ D;
}

/** Four bytes of the message from `from` on, little-endian; zeros behind its end. */
function word(
  bytes: Uint8Array,
  at: number,
  length: number,
  extra: number,
  from: number,
): number {
  const left = length - from;
  const start = at + from;
  if (left >= 4) {
    return bytes[start]! | bytes[start + 1]! << 8 | bytes[start + 2]! << 16 |
      bytes[start + 3]! << 24;
  }
  if (left < 0) return 0;
  const rest = littleWord(bytes, start, left);
  return extra < 0 ? rest : rest | extra << 8 * left;
}

function littleWord(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value |= bytes[at + i]! << 8 * i;
  return value;
}

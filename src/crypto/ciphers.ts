/**
 * Which AEAD seals a session's DATA packets: what each end offers in the handshake, and what the
 * server makes of it. HELLO, ACCEPT, RESET and 0-RTT data are ChaCha20-Poly1305's always.
 *
 * AES-256-GCM is faster where both ends have AES instructions, unless both compute ChaCha20 with
 * AVX-512, where it hardly matters and ChaCha20 keeps its key for longer.
 */

/** A cipher by its bit in what is offered. On the wire: append only. */
export const Cipher = { chacha20: 1, aes256: 2 } as const;
export type Cipher = typeof Cipher[keyof typeof Cipher];

/** In what is offered: this end's ChaCha20 runs on AVX-512. */
const WIDE_CHACHA = 0x80;
/** What who says nothing offers, and is given. */
export const OFFERED_DEFAULT: number = Cipher.chacha20;
/** No cipher that both have. */
export const NO_CIPHER = 0;

/** What a machine has, as bits. */
export interface CipherMachine {
  readonly hasAes: boolean;
  readonly hasWideChacha: boolean;
}

/** What an end offers: all that its machine is good at, or the one that it is told to. */
export function offerOf(machine: CipherMachine, forced?: Cipher): number {
  const wide = machine.hasWideChacha ? WIDE_CHACHA : 0;
  if (forced !== undefined) return forced | wide;
  return Cipher.chacha20 | (machine.hasAes ? Cipher.aes256 : 0) | wide;
}

/** The server's choice; NO_CIPHER: there is none in common. */
export function chooseCipher(offered: number, ours: number): Cipher | typeof NO_CIPHER {
  const common = offered & ours;
  const isSlow = (common & WIDE_CHACHA) === 0;
  if ((common & Cipher.aes256) !== 0 && (isSlow || (common & Cipher.chacha20) === 0)) {
    return Cipher.aes256;
  }
  return (common & Cipher.chacha20) !== 0 ? Cipher.chacha20 : NO_CIPHER;
}

/** Whether an ACCEPT may choose this, of what was offered. */
export function isOffered(chosen: number, offered: number): chosen is Cipher {
  return (chosen === Cipher.chacha20 || chosen === Cipher.aes256) && (offered & chosen) !== 0;
}

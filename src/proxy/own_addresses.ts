// By which addresses this machine itself is reached. What listens there is its own business, and
// may count on a firewall that a client of the tunnel would be behind: they are no targets, unless
// a rule names the very address.

/** Addresses that begin with the same bits, as main tells them: hex digits of 16 bytes. */
export interface OwnBlock {
  readonly ip: string;
  /** Of 128. */
  readonly bits: number;
}

const FULL_BITS = 128;
const MAPPED = 0xffff;
const BYTE_BITS = 8;

interface Block {
  readonly ip: Uint8Array;
  readonly bits: number;
}

export class OwnAddresses {
  /** Whole addresses by their last word: most have one of their own. */
  #whole = new Map<number, Uint8Array[]>();
  #wide: readonly Block[] = [];
  readonly #inner = new Uint8Array(16);

  constructor() {
    this.#inner[10] = this.#inner[11] = MAPPED & 0xff;
  }

  /** All of them from now on. */
  set(blocks: readonly OwnBlock[]): void {
    const read = blocks.map(({ ip, bits }) => ({ ip: bytesOf(ip), bits }));
    const whole = new Map<number, Uint8Array[]>();
    for (const { ip, bits } of read) {
      if (bits < FULL_BITS) continue;
      const same = whole.get(lastWord(ip, 0));
      if (same === undefined) whole.set(lastWord(ip, 0), [ip]);
      else same.push(ip);
    }
    this.#whole = whole;
    this.#wide = read.filter(({ bits }) => bits < FULL_BITS);
  }

  /** Whether this is one of them. Allocates nothing. */
  has(ip: Uint8Array, at: number): boolean {
    const same = this.#whole.get(lastWord(ip, at));
    if (same !== undefined) {
      for (let i = 0; i < same.length; i++) if (begins(ip, at, same[i]!, FULL_BITS)) return true;
    }
    for (let i = 0; i < this.#wide.length; i++) {
      const { ip: first, bits } = this.#wide[i]!;
      if (begins(ip, at, first, bits)) return true;
    }
    return false;
  }

  /** The same for an IPv4 address as a number. */
  hasIpv4(ipv4: number): boolean {
    const inner = this.#inner;
    for (let i = 0; i < 4; i++) inner[12 + i] = ipv4 >>> (24 - BYTE_BITS * i);
    return this.has(inner, 0);
  }
}

/** As main tells an address. */
export function ownBlock(ip: Uint8Array, bits: number): OwnBlock {
  return { ip: Array.from(ip, (byte) => byte.toString(16).padStart(2, "0")).join(""), bits };
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

function lastWord(ip: Uint8Array, at: number): number {
  return (ip[at + 12]! << 24) | (ip[at + 13]! << 16) | (ip[at + 14]! << 8) | ip[at + 15]!;
}

function begins(ip: Uint8Array, at: number, first: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (ip[at + i] !== first[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((ip[at + whole]! ^ first[whole]!) >> (BYTE_BITS - rest)) === 0;
}

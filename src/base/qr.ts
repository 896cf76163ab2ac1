/**
 * QR codes (ISO/IEC 18004) of bytes, versions 1 to 20, error correction L and M, and their picture
 * for a terminal.
 */

export type QrLevel = "L" | "M";

export interface QrCode {
  readonly version: number;
  /** Modules a side, without the quiet zone. */
  readonly size: number;
  readonly mask: number;
  /** Rows of modules; 1: dark. */
  readonly modules: readonly Uint8Array[];
}

export interface QrOptions {
  /** @default {"L"} */
  readonly level?: QrLevel;
  /** 0 to 7. @default {the one that is read best} */
  readonly mask?: number;
}

const VERSION_MAX = 20;

interface LevelTable {
  /** How the format information calls it. */
  readonly bits: number;
  /** By version, from 1: check bytes of each block, and how many blocks. */
  readonly check: readonly number[];
  readonly blocks: readonly number[];
}

const LEVELS: Readonly<Record<QrLevel, LevelTable>> = {
  L: {
    bits: 1,
    check: [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28],
    blocks: [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8],
  },
  M: {
    bits: 0,
    check: [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26],
    blocks: [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16],
  },
};

const BYTE_MODE = 0b0100;
const PADDING = [0xec, 0x11];
const MASKS = 8;
/** Whether a mask turns a module over. */
const MASK_RULES: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => (x * y) % 2 + (x * y) % 3 === 0,
  (x, y) => ((x * y) % 2 + (x * y) % 3) % 2 === 0,
  (x, y) => ((x + y) % 2 + (x * y) % 3) % 2 === 0,
];

/** Makes the smallest code that holds the bytes; undefined when they are too many. */
export function encodeQr(bytes: Uint8Array, options: QrOptions = {}): QrCode | undefined {
  const { level = "L", mask } = options;
  if (mask !== undefined && (!Number.isInteger(mask) || mask < 0 || mask >= MASKS)) {
    throw new RangeError(`Cannot make a QR code as the mask must be 0 to 7: ${mask}`);
  }
  for (let version = 1; version <= VERSION_MAX; version++) {
    const room = dataBytes(version, level) - (version < 10 ? 2 : 3);
    if (bytes.length > room) continue;
    const canvas = new Canvas(version);
    canvas.drawPatterns();
    canvas.drawData(withCheckBytes(frame(bytes, version, level), version, level));
    return finish(canvas, level, mask);
  }
  return undefined;
}

/**
 * The code in half blocks, two modules a character, with a quiet zone. Light modules are drawn, as
 * most terminals are dark; with `color` both are, whatever the terminal's own colours.
 */
export function renderQr(code: QrCode, options: { color?: boolean; quiet?: number } = {}): string {
  const { color = false, quiet = 2 } = options;
  const isLight = (x: number, y: number): boolean => code.modules[y]?.[x] !== 1;
  const lines: string[] = [];
  for (let y = -quiet; y < code.size + quiet; y += 2) {
    let line = "";
    for (let x = -quiet; x < code.size + quiet; x++) {
      const top = isLight(x, y);
      // Below the last row there is nothing, not even quiet zone.
      const bottom = y + 1 < code.size + quiet && isLight(x, y + 1);
      line += top ? (bottom ? "█" : "▀") : bottom ? "▄" : " ";
    }
    lines.push(color ? `\x1b[97;40m${line}\x1b[0m` : line);
  }
  return lines.join("\n");
}

/** All bytes that a version has room for, data and check. */
function rawBytes(version: number): number {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const marks = Math.floor(version / 7) + 2;
    modules -= (25 * marks - 10) * marks - 55;
    if (version >= 7) modules -= 36;
  }
  return modules >> 3;
}

function dataBytes(version: number, level: QrLevel): number {
  const { check, blocks } = LEVELS[level];
  return rawBytes(version) - check[version - 1]! * blocks[version - 1]!;
}

/** Mode, length, bytes, and padding up to what the version holds. */
function frame(bytes: Uint8Array, version: number, level: QrLevel): Uint8Array {
  const out = new Uint8Array(dataBytes(version, level));
  let at = 0;
  const put = (value: number, count: number): void => {
    for (let i = count - 1; i >= 0; i--, at++) {
      out[at >> 3] = out[at >> 3]! | ((value >>> i) & 1) << (7 - (at & 7));
    }
  };
  put(BYTE_MODE, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  // Up to four zero bits end the data, and zeros fill its last byte.
  at = Math.min(at + 4, 8 * out.length);
  const end = (at + 7) >> 3;
  for (let i = end; i < out.length; i++) out[i] = PADDING[(i - end) & 1]!;
  return out;
}

/** Cuts the data into blocks, adds each one's check bytes, and interleaves them. */
function withCheckBytes(data: Uint8Array, version: number, level: QrLevel): Uint8Array {
  const check = LEVELS[level].check[version - 1]!;
  const count = LEVELS[level].blocks[version - 1]!;
  const shorter = Math.floor(data.length / count);
  const longerFrom = count - data.length % count;
  const divisor = generator(check);
  const blocks: Uint8Array[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const length = shorter + (i >= longerFrom ? 1 : 0);
    blocks.push(data.subarray(at, at += length));
  }
  const checks = blocks.map((block) => remainder(block, divisor));
  const out = new Uint8Array(rawBytes(version));
  let at = 0;
  for (let i = 0; i <= shorter; i++) {
    for (const block of blocks) if (i < block.length) out[at++] = block[i]!;
  }
  for (let i = 0; i < check; i++) {
    for (const one of checks) out[at++] = one[i]!;
  }
  return out;
}

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let i = 7; i >= 0; i--) {
    product = (product << 1) ^ ((product >>> 7) * 0x11d);
    product ^= ((b >>> i) & 1) * a;
  }
  return product;
}

/** Coefficients of (x - 1)(x - 2)(x - 4)…, without the leading one. */
function generator(degree: number): Uint8Array {
  const result = new Uint8Array(degree);
  result[degree - 1] = 1;
  let root = 1;
  for (let i = 0; i < degree; i++) {
    for (let j = 0; j < degree; j++) {
      result[j] = multiply(result[j]!, root) ^ (result[j + 1] ?? 0);
    }
    root = multiply(root, 2);
  }
  return result;
}

function remainder(data: Uint8Array, divisor: Uint8Array): Uint8Array {
  const result = new Uint8Array(divisor.length);
  for (const byte of data) {
    const factor = byte ^ result[0]!;
    result.copyWithin(0, 1);
    result[result.length - 1] = 0;
    for (let i = 0; i < result.length; i++) result[i]! ^= multiply(divisor[i]!, factor);
  }
  return result;
}

/** Modules under way; `fixed` are those that no data and no mask may touch. */
class Canvas {
  readonly version: number;
  readonly size: number;
  readonly modules: Uint8Array[];
  readonly #fixed: Uint8Array[];

  constructor(version: number) {
    this.version = version;
    this.size = 17 + 4 * version;
    this.modules = Array.from({ length: this.size }, () => new Uint8Array(this.size));
    this.#fixed = Array.from({ length: this.size }, () => new Uint8Array(this.size));
  }

  /** What every code of this version has; the places of format information are only taken. */
  drawPatterns(): void {
    for (let i = 0; i < this.size; i++) {
      this.#set(6, i, i % 2 === 0);
      this.#set(i, 6, i % 2 === 0);
    }
    const far = this.size - 4;
    for (const [x, y] of [[3, 3], [far, 3], [3, far]] as const) this.#square(x, y, 4, [2, 4]);
    const marks = alignmentMarks(this.version);
    const last = marks.length - 1;
    for (const [i, x] of marks.entries()) {
      for (const [j, y] of marks.entries()) {
        const isFinder = (i === 0 && (j === 0 || j === last)) || (i === last && j === 0);
        if (!isFinder) this.#square(x, y, 2, [1]);
      }
    }
    this.drawFormat(0, 0);
    this.#drawVersion();
  }

  /** Fifteen bits of level and mask, twice. */
  drawFormat(levelBits: number, mask: number): void {
    const data = levelBits << 3 | mask;
    const bits = (data << 10 | bch(data, 10, 0x537)) ^ 0x5412;
    const last = this.size - 1;
    for (let i = 0; i < 15; i++) {
      const isDark = ((bits >>> i) & 1) === 1;
      if (i < 6) this.#set(8, i, isDark);
      else if (i < 8) this.#set(8, i + 1, isDark);
      else this.#set(i === 8 ? 7 : 14 - i, 8, isDark);
      if (i < 8) this.#set(last - i, 8, isDark);
      else this.#set(8, last - 14 + i, isDark);
    }
    this.#set(8, last - 7, true);
  }

  /** In columns of two from the right, up and down in turn, left of the timing column shifted. */
  drawData(bytes: Uint8Array): void {
    let at = 0;
    for (let right = this.size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5;
      const isUpward = ((right + 1) & 2) === 0;
      for (let step = 0; step < this.size; step++) {
        const y = isUpward ? this.size - 1 - step : step;
        for (const x of [right, right - 1]) {
          if (this.#fixed[y]![x] === 1 || at >= 8 * bytes.length) continue;
          this.modules[y]![x] = (bytes[at >> 3]! >>> (7 - (at & 7))) & 1;
          at++;
        }
      }
    }
  }

  /** Turns modules over; a second time turns them back. */
  applyMask(mask: number): void {
    const rule = MASK_RULES[mask]!;
    for (let y = 0; y < this.size; y++) {
      for (let x = 0; x < this.size; x++) {
        if (this.#fixed[y]![x] === 0 && rule(x, y)) this.modules[y]![x]! ^= 1;
      }
    }
  }

  /** Eighteen bits of the version, twice. */
  #drawVersion(): void {
    if (this.version < 7) return;
    const bits = this.version << 12 | bch(this.version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const isDark = ((bits >>> i) & 1) === 1;
      const near = Math.floor(i / 3);
      const far = this.size - 11 + i % 3;
      this.#set(near, far, isDark);
      this.#set(far, near, isDark);
    }
  }

  /** A square around a middle; rings at these distances are light, the others dark. */
  #square(middleX: number, middleY: number, radius: number, light: readonly number[]): void {
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) {
        const distance = Math.max(Math.abs(dx), Math.abs(dy));
        this.#set(middleX + dx, middleY + dy, !light.includes(distance));
      }
    }
  }

  #set(x: number, y: number, isDark: boolean): void {
    if (x < 0 || y < 0 || x >= this.size || y >= this.size) return;
    this.modules[y]![x] = isDark ? 1 : 0;
    this.#fixed[y]![x] = 1;
  }
}

/** Check bits of a number by a polynomial of so many bits. */
function bch(data: number, bits: number, polynomial: number): number {
  let rest = data;
  for (let i = 0; i < bits; i++) rest = (rest << 1) ^ ((rest >>> (bits - 1)) * polynomial);
  return rest;
}

function alignmentMarks(version: number): number[] {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = 2 * Math.ceil((4 * version + 4) / (2 * count - 2));
  const size = 17 + 4 * version;
  const marks = Array.from({ length: count - 1 }, (_, i) => size - 7 - i * step);
  return [6, ...marks.reverse()];
}

/** Puts on the mask: the one given, or the one with the least penalty. */
function finish(canvas: Canvas, level: QrLevel, wanted: number | undefined): QrCode {
  let best = wanted ?? 0;
  let least = Infinity;
  for (let mask = 0; wanted === undefined && mask < MASKS; mask++) {
    canvas.applyMask(mask);
    canvas.drawFormat(LEVELS[level].bits, mask);
    const points = penalty(canvas.modules);
    if (points < least) [least, best] = [points, mask];
    canvas.applyMask(mask);
  }
  canvas.applyMask(best);
  canvas.drawFormat(LEVELS[level].bits, best);
  const { version, size, modules } = canvas;
  return { version, size, mask: best, modules };
}

/** How hard a code is to read: runs, blocks, what looks like a finder, imbalance. */
export function penalty(modules: readonly Uint8Array[]): number {
  const size = modules.length;
  let points = 0;
  let dark = 0;
  for (let i = 0; i < size; i++) {
    points += linePenalty(size, (j) => modules[i]![j]!);
    points += linePenalty(size, (j) => modules[j]![i]!);
    for (let j = 0; j < size; j++) dark += modules[i]![j]!;
  }
  for (let y = 0; y + 1 < size; y++) {
    for (let x = 0; x + 1 < size; x++) {
      const sum = modules[y]![x]! + modules[y]![x + 1]! + modules[y + 1]![x]! +
        modules[y + 1]![x + 1]!;
      if (sum === 0 || sum === 4) points += 3;
    }
  }
  const deviation = Math.abs(dark * 20 - size * size * 10) / (size * size);
  return points + 10 * Math.max(0, Math.ceil(deviation) - 1);
}

const FINDER_LIKE = [0b10111010000, 0b00001011101];

function linePenalty(size: number, at: (index: number) => number): number {
  let points = 0;
  let run = 0;
  let window = 0;
  for (let i = 0; i < size; i++) {
    run = i > 0 && at(i) === at(i - 1) ? run + 1 : 1;
    if (run === 5) points += 3;
    else if (run > 5) points++;
    window = (window << 1 | at(i)) & 0x7ff;
    if (i >= 10 && FINDER_LIKE.includes(window)) points += 40;
  }
  return points;
}

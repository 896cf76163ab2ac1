// Sizes, durations and rates as people write them: `64KiB`, `1m30s`, `100mbps`.
//
// Arithmetic is exact (integers in the smallest unit), so `1.1s` is 1100 ms and not a hair more.
// Bits and bytes differ only by the case of one letter: a rate is in bits and `MBps` is refused.

interface Unit {
  readonly name: string;
  /** How many of the smallest unit this one holds. */
  readonly scale: bigint;
}

const SIZES: readonly Unit[] = [
  { name: "TiB", scale: 1n << 40n },
  { name: "GiB", scale: 1n << 30n },
  { name: "MiB", scale: 1n << 20n },
  { name: "KiB", scale: 1n << 10n },
  { name: "TB", scale: 10n ** 12n },
  { name: "GB", scale: 10n ** 9n },
  { name: "MB", scale: 10n ** 6n },
  { name: "KB", scale: 10n ** 3n },
  { name: "B", scale: 1n },
];

const DURATIONS: readonly Unit[] = [
  { name: "d", scale: 86_400_000_000_000n },
  { name: "h", scale: 3_600_000_000_000n },
  { name: "m", scale: 60_000_000_000n },
  { name: "s", scale: 1_000_000_000n },
  { name: "ms", scale: 1_000_000n },
  { name: "us", scale: 1_000n },
  { name: "ns", scale: 1n },
];

const RATES: readonly Unit[] = [
  { name: "tbps", scale: 10n ** 12n },
  { name: "gbps", scale: 10n ** 9n },
  { name: "mbps", scale: 10n ** 6n },
  { name: "kbps", scale: 10n ** 3n },
  { name: "bps", scale: 1n },
];

export const NS_A_MS = 1_000_000;
/** Bytes of a kilobit: rates are in kbit/s on the wire and in bytes a second at work. */
export const BYTES_A_KBIT = 125;
const TEXT_LENGTH_MAX = 64;
const PART = /(\d{1,16})(?:\.(\d{1,12}))? ?([A-Za-zµ]+) ?/y;
const RATE_BYTES = /B[pP][sS] *$/;
const EXACT_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** Bytes in a size such as `64KiB`, `1.5MB` or `10B`; undefined when it is not one. */
export function parseSize(text: string): number | undefined {
  return exact(sum(text.toLowerCase(), SIZES, 1));
}

/** Milliseconds in a duration such as `250ms`, `30s` or `1m30s`; undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  const ns = sum(text.replace("µ", "u"), DURATIONS, DURATIONS.length);
  if (ns === undefined || ns / BigInt(NS_A_MS) > EXACT_MAX) return undefined;
  const whole = ns / BigInt(NS_A_MS);
  return Number(whole) + Number(ns % BigInt(NS_A_MS)) / NS_A_MS;
}

/** Bits per second in a rate such as `100mbps` or `1gbps`; undefined when it is not one. */
export function parseRate(text: string): number | undefined {
  if (RATE_BYTES.test(text)) return undefined;
  return exact(sum(text.toLowerCase(), RATES, 1));
}

/** The shortest exact text of a number of bytes: 65536 gives `64KiB`. */
export function formatSize(bytes: number): string {
  return formatWhole(bytes, SIZES, "B");
}

/** The shortest exact text of a number of milliseconds: 90000 gives `1m30s`. */
export function formatDuration(ms: number): string {
  assertNatural(ms, false);
  const whole = Math.floor(ms);
  // In two parts: nanoseconds of more than 104 days are beyond exact numbers.
  let rest = BigInt(whole) * BigInt(NS_A_MS) + BigInt(Math.round((ms - whole) * NS_A_MS));
  let text = "";
  for (const { name, scale } of DURATIONS) {
    if (rest >= scale) text += `${rest / scale}${name}`;
    rest %= scale;
  }
  return text === "" ? "0s" : text;
}

/** The shortest exact text of a number of bits per second: 1e9 gives `1gbps`. */
export function formatRate(bps: number): string {
  return formatWhole(bps, RATES, "bps");
}

function formatWhole(value: number, units: readonly Unit[], smallest: string): string {
  assertNatural(value, true);
  const exactValue = BigInt(value);
  const unit = units.find(({ scale }) => exactValue >= scale && exactValue % scale === 0n);
  return unit === undefined ? `${value}${smallest}` : `${exactValue / unit.scale}${unit.name}`;
}

function assertNatural(value: number, isWhole: boolean): void {
  if (Number.isFinite(value) && value >= 0 && (!isWhole || Number.isInteger(value))) return;
  const what = isWhole ? "whole number" : "number";
  throw new RangeError(`Cannot format what is no natural ${what}: current value is ${value}`);
}

function exact(value: bigint | undefined): number | undefined {
  return value === undefined || value > EXACT_MAX ? undefined : Number(value);
}

/**
 * Adds the parts of a text, biggest unit first and each unit once, in the smallest unit. Unit names
 * match in lower case only: a caller that accepts any case lowers the text.
 */
function sum(text: string, units: readonly Unit[], partsMax: number): bigint | undefined {
  const trimmed = text.trim();
  if (trimmed === "" || trimmed.length > TEXT_LENGTH_MAX) return undefined;
  let total = 0n;
  let parts = 0;
  let lastUnit = -1;
  PART.lastIndex = 0;
  while (PART.lastIndex < trimmed.length) {
    const match = PART.exec(trimmed);
    if (match === null) return undefined;
    const [, whole = "", fraction = "", unitName = ""] = match;
    const index = units.findIndex(({ name }) => name.toLowerCase() === unitName);
    const unit = units[index];
    parts += 1;
    if (unit === undefined || index <= lastUnit || parts > partsMax) return undefined;
    lastUnit = index;
    const scaled = BigInt(whole + fraction) * unit.scale;
    const divisor = 10n ** BigInt(fraction.length);
    if (scaled % divisor !== 0n) return undefined;
    total += scaled / divisor;
  }
  return total;
}

// What was probably meant by a value that is none: `10G` → `10GB`, `yes` → `true`. What comes out
// is a remedy, or nothing where nobody could know.

import { formatRate, parseDuration, parseRate, parseSize } from "../base/units.ts";

const SIZE_WORD =
  /^(?:(?<letter>[kmgt])(?<binary>i?)(?:b|bytes?|o)?|(?<long>kilo|mega|giga|tera)bytes?)$/;
const RATE_WORD = /^(?<letter>[kmgt]?)(?:bps|b|bits?|bit\/s|b\/s|bits?ps)?$/;
const BYTES_A_SECOND = /^(?<letter>[kKmMgGtT]?)(?<binary>i?)B(?:\/s|ps|PS|\/S)$/;
const DURATION_WORDS: readonly (readonly [RegExp, string])[] = [
  [/^(?:ms|msecs?|millis|milliseconds?)$/, "ms"],
  [/^(?:s|secs?|seconds?)$/, "s"],
  [/^(?:m|mins?|minutes?)$/, "m"],
  [/^(?:h|hrs?|hours?)$/, "h"],
  [/^(?:d|days?)$/, "d"],
];
const NUMBER_AND_WORD = /^(?<count>\d+(?:\.\d+)?)\s*(?<word>[A-Za-z/]+)$/;

function meant(text: string): string {
  return `Did you mean "${text}"?`;
}

/** `10G` → `10GB`. */
export function sizeAdvice(text: string): string | undefined {
  if (parseSize(text) !== undefined) return undefined;
  const { count = "", word = "" } = NUMBER_AND_WORD.exec(text.trim())?.groups ?? {};
  if (/^(?:bytes?|o)$/i.test(word)) return meant(`${count}B`);
  const { letter, binary = "", long } = SIZE_WORD.exec(word.toLowerCase())?.groups ?? {};
  const first = (letter ?? long?.[0])?.toUpperCase();
  const near = first === undefined ? "" : `${count}${first}${binary}B`;
  return parseSize(near) === undefined ? undefined : meant(near);
}

/** `5min` → `5m`, `2 weeks` → `14d`. */
export function durationAdvice(text: string): string | undefined {
  if (parseDuration(text) !== undefined) return undefined;
  const weeks = /^(\d{1,6})\s*w(?:ks?|eeks?)?$/i.exec(text.trim());
  if (weeks !== null) return meant(`${Number(weeks[1]) * 7}d`);
  const near = text.trim().replace(
    /(\d)\s*([A-Za-z]+)[\s,]*/g,
    (_, digit: string, word: string) => {
      const unit = DURATION_WORDS.find(([form]) => form.test(word.toLowerCase()))?.[1];
      return `${digit}${unit ?? word}`;
    },
  );
  return parseDuration(near) === undefined ? undefined : meant(near);
}

/** `100M` → `100mbps`, `10MB/s` → `80mbps`. */
export function rateAdvice(text: string): string | undefined {
  if (parseRate(text) !== undefined) return undefined;
  const { count = "", word = "" } = NUMBER_AND_WORD.exec(text.trim())?.groups ?? {};
  const bytes = BYTES_A_SECOND.exec(word)?.groups;
  if (bytes !== undefined) {
    const { letter = "", binary = "" } = bytes;
    const size = parseSize(`${count}${letter}${letter === "" ? "" : binary}B`);
    if (size === undefined || size > 1e15) return undefined;
    return `Rates count bits, not bytes: write "${formatRate(size * 8)}".`;
  }
  const letter = RATE_WORD.exec(word.toLowerCase())?.groups?.["letter"];
  const near = letter === undefined ? "" : `${count}${letter}bps`;
  return parseRate(near) === undefined ? undefined : meant(near);
}

/** `yes` → `true`. */
export function flagAdvice(text: string): string | undefined {
  const word = text.toLowerCase();
  if (/^(?:true|yes|y|on|1|enabled?)$/.test(word)) return "Write true, without quotes.";
  if (/^(?:false|no|n|off|0|disabled?)$/.test(word)) return "Write false, without quotes.";
  return undefined;
}

/** `1_000` → `1000`. */
export function integerAdvice(text: string): string | undefined {
  const match = /^(\d{1,3}(?:[_,' ]\d{3})+|\d+)(?:\.0+)?$/.exec(text);
  const digits = match?.[1]?.replace(/\D/g, "").replace(/^0+(?=\d)/, "");
  return digits === undefined || digits === text ? undefined : `Write ${digits}.`;
}

/** `31.1.2027` → `2027-01-31`. */
export function dateAdvice(text: string): string | undefined {
  if (/^(?:never|none|no|unlimited|infinity|0)$/i.test(text)) return 'Write "" for never.';
  const yearFirst = /^(\d{4})[-./]?(\d{1,2})[-./]?(\d{1,2})$/.exec(text);
  const dayFirst = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text);
  const [year, month, day] = yearFirst?.slice(1) ?? dayFirst?.slice(1).reverse() ?? [];
  if (year === undefined || month === undefined || day === undefined) return undefined;
  const near = `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  const at = new Date(`${near}T00:00Z`);
  const isDay = !Number.isNaN(at.getTime()) && at.toISOString().startsWith(near);
  return isDay ? meant(near) : undefined;
}

/** `Edge 1` → `edge-1`. */
export function nameAdvice(text: string): string | undefined {
  if (/[:/]/.test(text)) return undefined;
  const near = text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 32);
  return /[a-z]/.test(near) ? meant(near) : undefined;
}

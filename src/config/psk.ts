// The shared key: its spellings, what is refused, and where it comes from.
//
// Nothing here puts a key or a part of it into a message.

import { SECRET_BYTES } from "../base/secret.ts";
import type { Fault } from "./schema.ts";
import { PLACEHOLDER } from "./settings.ts";

const KEYGEN = "Run `phantom keygen` and put the key it prints here.";
const HEX = /^[0-9a-fA-F]*$/;
const HEX_KEY = /^[0-9a-fA-F]{64}$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const BASE64_URL = /^[A-Za-z0-9_-]+={0,2}$/;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const TEXT_LENGTH_MAX = 256;

/**
 * The 32 bytes of a key written as base64 (standard or URL alphabet, padded or not) or as 64 hex
 * digits. Undefined for anything else and for a weak key.
 */
export function parseKey(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = decodeKey(text.trim());
  if (bytes?.length === SECRET_BYTES && !isWeak(bytes)) return bytes;
  bytes?.fill(0);
  return undefined;
}

/** Why a text is no usable key; undefined when it is one. */
export function keyProblem(text: string): Fault | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return { rule: "is empty", remedy: KEYGEN };
  if (trimmed === PLACEHOLDER) {
    return { rule: "is still the placeholder of the example", remedy: KEYGEN };
  }
  if (HEX.test(trimmed) && trimmed.length > 44 && trimmed.length !== 64) {
    return { rule: `must be 64 hex digits: there are ${trimmed.length}`, remedy: KEYGEN };
  }
  const bytes = decodeKey(trimmed);
  try {
    if (bytes === undefined) {
      const rule = "must be 32 bytes as base64 or 64 hex digits: it is neither";
      return { rule, remedy: KEYGEN };
    }
    if (bytes.length !== SECRET_BYTES) {
      const rule = `must be exactly ${SECRET_BYTES} bytes: it has ${bytes.length}`;
      return { rule, remedy: KEYGEN };
    }
    return isWeak(bytes)
      ? { rule: "is a weak key: all its bytes are equal", remedy: KEYGEN }
      : undefined;
  } finally {
    bytes?.fill(0);
  }
}

/** No key anywhere. */
export const KEY_MISSING: Fault = {
  rule: "there is no key",
  remedy: "Run `phantom keygen` and write the key as psk, name a file that holds it in psk_file, " +
    "or set PHANTOM_PSK.",
};

function decodeKey(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > TEXT_LENGTH_MAX) return undefined;
  if (HEX_KEY.test(text)) return decodeHex(text);
  return BASE64.test(text) || BASE64_URL.test(text) ? decodeBase64(text) : undefined;
}

function decodeHex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  }
  return bytes;
}

/** Strict: right padding or none, and no stray bits at the end, which only a typing error makes. */
function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const digits = text.replace(/=+$/, "");
  if (digits.length % 4 === 1) return undefined;
  if (digits.length !== text.length && text.length % 4 !== 0) return undefined;
  const bytes = new Uint8Array(Math.floor(digits.length * 6 / 8));
  let bits = 0;
  let bitCount = 0;
  let length = 0;
  for (const digit of digits) {
    bits = ((bits << 6) | digitValue(digit)) & 0xfff;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[length++] = bits >> bitCount;
  }
  const stray = bits & ((1 << bitCount) - 1);
  return stray === 0 ? bytes : undefined;
}

function digitValue(digit: string): number {
  if (digit === "-") return 62;
  return digit === "_" ? 63 : ALPHABET.indexOf(digit);
}

function isWeak(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === bytes[0]);
}

/**
 * The parameters of HELLO and ACCEPT: `length u16`, and as many `id v, length v, value`. Unknown
 * ones are skipped, so that what comes later can be said to who does not know it yet.
 */

import type { Reader, Writer } from "../wire/cursor.ts";
import { varintBytes } from "../wire/cursor.ts";
import { OFFERED_DEFAULT } from "./ciphers.ts";

/** On the wire: append only. */
const Parameter = { ciphers: 1, frames: 2 } as const;

/** Frames beyond the table that this side understands: none yet. */
export const UNDERSTOOD = 0;

/** Bytes of what writeParameters() writes behind their length, where no frames are understood. */
export const PARAMETERS_BYTES_MIN = 6;

/** What was found in the parameters of a packet; used again for the next. */
export class Parameters {
  /** In HELLO the ciphers offered, in ACCEPT the one chosen. */
  ciphers: number = OFFERED_DEFAULT;
  /** Frames beyond the table that the sender understands, as bits. */
  frames = 0;
}

/** Bytes that writeParameters() writes behind their length. */
export function parametersBytes(frames: number): number {
  return PARAMETERS_BYTES_MIN - 1 + varintBytes(frames);
}

export function writeParameters(text: Writer, ciphers: number, frames: number): void {
  text.u16(parametersBytes(frames));
  text.varint(Parameter.ciphers);
  text.varint(1);
  text.u8(ciphers);
  text.varint(Parameter.frames);
  text.varint(varintBytes(frames));
  text.varint(frames);
}

// One thread, no re-entry: ids up to 31 that were seen, a bit each.
let seen = 0;

/** Reads them into `found`; false: they contradict themselves. */
export function readParameters(text: Reader, found: Parameters): boolean {
  found.ciphers = OFFERED_DEFAULT;
  found.frames = 0;
  seen = 0;
  const length = text.u16();
  const end = text.at + length;
  if (text.failed || end > text.end) return false;
  while (text.at < end) if (!readOne(text, end, found)) return false;
  return text.at === end;
}

function readOne(text: Reader, end: number, found: Parameters): boolean {
  const id = text.varint();
  const length = text.varint();
  const from = text.at;
  if (text.failed || from + length > end || !isFirst(id)) return false;
  if (id === Parameter.ciphers) {
    if (length !== 1) return false;
    found.ciphers = text.u8();
  } else if (id === Parameter.frames) {
    found.frames = text.varint();
    if (text.at !== from + length) return false;
  } else text.skip(length);
  return !text.failed;
}

/** Each of those that anybody could know may be there once. */
function isFirst(id: number): boolean {
  if (id > 31) return true;
  const bit = 1 << id;
  if ((seen & bit) !== 0) return false;
  seen |= bit;
  return true;
}

/**
 * What a clean stop leaves for the next start: the salts and handshakes of HELLOs, and the sessions
 * that ended. It is good for one start: a file that survived a crash would be an old one, and let
 * what came after it be replayed.
 *
 *     magic u32 | unix ms u64 | boot ms u64 | boot id 16 | blind for ms u32 | SipHash key 16
 *     slices u8 × (window u64, count u32, form u8, form 0: count × (place u32, mark u32)
 *                                              form 1: a mark u32 for each place)
 *     handshakes u32 × (hash u64, age in seconds u8) | ended u32 × 13 | SHA-256
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Bytes, equalBytes, type Primitives } from "../../crypto/primitives.ts";
import { windowOf } from "../../crypto/tskd.ts";
import { Reader, Writer } from "../../wire/cursor.ts";
import { HANDSHAKE_KEEP_MS, REPLAY_SLICES_MAX } from "../../wire/limits.ts";
import { SIP_KEY_WORDS } from "../../wire/siphash.ts";
import { ENDED_BYTES, ENDED_MAX, mergeEnded } from "./ended_sessions.ts";
import { RestingMemory, type SaltSlice, SLICE_PLACES } from "../../crypto/replay_memory.ts";
import type { StateFolder } from "./state_folder.ts";

const FILE_NAME = "replay";
const MAGIC = 0x5048_5232;
const BOOT_ID_BYTES = 16;
const HEAD_BYTES = 4 + 8 + 8 + BOOT_ID_BYTES + 4 + 4 * SIP_KEY_WORDS + 1;
const SLICE_HEAD_BYTES = 8 + 4 + 1;
const Form = { pairs: 0, all: 1 } as const;
const HANDSHAKE_BYTES = 9;
const CHECKSUM_BYTES = 32;

/** A moment, by the clock that windows follow and by the machine's. */
export interface Instant {
  readonly unixMs: number;
  readonly bootMs: number;
  /** 16 bytes: of which start of the machine `bootMs` counts. */
  readonly bootId: Uint8Array;
}

/** What a server has of the one before. */
export interface Inheritance {
  /** Windows below are not accepted. */
  readonly oldestWindow: number;
  /** EndedSessions' own form. */
  readonly ended: Uint8Array;
}

/** Reads the record and removes the file; undefined when there is none, or it can't be removed. */
export function takeReplayRecord(folder: StateFolder): Uint8Array | undefined {
  try {
    const record = folder.read(FILE_NAME);
    folder.remove(FILE_NAME);
    return record;
  } catch {
    return undefined;
  }
}

/** Keeps the record for the next start; what that can't have, it does without. */
export function keepReplayRecord(folder: StateFolder, record: Uint8Array, log: Log): void {
  try {
    folder.write(FILE_NAME, record);
  } catch (error) {
    log.warn(
      "replay_record_not_saved",
      "the replay record can't be saved: 0-RTT begins 90 s after the next start",
      { path: folder.pathOf(FILE_NAME), cause: messageOf(error) },
    );
  }
}

/** The record of a server whose workers have stopped; `ended`: each one's sessions. */
export function replayRecord(
  primitives: Primitives,
  memory: SharedArrayBuffer,
  { unixMs, bootMs, bootId }: Instant,
  ended: readonly Uint8Array[],
): Bytes {
  const resting = new RestingMemory(memory);
  const slices = resting.slices(windowOf(unixMs) - 1);
  const handshakes = resting.handshakes(bootMs);
  const sessions = mergeEnded(ended, 4 * ENDED_MAX);
  const length = HEAD_BYTES + slices.reduce((sum, slice) => sum + sliceBytes(slice), 0) +
    4 + handshakes.length * HANDSHAKE_BYTES + 4 + sessions.length + CHECKSUM_BYTES;
  const w = new Writer(new Uint8Array(length));
  w.u32(MAGIC);
  w.u64(Math.floor(unixMs));
  w.u64(Math.floor(bootMs));
  w.copy(bootId, 0, BOOT_ID_BYTES);
  w.u32(Math.ceil(resting.blindMs(bootMs)));
  for (const word of resting.key) w.u32(word);
  w.u8(slices.length);
  for (const slice of slices) writeSlice(w, slice);
  w.u32(handshakes.length);
  for (const { low, high, ageS } of handshakes) {
    w.u32(high);
    w.u32(low);
    w.u8(ageS);
  }
  w.u32(sessions.length / ENDED_BYTES);
  w.copy(sessions, 0, sessions.length);
  const record = w.bytes as Bytes;
  record.set(primitives.sha256(record.subarray(0, w.at)), w.at);
  return record;
}

/**
 * Puts a record into memory that nobody uses yet. Undefined where it is damaged or of another
 * version, or where the clock stands before the windows that it knows: then it is as if there were
 * none.
 */
export function inherit(
  primitives: Primitives,
  record: Uint8Array,
  memory: SharedArrayBuffer,
  now: Instant,
): Inheritance | undefined {
  const end = record.length - CHECKSUM_BYTES;
  if (end < HEAD_BYTES) return undefined;
  const checksum = primitives.sha256(record.subarray(0, end));
  if (!equalBytes(checksum, 0, record, end, CHECKSUM_BYTES)) return undefined;
  const r = new Reader(record, 0, end);
  if (r.u32() !== MAGIC) return undefined;
  const unixMs = r.u64();
  const oldestWindow = Math.max(0, windowOf(unixMs) - 1);
  if (windowOf(now.unixMs) < oldestWindow) return undefined;
  const olderMs = elapsedMs(r, unixMs, now);
  const olderS = Math.ceil(olderMs / 1000);
  const resting = new RestingMemory(memory);
  resting.blindFor(r.u32() - olderMs, now.bootMs);
  resting.key.set(Int32Array.from({ length: SIP_KEY_WORDS }, () => r.u32()));
  const slices = r.u8();
  for (let i = 0; i < Math.min(slices, REPLAY_SLICES_MAX); i++) readSlice(r, resting);
  readHandshakes(r, resting, olderS, now.bootMs);
  const sessions = r.u32() * ENDED_BYTES;
  const ended = r.bytes.subarray(r.at, r.at + sessions);
  return { oldestWindow, ended: mergeEnded([ended], 4 * ENDED_MAX, olderS) };
}

/** How long the server was away: by the machine's clock, or else by the wall's. */
function elapsedMs(r: Reader, unixMs: number, now: Instant): number {
  const bootMs = r.u64();
  const at = r.skip(BOOT_ID_BYTES);
  const isSameBoot = equalBytes(r.bytes, at, now.bootId, 0, BOOT_ID_BYTES) &&
    now.bootId.some((byte) => byte !== 0);
  return Math.max(0, isSameBoot ? now.bootMs - bootMs : now.unixMs - unixMs);
}

function sliceBytes({ count }: SaltSlice): number {
  return SLICE_HEAD_BYTES + 4 * Math.min(2 * count, SLICE_PLACES);
}

function writeSlice(w: Writer, { window, count, marks }: SaltSlice): void {
  const form = 2 * count < SLICE_PLACES ? Form.pairs : Form.all;
  w.u64(window);
  w.u32(count);
  w.u8(form);
  for (let place = 0; place < SLICE_PLACES; place++) {
    const mark = marks[place]!;
    if (form === Form.pairs && mark === 0) continue;
    if (form === Form.pairs) w.u32(place);
    w.u32(mark);
  }
}

function readSlice(r: Reader, memory: RestingMemory): void {
  const window = r.u64();
  const count = r.u32();
  const form = r.u8();
  const marks = memory.adoptSlice(window, count);
  const written = form === Form.pairs ? count : SLICE_PLACES;
  for (let i = 0; i < written; i++) {
    const place = form === Form.pairs ? r.u32() : i;
    marks[place] = r.u32();
  }
}

function readHandshakes(
  r: Reader,
  memory: RestingMemory,
  olderS: number,
  bootMs: number,
): void {
  const count = r.u32();
  for (let i = 0; i < count; i++) {
    const high = r.u32();
    const low = r.u32();
    const ageS = r.u8() + olderS;
    if (1000 * ageS <= HANDSHAKE_KEEP_MS) memory.adoptHandshake({ low, high, ageS }, bootMs);
  }
}

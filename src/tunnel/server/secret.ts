/**
 * What outlives the process so that its clients know it again: 32 bytes, by which they believe that
 * it is the server itself which says that a session is gone; and a number that is higher at each
 * start, so that nothing made of the bytes is made twice.
 *
 *     secret 32 | generation u32
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { GENERATIONS_A_START } from "../../crypto/session_ids.ts";
import { Reader, Writer } from "../../wire/cursor.ts";
import type { StateFolder } from "./state_folder.ts";

const FILE_NAME = "secret";
const SECRET_BYTES = 32;
const FILE_BYTES = SECRET_BYTES + 4;
const OTHERS = 0o077;

export interface ServerSecret {
  /** 32 bytes; whoever gets them wipes them. */
  readonly secret: Uint8Array<ArrayBuffer>;
  /** Of this start: a multiple of GENERATIONS_A_START, which may wrap. */
  readonly generation: number;
}

/**
 * The folder's secret, made when there is none. It is told only once the disk has the generation;
 * where that can't be, a fresh one is, and a warning: an old pair must not come twice.
 */
export function serverSecret(folder: StateFolder, log: Log): ServerSecret {
  try {
    const known = readSecret(folder, log) ?? freshSecret();
    const next = { ...known, generation: nextOf(known.generation) };
    writeSecret(folder, next);
    return next;
  } catch (error) {
    log.warn(
      "secret_not_saved",
      "the server's secret can't be saved: clients will notice a restart late",
      {
        path: folder.pathOf(FILE_NAME),
        cause: messageOf(error),
        remedy: "make room there, or state_dir a folder that this user may write to",
      },
    );
    return freshSecret();
  }
}

function freshSecret(): ServerSecret {
  return { secret: crypto.getRandomValues(new Uint8Array(SECRET_BYTES)), generation: 0 };
}

function nextOf(generation: number): number {
  return (generation + GENERATIONS_A_START) >>> 0;
}

/** Undefined when there is no such file. */
function readSecret(folder: StateFolder, log: Log): ServerSecret | undefined {
  const path = folder.pathOf(FILE_NAME);
  const bytes = folder.read(FILE_NAME);
  if (bytes === undefined) return undefined;
  // Earlier versions kept no generation.
  const isLong = bytes.length === FILE_BYTES;
  const secret = bytes.slice(0, SECRET_BYTES);
  const isRandom = secret.some((byte) => byte !== secret[0]);
  if (!isLong && bytes.length !== SECRET_BYTES || !isRandom) {
    throw new Error(`Cannot use ${path} as it is not ${SECRET_BYTES} random bytes: remove it`);
  }
  const mode = Deno.statSync(path).mode ?? 0;
  if ((mode & OTHERS) !== 0) {
    log.warn("secret_readable", "other users could read the server's secret until now", {
      path,
      remedy: "where one of them may have: stop, remove the file, start",
    });
  }
  const generation = isLong ? new Reader(bytes, SECRET_BYTES, FILE_BYTES).u32() : 0;
  bytes.fill(0);
  return { secret, generation };
}

function writeSecret(folder: StateFolder, { secret, generation }: ServerSecret): void {
  const w = new Writer(new Uint8Array(FILE_BYTES));
  w.copy(secret, 0, SECRET_BYTES);
  w.u32(generation);
  folder.write(FILE_NAME, w.bytes);
  w.bytes.fill(0);
}

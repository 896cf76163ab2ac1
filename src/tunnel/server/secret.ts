/**
 * The 32 bytes that outlive the process, in `state_dir/secret`: by them clients of an earlier run
 * know that it is the server itself which says that a session is gone.
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";

const FILE_NAME = "secret";
const SECRET_BYTES = 32;
const OTHERS = 0o077;

/** The folder's secret, made when there is none; where that can't be, a fresh one and a warning. */
export function serverSecret(folder: string, log: Log): Uint8Array {
  const path = `${folder}/${FILE_NAME}`;
  try {
    return readSecret(path, log) ?? makeSecret(folder, path, log);
  } catch (error) {
    log.warn(
      "secret_not_saved",
      "the server's secret can't be saved: clients will notice a restart late",
      {
        path,
        cause: messageOf(error),
        remedy: "make state_dir a folder that this user may write to",
      },
    );
    return crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  }
}

/** Undefined when there is no such file. */
function readSecret(path: string, log: Log): Uint8Array | undefined {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (bytes.length !== SECRET_BYTES || bytes.every((byte) => byte === bytes[0])) {
    throw new Error(`Cannot use ${path} as it is not ${SECRET_BYTES} random bytes: remove it`);
  }
  const mode = Deno.statSync(path).mode ?? 0;
  if ((mode & OTHERS) !== 0) {
    log.warn("secret_readable", "other users can read the server's secret", {
      path,
      remedy: `chmod 600 ${path}`,
    });
  }
  return bytes;
}

/** Written whole under another name first: who else starts now sees all of it or nothing. */
function makeSecret(folder: string, path: string, log: Log): Uint8Array {
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const draft = `${path}.${crypto.randomUUID()}`;
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  try {
    Deno.writeFileSync(draft, bytes, { createNew: true, mode: 0o600 });
    Deno.linkSync(draft, path);
    return bytes;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    const theirs = readSecret(path, log);
    if (theirs === undefined) throw error;
    return theirs;
  } finally {
    removeIfPresent(draft);
  }
}

function removeIfPresent(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

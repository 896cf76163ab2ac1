/**
 * The record of HELLOs that a clean stop leaves in `state_dir/replay`. It is good for one start:
 * a file that survived a crash would be an old one, and let what came after it be replayed.
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";

const FILE_NAME = "replay";

/** Reads the record and removes the file; undefined when there is none, or it can't be removed. */
export function takeReplayRecord(folder: string): Uint8Array | undefined {
  const path = `${folder}/${FILE_NAME}`;
  try {
    const record = Deno.readFileSync(path);
    Deno.removeSync(path);
    return record;
  } catch {
    return undefined;
  }
}

/** Keeps the record for the next start; what that can't have, it does without. */
export function keepReplayRecord(folder: string, record: Uint8Array, log: Log): void {
  const path = `${folder}/${FILE_NAME}`;
  const draft = `${path}.${crypto.randomUUID()}`;
  try {
    Deno.writeFileSync(draft, record, { createNew: true, mode: 0o600 });
    Deno.renameSync(draft, path);
  } catch (error) {
    const cause = messageOf(error);
    log.debug(
      "replay_record_not_saved",
      "the replay record can't be saved: 0-RTT begins 90 s after the next start",
      { path, cause },
    );
  }
}

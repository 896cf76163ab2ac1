/**
 * The record of HELLOs that a clean stop leaves in the state folder. It is good for one start: a
 * file that survived a crash would be an old one, and let what came after it be replayed.
 */

import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { StateFolder } from "./state_folder.ts";

const FILE_NAME = "replay";

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

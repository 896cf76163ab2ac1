import assert from "node:assert/strict";
import { Log } from "../../base/log.ts";
import { keepReplayRecord, takeReplayRecord } from "./replay_record.ts";

const log = Log.to({ level: "error", format: "text", write: () => {}, now: () => 0 });

Deno.test("a replay record is kept for one start, and for its owner alone", () => {
  const folder = Deno.makeTempDirSync();
  try {
    assert.equal(takeReplayRecord(folder), undefined);
    keepReplayRecord(folder, Uint8Array.of(1, 2, 3), log);
    assert.equal(Deno.statSync(`${folder}/replay`).mode! & 0o777, 0o600);
    assert.deepEqual(takeReplayRecord(folder), Uint8Array.of(1, 2, 3));
    assert.equal(takeReplayRecord(folder), undefined);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("a folder that is not there costs the record and nothing else", () => {
  keepReplayRecord("/nonexistent", Uint8Array.of(1), log);
  assert.equal(takeReplayRecord("/nonexistent"), undefined);
});

import assert from "node:assert/strict";
import { stateFolder } from "../../../tests/fixtures/state.ts";
import { Log } from "../../base/log.ts";
import { keepReplayRecord, takeReplayRecord } from "./replay_record.ts";

const lines: string[] = [];
const write = (line: string) => void lines.push(line);
const log = Log.to({ level: "warn", format: "text", write, now: () => 0 });

Deno.test("a replay record is kept for one start, and for its owner alone", () => {
  using state = stateFolder();
  assert.equal(takeReplayRecord(state.folder), undefined);
  keepReplayRecord(state.folder, Uint8Array.of(1, 2, 3), log);
  assert.equal(Deno.statSync(state.folder.pathOf("replay")).mode! & 0o777, 0o600);
  assert.deepEqual(takeReplayRecord(state.folder), Uint8Array.of(1, 2, 3));
  assert.equal(takeReplayRecord(state.folder), undefined);
  assert.deepEqual(state.names, []);
  assert.deepEqual(lines, []);
});

Deno.test("a folder that is not there costs the record, and a line", () => {
  using state = stateFolder({ isPossible: false });
  keepReplayRecord(state.folder, Uint8Array.of(1), log);
  assert.equal(takeReplayRecord(state.folder), undefined);
  assert.match(lines.pop()!, /0-RTT begins 90 s after the next start/);
});

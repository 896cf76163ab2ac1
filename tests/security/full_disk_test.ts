/** A full disk: what can't be written leaves nothing behind, and what was there stays. */

import assert from "node:assert/strict";
import { Log } from "../../src/base/log.ts";
import { UserAccount } from "../../src/proxy/users.ts";
import { ServerUsers } from "../../src/tunnel/server/account_book.ts";
import { keepReplayRecord } from "../../src/tunnel/server/replay_record.ts";
import { serverSecret } from "../../src/tunnel/server/secret.ts";
import { StateFolder } from "../../src/tunnel/server/state_folder.ts";
import { Secret } from "../../src/base/secret.ts";
import { libraries } from "../fixtures/libraries.ts";
import { run } from "../fixtures/netns.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
const ROOM = 64 << 10;
const lines: string[] = [];
const write = (line: string) => void lines.push(line);
const log = Log.to({ level: "warn", format: "text", write, now: () => 0 });

/** A disk of 64 KiB. */
function withDisk(act: (path: string) => void): void {
  const path = Deno.makeTempDirSync();
  run("mount", "-t", "tmpfs", "-o", `size=${ROOM},nr_inodes=64`, "phantom-test", path);
  try {
    act(path);
  } finally {
    run("umount", path);
    Deno.removeSync(path);
  }
}

function fill(path: string): void {
  const file = Deno.openSync(path, { write: true, create: true });
  try {
    for (;;) file.writeSync(new Uint8Array(4096));
  } catch {
    // That was all.
  } finally {
    file.close();
  }
}

function users(state: StateFolder): ServerUsers {
  const users = new ServerUsers(state, 1, log);
  users.specs([{
    ...{ name: "a", key: new Secret(new Uint8Array(32)), keyFile: "", upBps: 0, downBps: 0 },
    ...{ sessionsMax: 0, connectionsMax: 0, trafficMaxBytes: 0, expiresAtMs: 0, enabled: true },
  }]);
  return users;
}

Deno.test({
  name: "a full disk leaves no drafts, however often it is tried, and spoils no file",
  ignore,
  fn() {
    withDisk((path) => {
      const state = StateFolder.open(libs, path, "one");
      const book = users(state);
      const account = new UserAccount(book.accounts, 0);
      const use = (bytes: number): void => {
        account.up += bytes;
        account.publish(0);
        book.save();
      };
      use(5);
      const { secret, generation } = serverSecret(state, log);
      assert.deepEqual(lines, []);
      const names = () => [...Deno.readDirSync(state.path)].map(({ name }) => name).sort();
      const before = ["secret", "traffic"].map((name) => state.read(name));
      fill(`${path}/filling`);
      for (let i = 0; i < 5; i++) {
        use(1);
        keepReplayRecord(state, new Uint8Array(8192), log);
        assert.notDeepEqual(serverSecret(state, log).secret, secret);
        assert.deepEqual(names(), ["secret", "traffic"]);
      }
      assert.equal(lines.length, 15);
      assert.deepEqual(["secret", "traffic"].map((name) => state.read(name)), before);
      Deno.removeSync(`${path}/filling`);
      assert.deepEqual(serverSecret(state, log), { secret, generation: generation + 8 });
      use(1);
      assert.match(new TextDecoder().decode(state.read("traffic")), /"a":\[11,0\]/);
      state.close();
    });
  },
});

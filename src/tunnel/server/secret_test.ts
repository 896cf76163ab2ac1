import assert from "node:assert/strict";
import { Log } from "../../base/log.ts";
import { serverSecret } from "./secret.ts";

function withFolder(act: (folder: string, log: Log, lines: string[]) => void): void {
  const folder = Deno.makeTempDirSync();
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  try {
    act(folder, Log.to({ level: "debug", format: "text", write, now: () => 0 }), lines);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("serverSecret() makes a secret once, for its owner alone", () => {
  withFolder((folder, log, lines) => {
    const state = `${folder}/a/b`;
    const first = serverSecret(state, log);
    assert.equal(first.length, 32);
    assert.deepEqual(serverSecret(state, log), first);
    assert.equal(Deno.statSync(`${state}/secret`).mode! & 0o777, 0o600);
    assert.deepEqual([...Deno.readDirSync(state)].map(({ name }) => name), ["secret"]);
    assert.deepEqual(lines, []);
    assert.notDeepEqual(serverSecret(`${folder}/c`, log), first);
  });
});

Deno.test("serverSecret() gives a fresh one where none can be kept, and says so", () => {
  withFolder((folder, log, lines) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    const first = serverSecret(`${folder}/file`, log);
    const second = serverSecret(`${folder}/file`, log);
    assert.equal(first.length, 32);
    assert.notDeepEqual(first, second);
    assert.equal(lines.length, 2);
    assert.match(lines[0]!, /WARN .* path=\S+\/file\/secret cause=.* remedy="make state_dir/);
  });
});

Deno.test("serverSecret() takes no damaged file, and warns of an open one", () => {
  withFolder((folder, log, lines) => {
    const path = `${folder}/secret`;
    for (const bytes of [new Uint8Array(0), new Uint8Array(31).fill(3, 1), new Uint8Array(32)]) {
      Deno.writeFileSync(path, bytes);
      assert.notDeepEqual(serverSecret(folder, log), bytes);
      assert.match(lines.pop()!, /is not 32 random bytes: remove it/);
      assert.deepEqual(Deno.readFileSync(path), bytes);
    }
    const own = Uint8Array.from({ length: 32 }, (_, i) => i);
    Deno.writeFileSync(path, own);
    Deno.chmodSync(path, 0o644);
    assert.deepEqual(serverSecret(folder, log), own);
    assert.match(
      lines.pop()!,
      /other users can read the server.s secret path=\S+ remedy="chmod 600 /,
    );
  });
});

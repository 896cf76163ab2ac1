import assert from "node:assert/strict";
import { stateFolder } from "../../../tests/fixtures/state.ts";
import { Log } from "../../base/log.ts";
import { serverSecret } from "./secret.ts";

const lines: string[] = [];
const write = (line: string) => void lines.push(line);
const log = Log.to({ level: "debug", format: "text", write, now: () => 0 });
const own = Uint8Array.from({ length: 32 }, (_, i) => i);

Deno.test("serverSecret() makes a secret once, for its owner alone", () => {
  using state = stateFolder();
  const first = serverSecret(state.folder, log);
  assert.equal(first.secret.length, 32);
  assert.deepEqual(serverSecret(state.again(), log).secret, first.secret);
  assert.equal(Deno.statSync(state.folder.pathOf("secret")).mode! & 0o777, 0o600);
  assert.deepEqual(state.names, ["secret"]);
  assert.deepEqual(lines, []);
  using another = stateFolder();
  assert.notDeepEqual(serverSecret(another.folder, log).secret, first.secret);
});

Deno.test("the generation grows by 8 a start, is on disk before it is told, and wraps", () => {
  using state = stateFolder();
  for (const expected of [8, 16, 24]) {
    const { generation } = serverSecret(state.again(), log);
    assert.equal(generation, expected);
    const file = Deno.readFileSync(state.folder.pathOf("secret"));
    assert.equal(new DataView(file.buffer).getUint32(32), expected);
  }
  Deno.writeFileSync(state.folder.pathOf("secret"), Uint8Array.of(...own, 255, 255, 255, 248));
  assert.equal(serverSecret(state.folder, log).generation, 0);
});

Deno.test("a secret of an earlier version is taken over", () => {
  using state = stateFolder();
  Deno.writeFileSync(state.folder.pathOf("secret"), own, { mode: 0o600 });
  const { secret, generation } = serverSecret(state.folder, log);
  assert.deepEqual(secret, own);
  assert.equal(generation, 8);
  assert.equal(serverSecret(state.folder, log).generation, 16);
  assert.deepEqual(lines, []);
});

Deno.test("serverSecret() gives a fresh one where none can be kept, and says so", () => {
  using state = stateFolder({ isPossible: false });
  const first = serverSecret(state.folder, log);
  const second = serverSecret(state.folder, log);
  assert.equal(first.secret.length, 32);
  assert.notDeepEqual(first.secret, second.secret);
  assert.match(
    lines.pop()!,
    /WARN .* path=\S+\/secret cause=.* remedy="make room there, or state_dir/,
  );
  assert.equal(lines.splice(0).length, 1);
});

Deno.test("a generation that can't be written is not used: the next start has the secret", () => {
  using state = stateFolder();
  const { secret } = serverSecret(state.folder, log);
  // In the draft's way.
  Deno.mkdirSync(`${state.folder.pathOf("secret")}.draft/x`, { recursive: true });
  assert.notDeepEqual(serverSecret(state.folder, log).secret, secret);
  assert.match(lines.splice(0).join(), /clients will notice a restart late/);
  Deno.removeSync(`${state.folder.pathOf("secret")}.draft`, { recursive: true });
  assert.deepEqual(serverSecret(state.folder, log), { secret, generation: 16 });
});

Deno.test("serverSecret() takes no damaged file, and warns of an open one", () => {
  using state = stateFolder();
  const path = state.folder.pathOf("secret");
  const sizes = [0, 31, 33, 37].map((size) => new Uint8Array(size).fill(3, 1));
  for (const bytes of [...sizes, new Uint8Array(32), new Uint8Array(36).fill(1, 32)]) {
    Deno.writeFileSync(path, bytes);
    assert.notDeepEqual(serverSecret(state.folder, log).secret, bytes.subarray(0, 32));
    assert.match(lines.pop()!, /is not 32 random bytes: remove it/);
    assert.deepEqual(Deno.readFileSync(path), bytes);
  }
  Deno.writeFileSync(path, own);
  Deno.chmodSync(path, 0o644);
  assert.deepEqual(serverSecret(state.folder, log).secret, own);
  assert.match(lines.pop()!, /other users could read the server.s secret until now path=\S+ /);
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
});

import assert from "node:assert/strict";
import { stateFolder } from "../../../tests/fixtures/state.ts";
import { Log } from "../../base/log.ts";
import { Secret } from "../../base/secret.ts";
import type { UserConfig } from "../../config/mod.ts";
import { UserAccount } from "../../proxy/users.ts";
import { ServerUsers } from "./account_book.ts";

function user(name: string, more: Partial<UserConfig> = {}): UserConfig {
  return {
    name,
    key: new Secret(new Uint8Array(32).fill(name.charCodeAt(0))),
    keyFile: "",
    upBps: 8000,
    downBps: 0,
    sessionsMax: 2,
    connectionsMax: 3,
    trafficMaxBytes: 1000,
    expiresAtMs: 5,
    enabled: true,
    ...more,
  };
}

const lines: string[] = [];
const write = (line: string): void => void lines.push(line);
const log = Log.to({ level: "debug", format: "text", write, now: () => 0 });

Deno.test("users get slots, keep them, and what they used outlives the process", () => {
  using state = stateFolder();
  const users = new ServerUsers(state.folder, 2, log);
  const [a, b, off] = users.specs([user("a"), user("b"), user("off", { enabled: false })]);
  assert.deepEqual([a!.slot, b!.slot, off!.slot], [0, 1, 2]);
  assert.deepEqual([a!.isEnabled, off!.isEnabled], [true, false]);
  const { key: _, ...limits } = a!;
  const expected = {
    upRate: 1000,
    downRate: 0,
    sessionsMax: 2,
    connectionsMax: 3,
    trafficMax: 1000,
  };
  assert.deepEqual(limits, { name: "a", isEnabled: true, slot: 0, expiresAtMs: 5, ...expected });
  const account = new UserAccount(users.accounts, 1);
  account.up = 70;
  account.publish(0);
  // Gone, and there again, beside another one.
  assert.deepEqual(users.specs([user("a"), user("c")]).map(({ slot }) => slot), [0, 3]);
  assert.deepEqual(users.texts([user("b")]).map(({ slot, key }) => [slot, key]), [
    [1, "62".repeat(32)],
  ]);
  assert.equal(users.usage("b")?.upBytes, 70);
  assert.equal(users.usage("a"), undefined);
  users.save();
  const next = new ServerUsers(state.folder, 2, log);
  next.save();
  next.specs([user("x"), user("b")]);
  assert.deepEqual(next.usage("b"), { upBytes: 70, downBytes: 0, connections: 0, sessions: 0 });
  next.save();
  assert.equal(Deno.statSync(state.folder.pathOf("traffic")).mode! & 0o777, 0o600);
  assert.equal(state.names.length, 1);
  assert.deepEqual(lines, []);
  // Spoilt: told, and everybody begins anew.
  Deno.writeTextFileSync(state.folder.pathOf("traffic"), '{"b": 7}');
  new ServerUsers(state.folder, 2, log);
  assert.match(lines.join(), /it holds no byte counts/);
});

Deno.test("a slot goes to another user when all are taken, and its count is remembered", () => {
  using state = stateFolder();
  const users = new ServerUsers(state.folder, 1, log);
  users.specs([user("first")]);
  const account = new UserAccount(users.accounts, 0);
  account.down = 9;
  account.publish(0);
  for (let i = 0; i < 1025; i++) users.specs([user(`u${i}`)]);
  assert.deepEqual(users.usage("u1024"), { upBytes: 0, downBytes: 0, connections: 0, sessions: 0 });
  users.specs([user("first")]);
  assert.equal(users.usage("first")?.downBytes, 9);
});

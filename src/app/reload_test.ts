import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import { type Config, loadConfig } from "../config/mod.ts";
import { Reload } from "./reload.ts";

const KEYS = ["0f1e2d3c4b5a6978".repeat(4), "8796a5b4c3d2e1f0".repeat(4)];

function configOf(lines: string, psk = KEYS[0]!): Config {
  return loadConfig(`psk: ${psk}\n${lines}\n`, {
    file: "t.yaml",
    env: () => undefined,
    readFile: () => "",
    fileMode: () => 0o600,
  }).config;
}

function setup(read: () => Config, taken: readonly string[] = []) {
  const lines: string[] = [];
  const applied: Config[] = [];
  const reload = new Reload({
    path: "t.yaml",
    read,
    running: configOf("workers: 1"),
    apply: (config) => (applied.push(config), Promise.resolve(taken)),
    log: new Log(({ level, event, fields }) =>
      lines.push(`${level} ${event} ${fields.settings ?? fields.cause ?? fields.rules}`)
    ),
  });
  return { reload, lines, applied };
}

Deno.test("a setting that no part takes waits for the next start", async () => {
  const text = "workers: 2\nidle: 100s\nrules: [{outbound: reject}]";
  const { reload, lines, applied } = setup(() => configOf(text, KEYS[1]), ["rules"]);
  await reload.again();
  assert.equal(applied.length, 1);
  assert.equal(lines[0], "info config_reloaded 1");
  const [, settings] = lines[1]!.split("config_needs_restart ");
  assert.deepEqual(settings!.split(",").toSorted(), ["idle", "psk", "workers"]);
  assert.equal(lines.length, 2);
});

Deno.test("what has been read is wiped when it has been taken", async () => {
  const { reload, applied } = setup(() => configOf("workers: 1"));
  await reload.again();
  assert.throws(() => applied[0]!.psk.expose());
});

Deno.test("a wrong file changes nothing, and the next one is taken", async () => {
  let isWrong = true;
  const { reload, lines, applied } = setup(() => {
    if (isWrong) throw new Error("line 3");
    return configOf("workers: 1");
  });
  await reload.again();
  assert.deepEqual([lines, applied], [["error config_rejected line 3"], []]);
  isWrong = false;
  await Promise.all([reload.again(), reload.again()]);
  assert.equal(applied.length, 2);
  assert.deepEqual(lines.slice(1), ["info config_reloaded 0", "info config_reloaded 0"]);
});

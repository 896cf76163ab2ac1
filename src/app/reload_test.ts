import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import { Secret } from "../base/secret.ts";
import { type Config, exampleFile, loadConfig } from "../config/mod.ts";
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

function setup(
  read: () => Config,
  taken: readonly string[] = [],
  path: string | null = "t.yaml",
) {
  const lines: string[] = [];
  const applied: Config[] = [];
  const reload = new Reload({
    path,
    read,
    running: configOf("workers: 1"),
    applyParts: (config) => (applied.push(config), Promise.resolve(taken)),
    apply: () => ["logLevel"],
    log: new Log(({ level, event, message, fields }) =>
      lines.push(`${level} ${event} ${fields.settings ?? fields.changed ?? message}`)
    ),
  });
  return { reload, lines, applied };
}

Deno.test("a setting that no part takes waits for the next start", async () => {
  const text = "workers: 2\nidle: 100s\nlog_level: debug\nrules: [{outbound: reject}]\n" +
    "ebpf: {xdp_mode: generic, map_size: 2048}";
  const { reload, lines, applied } = setup(() => configOf(text, KEYS[1]), ["rules"]);
  const { taken, changed, waiting } = await reload.again();
  assert.equal(applied.length, 1);
  assert.equal(taken, true);
  assert.deepEqual(changed.toSorted(), ["log_level", "rules"]);
  const expected = ["ebpf.map_size", "ebpf.xdp_mode", "idle", "psk", "workers"];
  assert.deepEqual(waiting.toSorted(), expected);
  const told = [`info config_reloaded ${changed.join(",")}`];
  assert.deepEqual(lines, [...told, `warn config_needs_restart ${waiting.join(",")}`]);
});

Deno.test("what changed is told once, what waits until it is as at the start", async () => {
  let text = "workers: 2\nrules: [{outbound: reject}]";
  const { reload } = setup(() => configOf(text), ["rules", "users"]);
  assert.deepEqual((await reload.again()).changed, ["rules"]);
  const again = await reload.again();
  assert.deepEqual([again.changed, again.waiting], [[], ["workers"]]);
  text = "workers: 1\nrules: [{outbound: reject}]";
  assert.deepEqual((await reload.again()).waiting, []);
});

Deno.test("another key of a user is a change, though no text shows it", async () => {
  let key = KEYS[0]!;
  const { reload } = setup(() => configOf(`users: [{name: a, key: ${key}}]`), ["users"]);
  assert.deepEqual((await reload.again()).changed, ["users"]);
  assert.deepEqual((await reload.again()).changed, []);
  key = KEYS[1]!;
  assert.deepEqual((await reload.again()).changed, ["users"]);
});

Deno.test("what has been read is wiped when the next is taken, or there is none", async () => {
  const { reload, applied } = setup(() => configOf(`users: [{name: a, key: ${KEYS[1]}}]`));
  await reload.again();
  await reload.again();
  const keyOf = (config: Config) => config.users[0]!.key;
  for (const { psk, key } of [{ psk: applied[0]!.psk, key: keyOf(applied[0]!) }]) {
    assert.throws(() => psk.expose());
    assert.throws(() => key.expose());
  }
  assert.equal(keyOf(applied[1]!).expose().length, 32);
  reload.wipe();
  assert.throws(() => keyOf(applied[1]!).expose());
});

Deno.test("a wrong file changes nothing, and each of its problems is a line", async () => {
  let text = "listen: nowhere\nworkers: 0";
  const { reload, lines, applied } = setup(() => configOf(text));
  const refused = await reload.again();
  assert.deepEqual([refused.taken, refused.isFileWrong, refused.changed], [false, true, []]);
  assert.equal(refused.problems.length, 2);
  assert.match(refused.problems[1]!, /^t\.yaml:3:\d+: workers: /);
  assert.equal(lines[0], "error config_rejected the configuration stays as it was");
  assert.deepEqual(lines.slice(1), refused.problems.map((one) => `error config_problem ${one}`));
  assert.deepEqual(applied, []);
  text = "workers: 1";
  await Promise.all([reload.again(), reload.again()]);
  assert.equal(applied.length, 2);
});

Deno.test("a file that can't be read is told with its cause, and none as well", async () => {
  const { reload } = setup(() => {
    throw new Error("Cannot read t.yaml", { cause: new Error("Permission denied") });
  });
  const { problems, isFileWrong } = await reload.again();
  assert.deepEqual([problems, isFileWrong], [["Cannot read t.yaml: Permission denied"], false]);
  const none = setup(() => configOf("workers: 2"), [], null);
  assert.match((await none.reload.again()).problems[0]!, /started without a file/);
  assert.deepEqual(none.applied, []);
});

/** The same with another value everywhere, but for keys. */
function othersOf(value: unknown, depth = 0): unknown {
  if (value instanceof Secret) return value;
  const isSection = typeof value === "object" && value !== null && !Array.isArray(value);
  if (depth > 1 || !isSection || "port" in value) return "other";
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, othersOf(inner, depth + 1)]),
  );
}

Deno.test("every setting is called as the file calls it", async () => {
  const { reload } = setup(() => othersOf(configOf("")) as Config);
  const { waiting } = await reload.again();
  assert.ok(waiting.length > 30, `${waiting.length}`);
  const names = exampleFile().matchAll(/^ *(\w+):/gm);
  const known = new Set([...names].map(([, name]) => name!));
  const unknown = waiting.filter((name) => !known.has(name.split(".").at(-1)!));
  assert.deepEqual(unknown, []);
});

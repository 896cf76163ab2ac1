// Whatever the text, loading a configuration ends soon, in a Config or a ConfigError, and no
// message shows the key.

import assert from "node:assert/strict";
import { cpuUsage } from "node:process";
import { Buffer } from "node:buffer";
import { CLIENT_SETTINGS } from "../../src/config/client_settings.ts";
import {
  type ClientConfig,
  clientExampleFile,
  type Config,
  ConfigError,
  defaultConfigText,
  loadClientConfig,
  loadConfig,
  PLACEHOLDER,
  UNTOLD,
  writtenClient,
  writtenConfig,
  type WrittenSection,
  yamlText,
} from "../../src/config/mod.ts";
import { PROBLEMS_MAX } from "../../src/config/problem.ts";
import { entriesOf, type Group } from "../../src/config/schema.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { fuzz, type Rng } from "./rng.ts";

const CASES = 1000;
/** Of CPU. */
const CASE_MS_MAX = 2000;
// Mutation may cut a key to pieces; a piece shorter than this is no use to anybody.
const LEAK_LENGTH = 25;
const NAMES = [...new Set([SETTINGS, CLIENT_SETTINGS].flatMap(namesOf))];
const SIGNS = [
  ..."[]{}:,-?&*!|>'\"%@`#\n\t\\~<. ",
  ..."\0\r\u2028\ufeff",
  ": ",
  "- ",
  "\n  ",
  "---\n",
  "...\n",
  "<<: ",
  "&a ",
  "*a",
  "!!str ",
  "? ",
  "%YAML 1.1\n",
];
const VALUES = [
  ...["true", "false", "null", "~", "0", "-1", "1e999", ".inf", "0x10", "30s", "1gbps", "64KiB"],
  ...['"eth0"', "auto", "udp", "[udp, tcp]", "{}", "[]", ":54321", "[::1]:1", "|\n  x\n", "99999"],
  ...["__proto__", "constructor", "&a x", "*a", "!!binary aGk=", "2001-01-01", '"\\x"', "'"],
];

/** Also those that lists hold. */
function namesOf(schema: Group): string[] {
  return entriesOf(schema).flatMap(({ name, field }) =>
    field.kind === "leaf" && field.item !== undefined ? [name, ...namesOf(field.item)] : [name]
  );
}

/** As the server's file and as a client's. */
function load(text: string, key: string, rng: Rng): void {
  loadAs(loadConfig, text, key, rng);
  loadAs(loadClientConfig, text, key, rng);
}

type Loader = typeof loadConfig | typeof loadClientConfig;

function loadAs(loader: Loader, text: string, key: string, rng: Rng): void {
  const sources = {
    file: "fuzz.yaml",
    env: () => rng.chance(0.05) ? key : undefined,
    readFile: () => rng.pick([key, "", key + key, "x".repeat(5000)]),
    fileMode: () => rng.pick([0o600, 0o644]),
    interfaces: () => ["lo", "eth0"],
    now: () => Date.UTC(2027, 0, 1),
  };
  const before = cpuUsage();
  try {
    const { config, warnings } = loader(text, sources);
    assert.equal(Object.isFrozen(config), true);
    assert.equal(config.psk.expose().length, 32);
    assertNoLeak(JSON.stringify([config.psk, warnings]), key);
    assertWritten(config, key);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    assert.ok(error.problems.length > 0 && error.problems.length <= PROBLEMS_MAX);
    for (const { line, column, rule, remedy } of error.problems) {
      assert.ok(line >= 0 && column >= 0 && line <= text.split("\n").length);
      assert.ok(rule !== "" && /[.?]$|^Run: /.test(remedy), remedy);
    }
    assertNoLeak(error.message, key);
  }
  const { user, system } = cpuUsage(before);
  const tookMs = (user + system) / 1000;
  assert.ok(tookMs < CASE_MS_MAX, `took ${tookMs} ms`);
  assert.equal(Reflect.get({}, "polluted"), undefined);
}

/** What is written of it is read and written alike; where it has secrets, they are left out. */
function assertWritten(config: Config | ClientConfig, key: string): void {
  const text = yamlText(written(config));
  assertNoLeak(text, key);
  if (text.includes(UNTOLD)) return;
  const sources = {
    file: "written.yaml",
    env: () => key,
    readFile: () => key,
    fileMode: () => 0o600,
  };
  const loader = "users" in config ? loadConfig : loadClientConfig;
  assert.equal(yamlText(written(loader(text, sources).config)), text);
}

function written(config: Config | ClientConfig): WrittenSection {
  const options = { isKeyOutside: true };
  return "users" in config ? writtenConfig(config, options) : writtenClient(config, options);
}

function assertNoLeak(message: string, key: string): void {
  for (let i = 0; i + LEAK_LENGTH <= key.length; i++) {
    assert.ok(!message.includes(key.slice(i, i + LEAK_LENGTH)), "a message shows the key");
  }
}

function randomKey(rng: Rng): string {
  return Buffer.from(rng.bytes(32)).toString(rng.pick(["base64", "base64url", "hex"] as const));
}

/** Something that looks like a configuration from afar. */
function randomYaml(rng: Rng, key: string, depth = 0): string {
  let text = "";
  const flow = depth > 0 && rng.chance(0.4);
  for (let i = rng.int(0, 8); i > 0; i--) {
    const name = rng.chance(0.8) ? rng.pick(NAMES) : rng.pick([...VALUES, "polluted", key]);
    const isDeep = depth < 6 && rng.chance(0.3);
    const value = rng.chance(0.1) ? key : rng.pick(VALUES);
    const indent = "  ".repeat(rng.chance(0.95) ? depth : rng.int(0, 3));
    if (flow) text += `${name}: ${value}, `;
    else if (isDeep) text += `${indent}${name}:\n${randomYaml(rng, key, depth + 1)}`;
    else text += `${indent}${rng.chance(0.1) ? "- " : ""}${name}: ${value}\n`;
  }
  return flow ? `${"  ".repeat(depth)}{${text}}\n` : text;
}

Deno.test("loadConfig() survives random bytes", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const bytes = rng.bytes(rng.int(0, 400));
    const text = rng.chance(0.5)
      ? new TextDecoder().decode(bytes)
      : Array.from(bytes, () => rng.pick(SIGNS)).join("");
    load(text, randomKey(rng), rng);
  });
});

Deno.test("loadConfig() survives random structures", () => {
  fuzz({ seed: 100_001, cases: CASES }, (rng) => {
    const key = randomKey(rng);
    load(randomYaml(rng, key), key, rng);
  });
});

Deno.test("loadConfig() survives damaged copies of the example", () => {
  fuzz({ seed: 200_001, cases: CASES }, (rng) => {
    const key = randomKey(rng);
    const client = clientExampleFile().replace(PLACEHOLDER, key);
    const text = rng.chance(0.5) ? defaultConfigText(key) : client;
    const pieces = [...SIGNS, ...VALUES, ...NAMES, key];
    load(rng.mutateText(text, pieces), key, rng);
  });
});

Deno.test("loadConfig() survives one sign repeated", () => {
  fuzz({ seed: 300_001, cases: 100 }, (rng) => {
    const unit = Array.from({ length: rng.int(1, 3) }, () => rng.pick([...SIGNS, "a"])).join("");
    load(unit.repeat(rng.int(1, 4000)), randomKey(rng), rng);
  });
});

Deno.test("loadConfig() survives a list of thousands where each is wrong", () => {
  fuzz({ seed: 400_001, cases: 6 }, (rng) => {
    const name = rng.pick(["users", "rules", "forwards", "inbound_users"]);
    load(`${name}: [${rng.pick(["{}", "x", "{name: a}"]).concat(", ").repeat(8000)}]`, "", rng);
  });
});

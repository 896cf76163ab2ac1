import assert from "node:assert/strict";
import { parseArgs } from "./args.ts";
import { parseConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { answersOf, command, configText } from "./init.ts";
import { main } from "./mod.ts";

const ROOT = new URL("../../", import.meta.url);

async function init(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { log, error } = console;
  let [out, err] = ["", ""];
  console.log = (text: string) => out += `${text}\n`;
  console.error = (text: string) => err += `${text}\n`;
  try {
    return { code: await main(["init", "--yes", ...args], ROOT), out, err };
  } finally {
    Object.assign(console, { log, error });
  }
}

async function inFolder(act: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "phantom-init-" });
  try {
    await act(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("init writes a file for its owner alone, and tells what is next", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/phantom.yaml`;
    const { code, out } = await init(path, "--listen", ":443", "--users", "alice, bob");
    assert.equal(code, Exit.ok);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    const text = Deno.readTextFileSync(path);
    const { config, warnings } = parseConfig(path, text);
    assert.deepEqual(warnings, []);
    assert.equal(config.listen.port, 443);
    assert.deepEqual(config.users.map(({ name }) => name), ["alice", "bob"]);
    assert.ok(!config.users[0]!.key.equals(config.users[1]!.key));
    // Commented: each key says what it is for.
    assert.match(text, /^# Where packets arrive/m);
    for (const step of [`check ${path}`, `run -c ${path}`, `link -c ${path} --user alice`]) {
      assert.ok(out.includes(`phantom ${step}\n`), step);
    }
    assert.ok(!out.includes(text.match(/^psk: "(.*)"$/m)![1]!));
  });
});

Deno.test("init overwrites nothing, and never makes the same key", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/phantom.yaml`;
    await init("-c", path);
    const text = Deno.readTextFileSync(path);
    const again = await init("-c", path, "--json");
    assert.equal(again.code, Exit.failed);
    assert.match(JSON.parse(again.out).error, /as there is such a file already/);
    assert.equal(Deno.readTextFileSync(path), text);
    await init("-c", `${path}.2`);
    assert.notEqual(Deno.readTextFileSync(`${path}.2`), text);
    assert.equal((await init("-c", `${folder}/none/phantom.yaml`)).code, Exit.failed);
  });
});

Deno.test("init prints JSON", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/phantom.yaml`;
    const { out } = await init(file, "--json", "--users=a");
    const { next, ...rest } = JSON.parse(out);
    assert.deepEqual(rest, { file, listen: ":54321", users: ["a"] });
    assert.equal(next[0], `phantom check ${file}`);
  });
});

Deno.test("init refuses what the configuration would, and writes nothing then", async () => {
  await inFolder(async (folder) => {
    const wrong: [string, RegExp][] = [
      ["--listen=nowhere", /--listen: /],
      ["--users=a,a", /users\[1\]\.name/],
      ["--interface=a name that is too long", /ebpf\.interface/],
    ];
    for (const [flag, message] of wrong) {
      const { code, err } = await init("-c", `${folder}/p.yaml`, flag);
      assert.equal(code, Exit.usage, flag);
      assert.match(err, message);
    }
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("init asks for what no flag has said", () => {
  const given = parseArgs(command, ["x.yaml", "--listen", ":9"]);
  const asked: string[] = [];
  const answers = answersOf(given, (question, fallback) => {
    asked.push(question);
    return question.startsWith("Users") ? "carol" : fallback;
  });
  assert.deepEqual(answers, { path: "x.yaml", listen: ":9", interface: "auto", users: "carol" });
  assert.equal(asked.length, 2);
  assert.match(configText(answers), /^users:\n {2}- name: "carol"\n {4}key: ".{44}"$/m);
});

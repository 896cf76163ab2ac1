import assert from "node:assert/strict";
import { Exit } from "./exit.ts";
import { main } from "./mod.ts";

const ROOT = new URL("../../", import.meta.url);
const COMMANDS = [
  ...["run", "check", "doctor", "status", "unload", "keygen", "link", "config", "version"],
];

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process; what it printed. */
async function phantom(...args: string[]): Promise<Said> {
  const { log, error } = console;
  let [out, err] = ["", ""];
  console.log = (text: string) => out += `${text}\n`;
  console.error = (text: string) => err += `${text}\n`;
  try {
    return { code: await main(args, ROOT), out, err };
  } finally {
    Object.assign(console, { log, error });
  }
}

Deno.test("main() without arguments shows the commands and is a usage error", async () => {
  const { code, out } = await phantom();
  assert.equal(code, Exit.usage);
  for (const name of COMMANDS) assert.match(out, new RegExp(`^  ${name} +\\S`, "m"));
});

Deno.test("main() shows the commands when it is asked to", async () => {
  const shown = await phantom("help");
  assert.equal(shown.code, Exit.ok);
  assert.match(shown.out, /Usage: phantom COMMAND/);
  const same = [["--help"], ["-h"], ["help", "help"], ["help", "--help"], ["--help", "--help"]];
  for (const args of same) assert.deepEqual(await phantom(...args), shown);
});

Deno.test("main() shows the options of every command", async () => {
  for (const name of COMMANDS) {
    for (const args of [[name, "--help"], [name, "-h"], ["help", name]]) {
      const { code, out, err } = await phantom(...args);
      assert.equal(code, Exit.ok);
      assert.match(out, new RegExp(`^phantom ${name}: .*\n\n(.*\n)*  -h, --help`));
      assert.equal(err, "");
    }
  }
});

Deno.test("main() suggests the command that was probably meant", async () => {
  const { code, out, err } = await phantom("statsu");
  assert.equal(code, Exit.usage);
  assert.equal(out, "");
  assert.match(err, /no command "statsu"\. Did you mean `phantom status`\?\nTry `phantom help`/);
  for (const name of ["fly", "", "__proto__", "constructor", "toString", "\x1b[2J\nphantom: ok"]) {
    const other = await phantom(name);
    assert.equal(other.code, Exit.usage);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(other.err, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    assert.equal((await phantom("help", name)).code, Exit.usage);
  }
});

Deno.test("main() points to a command's help when its options are wrong", async () => {
  const { code, err } = await phantom("check", "--jsn");
  assert.equal(code, Exit.usage);
  assert.equal(
    err,
    "phantom: check has no option --jsn; did you mean --json?\nTry `phantom check --help`.\n",
  );
});

Deno.test("main() prints the version for every way to ask for it", async () => {
  const { code, out } = await phantom("version");
  assert.equal(code, Exit.ok);
  assert.match(out, /^phantom \d+\.\d+\.\d+ \(Deno [^\n]*\)\n$/);
  for (const flag of ["--version", "-V"]) assert.equal((await phantom(flag)).out, out);
  assert.match(JSON.parse((await phantom("--version", "--json")).out).version, /^\d+\.\d+\.\d+$/);
});

Deno.test("keygen never prints the same key, and never overwrites one", async () => {
  const keys = new Set<string>();
  for (let i = 0; i < 5; i++) keys.add((await phantom("keygen")).out.trim());
  assert.equal(keys.size, 5);
  for (const key of keys) assert.equal(Uint8Array.fromBase64(key).length, 32);

  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/key`;
    const { code, out } = await phantom("keygen", "--out", path);
    assert.deepEqual([code, out], [Exit.ok, ""]);
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
    const key = Deno.readTextFileSync(path);
    const again = await phantom("keygen", "-o", path);
    assert.equal(again.code, Exit.failed);
    assert.match(again.err, /Cannot write .*key as there is such a file already/);
    assert.equal(Deno.readTextFileSync(path), key);
    const nowhere = await phantom("keygen", "-o", `${folder}/none/key`);
    assert.equal(nowhere.code, Exit.failed);
    assert.match(nowhere.err, /Cannot write .*key\n {2}because: /);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("a configuration that can't be read is told with the way to make one", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/none.yaml`;
    for (const name of ["config", "link"]) {
      const { code, err } = await phantom(name, "-c", path);
      assert.equal(code, Exit.failed);
      assert.match(err, /no such file: `phantom run --init -c .*none\.yaml` makes one/);
    }
    const { code, err } = await phantom("config", "-c", folder);
    assert.equal(code, Exit.failed);
    assert.match(err, /^phantom: Cannot read .*\n {2}because: /);
    Deno.writeTextFileSync(path, "listen: [");
    assert.equal((await phantom("config", "-c", path)).code, Exit.config);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("config prints what can be read again, and never the key", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/phantom.yaml`;
    const key = (await phantom("keygen")).out.trim();
    Deno.writeTextFileSync(path, `psk: "${key}"\nlisten: "192.0.2.1:9"\n`, { mode: 0o600 });
    const { code, out } = await phantom("config", "-c", path);
    assert.equal(code, Exit.ok);
    const config = JSON.parse(out);
    assert.deepEqual(config.listen, { host: "192.0.2.1", port: 9 });
    assert.equal(config.psk, "[secret]");
    const link = await phantom("link", "-c", path, "--host", "proxy.example.org");
    assert.match(link.out, /^phantom:\/\/[\w-]{43}@proxy\.example\.org:9\?v=4\n$/);
    const example = await phantom("config", "--example");
    const committed = Deno.readTextFileSync(new URL("config.example.yaml", ROOT));
    assert.equal(example.out.trim(), committed.trim());
    assert.match((await phantom("config", "--reference")).out, /ebpf/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

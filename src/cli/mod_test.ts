import assert from "node:assert/strict";
import { Exit } from "./exit.ts";
import { main } from "./mod.ts";

const ROOT = new URL("../../", import.meta.url);
const COMMANDS = [
  ...[
    "init",
    "run",
    "client",
    "ping",
    "bench",
    "check",
    "doctor",
    "status",
    "reload",
    "unload",
    "keygen",
    "link",
    "config",
    "version",
  ],
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

Deno.test("main() never suggests what takes something away", async () => {
  for (const name of ["unlod", "upload", "unloads", "reloa", "unload-all"]) {
    assert.doesNotMatch((await phantom(name)).err, /unload`/, name);
  }
});

Deno.test("main() tells a failure as JSON where JSON was asked for", async () => {
  const cases: [string[], Exit, RegExp][] = [
    [["statsu", "--json"], Exit.usage, /^there is no command "statsu"\. Did you mean/],
    [["check", "--json", "--jsn"], Exit.usage, /^check has no option --jsn; did you mean --json/],
    [["ping", "--json", "-c", "/none.yaml"], Exit.failed, /^Cannot read \/none\.yaml/],
  ];
  for (const [args, exit, message] of cases) {
    const { code, out, err } = await phantom(...args);
    assert.equal(err, "");
    const said = JSON.parse(out);
    assert.deepEqual([code, said.code], [exit, exit]);
    assert.match(said.error, message);
  }
  await withConfig("listen: nowhere\n", async (path) => {
    const { code, out, err } = await phantom("ping", "--json", "-c", path);
    assert.deepEqual([code, err], [Exit.config, ""]);
    const said = JSON.parse(out);
    assert.equal(said.code, Exit.config);
    assert.ok(said.problems.some(({ path }: { path: string }) => path === "listen"));
  });
  // A command without JSON has none to give.
  assert.match((await phantom("run", "--json")).err, /^phantom: run has no option --json/);
});

Deno.test("every command that prints data prints JSON when it is asked to", async () => {
  for (const name of COMMANDS) {
    // The others keep running, and print nothing but a log.
    const isData = name !== "run" && name !== "client";
    assert.equal((await phantom("help", name)).out.includes("--json"), isData, name);
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
  assert.match(out, /^phantom \d+\.\d+\.\d+[^\n]*, from source \(Deno [^\n]*\)\n$/);
  for (const flag of ["--version", "-V"]) assert.equal((await phantom(flag)).out, out);
  const json = JSON.parse((await phantom("--version", "--json")).out);
  assert.match(json.version, /^\d+\.\d+\.\d+$/);
  assert.equal(json.fromSource, true);
  // As git knows it; a copy without its repository says nothing of a commit.
  if (json.commit !== null) {
    assert.match(json.commit, /^[0-9a-f]{40}$/);
    assert.match(json.date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.ok(out.includes(`, commit ${json.commit.slice(0, 12)} of ${json.date.slice(0, 10)}`));
  }
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
    const json = JSON.parse((await phantom("keygen", "--json")).out);
    assert.equal(Uint8Array.fromBase64(json.key).length, 32);
    const file = `${folder}/other`;
    assert.deepEqual(JSON.parse((await phantom("keygen", "--json", "-o", file)).out), { file });
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
      assert.match(err, /no such file: `phantom init .*none\.yaml` makes one/);
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
    assert.match(out, /^listen: "192\.0\.2\.1:9"$/m);
    assert.match(out, /^psk: "\[secret\]"$/m);
    assert.match(out, /^switcher:\n {2}enabled: true\n {2}check_interval_ms: 1000\n/m);
    assert.ok(!out.includes(key));
    // Pasted back it lacks the key alone, and says so.
    const copy = `${folder}/copy.yaml`;
    Deno.writeTextFileSync(copy, out, { mode: 0o600 });
    const { code: refused, err } = await phantom("config", "-c", copy);
    assert.equal(refused, Exit.config);
    assert.match(err, /psk: stands for a secret that `phantom config` does not print\. Write the/);
    assert.equal(err.match(/copy\.yaml:/g)?.length, 1);
    Deno.writeTextFileSync(copy, out.replace('psk: "[secret]"', `psk: "${key}"`));
    assert.equal((await phantom("config", "-c", copy)).out, out);
    const json = JSON.parse((await phantom("config", "--json", "-c", path)).out);
    assert.deepEqual([json.listen, json.psk], ["192.0.2.1:9", "[secret]"]);
    const link = await phantom("link", "-c", path, "--host", "proxy.example.org");
    assert.match(link.out, /^phantom:\/\/[\w-]{43}@proxy\.example\.org:9\?v=5\n$/);
    const example = await phantom("config", "--example");
    const committed = Deno.readTextFileSync(new URL("config.example.yaml", ROOT));
    assert.equal(example.out.trim(), committed.trim());
    assert.match((await phantom("config", "--reference")).out, /ebpf/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

/** A configuration with these lines beside its key. */
async function withConfig(lines: string, act: (path: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/phantom.yaml`;
    const key = (await phantom("keygen")).out.trim();
    Deno.writeTextFileSync(path, `psk: "${key}"\n${lines}`, { mode: 0o600 });
    await act(path);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("link is for one of the users, and draws a QR code when asked to", async () => {
  const keys = [1, 2].map((n) => `${"5a".repeat(31)}0${n}`);
  const users = `users: [{name: alice, key: "${keys[0]}"}, {name: bob, key: "${keys[1]}"}]\n`;
  await withConfig(`listen: "192.0.2.1:9"\n${users}`, async (path) => {
    const none = await phantom("link", "-c", path);
    assert.equal(none.code, Exit.usage);
    assert.match(none.err, /--user wants one of: alice, bob/);
    const json = JSON.parse((await phantom("link", "-c", path, "--user=bob", "--json")).out);
    assert.equal(json.user, "bob");
    assert.match(json.link, /^phantom:\/\/[\w-]{43}@192\.0\.2\.1:9\?/);
    const bob = await phantom("link", "-c", path, "--user", "bob", "--up=20mbps", "--qr");
    assert.match(
      bob.out,
      /^phantom:\/\/[\w-]{43}@192\.0\.2\.1:9\?user=bob&ukey=[\w-]{43}&up=20mbps&v=5\n/,
    );
    assert.match(bob.out, /\n█{53,}\n████ ▄▄▄▄▄ /);
    assert.match(
      (await phantom("link", "-c", path, "--user=bob", "--up=20M")).err,
      /--up wants a rate such as 100mbps\. Did you mean "20mbps"\?/,
    );
    for (const wrong of ["--up=fast", "--up=0bps", "--host=a b", "--user=eve", "--name=a\nb"]) {
      assert.equal((await phantom("link", "-c", path, wrong)).code, Exit.usage, wrong);
    }
    const v6 = await phantom("link", "-c", path, "--user", "bob", "--host", "2001:DB8::1");
    assert.match(v6.out, /@\[2001:db8::1\]:9\?/);
  });
});

Deno.test("link warns of an address that clients may not reach, unless it was chosen", async () => {
  await withConfig('listen: "10.0.0.2:9"\n', async (path) => {
    const found = await phantom("link", "-c", path);
    assert.equal(found.code, Exit.ok);
    assert.match(found.out, /^phantom:\/\/[\w-]{43}@10\.0\.0\.2:9\?v=5\n$/);
    assert.match(
      found.err,
      /^warning: the link holds 10\.0\.0\.2, .* `phantom link .*--host HOST`/,
    );
    const named = await phantom("link", "-c", path, "--host", "10.0.0.2", "--name", "Bob's phone");
    assert.equal(named.err, "");
    assert.match(named.out, /@10\.0\.0\.2:9\?v=5#Bob's%20phone\n$/);
  });
  await withConfig('listen: "10.0.0.2:9"\npublic_host: a.example\n', async (path) => {
    const { out, err } = await phantom("link", "-c", path);
    assert.equal(err, "");
    assert.match(out, /@a\.example:9\?v=5\n$/);
  });
});

Deno.test("link says that a user is not let in", async () => {
  const users = ["alice", "bob"].map((name, i) =>
    `  - {name: ${name}, key: "${"5a".repeat(31)}0${i}", enabled: ${i === 0}}\n`
  );
  await withConfig(`public_host: a.example\nusers:\n${users.join("")}`, async (path) => {
    const [alice, bob] = [
      await phantom("link", "-c", path, "--user", "alice"),
      await phantom("link", "-c", path, "--user", "bob"),
    ];
    assert.deepEqual([alice.err, alice.code, bob.code], ["", Exit.ok, Exit.ok]);
    assert.match(
      bob.err,
      /^warning: bob is not enabled: the server lets nobody in by this link\n$/,
    );
  });
});

Deno.test("a rule that its compiler refuses is a problem of the configuration", async () => {
  await withConfig("rules:\n  - {cidr: 10.0.0.0/33, outbound: reject}\n", async (path) => {
    const { code, err } = await phantom("config", "-c", path);
    assert.equal(code, Exit.config);
    assert.match(err, /phantom\.yaml:3:12: rules\[0\]\.cidr\[0\]: .* Write a prefix of 0 to 32\./);
  });
  await withConfig('rules: [{domain: ["*.google.com"], outbound: block}]\n', async (path) => {
    const { err } = await phantom("config", "-c", path);
    assert.match(
      err,
      /:2:19: rules\[0\]\.domain\[0\]: .*Did you mean domain_suffix: "google\.com"/,
    );
    assert.match(
      err,
      /:2:46: rules\[0\]\.outbound: "block" is no outbound\. Did you mean "reject"\?/,
    );
  });
});

Deno.test("check takes a client's file, known by what it holds", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const key = (await phantom("keygen")).out.trim();
    const path = `${folder}/any.yaml`;
    const write = (text: string) => Deno.writeTextFileSync(path, text, { mode: 0o600 });
    const head = `server: a.example:9\npsk: "${key}"\n`;
    write(head);
    assert.deepEqual(await phantom("check", "-c", path), {
      code: Exit.ok,
      out: `${path}: good\n`,
      err: "",
    });
    write(`${head}mixed: [1080, "0.0.0.0:1081"]\nup: 10M\n`);
    const wrong = await phantom("check", "-c", path);
    assert.equal(wrong.code, Exit.config);
    assert.match(wrong.out, /any\.yaml:4:5: up: must be a rate: .* Did you mean "10mbps"\?\n$/);
    write(`${head}mixed: [1080, "0.0.0.0:1081"]\n`);
    const open = await phantom("check", "-c", path);
    assert.equal(open.code, Exit.ok);
    assert.match(open.out, /^warning: \S+:3:15: mixed\[1\]: listens for other machines, .*\n/);
    assert.match(open.out, /any\.yaml: good, with 1 warning\n$/);
    const json = JSON.parse((await phantom("check", "-c", path, "--json")).out);
    assert.deepEqual([json.kind, json.problems, json.bpf], ["client", [], []]);
    assert.deepEqual(json.warnings, [{
      file: path,
      path: "mixed[1]",
      line: 3,
      column: 15,
      rule: "listens for other machines, and whoever reaches it may use it",
      remedy: "Set inbound_users, or listen on 127.0.0.1.",
    }]);
    // Nothing in it says whose it is.
    write(`psk: "${key}"\n`);
    const forced = await phantom("check", "--client", "-c", path);
    assert.equal(forced.code, Exit.config);
    assert.match(forced.out, /server: is missing/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("a file of the other kind is told by that, and not by each of its lines", async () => {
  await withConfig("listen: :9\nrules: []\n", async (path) => {
    for (const args of [["client"], ["ping"], ["check", "--client"]]) {
      const { code, out, err } = await phantom(...args, "-c", path);
      assert.equal(code, Exit.config);
      assert.match(
        out + err,
        /:1:1: is the server's file\. Start it with `phantom run -c \S+`\.\n$/,
      );
    }
  });
  await withConfig("server: a.example:9\nmixed: 1080\n", async (path) => {
    for (const name of ["run", "link"]) {
      const { code, err } = await phantom(name, "-c", path);
      assert.equal(code, Exit.config);
      assert.match(err, /:1:1: is a client's file\. Start it with `phantom client -c \S+`\.\n$/);
    }
  });
});

Deno.test("client and ping want a file or a link that is one", async () => {
  const home = Deno.cwd();
  const folder = Deno.makeTempDirSync();
  Deno.chdir(folder);
  try {
    for (const name of ["client", "ping", "bench"]) {
      const cases: [string[], RegExp][] = [
        [[], /wants --config FILE or --link URI/],
        [["-c", "a", "--link", "b"], /can't be given together/],
        [["--link", "phantom://a"], /--link: the link has no key\. Copy the whole link/],
      ];
      for (const [args, message] of cases) {
        const { code, err } = await phantom(name, ...args);
        assert.equal(code, Exit.usage, err);
        assert.match(err, message);
      }
      assert.equal((await phantom(name, "-c", "none.yaml")).code, Exit.failed);
      Deno.writeTextFileSync("bad.yaml", "server: 1\n");
      assert.equal((await phantom(name, "-c", "bad.yaml")).code, Exit.config);
    }
    assert.match(
      (await phantom("client", "--mixed", "x:1")).err,
      /--mixed: the host must be an IP/,
    );
    assert.equal((await phantom("ping", "--count", "0")).code, Exit.usage);
  } finally {
    Deno.chdir(home);
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("config prints a client's configuration without its secrets", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/client.yaml`;
    const key = (await phantom("keygen")).out.trim();
    const users = "inbound_users: [{name: a, password: open-sesame}]";
    Deno.writeTextFileSync(path, `server: a.example:9\npsk: "${key}"\n${users}\n`);
    Deno.chmodSync(path, 0o600);
    const { out } = await phantom("config", "--client", "-c", path);
    assert.match(out, /^server: "a\.example:9"$/m);
    assert.match(out, /^psk: "\[secret\]"$/m);
    assert.match(out, /^inbound_users:\n {2}- name: "a"\n {4}password: "\[secret\]"$/m);
    assert.ok(!out.includes("sesame") && !out.includes(key));
    // Also where nobody says that it is one.
    assert.equal((await phantom("config", "-c", path)).out, out);
    const example = await phantom("config", "--client", "--example");
    const committed = Deno.readTextFileSync(new URL("client.example.yaml", ROOT));
    assert.equal(example.out.trim(), committed.trim());
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("server is another name of run", async () => {
  assert.deepEqual(await phantom("server", "--help"), await phantom("run", "--help"));
});

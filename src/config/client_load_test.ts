import assert from "node:assert/strict";
import { Secret } from "../base/secret.ts";
import { clientOfLink, loadClientConfig } from "./client_load.ts";
import type { ClientConfig } from "./client_settings.ts";
import type { ConfigSources } from "./keys.ts";
import { ConfigError, formatProblem } from "./problem.ts";

const PSK = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
const KEY = `${"5a".repeat(31)}01`;
const HEAD = `server: server.example.org:443\npsk: ${PSK}\n`;

function sources(over: Partial<ConfigSources> = {}): ConfigSources {
  return {
    file: "c.yaml",
    env: () => undefined,
    readFile: () => KEY,
    fileMode: () => 0o600,
    ...over,
  };
}

function load(text: string): ClientConfig {
  const { config, warnings } = loadClientConfig(text, sources());
  assert.deepEqual(warnings, []);
  return config;
}

function problemsOf(text: string): string[] {
  try {
    loadClientConfig(text, sources());
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.ok(!error.message.includes(PSK) && !error.message.includes(KEY), error.message);
    return error.problems.map((problem) => formatProblem(problem).replace("c.yaml:", ""));
  }
  return [];
}

Deno.test("loadClientConfig() needs a server and a key, and listens on loopback", () => {
  const config = load(HEAD);
  assert.deepEqual(config.server, { host: "server.example.org", port: 443 });
  assert.deepEqual(config.mixed, [{ host: "127.0.0.1", port: 1080 }]);
  assert.deepEqual([config.socks5, config.http, config.forwards], [[], [], []]);
  assert.deepEqual([config.user, config.key, config.upBps], ["", undefined, 0]);
  assert.equal(config.psk.expose()[0], 0x0f);
  assert.deepEqual(problemsOf(""), [
    "1:1: psk: there is no key. Write the server's psk as psk, name a file that holds it in " +
    "psk_file, or set PHANTOM_PSK. `phantom client --link` needs none of them.",
    '1:1: server: is missing. Write a host and port, such as server: "server.example.org:54321".',
  ]);
});

Deno.test("loadClientConfig() takes the server's address in every form", () => {
  for (const text of ["192.0.2.1:1", "[2001:db8::1]:65535", "a:1", "x-1.example.:2"]) {
    assert.deepEqual(problemsOf(`psk: ${PSK}\nserver: "${text}"`), [], text);
  }
  const bad = ["a", ":1", "a:0", "a:65536", "a b:1", "-é.de:1", "300.1.1.1:1", "::1:5", "[::g]:1"];
  for (const text of [...bad, "[::1]", "a..b:1", `${"a".repeat(64)}:1`, "", "0x7f:1"]) {
    assert.equal(problemsOf(`psk: ${PSK}\nserver: "${text}"`).length, 1, text);
  }
});

Deno.test("loadClientConfig() reads inbounds and forwards", () => {
  const config = load(`${HEAD}socks5: [1081, "[::1]:1082"]
http: 127.0.0.2:8080
inbound_users: [{name: u, password: p}]
forwards:
  - {listen: 2222, target: "git.example.org:22"}
  - {listen: "127.0.0.1:53", target: "[2001:db8::53]:53", network: both}
`);
  assert.deepEqual(config.mixed, []);
  assert.deepEqual(config.socks5, [{ host: "127.0.0.1", port: 1081 }, { host: "::1", port: 1082 }]);
  assert.deepEqual(config.http, [{ host: "127.0.0.2", port: 8080 }]);
  assert.deepEqual(config.inboundUsers, [{ name: "u", password: "p" }]);
  assert.deepEqual(config.forwards, [
    {
      listen: { host: "127.0.0.1", port: 2222 },
      target: { host: "git.example.org", port: 22 },
      network: "tcp",
    },
    {
      listen: { host: "127.0.0.1", port: 53 },
      target: { host: "2001:db8::53", port: 53 },
      network: "both",
    },
  ]);
});

Deno.test("loadClientConfig() reads a user with a key", () => {
  const config = load(`${HEAD}user: alice\nkey: ${KEY}\nup: 20mbps\ndown: 100mbps\n`);
  assert.deepEqual([config.user, config.upBps, config.downBps], ["alice", 2e7, 1e8]);
  assert.equal(config.key?.expose().at(-1), 1);
  assert.equal(load(`${HEAD}user: alice\nkey_file: k\n`).key?.expose().at(-1), 1);
  assert.match(problemsOf(`${HEAD}user: alice\n`)[0] ?? "", /key: there is no key\. Write the us/);
  assert.match(problemsOf(`${HEAD}key: ${KEY}\n`)[0] ?? "", /3:6: key: is a key without a user/);
  assert.match(problemsOf(`${HEAD}user: "!"\nkey: ${KEY}`)[0] ?? "", /user: must be letters/);
});

Deno.test("loadClientConfig() never advises to make a key up", () => {
  const head = "server: a.example:1\n";
  const texts = [`${head}psk: short`, `${head}psk: your-32-byte-psk-here`, head];
  for (const text of [...texts, `${HEAD}user: a\nkey: short`, `${HEAD}user: a`]) {
    const [problem = ""] = problemsOf(text);
    assert.match(problem, /Write the (server's psk|key that the server has|user's key)/, text);
    assert.doesNotMatch(problem, /keygen/, text);
  }
});

Deno.test("loadClientConfig() refuses what can't work", () => {
  const cases: [string, RegExp][] = [
    ["mixed: 1080\nhttp: 1080", /^4:7: http: listens where mixed does\. Write another port/],
    [
      "forwards: [{listen: 1, target: a:1}, {listen: 1, target: b:1, network: both}]",
      /^3:4\d: forwards\[1\]\.listen: listens where forwards\[0\]\.listen does/,
    ],
    ["forwards: [{listen: 1}]", /forwards\[0\]\.target: is missing/],
    ["inbound_users: [{name: a}]", /inbound_users\[0\]\.password: is missing/],
    ['inbound_users: [{name: "a:b", password: c}]', /must not hold a colon/],
    [`inbound_users: [{name: a, password: ${"x".repeat(256)}}]`, /is longer than 255 bytes/],
    ["inbound_users: [{name: a, password: b}, {name: a, password: c}]", /name: is there twice/],
    ["listen: 1", /listen: is not a known key at the top level/],
  ];
  for (const [line, problem] of cases) {
    const problems = problemsOf(`${HEAD}${line}\n`);
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] ?? "", problem);
  }
  const local = load(`${HEAD}http: localhost:8080
forwards: [{listen: "localhost:2222", target: "localhost:22"}]\n`);
  assert.deepEqual(local.http, [{ host: "127.0.0.1", port: 8080 }]);
  assert.deepEqual(local.forwards[0]?.listen, { host: "127.0.0.1", port: 2222 });
  // As the server sees it: a name like any other.
  assert.deepEqual(local.forwards[0]?.target, { host: "localhost", port: 22 });
  const mixed = 'forwards: [{listen: 1, target: "a:1"}, {listen: 1, target: "a:1", network: udp}]';
  assert.deepEqual(problemsOf(`${HEAD}${mixed}\n`), []);
});

Deno.test("loadClientConfig() warns of a proxy for everybody", () => {
  const warningsOf = (line: string) =>
    loadClientConfig(`${HEAD}${line}\n`, sources()).warnings.map(formatProblem);
  assert.match(warningsOf("socks5: 0.0.0.0:1080")[0] ?? "", /^c\.yaml:3:9: socks5: listens for o/);
  assert.match(
    warningsOf('mixed: [1, "0.0.0.0:2"]')[0] ?? "",
    /^c\.yaml:3:12: mixed\[1\]: listens/,
  );
  assert.deepEqual(warningsOf('mixed: ["127.0.0.1:1", "[::1]:1"]'), []);
  const users = "socks5: 0.0.0.0:1080\ninbound_users: [{name: a, password: b}]";
  assert.deepEqual(warningsOf(users), []);
});

Deno.test("loadClientConfig() never shows a password", () => {
  const password = "correct horse";
  const text = `${HEAD}inbound_users: [{name: a, password: ${password}}]\nuser: ${password}!\n`;
  const problems = problemsOf(text);
  assert.ok(problems.length > 0 && !problems.join().includes("horse"), problems.join());
});

Deno.test("clientOfLink() takes defaults for what a link does not say", () => {
  const link = {
    host: "2001:db8::1",
    port: 9,
    user: "",
    userKey: undefined,
    upBps: 1e6,
    downBps: 0,
    psk: new Secret(new Uint8Array(32).fill(1)),
    name: "x",
  };
  const config = clientOfLink(link);
  assert.deepEqual(config.server, { host: "2001:db8::1", port: 9 });
  assert.deepEqual(config.mixed, [{ host: "127.0.0.1", port: 1080 }]);
  assert.deepEqual([config.upBps, config.arq.windowSize, config.logLevel], [1e6, 256, "info"]);
  const at = { host: "127.0.0.1", port: 7 };
  assert.deepEqual(clientOfLink(link, [at]).mixed, [at]);
});

import assert from "node:assert/strict";
import { loadClientConfig } from "./client_load.ts";
import { CLIENT_SETTINGS } from "./client_settings.ts";
import { UNTOLD } from "./leaves.ts";
import { loadConfig } from "./load.ts";
import { ConfigError } from "./problem.ts";
import { entriesOf, type Group } from "./schema.ts";
import { SETTINGS } from "./settings.ts";
import { writtenClient, writtenConfig, yamlText } from "./written_file.ts";

const PSK = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
const KEYS = [1, 2].map((n) => `${"5a".repeat(31)}0${n}`);
const INSIDE = { isKeyOutside: false };

function sources(psk = "") {
  return {
    file: "t.yaml",
    env: (name: string) => name === "PHANTOM_PSK" ? psk : undefined,
    readFile: (path: string) => path.endsWith(".key") ? PSK : "a.example",
    fileMode: () => 0o600,
  };
}

/** Each setting has another value than its default. */
const SERVER = `
listen: "[2001:db8::1]:443"
public_host: proxy.example.org
psk: "${PSK}"
log_level: debug
log_format: json
mode: udp
workers: 3
cipher: aes-256-gcm
low_latency: true
state_dir: /srv/phantom
instance: edge-1
users:
  - {name: alice, key: "${KEYS[0]}", up: 10mbps, down: 1500kbps, sessions_max: 3,
     connections_max: 100, traffic_max: 10GB, expires: "2027-01-31"}
  - {name: "Bob @home", key_file: bob.key, expires: "2027-01-31T18:30:15+02:00", enabled: false}
rules:
  - {domain: [a.example, b.example], domain_suffix: c.example, domain_keyword: ads,
     port: [443, 8000-8999], network: tcp, user: alice, outbound: office}
  - {cidr: "2001:db8::/32", list: [ads.txt], outbound: reject}
  - outbound: "way-out"
outbounds:
  - {name: office, address: "[2001:db8::7]:1080", user: me, password: 'open "sesame"',
     pass_names: true}
  - {name: "way-out", type: direct, interface: eth1, source: 192.0.2.9}
default_outbound: office
ip_preference: ipv6-only
bench: false
idle: 90s
sessions_max: 1000
resolver: ["192.0.2.53", "[2001:db8::53]:5353"]
relays:
  - listen: "192.0.2.1:10000-10099"
    to: [{address: "192.0.2.7:443", weight: 2, drain: true}, {address: "192.0.2.8:443"}]
    only: phantom
    affinity: port
    check: phantom
    check_user: alice
    check_port: 99
    check_interval: 250ms
    check_timeout: 1500ms
    check_fall: 4
    check_rise: 5
  - {listen: 444, to: [{address: "192.0.2.7:443"}]}
relay: {ports: 30000-31000, idle: 1m30s, flows_max: 4096}
switcher: {enabled: false, check_interval_ms: 2s, rtt_threshold_ms: 500, loss_threshold: 0.25,
  fail_threshold: 5, priority: [tcp, udp]}
ebpf: {enabled: false, interface: [eth0, eth1], xdp_mode: generic, delivery: socket,
  program_path: /opt/bpf, map_size: 2048, session_timeout: 1h, hello_rate: 1, hello_rate_total: 2,
  session_rate: 3, enable_stats: false, pin_path: /sys/fs/bpf/other}
arq: {enabled: false, window_size: 16, max_retries: 1, enable_sack: false}
hysteria2: {enabled: false, up_mbps: 0.3, down_mbps: 1gbps}
`;

const CLIENT = `
server: Server.example.org:443
psk: "${PSK}"
user: alice
key: "${KEYS[0]}"
mixed: [1081, "[::1]:1082"]
socks5: localhost:1083
http: 0.0.0.0:1084
inbound_users: [{name: a, password: open-sesame}, {name: b, password: "x: [#"}]
forwards:
  - {listen: 2222, target: "git.example.org:22"}
  - {listen: "127.0.0.1:53", target: "[2001:db8::53]:53", network: both}
up: 20mbps
down: 100mbps
cipher: chacha20-poly1305
low_latency: true
log_level: error
log_format: json
arq: {window_size: 512}
`;

/** Without the keys' bytes, which don't show. */
function plain(config: object): unknown {
  return JSON.parse(JSON.stringify(config));
}

/** Puts the secrets of the first text back, in their order. */
function withSecrets(text: string, secrets: readonly string[]): string {
  let next = 0;
  const full = text.replaceAll(JSON.stringify(UNTOLD), () => JSON.stringify(secrets[next++]));
  assert.equal(next, secrets.length);
  return full;
}

function problemsOf(load: () => unknown): string[] {
  try {
    load();
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ path, rule }) => `${path} ${rule}`);
  }
  return [];
}

Deno.test("what writtenConfig() writes is read as the same settings, but for its secrets", () => {
  const { config } = loadConfig(SERVER, sources());
  const text = yamlText(writtenConfig(config, INSIDE));
  for (const secret of [PSK, KEYS[0]!, "sesame"]) assert.ok(!text.includes(secret));
  assert.equal(yamlText(writtenConfig(config, INSIDE)), text);
  const again = loadConfig(withSecrets(text, [PSK, KEYS[0]!, 'open "sesame"']), sources()).config;
  assert.deepEqual(plain(again), plain(config));
  assert.ok(again.psk.equals(config.psk));
  again.users.forEach(({ key }, i) => assert.ok(key.equals(config.users[i]!.key)));
  // Pasted as it is it lacks those, and nothing else is wrong.
  assert.deepEqual(problemsOf(() => loadConfig(text, sources())), [
    "psk stands for a secret that `phantom config` does not print",
    "users[0].key stands for a secret that `phantom config` does not print",
    "outbounds[0].password stands for a secret that `phantom config` does not print",
  ]);
});

Deno.test("what writtenClient() writes is read as the same settings, but for its secrets", () => {
  const { config } = loadClientConfig(CLIENT, sources());
  const text = yamlText(writtenClient(config, INSIDE));
  for (const secret of [PSK, KEYS[0]!, "sesame"]) assert.ok(!text.includes(secret));
  const full = withSecrets(text, [PSK, KEYS[0]!, "open-sesame", "x: [#"]);
  const again = loadClientConfig(full, sources()).config;
  assert.deepEqual(plain(again), plain(config));
  assert.ok(again.psk.equals(config.psk) && again.key?.equals(config.key!));
  assert.equal(problemsOf(() => loadClientConfig(text, sources())).length, 4);
});

Deno.test("both samples set every key of their file", () => {
  const samples: [Group, string][] = [[SETTINGS, SERVER], [CLIENT_SETTINGS, CLIENT]];
  for (const [schema, text] of samples) {
    for (const { path, name } of entriesOf(schema)) {
      const isOther = ["psk_file", "key_file"].includes(path) || path.startsWith("arq.");
      if (!isOther) assert.match(text, new RegExp(`\\b${name}:`), path);
    }
  }
});

Deno.test("a key that does not stand in the file needs no word of it", () => {
  const inFile = loadConfig("psk_file: psk.key", sources()).config;
  const text = yamlText(writtenConfig(inFile, INSIDE));
  assert.ok(!text.includes(UNTOLD));
  assert.deepEqual(plain(loadConfig(text, sources()).config), plain(inFile));
  const outside = loadConfig("", sources(PSK)).config;
  const bare = yamlText(writtenConfig(outside, { isKeyOutside: true }));
  assert.ok(!bare.includes(UNTOLD));
  assert.deepEqual(plain(loadConfig(bare, sources(PSK)).config), plain(outside));
  const client = loadClientConfig("server: a.example:1\nuser: a\nkey_file: a.key", sources(PSK));
  const written = yamlText(writtenClient(client.config, { isKeyOutside: true }));
  assert.ok(!written.includes(UNTOLD));
  assert.deepEqual(plain(loadClientConfig(written, sources(PSK)).config), plain(client.config));
});

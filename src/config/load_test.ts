import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { loadConfig, type ServerSources as ConfigSources } from "./load.ts";
import { ConfigError, formatProblem, PROBLEMS_MAX } from "./problem.ts";
import { defaultConfigText } from "./render.ts";

const KEY = Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + 251) & 0xff);
const PSK = Buffer.from(KEY).toString("base64");
const OTHER = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
const PSK_LINE = `psk: "${PSK}"\n`;

function sources(over: Partial<ConfigSources> = {}): ConfigSources {
  return {
    file: "/etc/phantom/phantom.yaml",
    env: () => undefined,
    readFile: (path) => {
      throw new Deno.errors.NotFound(`no such file: ${path}`);
    },
    fileMode: () => 0o600,
    ...over,
  };
}

function problemsOf(text: string, over: Partial<ConfigSources> = {}): string[] {
  try {
    loadConfig(text, sources(over));
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.message, error.problems.map(formatProblem).join("\n"));
    assert.ok(!error.message.includes(PSK) && !error.message.includes(OTHER), error.message);
    return error.problems.map((p) => formatProblem(p).replace("/etc/phantom/phantom.yaml:", ""));
  }
  return [];
}

const KEYGEN = "Run `phantom keygen` and put the key it prints here.";
const MISSING = "psk: there is no key. Run `phantom keygen` and write the key as psk, " +
  "name a file that holds it in psk_file, or set PHANTOM_PSK.";

const FIRST_FILE = `listen: ":54321"
psk: "your-32-byte-psk-here"
log_level: "info"
mode: "auto"
switcher: {enabled: true, check_interval_ms: 1000, rtt_threshold_ms: 300, loss_threshold: 0.3, \
fail_threshold: 3, priority: ["ebpf", "faketcp", "udp", "websocket"]}
ebpf: {enabled: true, interface: "eth0", xdp_mode: "native", program_path: "/opt/phantom/ebpf", \
map_size: 65536, enable_stats: true}
arq: {enabled: true, window_size: 256, max_retries: 10, enable_sack: true}
hysteria2: {enabled: true, up_mbps: 100, down_mbps: 100}
`;

Deno.test("loadConfig() reads the first published file as it is, apart from the key", () => {
  assert.deepEqual(problemsOf(FIRST_FILE), [
    `2:6: psk: is still the placeholder of the example. ${KEYGEN}`,
  ]);
  const text = FIRST_FILE.replace("your-32-byte-psk-here", PSK);
  const { config, warnings } = loadConfig(text, sources());
  assert.deepEqual(warnings.map(({ path }) => path), ["switcher.priority"]);
  const { psk, ...rest } = config;
  assert.deepEqual(psk.expose(), KEY);
  assert.deepEqual(rest, {
    listen: { host: "", port: 54_321 },
    publicHost: "",
    pskFile: "",
    logLevel: "info",
    cipher: "auto",
    lowLatency: false,
    logFormat: "text",
    mode: "auto",
    workers: "auto",
    stateDir: "/var/lib/phantom",
    instance: "default",
    users: [],
    relays: [],
    relay: { ports: { host: "", first: 20_000, last: 32_767 }, idleMs: 120_000, flowsMax: 65_536 },
    rules: [],
    outbounds: [],
    bench: true,
    defaultOutbound: "direct",
    ipPreference: "auto",
    idleMs: 300_000,
    sessionsMax: 65_536,
    resolver: "system",
    switcher: {
      enabled: true,
      checkIntervalMs: 1000,
      rttThresholdMs: 300,
      lossThreshold: 0.3,
      failThreshold: 3,
      priority: ["ebpf", "faketcp", "udp", "websocket"],
    },
    ebpf: {
      enabled: true,
      interface: ["eth0"],
      xdpMode: "native",
      delivery: "auto",
      programPath: "/opt/phantom/ebpf",
      mapSize: 65_536,
      sessionTimeoutMs: 300_000,
      helloRate: 200,
      helloRateTotal: 20_000,
      sessionRate: 1000,
      enableStats: true,
      pinPath: "/sys/fs/bpf/phantom",
    },
    arq: { enabled: true, windowSize: 256, maxRetries: 10, enableSack: true },
    hysteria2: { enabled: true, upMbps: 100, downMbps: 100 },
  });
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen));
});

Deno.test("loadConfig() needs nothing but a key and never prints it", () => {
  const { config } = loadConfig(PSK_LINE, sources());
  assert.equal(JSON.parse(JSON.stringify(config)).psk, "[secret]");
  assert.ok(!Deno.inspect(config).includes(PSK));
  assert.deepEqual(config.switcher.priority, ["ebpf", "faketcp", "udp", "tcp", "websocket"]);
  assert.equal(config.ebpf.xdpMode, "auto");
});

Deno.test("loadConfig() accepts a byte order mark and Windows line ends", () => {
  assert.deepEqual(problemsOf(`\ufefflisten: 1\r\n${PSK_LINE}`), []);
  assert.match(problemsOf(`\ufeffmode: x\r\n${PSK_LINE}`)[0] ?? "", /^1:7: mode: /);
});

Deno.test("loadConfig() reports a missing key once", () => {
  for (const text of ["", "# empty\n", "mode: auto\n", "psk:\n", 'psk: ""\n', 'psk_file: ""\n']) {
    assert.deepEqual(problemsOf(text).map((p) => p.replace(/^\d+:\d+: /, "")), [MISSING], text);
  }
  assert.match(problemsOf('mode: "auto"\npsk: ""\n')[0] ?? "", /^2:6: psk: there is no key/);
  assert.deepEqual(problemsOf("psk: [a]\n"), [
    "1:6: psk: must be a secret: found a list. Write a single value; quote it if it has brackets.",
  ]);
  assert.deepEqual(problemsOf('psk: ""\nmode: x\n').length, 2);
});

Deno.test("loadConfig() reports everything at once, by position", () => {
  const text = `listen: "myhost:1"
lisetn: 1
mode: upd
psk: "your-32-byte-psk-here"
switcher:
  loss_threshold: 30
  check_interval_ms: 10
workers: 65
workers: 64
state_dir: var
instance: "Edge 1"
ebpf:
  interface: "much_too_long_name"
  program_path: "/a/../b"
  map_size: 1023
log_level:
`;
  assert.deepEqual(problemsOf(text), [
    '1:9: listen: the host must be an IP address or localhost: current value is "myhost:1". ' +
    'Write an IP address, or no host, as in ":54321".',
    '2:1: lisetn: is not a known key at the top level. Did you mean "listen"?',
    "3:7: mode: must be one of auto, ebpf, faketcp, udp, tcp, websocket: " +
    'current value is "upd". Did you mean "udp"?',
    `4:6: psk: is still the placeholder of the example. ${KEYGEN}`,
    '6:19: switcher.loss_threshold: must be between 0 and 1: current value is "30". ' +
    "Write 1 or less.",
    "7:22: switcher.check_interval_ms: must be between 100 and 60000 ms: " +
    'current value is "10". Write 100 ms or more.',
    '8:10: workers: must be between 1 and 64: current value is "65". Write 64 or less.',
    "9:1: workers: is written twice: first in line 8. Remove one of the two.",
    '10:12: state_dir: must be an absolute path: current value is "var". ' +
    "Write a path that starts with /.",
    "11:11: instance: must be 1 to 32 lower-case letters, digits or dashes: " +
    'current value is "Edge 1". Did you mean "edge-1"?',
    "13:14: ebpf.interface: must be an interface name of 1 to 15 bytes without slash, colon or " +
    'space: current value is "much_too_long_name". ' +
    'Write a name that "ip link" lists, such as "eth0".',
    '14:17: ebpf.program_path: must not hold "..": current value is "/a/../b". ' +
    "Write the path it leads to.",
    '15:13: ebpf.map_size: must be between 1024 and 16777216: current value is "1023". ' +
    "Write 1024 or more.",
    '16:1: log_level: has no value. Write a word, or remove the line: the default is "info".',
  ]);
});

Deno.test("loadConfig() accepts the edges of every range and refuses one beyond", () => {
  const edges: [string, string, number, number][] = [
    ["switcher", "check_interval_ms", 100, 60_000],
    ["switcher", "rtt_threshold_ms", 1, 60_000],
    ["switcher", "loss_threshold", 0, 1],
    ["switcher", "fail_threshold", 1, 100],
    ["ebpf", "map_size", 1024, 16_777_216],
    ["ebpf", "hello_rate", 0, 1_000_000],
    ["ebpf", "hello_rate_total", 0, 10_000_000],
    ["ebpf", "session_rate", 0, 1_000_000],
    ["arq", "window_size", 16, 65_536],
    ["arq", "max_retries", 1, 100],
    ["hysteria2", "up_mbps", 0, 1_000_000],
    ["hysteria2", "down_mbps", 0, 1_000_000],
  ];
  for (const [section, name, min, max] of edges) {
    const problems = (value: number) =>
      problemsOf(`${PSK_LINE}${section}: {${name}: ${value}}`).length;
    assert.deepEqual([min - 1, min, max, max + 1].map(problems), [1, 0, 0, 1], name);
  }
  const workers = (value: string) => problemsOf(`${PSK_LINE}workers: ${value}`).length;
  assert.deepEqual(["0", "1", "64", "65", "auto", "many"].map(workers), [1, 0, 0, 1, 0, 1]);
});

Deno.test("loadConfig() knows the kernel's rule for interface names", () => {
  const problems = (name: string) =>
    problemsOf(`${PSK_LINE}ebpf: {interface: ${JSON.stringify(name)}}`).length;
  for (const name of ["", "eth0", "a".repeat(15), "br-1.100", "é".repeat(7)]) {
    assert.equal(problems(name), 0, name);
  }
  for (const name of ["a".repeat(16), "é".repeat(8), "a/b", "a b", "a:1", ".", "..", "a\u0000"]) {
    assert.equal(problems(name), 1, name);
  }
});

Deno.test("loadConfig() takes one interface, several, or auto", () => {
  const interfaces = (text: string) => {
    const { config } = loadConfig(`${PSK_LINE}ebpf: {interface: ${text}}`, sources());
    return config.ebpf.interface;
  };
  assert.deepEqual(interfaces("eth0"), ["eth0"]);
  assert.deepEqual(interfaces("[eth0, eth1, eth0]"), ["eth0", "eth1"]);
  assert.deepEqual(["auto", '""', "[]"].map(interfaces), [[], [], []]);
  const many = (count: number) => Array.from({ length: count }, (_, i) => `e${i}`).join(",");
  const problems = (text: string) => problemsOf(`${PSK_LINE}ebpf: {interface: [${text}]}`);
  assert.deepEqual([problems(many(64)).length, problems(many(65)).length], [0, 1]);
  assert.match(problems('a, "b c"')[0] ?? "", /ebpf\.interface\[1\]: must be an interface name/);
  assert.match(problems("{a: 1}")[0] ?? "", /must be a single value/);
});

Deno.test("loadConfig() takes the key from the environment before anything else", () => {
  const env = (name: string) => name === "PHANTOM_PSK" ? ` ${OTHER}\n` : undefined;
  for (const text of ["", FIRST_FILE, PSK_LINE, "psk: x\npsk_file: y\n"]) {
    const { config } = loadConfig(text, sources({ env }));
    assert.equal(Buffer.from(config.psk.expose()).toString("hex"), OTHER);
  }
  assert.deepEqual(loadConfig(PSK_LINE, sources({ env: () => "" })).config.psk.expose(), KEY);
  assert.deepEqual(problemsOf(`mode: x\n${PSK_LINE}`, { env: () => "short" }), [
    "environment: PHANTOM_PSK: must be 32 bytes as base64 or 64 hex digits: it is neither. " +
    KEYGEN,
    "1:7: mode: must be one of auto, ebpf, faketcp, udp, tcp, websocket: " +
    'current value is "x". Write one of these words.',
  ]);
});

Deno.test("loadConfig() reads psk_file, trimmed, from the configuration's folder", () => {
  const asked: string[] = [];
  const readFile = (path: string) => {
    asked.push(path);
    return `\n${PSK}  \n`;
  };
  for (const name of ["key", "/run/secrets/key"]) {
    const { config } = loadConfig(`psk_file: ${name}`, sources({ readFile }));
    assert.deepEqual(config.psk.expose(), KEY);
    assert.equal(config.pskFile, name);
  }
  loadConfig("psk_file: key", sources({ readFile, file: "phantom.yaml" }));
  assert.deepEqual(asked, ["/etc/phantom/key", "/run/secrets/key", "key"]);
});

Deno.test("loadConfig() says why a key file is no use", () => {
  const text = "mode: auto\npsk_file: key\n";
  const current = 'current value is "/etc/phantom/key"';
  const failing = (error: Error) => ({
    readFile: () => {
      throw error;
    },
  });
  const cases: [Partial<ConfigSources>, string][] = [
    [{}, `names a file that does not exist: ${current}`],
    [
      failing(new Deno.errors.PermissionDenied("x")),
      `names a file that may not be read: ${current}`,
    ],
    [failing(new Error(`leak ${PSK}`)), `names a file that cannot be read: ${current}`],
    [{ readFile: () => "" }, 'the file "/etc/phantom/key" is empty'],
    [{ readFile: () => `${PSK}\n${PSK}` }, 'the file "/etc/phantom/key" must be 32 bytes'],
    [{ readFile: () => " ".repeat(4097) }, 'the file "/etc/phantom/key" holds more than a key'],
    [{ readFile: () => "00".repeat(32) }, 'the file "/etc/phantom/key" is a weak key'],
  ];
  for (const [over, rule] of cases) {
    const [problem = "", ...more] = problemsOf(text, over);
    assert.ok(problem.startsWith(`2:11: psk_file: ${rule}`), problem);
    assert.deepEqual(more, []);
  }
  const [swapped = ""] = problemsOf(`psk_file: "${PSK}"`);
  assert.match(swapped, /holds a key and not a path: current value is \[hidden/);
});

Deno.test("loadConfig() refuses psk and psk_file together", () => {
  assert.deepEqual(problemsOf(`${PSK_LINE}psk_file: key\n`), [
    "2:11: psk_file: is set beside psk. Keep one of the two: the file is the safer place.",
  ]);
});

Deno.test("loadConfig() warns of a key that other users can read", () => {
  const readFile = () => PSK;
  const load = (text: string, mode: number | null) =>
    loadConfig(text, sources({ readFile, fileMode: () => mode })).warnings.map(formatProblem);
  for (const mode of [0o600, 0o400, 0o100600, null]) {
    assert.deepEqual(load("psk_file: key", mode), []);
  }
  assert.deepEqual(load("psk_file: key", 0o100640), [
    '/etc/phantom/phantom.yaml:1:11: psk_file: the key\'s file "/etc/phantom/key" is open to ' +
    'other users: its mode is 640. Run: chmod 600 "/etc/phantom/key"',
  ]);
  assert.match(
    load(PSK_LINE, 0o644)[0] ?? "",
    /^\S+:1:6: psk: .* its mode is 644\. Run: chmod 600/,
  );
  const fileMode = () => {
    throw new Deno.errors.NotFound("gone");
  };
  assert.deepEqual(loadConfig(PSK_LINE, sources({ fileMode })).warnings, []);
});

Deno.test("loadConfig() does not use a key's own file that is open to whomever", () => {
  const readFile = () => PSK;
  for (const mode of [0o644, 0o604, 0o660, 0o100666]) {
    const [problem] = problemsOf("psk_file: key", { readFile, fileMode: () => mode });
    assert.match(problem ?? "", /^1:11: psk_file: .* is open to other users: .*chmod 600/);
  }
});

Deno.test("loadConfig() warns of a mode whose data plane is off", () => {
  const text = `${PSK_LINE}mode: ebpf\nebpf: {enabled: false}\n`;
  assert.deepEqual(loadConfig(text, sources()).warnings.map(formatProblem), [
    "/etc/phantom/phantom.yaml:2:7: mode: asks for a carrier that ebpf.enabled turns off. " +
    'Set ebpf.enabled to true, or mode to "auto".',
  ]);
});

Deno.test("loadConfig() warns of what does nothing yet, where it is not what runs anyway", () => {
  const warned = (text: string) =>
    loadConfig(`${PSK_LINE}${text}\n`, sources()).warnings.map(formatProblem);
  assert.deepEqual(warned("mode: websocket\narq: {enable_sack: false}"), [
    "/etc/phantom/phantom.yaml:2:7: mode: does nothing yet. " +
    "Leave it out until the changelog has it.",
    "/etc/phantom/phantom.yaml:3:20: arq.enable_sack: does nothing yet. " +
    "Leave it out until the changelog has it.",
  ]);
  assert.deepEqual(warned("mode: udp\nswitcher: {enabled: true, loss_threshold: 0.3}"), []);
});

Deno.test("loadConfig() shows no key that stands in a wrong place", () => {
  const texts = [
    `listen: ${PSK}`,
    `mode: ${OTHER}\npsk: ${OTHER}x`,
    `${PSK}: 1`,
    `{psk:${PSK}}`,
    `psk:${PSK}`,
    `psk: ${PSK} ${PSK}`,
    `psk: "${PSK}`,
    `psk: {${PSK}: {${PSK}: 1, ${PSK}: 2}}`,
    `switcher: {priority: [${PSK}]}`,
    `instance: "${OTHER}"`,
    `psk: ${PSK}}\nmode: [`,
    `psk: !${PSK} x`,
    `psk: *${PSK}`,
    `%${PSK}\n---\nmode: x`,
  ];
  for (const text of texts) assert.ok(problemsOf(text).length > 0, text);
});

Deno.test("loadConfig() reports syntax errors with what is sure besides", () => {
  assert.deepEqual(
    problemsOf("mode: x\nebpf: {enabled: true\nfoo: 1\n").map((p) => p.slice(0, 45)),
    [
      "1:7: mode: must be one of auto, ebpf, faketcp",
      "3:1: the indentation does not fit, or a brack",
    ],
  );
});

Deno.test("loadConfig() caps the list of problems", () => {
  const text = Array.from({ length: 250 }, (_, i) => `unknown_${i}: 1\n`).join("");
  assert.throws(() => loadConfig(text, sources()), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.problems.length, PROBLEMS_MAX);
    assert.equal(error.omitted, 151);
    assert.ok(error.message.endsWith("\nand 151 more"));
    return true;
  });
});

Deno.test("loadConfig() takes milliseconds for a normal file", () => {
  const text = defaultConfigText(PSK);
  // Measured: about 1 ms each; the best of many is so on a busy machine, too.
  const times = Array.from({ length: 30 }, () => {
    const start = performance.now();
    loadConfig(text, sources());
    return performance.now() - start;
  });
  assert.ok(Math.min(...times) < 30);
});

function loadLines(...lines: string[]): ReturnType<typeof loadConfig> {
  return loadConfig(`${PSK_LINE}${lines.join("\n")}\n`, sources());
}

Deno.test("loadConfig() reads users with keys and limits", () => {
  const readFile = () => `${"5a".repeat(31)}01`;
  const text = `${PSK_LINE}users:
  - {name: alice, key: "${OTHER}", up: 10mbps, down: 50mbps}
  - name: "Bob @home"
    key_file: bob.key
    enabled: false
`;
  const { config, warnings } = loadConfig(text, sources({ readFile }));
  assert.deepEqual(warnings, []);
  const [alice, bob] = config.users;
  assert.equal(Buffer.from(alice!.key.expose()).toString("hex"), OTHER);
  assert.deepEqual([alice!.name, alice!.upBps, alice!.downBps], ["alice", 1e7, 5e7]);
  assert.deepEqual([bob!.name, bob!.enabled, bob!.keyFile], ["Bob @home", false, "bob.key"]);
  assert.equal(bob!.key.expose().at(-1), 1);
  assert.ok(Object.isFrozen(config.users) && Object.isFrozen(alice));
  assert.ok(!JSON.stringify(config).includes(OTHER));
});

Deno.test("loadConfig() says what is wrong with users, and shows no key", () => {
  const text = `${PSK_LINE}users:
  - {key: "${OTHER}"}
  - {name: "-x", key: short}
  - {name: bob}
  - {name: bob, key: "${OTHER}", key_file: f}
  - {name: eve, kye: "${OTHER}", up: 5}
  - ~
  - 7
`;
  assert.deepEqual(
    problemsOf(text).map((line) => line.replace(/^(\d+):\d+: /, "$1 ")),
    [
      '3 users[0].name: is missing. Write a text, such as name: "alice".',
      "4 users[1].name: must be letters, digits and . _ @ + -, with a letter or digit first: " +
      'current value is "-x". Write a name such as "alice" or "phone-2".',
      "4 users[1].key: must be 32 bytes as base64 or 64 hex digits: it is neither. " + KEYGEN,
      "5 users[2].key: there is no key. " + NO_KEY_HERE,
      "6 users[3].name: is another user's too. Write another name.",
      "6 users[3].key_file: is set beside key. Keep one of the two: the file is the safer place.",
      "7 users[4].key: there is no key. " + NO_KEY_HERE,
      '7 users[4].kye: is not a known key in section users[4]. Did you mean "key"?',
      '7 users[4].up: needs a unit: current value is "5". ' +
      'Add one of bps, kbps, mbps, gbps, tbps (bits per second), as in "100mbps" or "1gbps".',
      "8 users[5].key: there is no key. " + NO_KEY_HERE,
      '8 users[5].name: is missing. Write a text, such as name: "alice".',
      "9 users[6]: must be a section: found a single value. " +
      'Write its keys behind "- ", such as "- name: ...".',
    ].sort((a, b) => Number(a[0]) - Number(b[0])),
  );
});

const NO_KEY_HERE =
  "Run `phantom keygen` and write the key as key, or name a file that holds it in key_file.";

Deno.test("loadConfig() refuses users that would let in more than meant", () => {
  const off = `${PSK_LINE}users: [{name: a, key: "${OTHER}", enabled: false}]`;
  assert.match(problemsOf(off)[0] ?? "", /users: has no user that is enabled\. Enable one/);
  const shared = `${PSK_LINE}users: [{name: a, key: "${OTHER}"}, {name: b, key: "${OTHER}"}]`;
  assert.match(problemsOf(shared)[0] ?? "", /users: "a" and "b" have the same key/);
  assert.match(problemsOf(`${PSK_LINE}users: {name: a}`)[0] ?? "", /must be a list: found a sec/);
  const many = `${PSK_LINE}users: [${"{}, ".repeat(65_537)}]`;
  assert.ok(problemsOf(many).length > 0);
});

Deno.test("loadConfig() reads rules, one value or a list of them", () => {
  const { config } = loadLines(
    "rules:",
    "  - {domain_suffix: [example.com, '*.example.org'], port: [443, 8000-8999], network: tcp}",
    "  - {cidr: 10.0.0.0/8, user: alice, outbound: reject}",
    "  - outbound: reject",
    `users: [{name: alice, key: "${OTHER}"}]`,
  );
  const none = {
    domain: [],
    domainSuffix: [],
    domainKeyword: [],
    cidr: [],
    port: [],
    user: [],
    network: "any",
    outbound: "direct",
    lists: [],
  };
  assert.deepEqual(config.rules, [
    {
      ...none,
      domainSuffix: ["example.com", "*.example.org"],
      port: ["443", "8000-8999"],
      network: "tcp",
    },
    { ...none, cidr: ["10.0.0.0/8"], user: ["alice"], outbound: "reject" },
    { ...none, outbound: "reject" },
  ]);
});

Deno.test("loadConfig() says what is wrong with rules", () => {
  const text = `${PSK_LINE}rules:
  - {domain: [], outbound: rejct}
  - {cidr: {}, port: [[]]}
`;
  assert.deepEqual(problemsOf(text), [
    "3:14: rules[0].domain: must not be empty. Name one, or remove the line.",
    "4:12: rules[1].cidr: must be a list: found a section. Write one value, or several in [ ].",
    "4:23: rules[1].port[0]: must be a single value. Write one value an entry.",
  ]);
  const checkRules = () => [
    { rule: -1, place: "fallback", text: '"x" is no outbound' },
    { rule: 0, place: "domainSuffix[1]", text: "must be a domain name" },
    { rule: -1, place: "rules", text: "there are too many" },
  ];
  const rules = `${PSK_LINE}rules:\n  - domain_suffix: [a, b c]\ndefault_outbound: x\n`;
  assert.deepEqual(problemsOf(rules, { checkRules }), [
    "3:3: rules: there are too many. Correct it, or remove it.",
    '3:24: rules[0].domain_suffix[1]: must be a domain name: current value is "b c". ' +
    "Correct it, or remove it.",
    '4:19: default_outbound: "x" is no outbound. ' +
    "Write direct, reject, or the name of one of outbounds.",
  ]);
  const { warnings } = loadLines("rules: [{user: bob}]");
  assert.match(formatProblem(warnings[0]!), /rules\[0\].user: names "bob", which is no user/);
});

Deno.test("loadConfig() says of a bare star what YAML makes of it, and nothing else", () => {
  const text =
    `${PSK_LINE}rules:\n  - domain_suffix: *.google.com\n  - {domain: [*.a.example, b]}\n`;
  assert.deepEqual(problemsOf(`${text}mode: *x\n`), [
    "3:20: rules[0].domain_suffix: a text that starts with a star needs quotes. Put it in quotes.",
    "4:15: rules[1].domain[0]: a text that starts with a star needs quotes. Put it in quotes.",
    "5:7: mode: the alias names no anchor above it. " +
    "Write the value out, or quote it when it really starts with a star.",
  ]);
});

Deno.test("loadConfig() reads the lists of rules, beside its own file", () => {
  const read: string[] = [];
  const readFile = (path: string) => {
    read.push(path);
    if (path.includes("none")) throw new Deno.errors.NotFound("no such file");
    return `of ${path}`;
  };
  const text = `${PSK_LINE}rules:\n  - {list: [ads.txt, /srv/b.txt], outbound: reject}\n`;
  const { config } = loadConfig(text, sources({ readFile }));
  assert.deepEqual(read, ["/etc/phantom/ads.txt", "/srv/b.txt"]);
  assert.deepEqual(config.rules[0]!.lists, [
    { name: "ads.txt", text: "of /etc/phantom/ads.txt" },
    { name: "/srv/b.txt", text: "of /srv/b.txt" },
  ]);
  const checkRules = () => [{ rule: 0, place: "lists[0]:7", text: "is no name" }];
  assert.deepEqual(problemsOf(text, { readFile, checkRules }), [
    "3:13: rules[0].list[0]:7: is no name. Correct it, or remove it.",
  ]);
  assert.deepEqual(problemsOf(`${PSK_LINE}rules: [{list: none}]`, { readFile }), [
    '2:16: rules[0].list: can\'t read "none": no such file. Correct the path.',
  ]);
});

Deno.test("loadConfig() reads outbounds and where names lead", () => {
  const { config } = loadLines(
    "outbounds:",
    "  - {name: office, address: '[2001:db8::7]:1080', user: me, password: word}",
    "  - {name: web, type: http, address: proxy.example:3128, interface: eth1, pass_names: true}",
    "  - {name: second, type: direct, source: 192.0.2.9}",
    "default_outbound: office",
    "ip_preference: ipv4-only",
    "rules: [{domain: a.example, outbound: web}]",
  );
  const none = { user: "", password: "", interface: "", source: "", passNames: false };
  assert.deepEqual(
    config.outbounds,
    [
      { ...none, name: "office", type: "socks5", address: { host: "2001:db8::7", port: 1080 } },
      { ...none, name: "web", type: "http", address: { host: "proxy.example", port: 3128 } },
      { ...none, name: "second", type: "direct", address: undefined, source: "192.0.2.9" },
    ].map((one, i) => ({
      ...one,
      ...(i === 0 ? { user: "me", password: "word" } : {}),
      ...(i === 1 ? { interface: "eth1", passNames: true } : {}),
    })),
  );
  assert.deepEqual([config.defaultOutbound, config.ipPreference], ["office", "ipv4-only"]);
  const wrong = `${PSK_LINE}outbounds:
  - {name: a}
  - {name: b, type: direct, address: "192.0.2.1:1"}
  - {name: C, address: "192.0.2.1:1", user: me}
  - {name: d, address: "192.0.2.1", source: here}
`;
  assert.deepEqual(problemsOf(wrong).map((line) => line.replace(/^(\d+):\d+: /, "$1 ")), [
    '3 outbounds[0].address: is missing. Write the proxy, such as address: "192.0.2.7:1080".',
    "4 outbounds[1].type: is direct, and has settings of a proxy. Remove those.",
    "5 outbounds[2].name: must be 1 to 32 lower-case letters, digits or dashes: current value is " +
    '"C". Write a name such as "office".',
    "5 outbounds[2].user: and password must be set together. Write both, or neither.",
    ...problemsOf(wrong).slice(4, 5).map((line) => line.replace(/^(\d+):\d+: /, "$1 ")),
    '6 outbounds[3].source: must be an IP address: current value is "here". ' +
    'Write such as "192.0.2.7".',
  ]);
  assert.match(problemsOf(wrong)[4]!, /^6:\d+: outbounds\[3\].address: /);
  const names = ["office", "direct", "office", "reject"]
    .map((name) => `  - {name: ${name}, type: direct}\n`).join("");
  assert.deepEqual(problemsOf(`${PSK_LINE}outbounds:\n${names}`), [
    "4:12: outbounds[1].name: is taken. Write another name.",
    "5:12: outbounds[2].name: is taken. Write another name.",
    "6:12: outbounds[3].name: is taken. Write another name.",
  ]);
  assert.equal(problemsOf(`${PSK_LINE}outbounds: [office]`).length, 1);
});

Deno.test("loadConfig() reads what users may use", () => {
  const limits = "connections_max: 5, traffic_max: 10GB, expires: ";
  const read = (expires: string) =>
    loadLines(`users: [{name: a, key: "${OTHER}", ${limits}${expires}}]`).config.users[0]!;
  const { connectionsMax, trafficMaxBytes, expiresAtMs } = read("2027-01-31");
  assert.deepEqual([connectionsMax, trafficMaxBytes], [5, 10e9]);
  assert.equal(expiresAtMs, Date.UTC(2027, 0, 31));
  assert.equal(read('"2027-01-31 18:30"').expiresAtMs, Date.UTC(2027, 0, 31, 18, 30));
  assert.equal(read('"2027-01-31T18:30+02:00"').expiresAtMs, Date.UTC(2027, 0, 31, 16, 30));
  assert.equal(read('""').expiresAtMs, 0);
  for (const wrong of ["2027-02-31", "2027-1-3", "tomorrow", "2027-01-31T25:00", "5"]) {
    const text = `${PSK_LINE}users: [{name: a, key: "${OTHER}", expires: "${wrong}"}]`;
    assert.match(problemsOf(text)[0] ?? "", /users\[0\].expires: must be a date: current/, wrong);
  }
});

Deno.test("loadConfig() reads what links call the server", () => {
  const cases = [
    ["Proxy.Example.ORG.", "proxy.example.org"],
    ["192.0.2.1", "192.0.2.1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["'[2001:db8::1]'", "2001:db8::1"],
    ['""', ""],
  ];
  for (const [text, host] of cases) {
    assert.equal(loadLines(`public_host: ${text}`).config.publicHost, host);
  }
  const fault = (text: string) => problemsOf(`${PSK_LINE}public_host: ${text}`)[0] ?? "";
  assert.match(fault("a.example:443"), /must have no port: .* Write the host alone: the port is/);
  assert.match(fault("'[2001:db8::1]:443'"), /must have no port/);
  for (const text of ["a b", "1.2.3", "https://a.example", "phantom://x"]) {
    assert.match(fault(text), /public_host: must be a name or an IP address: current/, text);
  }
});

Deno.test("loadConfig() reads who is asked for names", () => {
  const { config } = loadLines('resolver: ["192.0.2.53", "192.0.2.54:5353", "2001:DB8::53"]');
  assert.deepEqual(config.resolver, [
    { host: "192.0.2.53", port: 53 },
    { host: "192.0.2.54", port: 5353 },
    { host: "2001:db8::53", port: 53 },
  ]);
  assert.equal(loadLines("resolver: system").config.resolver, "system");
  assert.deepEqual(loadLines("resolver: 192.0.2.53").config.resolver.length, 1);
  assert.deepEqual(loadLines("resolver: [localhost, 'localhost:5353']").config.resolver, [
    { host: "127.0.0.1", port: 53 },
    { host: "127.0.0.1", port: 5353 },
  ]);
  assert.match(
    problemsOf(`${PSK_LINE}resolver: dns.example`)[0] ?? "",
    /resolver: must be an IP address of a name server: current value is "dns.example"/,
  );
  assert.deepEqual(problemsOf(`${PSK_LINE}resolver: []`), [
    '2:11: resolver: must not be empty. Write "system", or name a server.',
  ]);
});

Deno.test("loadConfig() warns of servers behind a relay that share the psk", () => {
  const relay = (more: string, count: number) => {
    const backends = Array.from({ length: count }, (_, i) => `{address: "192.0.2.${i + 1}:9"}`);
    const text = `${PSK_LINE}relays: [{listen: ":7", ${more}to: [${backends.join()}]}]\n`;
    return loadConfig(text, sources()).warnings.map(formatProblem).join();
  };
  assert.equal(relay("", 2), "");
  assert.equal(relay("only: phantom, ", 1), "");
  assert.match(relay("only: phantom, ", 2), /relays\[0\]: leads to 2 servers that share the psk/);
});

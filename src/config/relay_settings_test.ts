import assert from "node:assert/strict";
import { loadConfig } from "./load.ts";
import { ConfigError } from "./problem.ts";
import type { Config } from "./settings.ts";
import { parsePortRange } from "./relay_settings.ts";

const PSK = "psk: MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWY=\n";

function load(text: string): Config {
  const sources = {
    file: "t.yaml",
    env: () => undefined,
    readFile: () => "",
    fileMode: () => undefined,
  };
  return loadConfig(PSK + text, sources).config;
}

function problemsOf(text: string): string[] {
  try {
    load(text);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems.map(({ path, rule }) => `${path}: ${rule}`);
  }
}

Deno.test("parsePortRange() reads ports and ranges, with and without an address", () => {
  const good: readonly [string, string, number, number][] = [
    ["443", "", 443, 443],
    [":443", "", 443, 443],
    ["10000-10099", "", 10_000, 10_099],
    ["192.0.2.1:443", "192.0.2.1", 443, 443],
    ["[2001:db8::1]:1-65535", "2001:db8::1", 1, 65_535],
  ];
  for (const [text, host, first, last] of good) {
    assert.deepEqual(parsePortRange(text), { value: { host, first, last } }, text);
  }
  for (const text of ["", "0", "65536", "5-4", "5-65536", "a-b", "1-2-3", "name:4", "5-"]) {
    assert.ok("rule" in parsePortRange(text), text);
  }
  assert.ok("rule" in parsePortRange("1-11", 10) && "value" in parsePortRange("1-10", 10));
});

Deno.test("loadConfig() takes no address for the ports that all relays share", () => {
  for (const ports of ["192.0.2.1:1-9", "localhost:99", "no ports"]) {
    assert.deepEqual(problemsOf(`relay: {ports: "${ports}"}`), [
      `relay.ports: must be ports alone: current value is "${ports}"`,
    ]);
  }
});

Deno.test("loadConfig() reads relays with their defaults", () => {
  const { relays, relay } = load(`relays:
  - listen: 10000-10009
    to: [{ address: "192.0.2.7:443" }, { address: "192.0.2.8:443", weight: 3, drain: true }]
    only: phantom
    check: udp
relay: { ports: 30000-30999 }
`);
  assert.deepEqual(relay.ports, { host: "", first: 30_000, last: 30_999 });
  assert.deepEqual(relays, [{
    listen: { host: "", first: 10_000, last: 10_009 },
    to: [
      { address: { host: "192.0.2.7", port: 443 }, weight: 1, drain: false },
      { address: { host: "192.0.2.8", port: 443 }, weight: 3, drain: true },
    ],
    only: "phantom",
    affinity: "address",
    check: "udp",
    checkUser: "",
    checkPort: 0,
    checkIntervalMs: 2000,
    checkTimeoutMs: 1000,
    checkFall: 3,
    checkRise: 2,
  }]);
});

Deno.test("loadConfig() says what is wrong with relays", () => {
  const to = 'to: [{ address: "192.0.2.7:443" }]';
  const problems = problemsOf(`relays:
  - { listen: 54321, ${to} }
  - { listen: 21000, ${to} }
  - { listen: 100-200 }
  - { listen: 150, ${to} }
  - { listen: 300, to: [{ address: "192.0.2.7:443" }, { address: "[2001:db8::7]:443" }] }
  - { listen: "[2001:db8::1]:400", ${to} }
  - { listen: 500-1600, to: [{ address: "name.example:443" }] }
  - { ${to} }
  - { listen: 301, ${to}, check_user: alice }
  - { listen: 302, ${to}, check: phantom, check_user: bob }
users: [{ name: alice, key: "${"QUJD".repeat(10)}QUI=" }]
`);
  for (
    const [path, text] of [
      ["relays[0].listen", "which is listen's"],
      ["relays[1].listen", "relay.ports"],
      ["relays[2].to", "has no backend"],
      ["relays[3].listen", "ports of relays[2]"],
      ["relays[4].to", "mixes IPv4 and IPv6"],
      ["relays[5].to", "mixes IPv4 and IPv6"],
      ["relays[6].listen", "more than 1024 ports"],
      ["relays[6].to[0].address", "must be an IP address"],
      ["relays[7].listen", "is missing"],
      ["relays[8].check_user", "without check: phantom"],
      ["relays[9].check_user", "none of users"],
    ] as const
  ) {
    assert.ok(
      problems.some((one) => one.startsWith(`${path}: `) && one.includes(text)),
      `${path} ${text}: ${problems.join("\n")}`,
    );
  }
  assert.equal(problems.length, 11, problems.join("\n"));
});

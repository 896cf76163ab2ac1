import assert from "node:assert/strict";
import { loadConfig } from "./load.ts";
import { formatProblem } from "./problem.ts";

const PSK = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
const OTHER = `${"5a".repeat(31)}01`;

/** What loadConfig() warns of, on a machine with these interfaces, in July 2026. */
function warnedOf(text: string): string[] {
  const sources = {
    file: "t.yaml",
    env: () => undefined,
    readFile: () => "",
    fileMode: () => 0o600,
    now: () => Date.UTC(2026, 6, 1),
    interfaces: () => ["lo", "eth0"],
  };
  return loadConfig(`psk: "${PSK}"\n${text}\n`, sources).warnings
    .map((one) => formatProblem(one).replace(/^\S+?yaml:/, ""));
}

Deno.test("loadConfig() warns of users whose time is over", () => {
  const user = (more: string) => `users:\n  - {name: alice, key: "${OTHER}", ${more}}`;
  assert.deepEqual(warnedOf(user("expires: 2026-06-30")), [
    `3:${`  - {name: alice, key: "${OTHER}", expires: `.length + 1}: users[0].expires: is over: ` +
    '"alice" is let in no more. Write a later date, or remove the user.',
  ]);
  assert.deepEqual(warnedOf(user("expires: 2026-07-02")), []);
  assert.deepEqual(warnedOf(user('expires: ""')), []);
});

Deno.test("loadConfig() warns of interfaces that the machine does not have", () => {
  assert.deepEqual(warnedOf("ebpf: {interface: [eth0, eht0, wan7]}"), [
    '2:26: ebpf.interface[1]: names "eht0", which this machine does not have. ' +
    'Perhaps "eth0" is meant; one that comes later is taken then.',
    '2:32: ebpf.interface[2]: names "wan7", which this machine does not have. ' +
    "It has lo, eth0; one that comes later is taken then.",
  ]);
  assert.match(
    warnedOf("ebpf: {interface: wan7}")[0] ?? "",
    /^2:19: ebpf\.interface: names "wan7"/,
  );
  assert.deepEqual(warnedOf("ebpf: {enabled: false, interface: wan7}"), []);
  assert.deepEqual(warnedOf("ebpf: {interface: auto}"), []);
  assert.deepEqual(warnedOf("outbounds: [{name: o, type: direct, interface: tun0}]"), [
    '2:48: outbounds[0].interface: names "tun0", which this machine does not have: what goes by ' +
    "o fails until it does. It has lo, eth0.",
  ]);
});

Deno.test("loadConfig() warns of a public_host that only this machine knows", () => {
  for (const host of ["auto", "localhost", "server7"]) {
    const [warning = ""] = warnedOf(`public_host: ${host}`);
    assert.match(warning, /^2:14: public_host: is "\w+", a name that other networks don't know\./);
  }
  assert.deepEqual(warnedOf("public_host: proxy.example.org"), []);
  assert.deepEqual(warnedOf('public_host: "2001:db8::1"'), []);
});

Deno.test("loadConfig() warns of rules without a condition", () => {
  assert.deepEqual(warnedOf("rules:\n  - outbound: reject\n  - {port: 25}\n  - outbound: direct"), [
    "3:5: rules[0]: has no condition: it takes all traffic, and the rules after it are never " +
    "asked. Give it one, or put it last.",
    "5:5: rules[2]: has no condition: it takes all traffic. " +
    'Give it one, or write default_outbound: "direct" instead.',
  ]);
  assert.deepEqual(warnedOf("rules: [{network: udp, outbound: reject}]"), []);
});

Deno.test("loadConfig() names the user that a rule probably meant", () => {
  const users = `users: [{name: alice, key: "${OTHER}"}]\n`;
  assert.deepEqual(warnedOf(`${users}rules: [{user: [alice, alcie]}]`), [
    '3:24: rules[0].user[1]: names "alcie", which is no user. Did you mean "alice"?',
  ]);
});

import assert from "node:assert/strict";
import { type Config, loadConfig, parseLink } from "../config/mod.ts";
import { hostDoubt, reachableHost, shareLink } from "./share_link.ts";

/** Bytes whose base64 has both characters that URLs don't take. */
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i % 2 === 0 ? 0xfb : 0xff);

function configOf(text: string): Config {
  return loadConfig(`psk: "${KEY.toBase64()}"\n${text}`, {
    file: "test.yaml",
    env: () => undefined,
    readFile: () => "",
    fileMode: () => 0o600,
  }).config;
}

Deno.test("shareLink() holds key, host and port, as a URL", () => {
  const link = shareLink(configOf(""), "192.0.2.7");
  const url = new URL(link);
  assert.equal(url.protocol, "phantom:");
  assert.deepEqual(Uint8Array.fromBase64(url.username, { alphabet: "base64url" }), KEY);
  assert.equal(url.hostname, "192.0.2.7");
  assert.equal(url.port, "54321");
  assert.equal(url.searchParams.get("v"), "5");
  assert.equal(url.hash, "");
  assert.doesNotMatch(url.username, /[+/=]/);
});

Deno.test("shareLink() brackets an IPv6 address and names the instance", () => {
  const link = shareLink(configOf('listen: ":9"\ninstance: "edge-2"'), "2001:db8::1");
  assert.match(link, /@\[2001:db8::1\]:9\?v=5#edge-2$/);
});

Deno.test("reachableHost() takes the listen address when there is one", () => {
  assert.equal(reachableHost(configOf('listen: "192.0.2.1:9"'), "lo"), "192.0.2.1");
  assert.equal(reachableHost(configOf('listen: "[2001:db8::1]:9"'), "lo"), "2001:db8::1");
});

Deno.test("reachableHost() takes the interface's own address, IPv4 first", () => {
  assert.equal(reachableHost(configOf(""), "lo"), "127.0.0.1");
  assert.equal(reachableHost(configOf(""), "no-such0"), "127.0.0.1");
  assert.equal(reachableHost(configOf(""), undefined), "127.0.0.1");
});

Deno.test("shareLink() names a user with their key, and the client's line", () => {
  const key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
  const config = configOf(`users: [{name: "Bob @home", key: "${key}"}]`);
  const [user] = config.users;
  const link = shareLink(config, "a.example", { user, upBps: 2e7, downBps: 1e8 });
  const parsed = parseLink(link);
  assert.ok("value" in parsed);
  assert.equal(parsed.value.user, "Bob @home");
  assert.ok(parsed.value.userKey?.equals(user!.key));
  assert.deepEqual([parsed.value.upBps, parsed.value.downBps], [2e7, 1e8]);
});

Deno.test("shareLink() writes the label that it is given", () => {
  const config = configOf('instance: "edge-2"');
  assert.match(shareLink(config, "a.example", { name: "Bob's phone" }), /#Bob's%20phone$/);
  assert.match(shareLink(config, "a.example", { name: "" }), /v=5$/);
});

Deno.test("reachableHost() takes public_host before all else", () => {
  const config = configOf('listen: "192.0.2.1:9"\npublic_host: proxy.example.org');
  assert.equal(reachableHost(config, "lo"), "proxy.example.org");
});

Deno.test("hostDoubt() says of what no client may reach why, and what to do", () => {
  const doubtOf = (text: string, host: string) => {
    const doubt = hostDoubt(configOf(text), host, "x.yaml");
    if (doubt !== undefined) {
      assert.equal(
        doubt.remedy,
        "Name the public one: `phantom link -c x.yaml --host HOST`, or public_host in that file.",
      );
    }
    return doubt?.rule ?? "";
  };
  const near = ["10.0.0.2", "172.16.9.9", "192.168.1.7", "100.64.0.1", "169.254.1.1", "fd00::1"];
  for (const host of near) {
    assert.match(
      doubtOf("", host),
      /^the link holds \S+, which only clients in the same net/,
      host,
    );
  }
  for (const host of ["127.0.0.1", "::1"]) {
    assert.match(doubtOf("", host), /^no address of this machine was found, and the link holds/);
  }
  assert.match(doubtOf("listen: localhost:9", "127.0.0.1"), /where listen is: no other machine/);
  for (const host of ["8.8.8.8", "2a00::1", "proxy.example.org"]) {
    assert.equal(doubtOf("", host), "", host);
  }
  // Chosen on purpose.
  assert.equal(doubtOf("public_host: 192.168.1.7", "192.168.1.7"), "");
});

Deno.test("reachableHost() never names an address that stands for all", () => {
  for (const listen of ["0.0.0.0:9", "[::]:9"]) {
    assert.equal(reachableHost(configOf(`listen: "${listen}"`), "lo"), "127.0.0.1");
  }
});

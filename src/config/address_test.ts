import assert from "node:assert/strict";
import { formatAddress, parseAddress } from "./address.ts";

Deno.test("parseAddress() reads every form", () => {
  const cases: [string, string, number][] = [
    [":54321", "", 54_321],
    ["54321", "", 54_321],
    ["192.0.2.1:443", "192.0.2.1", 443],
    ["0.0.0.0:1", "0.0.0.0", 1],
    ["[2001:DB8::1]:65535", "2001:db8::1", 65_535],
    ["[::]:443", "::", 443],
    ["localhost:443", "127.0.0.1", 443],
    ["LocalHost:443", "127.0.0.1", 443],
    ["[::ffff:192.0.2.1]:443", "::ffff:192.0.2.1", 443],
  ];
  for (const [text, host, port] of cases) {
    assert.deepEqual(parseAddress(text), { value: { host, port } }, text);
  }
});

Deno.test("parseAddress() says what is wrong", () => {
  const cases: [string, string][] = [
    ["", "has no port"],
    ["192.0.2.1", "has no port"],
    ["[::1]", "has no port"],
    ["[::1", "has no port"],
    ["localhost", "has no port"],
    ["localhost:0", "the port must be between 1 and 65535"],
    ["localhost.example:443", "the host must be an IP address or localhost"],
    ["*:443", "the host must be an IP address or localhost"],
    ["256.0.0.1:443", "the host must be an IP address or localhost"],
    ["[::g]:443", "the host must be an IP address or localhost"],
    ["::1:443", "an IPv6 address needs brackets"],
    ["2001:db8::1", "an IPv6 address needs brackets"],
    [":0", "the port must be between 1 and 65535"],
    [":65536", "the port must be between 1 and 65535"],
    [":0443", "the port must be between 1 and 65535"],
    [":", "the port must be between 1 and 65535"],
    [":80a", "the port must be between 1 and 65535"],
  ];
  for (const [text, rule] of cases) {
    const parsed = parseAddress(text);
    assert.equal("rule" in parsed ? parsed.rule : "", rule, text);
    assert.ok("rule" in parsed && parsed.remedy.startsWith("Write "), text);
  }
});

Deno.test("formatAddress() writes what parseAddress() reads", () => {
  for (const text of [":54321", "192.0.2.1:443", "[2001:db8::1]:443"]) {
    const parsed = parseAddress(text);
    assert.ok("value" in parsed);
    assert.equal(formatAddress(parsed.value), text);
  }
});

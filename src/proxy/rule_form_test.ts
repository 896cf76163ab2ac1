import assert from "node:assert/strict";
import { type Entry, parseEntry, parseListLine, parsePorts } from "./rule_form.ts";

function show(entry: Entry | string | undefined): string {
  if (entry === undefined) return "nothing";
  if (typeof entry === "string") return "fault";
  return entry.kind === "cidr" ? `cidr/${entry.cidr.bits}` : `${entry.kind} ${entry.name}`;
}

Deno.test("a list has one entry a line", () => {
  const cases: [string, string][] = [
    ["", "nothing"],
    ["  # comment", "nothing"],
    ["Example.com # comment\r", "suffix example.com"],
    [".example.com", "suffix example.com"],
    ["*.example.com", "suffix example.com"],
    ["domain:example.com", "suffix example.com"],
    ["full: Example.com.", "exact example.com"],
    ["keyword:Ads", "keyword ads"],
    ["10.0.0.0/8", "cidr/104"],
    ["ip:1.2.3.4", "cidr/128"],
    ["2001:db8::/32", "cidr/32"],
    ...["full:a b", "keyword:", "keyword:a b", "1.2.3", "a/8", "münchen.de", "a b", "regexp:.*"]
      .map((line): [string, string] => [line, "fault"]),
  ];
  for (const [line, shown] of cases) assert.equal(show(parseListLine(line)), shown, line);
});

Deno.test("conditions are read by their kind", () => {
  assert.equal(show(parseEntry("exact", "*.example.com")), "fault");
  assert.equal(show(parseEntry("exact", "A.b")), "exact a.b");
  assert.equal(show(parseEntry("cidr", "a.b")), "fault");
});

Deno.test("ports are single or ranges", () => {
  assert.deepEqual(parsePorts("443"), [443, 443]);
  assert.deepEqual(parsePorts("1-65535"), [1, 65_535]);
  for (const text of ["", "0", "65536", "2-1", "1-", "-1", "1-2-3", "080", "a", "1 - 2"]) {
    assert.equal(typeof parsePorts(text), "string", text);
  }
});

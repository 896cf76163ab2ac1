import assert from "node:assert/strict";
import { listAdvice, ruleAdvice } from "./rule_advice.ts";

const SUFFIX = 'Did you mean domain_suffix: "google.com"? It matches the name and all below it.';
const ANYWHERE = "It matches anywhere in a name.";
const FILES = "Only files are lists: name one, with a name or CIDR a line, in list.";

/** Key, what was written, what is said to it. */
const CASES: readonly (readonly [key: string, text: string, advice: string | undefined])[] = [
  ["outbound", "block", 'Did you mean "reject"?'],
  ["outbound", "DENY", 'Did you mean "reject"?'],
  ["outbound", "freedom", 'Did you mean "direct"?'],
  ["outbound", "rejct", 'Did you mean "reject"?'],
  ["outbound", "ofice", 'Did you mean "office"?'],
  ["default_outbound", "block", 'Did you mean "reject"?'],
  ["outbound", "nowhere", "Write direct, reject, or the name of one of outbounds."],
  ["domain", "*.google.com", SUFFIX],
  ["domain", ".google.com", SUFFIX],
  ["domain", "*google*", `Did you mean domain_keyword: "google"? ${ANYWHERE}`],
  ["domain_keyword", "*ads", `Did you mean domain_keyword: "ads"? ${ANYWHERE}`],
  ["domain_suffix", "a.*.b", "A * stands only in front of a domain_suffix, as in *.example.org."],
  ["domain", "https://google.com/x", 'Did you mean "google.com"? Ports go to port.'],
  ["domain", "google.com:443", 'Did you mean "google.com"? Ports go to port.'],
  ["domain", "10.0.0.1", 'Did you mean cidr: "10.0.0.1"?'],
  ["domain", "10.0.0.0/8", 'Did you mean cidr: "10.0.0.0/8"?'],
  ["domain", "bücher.example", 'Did you mean "xn--bcher-kva.example"?'],
  ["domain", "full:a.example", 'Did you mean domain: "a.example"?'],
  ["domain", "domain:a.example", 'Did you mean domain_suffix: "a.example"?'],
  ["domain", "geosite:cn", FILES],
  ["cidr", "geoip:cn", FILES],
  ["domain", "regexp:.*", "Patterns don't match here: use domain_suffix or domain_keyword."],
  ["domain", "a b", undefined],
  ["cidr", "a.example", 'Did you mean domain_suffix: "a.example"?'],
  ["cidr", "10.0.0.0/33", "Write a prefix of 0 to 32."],
  ["cidr", "10.1.2.3/8", 'Did you mean "10.0.0.0/8"?'],
  ["cidr", "10.1.2.3/0", 'Did you mean "0.0.0.0/0"?'],
  ["cidr", "2001:db8:ffff::1/33", 'Did you mean "2001:db8:8000::/33"?'],
  ["cidr", "10.0.0.1-10.0.0.9", "Write a range as CIDR, or as several."],
  ["cidr", "10.0.0", undefined],
  ["cidr", "auto", undefined],
  ["domain", "192.0.2.1:443", 'Did you mean cidr: "192.0.2.1"?'],
  ["port", "80:90", 'Did you mean "80-90"?'],
  ["port", "90-80", 'Did you mean "80-90"?'],
  ["port", "https", 'Did you mean "443"?'],
  ["port", "all", "Remove the line: without it every port matches."],
  ["port", "80,443", "Did you mean [80,443], a list?"],
  ["port", "80-70000", undefined],
  ["user", "x", undefined],
];

Deno.test("listAdvice() says what no list is", () => {
  assert.match(listAdvice("https://a.example/ads.txt") ?? "", /files of this machine: download it/);
  assert.match(listAdvice("~/ads.txt") ?? "", /home folder/);
  assert.equal(listAdvice("geosite:cn"), FILES);
  assert.equal(listAdvice("lists/ads.txt"), undefined);
});

Deno.test("ruleAdvice() says what was probably meant", () => {
  for (const [key, text, advice] of CASES) {
    assert.equal(ruleAdvice(key, text, ["office"]), advice, `${key}: ${text}`);
  }
});

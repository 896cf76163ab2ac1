import assert from "node:assert/strict";
import {
  dateAdvice,
  durationAdvice,
  flagAdvice,
  integerAdvice,
  nameAdvice,
  rateAdvice,
  sizeAdvice,
} from "./value_advice.ts";

type Advice = (text: string) => string | undefined;

function assertMeant(advice: Advice, cases: Readonly<Record<string, string>>): void {
  for (const [text, near] of Object.entries(cases)) {
    assert.equal(advice(text), `Did you mean "${near}"?`, text);
  }
}

function assertSilent(advice: Advice, texts: readonly string[]): void {
  for (const text of texts) assert.equal(advice(text), undefined, text);
}

Deno.test("sizeAdvice() knows what people call sizes", () => {
  const cases = { "10G": "10GB", "1.5t": "1.5TB", "64Ki": "64KiB", "5 megabytes": "5MB" };
  assertMeant(sizeAdvice, { ...cases, "10gbyte": "10GB", "100 bytes": "100B" });
  assertSilent(sizeAdvice, ["10GB", "10", "G", "10x", "ten GB", "-1G", ""]);
});

Deno.test("durationAdvice() knows what people call times", () => {
  const cases = { "5min": "5m", "30 sec": "30s", "1 hour": "1h", "2 weeks": "14d", "3H": "3h" };
  assertMeant(durationAdvice, { ...cases, "1h 30min": "1h30m", "250 msec": "250ms" });
  assertSilent(durationAdvice, ["5m", "5", "forever", "5 fortnights", "1m 1h", ""]);
});

Deno.test("rateAdvice() knows what people call rates, and bits from bytes", () => {
  const cases = { "100M": "100mbps", "1 Gbit/s": "1gbps", "20mbit": "20mbps", "8Mb/s": "8mbps" };
  assertMeant(rateAdvice, cases);
  assert.equal(rateAdvice("10MB/s"), 'Rates count bits, not bytes: write "80mbps".');
  assert.equal(rateAdvice("100MBps"), 'Rates count bits, not bytes: write "800mbps".');
  assertSilent(rateAdvice, ["100mbps", "100", "fast", "-5M", "10Q", ""]);
});

Deno.test("flagAdvice() knows what other programs call true and false", () => {
  for (const text of ["yes", "on", "True", "1"]) {
    assert.match(flagAdvice(text) ?? "", /^Write true/);
  }
  for (const text of ["no", "OFF", "0"]) assert.match(flagAdvice(text) ?? "", /^Write false/);
  assertSilent(flagAdvice, ["maybe", ""]);
});

Deno.test("integerAdvice() takes out what people group digits by", () => {
  assert.equal(integerAdvice("1_000_000"), "Write 1000000.");
  assert.equal(integerAdvice("65,536"), "Write 65536.");
  assert.equal(integerAdvice("007"), "Write 7.");
  assert.equal(integerAdvice("5.0"), "Write 5.");
  assertSilent(integerAdvice, ["5", "1,5", "0x10", "64k", ""]);
});

Deno.test("dateAdvice() turns dates round", () => {
  const cases = { "31.1.2027": "2027-01-31", "2027/1/3": "2027-01-03", "20270131": "2027-01-31" };
  assertMeant(dateAdvice, cases);
  assert.equal(dateAdvice("never"), 'Write "" for never.');
  assertSilent(dateAdvice, ["31.2.2027", "1/2/2027", "tomorrow", "30d", ""]);
});

Deno.test("nameAdvice() makes a name of what people call things", () => {
  assertMeant(nameAdvice, { "Edge 1": "edge-1", "my_server!": "my-server" });
  assertSilent(nameAdvice, ["", "!!", "1.5", "a:1", "http://x"]);
});

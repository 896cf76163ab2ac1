import assert from "node:assert/strict";
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from "./units.ts";

Deno.test("parseSize() knows binary and decimal units, any case, with fractions", () => {
  assert.equal(parseSize("64KiB"), 65_536);
  assert.equal(parseSize("64 kib"), 65_536);
  assert.equal(parseSize("1MB"), 1_000_000);
  assert.equal(parseSize("1.5GiB"), 1_610_612_736);
  assert.equal(parseSize("0B"), 0);
  assert.equal(parseSize(" 2TiB "), 2 ** 41);
});

Deno.test("parseSize() refuses what is not a whole number of bytes", () => {
  const texts = ["", "64", "KiB", "-1KiB", "1KiB1B", "0.3B", "1XiB", "1e3B", "1.B", "99999999TB"];
  for (const text of texts) assert.equal(parseSize(text), undefined, text);
  assert.equal(parseSize(`${"1".repeat(100)}B`), undefined);
});

Deno.test("parseDuration() is exact and takes parts from big to small", () => {
  assert.equal(parseDuration("30s"), 30_000);
  assert.equal(parseDuration("1m30s"), 90_000);
  assert.equal(parseDuration("1d 2h"), 93_600_000);
  assert.equal(parseDuration("250ms"), 250);
  assert.equal(parseDuration("1.1s"), 1100);
  assert.equal(parseDuration("0.3s"), 300);
  assert.equal(parseDuration("250us"), 0.25);
  assert.equal(parseDuration("250µs"), 0.25);
});

Deno.test("parseDuration() refuses repeated, disordered and unknown units", () => {
  for (const text of ["", "30", "1s1s", "30s1m", "1M", "1S", "5 minutes", "-1s", "1s,2ms"]) {
    assert.equal(parseDuration(text), undefined, text);
  }
  assert.equal(parseDuration("9999999999999999d"), undefined);
});

Deno.test("parseRate() counts bits and refuses bytes", () => {
  assert.equal(parseRate("100mbps"), 100_000_000);
  assert.equal(parseRate("100 Mbps"), 100_000_000);
  assert.equal(parseRate("1gbps"), 1_000_000_000);
  assert.equal(parseRate("1.5kbps"), 1500);
  for (const text of ["100MBps", "100MBPS", "100", "1mb", "1mbps1kbps"]) {
    assert.equal(parseRate(text), undefined, text);
  }
});

Deno.test("format functions write the shortest exact text", () => {
  assert.equal(formatSize(65_536), "64KiB");
  assert.equal(formatSize(1_000_000), "1MB");
  assert.equal(formatSize(1023), "1023B");
  assert.equal(formatSize(0), "0B");
  assert.equal(formatDuration(90_000), "1m30s");
  assert.equal(formatDuration(0.25), "250us");
  assert.equal(formatDuration(0), "0s");
  assert.equal(formatRate(1e9), "1gbps");
  assert.equal(formatRate(1_500_000), "1500kbps");
});

Deno.test("format functions refuse what is not natural", () => {
  for (const value of [-1, NaN, Infinity]) {
    assert.throws(() => formatSize(value), RangeError);
    assert.throws(() => formatDuration(value), RangeError);
    assert.throws(() => formatRate(value), RangeError);
  }
  assert.throws(() => formatSize(0.5), RangeError);
});

Deno.test("parse functions read back what format functions write", () => {
  for (let i = 0; i < 2000; i++) {
    const value = (i * 2_654_435_761) % 2 ** 40;
    assert.equal(parseSize(formatSize(value)), value);
    assert.equal(parseDuration(formatDuration(value)), value);
    assert.equal(parseDuration(formatDuration(i / 8)), i / 8);
    assert.equal(parseRate(formatRate(value)), value);
  }
});

import assert from "node:assert/strict";
import { editDistance, nearest } from "./nearest.ts";

Deno.test("editDistance() counts a swap of neighbours once", () => {
  assert.equal(editDistance("", ""), 0);
  assert.equal(editDistance("", "abc"), 3);
  assert.equal(editDistance("abc", ""), 3);
  assert.equal(editDistance("listen", "lisetn"), 1);
  assert.equal(editDistance("kitten", "sitting"), 3);
  assert.equal(editDistance("ca", "abc"), 3);
});

Deno.test("nearest() finds slips of the fingers", () => {
  const names = ["listen", "log_level", "check_interval_ms", "up_mbps", "udp", "tcp"];
  assert.equal(nearest("lisetn", names), "listen");
  assert.equal(nearest("loglevel", names), "log_level");
  assert.equal(nearest("checkIntervalMs", names), "check_interval_ms");
  assert.equal(nearest("UP-MBPS", names), "up_mbps");
  assert.equal(nearest("tpc", names), "tcp");
});

Deno.test("nearest() suggests nothing for another word", () => {
  const names = ["listen", "log_level", "on"];
  assert.equal(nearest("bandwidth", names), undefined);
  assert.equal(nearest("", names), undefined);
  assert.equal(nearest("no", names), undefined);
  assert.equal(nearest("ON", names), "on");
  assert.equal(nearest("l".repeat(65), names), undefined);
});

Deno.test("nearest() prefers the earlier of equals", () => {
  assert.equal(nearest("lag", ["log", "leg"]), "log");
});

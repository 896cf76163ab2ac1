import assert from "node:assert/strict";
import { messageOf } from "./errors.ts";

Deno.test("messageOf() says what was thrown, whatever it is", () => {
  assert.equal(messageOf(new RangeError("too far")), "too far");
  assert.equal(messageOf("no error at all"), "no error at all");
  assert.equal(messageOf(undefined), "undefined");
});

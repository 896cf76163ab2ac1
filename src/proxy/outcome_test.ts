import assert from "node:assert/strict";
import {
  httpStatusOf,
  OpenCode,
  openCodeOfHttp,
  openCodeOfSocks,
  SocksReply,
  socksReplyOf,
} from "./outcome.ts";

Deno.test("every code of OPENED has a SOCKS5 reply and an HTTP status", () => {
  const statuses = [200, 502, 502, 502, 403, 504, 502];
  const replies = [0, 5, 3, 4, 2, 6, 1];
  for (const code of Object.values(OpenCode)) {
    assert.equal(httpStatusOf(code), statuses[code]);
    assert.equal(socksReplyOf(code), replies[code]);
  }
  assert.equal(httpStatusOf(99), 502);
  assert.equal(socksReplyOf(99), SocksReply.FAILURE);
});

Deno.test("every answer of an upstream has a code of OPENED", () => {
  assert.equal(openCodeOfSocks(SocksReply.OK), OpenCode.OK);
  assert.equal(openCodeOfSocks(SocksReply.REFUSED), OpenCode.REFUSED);
  assert.equal(openCodeOfSocks(200), OpenCode.UNREACHABLE);
  for (const [status, code] of [[200, 0], [299, 0], [403, 4], [407, 4], [504, 5], [302, 2]]) {
    assert.equal(openCodeOfHttp(status ?? 0), code);
  }
});

import assert from "node:assert/strict";
import { OpenedCode } from "../wire/frames.ts";
import {
  httpStatusOf,
  openedCodeOfHttp,
  openedCodeOfSocks,
  SocksReply,
  socksReplyOf,
} from "./outcome.ts";

Deno.test("every code of OPENED has a SOCKS5 reply and an HTTP status", () => {
  const statuses = [200, 502, 502, 502, 403, 504, 502];
  const replies = [0, 5, 3, 4, 2, 6, 1];
  for (const code of Object.values(OpenedCode)) {
    assert.equal(httpStatusOf(code), statuses[code]);
    assert.equal(socksReplyOf(code), replies[code]);
  }
  assert.equal(httpStatusOf(99), 502);
  assert.equal(socksReplyOf(99), SocksReply.FAILURE);
});

Deno.test("every answer of an upstream has a code of OPENED", () => {
  assert.equal(openedCodeOfSocks(SocksReply.OK), OpenedCode.ok);
  assert.equal(openedCodeOfSocks(SocksReply.REFUSED), OpenedCode.refused);
  assert.equal(openedCodeOfSocks(200), OpenedCode.unreachable);
  for (const [status, code] of [[200, 0], [299, 0], [403, 4], [407, 4], [504, 5], [302, 2]]) {
    assert.equal(openedCodeOfHttp(status ?? 0), code);
  }
});

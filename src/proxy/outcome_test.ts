import assert from "node:assert/strict";
import { OpenedCode } from "../wire/frames.ts";
import {
  openedCodeOfHttp,
  openedCodeOfSocks,
  Outcome,
  SocksReply,
  socksReplyOf,
  tellingOf,
} from "./outcome.ts";

Deno.test("every outcome has a SOCKS5 reply, an HTTP status and words of its own", () => {
  const statuses = [200, 502, 502, 502, 403, 504, 503, 504, 403, 403];
  const replies = [0, 5, 3, 4, 2, 6, 1, 1, 2, 2];
  for (const code of Object.values(OpenedCode)) {
    if (code !== OpenedCode.ok) assert.equal(tellingOf(code).status, statuses[code]);
    assert.equal(socksReplyOf(code), replies[code]);
  }
  const failures = Object.values(Outcome).filter((code) => code !== Outcome.ok).map(tellingOf);
  for (const name of ["words", "error"] as const) {
    assert.equal(new Set(failures.map((one) => one[name])).size, failures.length);
  }
  assert.equal(tellingOf(Outcome.tunnelDown).status, 503);
  assert.equal(socksReplyOf(Outcome.tunnelDown), SocksReply.FAILURE);
  // Of a server that knows more than we do.
  assert.equal(tellingOf(99).status, 502);
});

Deno.test("every answer of an upstream has a code of OPENED", () => {
  assert.equal(openedCodeOfSocks(SocksReply.OK), OpenedCode.ok);
  assert.equal(openedCodeOfSocks(SocksReply.REFUSED), OpenedCode.refused);
  assert.equal(openedCodeOfSocks(200), OpenedCode.unreachable);
  for (const [status, code] of [[200, 0], [299, 0], [403, 4], [407, 4], [504, 5], [302, 2]]) {
    assert.equal(openedCodeOfHttp(status ?? 0), code);
  }
});

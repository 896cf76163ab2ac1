import assert from "node:assert/strict";
import { tooLongNotice } from "./notice.ts";

Deno.test("tooLongNotice tells of all, once a minute", () => {
  const notice = tooLongNotice();
  assert.equal(notice.text(0, 0), undefined);
  assert.match(notice.text(500, 2)!, /^2 datagrams were dropped/);
  assert.equal(notice.text(60_000, 5), undefined);
  assert.match(notice.text(60_500, 5)!, /^3 datagrams/);
  assert.equal(notice.text(200_000, 5), undefined);
});

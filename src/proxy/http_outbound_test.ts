import assert from "node:assert/strict";
import { Credentials } from "./credentials.ts";
import { HttpInbound } from "./http_inbound.ts";
import { HttpOutbound } from "./http_outbound.ts";
import { OpenedCode } from "../wire/frames.ts";
import { Target } from "./target.ts";

function target(text: string): Target {
  const made = new Target();
  assert.ok(made.setText(text));
  return made;
}

function feed(http: HttpOutbound, text: string, step = Infinity): number {
  const bytes = new TextEncoder().encode(text);
  let used = 0;
  while (used < bytes.length) {
    const length = Math.min(step, bytes.length - used);
    const taken = http.feed(bytes, used, length);
    used += taken;
    if (taken < length) break;
  }
  return used;
}

Deno.test("both sides understand each other", () => {
  const credential = { user: "älice", password: "p:ä" };
  const server = new HttpInbound({ credentials: new Credentials([credential]) });
  const client = new HttpOutbound(target("[2001:db8::1]:443"), credential);
  const buffer = new Uint8Array(500);
  while (client.pending > 0) {
    assert.equal(server.feed(buffer, 3, client.drain(buffer, 3, 7)) > 0, true);
  }
  assert.equal(server.target.toString(), "[2001:db8::1]:443");
  server.accept();
  client.feed(buffer, 0, server.drain(buffer, 0, buffer.length));
  assert.equal(client.state, "open");
});

Deno.test("what follows a 2xx head is the stream's, whatever the fields say", () => {
  const heads = [
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0 299\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n",
  ];
  for (const head of heads) {
    for (const step of [1, 4, Infinity]) {
      const http = new HttpOutbound(target("a.b:1"));
      assert.equal(feed(http, `${head}HTTP`, step), head.length);
      assert.equal(http.state, "open");
    }
  }
});

Deno.test("refusals become codes", () => {
  const cases: [string, number][] = [
    ["HTTP/1.1 407 x\r\n\r\n", OpenedCode.denied],
    ["HTTP/1.1 403 x\r\n\r\n", OpenedCode.denied],
    ["HTTP/1.1 504 x\r\n\r\n", OpenedCode.timedOut],
    ["HTTP/1.1 502 x\r\n\r\n", OpenedCode.unreachable],
    ["HTTP/1.1 302 x\r\n\r\n", OpenedCode.unreachable],
    ["HTTP/1.1 101 x\r\n\r\n", OpenedCode.unreachable],
    ["HTTP/1.1 2000 x\r\n\r\n", OpenedCode.unreachable],
    ["HTTP/1.1 200 OK\n\n", OpenedCode.unreachable],
    ["\x05\x00\0", OpenedCode.unreachable],
    ["HTTP/1.1 100 x\r\n\r\n".repeat(17), OpenedCode.unreachable],
    [`HTTP/1.1 200 ${"x".repeat(70_000)}`, OpenedCode.unreachable],
  ];
  for (const [text, code] of cases) {
    const http = new HttpOutbound(target("a.b:1"));
    feed(http, text);
    assert.deepEqual([http.state, http.code], ["failed", code], text.slice(0, 40));
    assert.notEqual(http.fault, "");
  }
});

import assert from "node:assert/strict";
import { HttpResponse, INTERIM_MAX, type ResponseOptions } from "./http_response.ts";

const OPTIONS: ResponseOptions = { isHead: false, isHttp11: true, keepAlive: true };

interface Passed {
  readonly response: HttpResponse;
  readonly out: string;
  readonly used: number;
}

function pass(text: string, options: Partial<ResponseOptions> = {}, step = Infinity): Passed {
  const response = new HttpResponse({ ...OPTIONS, ...options });
  const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
  const room = new Uint8Array(100);
  let used = 0;
  let out = "";
  for (;;) {
    const length = Math.min(step, bytes.length - used);
    let taken = 0;
    if (response.state === "head") taken = response.feed(bytes, used, length);
    else if (response.state === "body") {
      taken = response.body(bytes, used, length);
      out += text.slice(used, used + taken);
    }
    used += taken;
    const drained = response.drain(room, 0, room.length);
    out += String.fromCharCode(...room.subarray(0, drained));
    if (taken === 0 && drained === 0) return { response, out, used };
  }
}

Deno.test("a response is rewritten for the client's connection", () => {
  const text = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n" +
    "Proxy-Authenticate: Basic\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n" +
    "helloMORE";
  for (const step of [1, 3, Infinity]) {
    const { response, out, used } = pass(text, {}, step);
    assert.equal(
      out,
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n" +
        "Connection: keep-alive\r\n\r\nhello",
    );
    assert.equal(used, text.length - 4);
    assert.deepEqual([response.state, response.keepAlive, response.status], ["done", true, 200]);
  }
});

Deno.test("where a response ends depends on status, request and fields", () => {
  const cases: [string, Partial<ResponseOptions>, string, boolean][] = [
    ["204 No Content\r\n\r\n", {}, "done", true],
    ["304 Not Modified\r\nContent-Length: 9\r\n\r\n", {}, "done", true],
    ["200 OK\r\nContent-Length: 9\r\n\r\n", { isHead: true }, "done", true],
    ["200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", {}, "done", true],
    ["200 OK\r\n\r\nabc", {}, "body", false],
    ["200\r\nContent-Length: 0\r\n\r\n", { keepAlive: false }, "done", false],
    ["200 OK\r\nContent-Length: 9\r\n\r\nabc", {}, "body", true],
  ];
  for (const [text, options, state, keepAlive] of cases) {
    const { response, out } = pass(`HTTP/1.1 ${text}`, options);
    assert.deepEqual([response.state, response.keepAlive], [state, keepAlive], text);
    assert.match(out, keepAlive ? /Connection: keep-alive\r/ : /Connection: close\r/);
  }
});

Deno.test("the end of the connection is an end for some responses only", () => {
  assert.equal(pass("HTTP/1.0 200 OK\r\n\r\nabc").response.end(), true);
  assert.equal(pass("HTTP/1.1 204 x\r\n\r\n").response.end(), true);
  for (const text of ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]) {
    const { response } = pass(text);
    assert.equal(response.end(), false);
    assert.equal(response.state, "failed");
  }
  const waiting = new HttpResponse(OPTIONS);
  const bytes = new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n");
  waiting.feed(bytes, 0, bytes.length);
  assert.equal(waiting.end(), true);
  waiting.drain(new Uint8Array(100), 0, 100);
  assert.equal(waiting.state, "done");
});

Deno.test("interim answers are passed on, to those who know them", () => {
  const interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  const final = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const { response, out } = pass(interim + final);
  assert.ok(out.startsWith(interim));
  assert.equal(response.status, 200);
  assert.ok(!pass(interim + final, { isHttp11: false }).out.includes("103"));
  assert.equal(pass(interim.repeat(INTERIM_MAX) + final).response.state, "done");
  assert.equal(pass(interim.repeat(INTERIM_MAX + 1) + final).response.state, "failed");
  assert.equal(pass("HTTP/1.1 101 Switching\r\n\r\n").response.state, "failed");
});

Deno.test("a response that contradicts itself is refused before any byte goes on", () => {
  const bad = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    "HTTP/1.1 200 OK\nA: b\n\n",
    "HTTP/1.1 099 x\r\n\r\n",
    "HTTP/1.1 20 x\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "SSH-2.0-x\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
  ];
  for (const text of bad) {
    const { response, out } = pass(text);
    assert.deepEqual([response.state, out, response.isStarted], ["failed", "", false], text);
  }
  assert.equal(
    pass("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz").response.state,
    "failed",
  );
});

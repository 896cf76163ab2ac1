import { Outcome, tellingOf } from "./outcome.ts";
import assert from "node:assert/strict";
import { Credentials } from "./credentials.ts";
import { HEAD_BYTES_MAX } from "./http_head.ts";
import { HttpInbound, type HttpOptions } from "./http_inbound.ts";

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function feed(
  text: string,
  options?: HttpOptions,
  step = Infinity,
): HttpInbound & { rest: string } {
  const http = new HttpInbound(options);
  const bytes = bytesOf(text);
  let used = 0;
  while (used < bytes.length) {
    const length = Math.min(step, bytes.length - used);
    const taken = http.feed(bytes, used, length);
    used += taken;
    if (taken < length) break;
  }
  return Object.assign(http, { rest: text.slice(used) });
}

function drain(http: HttpInbound): string {
  const out = new Uint8Array(4096);
  return new TextDecoder().decode(out.subarray(0, http.drain(out, 0, out.length)));
}

function drainRequest(http: HttpInbound): string {
  const out = new Uint8Array(HEAD_BYTES_MAX + 1024);
  return new TextDecoder("latin1").decode(out.subarray(0, http.drainRequest(out, 0, out.length)));
}

const statusOf = (http: HttpInbound): string => drain(http).slice(9, 12);

Deno.test("CONNECT is taken, early data left alone", () => {
  const cases: [string, string][] = [
    ["example.com:443", "example.com:443"],
    ["EXAMPLE.com.:8443", "example.com:8443"],
    ["192.0.2.1:1", "192.0.2.1:1"],
    ["[2001:db8::1]:443", "[2001:db8::1]:443"],
  ];
  for (const [uri, target] of cases) {
    for (const step of [1, 7, Infinity]) {
      const text = `CONNECT ${uri} HTTP/1.1\r\nHost: ${uri}\r\nContent-Length: 0\r\n\r\n\x16\x03`;
      const http = feed(text, {}, step);
      assert.equal(http.state, "ready");
      assert.ok(http.isConnect);
      assert.equal(http.target.toString(), target);
      if (step > 1) assert.ok(http.rest.startsWith("\x16"));
      http.accept();
      assert.equal(http.state, "connect");
      assert.equal(drain(http), "HTTP/1.1 200 Connection established\r\n\r\n");
      assert.throws(() => http.refuse(502), TypeError);
    }
  }
});

Deno.test("a plain request goes to its origin in origin form, without hop-by-hop fields", () => {
  const http = feed(
    "GET http://Example.com:8080/a?b=c HTTP/1.1\r\nhost: other\r\n" +
      "Proxy-Connection: keep-alive\r\n" +
      "Proxy-Authorization: Basic eDp5\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n" +
      "TE: trailers\r\n" +
      "Keep-Alive: 5\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nAccept:  */*  \r\nX-Y: 1\r\n\r\nnext",
  );
  assert.equal(http.state, "ready");
  assert.equal(http.target.toString(), "example.com:8080");
  assert.equal(
    drainRequest(http),
    "GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\nX-Y: 1\r\n" +
      "Connection: close\r\n\r\n",
  );
  assert.equal(http.rest, "next");
  assert.equal(http.keepAlive, true);
  http.accept();
  assert.equal(http.state, "complete");
});

Deno.test("the address of a request decides path and Host", () => {
  const cases: [string, string, string][] = [
    ["GET http://a.b", "GET / HTTP/1.1", "a.b"],
    ["GET HTTP://a.b?q", "GET /?q HTTP/1.1", "a.b"],
    ["OPTIONS http://a.b", "OPTIONS * HTTP/1.1", "a.b"],
    ["GET http://[::1]:80/\u00e9", "GET /\u00e9 HTTP/1.1", "[::1]"],
    ["PUT http://10.0.0.1:81/x", "PUT /x HTTP/1.1", "10.0.0.1:81"],
  ];
  for (const [line, first, host] of cases) {
    const http = feed(`${line} HTTP/1.1\r\nHost: x\r\n\r\n`);
    assert.equal(drainRequest(http), `${first}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  }
});

Deno.test("a body is passed on up to its end, and the next request follows", () => {
  const http = feed("POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 5\r\n\r\n");
  http.accept();
  assert.equal(http.state, "body");
  assert.equal(http.body(bytesOf("hel"), 0, 3), 3);
  assert.throws(() => http.next(), TypeError);
  assert.equal(http.body(bytesOf("loGET"), 0, 5), 2);
  assert.equal(http.state, "complete");
  http.next();
  assert.ok(http.isIdle);
  const next = bytesOf("GET http://c.d/ HTTP/1.1\r\nHost: c.d\r\nConnection: close\r\n\r\n");
  assert.equal(http.feed(next, 0, next.length), next.length);
  assert.equal(http.target.toString(), "c.d:80");
  assert.equal(http.keepAlive, false);
});

Deno.test("chunks are passed on, and malformed ones end the connection", () => {
  const head = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n";
  const http = feed(head);
  http.accept();
  assert.match(drainRequest(http), /\r\nTransfer-Encoding: chunked\r\n/);
  assert.equal(http.body(bytesOf("1\r\nx\r\n0\r\n\r\nGET"), 0, 14), 11);
  assert.equal(http.state, "complete");
  const bad = feed(head);
  bad.accept();
  bad.body(bytesOf("1\nx"), 0, 3);
  assert.deepEqual([bad.state, bad.pending], ["failed", 0]);
});

Deno.test("what can be read in two ways is refused", () => {
  const post = "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\n";
  const get = "GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n";
  const bad = [
    `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `${post}Content-Length: 5\r\nContent-Length: 5\r\n\r\n`,
    `${post}Content-Length: 5, 5\r\n\r\n`,
    `${post}Content-Length : 5\r\n\r\n`,
    `${post}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    `${post}Connection: Content-Length\r\nContent-Length: 5\r\n\r\n`,
    `${get}A: b\r\n folded\r\n\r\n`,
    `${get}A: b\nB: c\r\n\r\n`,
    `${get}A: b\0\r\n\r\n`,
    `${get}Host: c.d\r\n\r\n`,
    ...["GET http://a.b/ HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.b\r\n\r\n"],
    ...["GET  http://a.b/ HTTP/1.1", "GET http://a.b/ x HTTP/1.1", "GET http://a.b/\tx HTTP/1.1"]
      .map((line) => `${line}\r\nHost: a.b\r\n\r\n`),
    ...["http://u:p@a.b/", "http:///", "http://", "https://a.b/", "ftp://a.b/", "http://a.b:0/"]
      .map((uri) => `GET ${uri} HTTP/1.1\r\nHost: a.b\r\n\r\n`),
    ...["http://a.b/#x", "http://127.1/", "http://a_\u00e9/", "*", "a.b:80", "http://a b/"]
      .map((uri) => `GET ${uri} HTTP/1.1\r\nHost: a.b\r\n\r\n`),
    ...["a.b", "a.b:", "http://a.b:80", ":80", "a.b:0", "a.b:80/", "u@a.b:80", "::1:80"]
      .map((uri) => `CONNECT ${uri} HTTP/1.1\r\nHost: a.b\r\n\r\n`),
    "CONNECT a.b:80 HTTP/1.1\r\nHost: a.b\r\nContent-Length: 1\r\n\r\n",
    "CONNECT a.b:80 HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n",
    ...["HTTP/2.0", "HTTP/1.2", "HTTP/1.1 ", "http/1.1", "HTTP/1", ""]
      .map((version) => `GET http://a.b/ ${version}\r\nHost: a.b\r\n\r\n`),
    "G(T http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
    "POST http://a.b/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
  ];
  for (const text of bad) {
    const http = feed(text);
    assert.equal(http.state, "failed", JSON.stringify(text));
    assert.equal(statusOf(http), "400", JSON.stringify(text));
  }
});

Deno.test("a header that is too large gets 431", () => {
  const http = feed(`GET http://a.b/ HTTP/1.1\r\nA: ${"x".repeat(HEAD_BYTES_MAX)}`);
  assert.equal(statusOf(http), "431");
  const many = feed(`GET http://a.b/ HTTP/1.1\r\n${"a: b\r\n".repeat(201)}\r\n`);
  assert.equal(statusOf(many), "431");
});

Deno.test("HTTP/1.0 needs no Host and is not kept alive", () => {
  const http = feed("GET http://a.b/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  assert.equal(drainRequest(http), "GET / HTTP/1.0\r\nHost: a.b\r\nConnection: close\r\n\r\n");
  assert.equal(http.keepAlive, false);
});

Deno.test("who has said no password yet has a header of 16 KiB at most", () => {
  const options = { credentials: new Credentials([{ user: "alice", password: "secret" }]) };
  const head = (bytes: number, ...fields: string[]) =>
    ["CONNECT a.b:443 HTTP/1.1", "Host: a.b", ...fields, `A: ${"x".repeat(bytes)}`, "", ""]
      .join("\r\n");
  assert.match(drain(feed(head(17_000), options)), /^HTTP\/1\.1 431 /);
  const pair = `Proxy-Authorization: Basic ${btoa("alice:secret")}`;
  assert.equal(feed(head(15_000, pair), options).state, "ready");
  assert.equal(feed(head(17_000)).state, "ready", "where nobody needs one");
});

Deno.test("credentials are asked for and checked", () => {
  const options = {
    credentials: new Credentials([{ user: "alice", password: "se:cret" }]),
    realm: "here",
  };
  const request = (...fields: string[]) =>
    ["CONNECT a.b:443 HTTP/1.1", "Host: a.b", ...fields, "", ""].join("\r\n");
  const good = feed(request(`Proxy-Authorization: basic ${btoa("alice:se:cret")}`), options);
  assert.deepEqual([good.state, good.user], ["ready", "alice"]);
  const wrong = [
    [],
    [`Authorization: Basic ${btoa("alice:se:cret")}`],
    ...["alice:wrong", "alice", ":", "", "alice:se:cret "].map((pair) => [
      `Proxy-Authorization: Basic ${btoa(pair)}`,
    ]),
    ["Proxy-Authorization: Basic ????"],
    ["Proxy-Authorization: Bearer abcd"],
    [`Proxy-Authorization: Basic ${btoa("x".repeat(600))}`],
    Array(2).fill(`Proxy-Authorization: Basic ${btoa("alice:se:cret")}`),
  ];
  for (const fields of wrong) {
    const http = feed(request(...fields), options);
    const reply = drain(http);
    assert.match(reply, /^HTTP\/1\.1 407 Proxy Authentication Required\r\n/, fields.join());
    assert.match(reply, /\r\nProxy-Authenticate: Basic realm="here"\r\n/);
    assert.match(reply, /\r\nConnection: close\r\n/);
  }
});

Deno.test("refusals have a text, but not for HEAD", () => {
  const outcomes = [Outcome.denied, Outcome.refused, Outcome.timedOut, Outcome.tunnelDown];
  for (const outcome of outcomes) {
    const http = feed("GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n");
    http.refuse(outcome);
    const { status, error } = tellingOf(outcome);
    const [head = "", text = ""] = drain(http).split("\r\n\r\n");
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} .*Content-Length: ${text.length}\r`, "s"));
    assert.match(head, new RegExp(`^Proxy-Status: phantom; error=${error}\r$`, "m"));
    assert.ok(text.length > 10);
    assert.equal(http.state, "failed");
  }
  const http = feed("HEAD http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n");
  http.accept();
  http.refuse(Outcome.refused);
  assert.ok(drain(http).endsWith("\r\n\r\n"));
});

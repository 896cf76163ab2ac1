// Whatever bytes come, and however they are split, a proxy's parsers say the same, throw nothing
// and keep little.

import assert from "node:assert/strict";
import { Credentials } from "../../src/proxy/credentials.ts";
import { BodyReader } from "../../src/proxy/http_body.ts";
import { HEAD_BYTES_MAX } from "../../src/proxy/http_head.ts";
import { HttpInbound } from "../../src/proxy/http_inbound.ts";
import { HttpOutbound } from "../../src/proxy/http_outbound.ts";
import { HttpResponse } from "../../src/proxy/http_response.ts";
import { formatIp, parseIp } from "../../src/base/ip.ts";
import { parseListLine, parsePorts } from "../../src/proxy/rule_form.ts";
import { Socks5Inbound } from "../../src/proxy/socks5_inbound.ts";
import { Socks5Outbound } from "../../src/proxy/socks5_outbound.ts";
import { UdpHeaderReader } from "../../src/proxy/socks5_udp.ts";
import { normalizeDomainText, Target } from "../../src/proxy/target.ts";
import { fuzz, type Rng } from "./rng.ts";

const CASES = 20_000;
const CREDENTIALS = new Credentials([{ user: "alice", password: "secret" }]);
const CREDENTIAL = { user: "alice", password: "secret" };
const TARGET = new Target();
TARGET.setText("example.com:443");
const room = new Uint8Array(HEAD_BYTES_MAX + 1024);

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

const SOCKS_SEEDS = [
  Uint8Array.of(5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 1, 187, 22, 3, 1),
  Uint8Array.of(5, 2, 0, 2, 1, 5, ...bytesOf("alice"), 6, ...bytesOf("secret")),
  Uint8Array.of(5, 1, 0, 5, 3, 0, 3, 11, ...bytesOf("example.com"), 0, 53),
  Uint8Array.of(5, 2, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 80, 1),
  Uint8Array.of(5, 0, 5, 0, 0, 4, 32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 53),
];
const HTTP_SEEDS = [
  "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n\x16\x03\x01",
  "GET http://a.b:81/x?y HTTP/1.1\r\nHost: a.b\r\nConnection: close, X\r\nX: 1\r\n\r\nrest",
  "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 5\r\n\r\nhelloGET http://c.d/",
  "POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\nGET http://c.d/",
  "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b\r\nProxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "3\r\nabc\r\n0\r\n\r\n",
].map(bytesOf);
const SIGNS = [
  ...["\r\n", "\r", "\n", "\0", " ", "\t", ":", "\r\n ", "HTTP/1.1", "Content-Length: 5\r\n"],
  ...["Transfer-Encoding: chunked\r\n", "Host: x\r\n", ";", "0\r\n\r\n", "http://", "[::1]", "@"],
];

function input(rng: Rng, seeds: readonly Uint8Array[]): Uint8Array {
  if (rng.chance(0.15)) return rng.bytes(rng.int(0, 300));
  const seed = rng.pick(seeds);
  if (rng.chance(0.5)) return rng.mutate(seed);
  const text = String.fromCharCode(...seed);
  return bytesOf(rng.mutateText(text, SIGNS, rng.int(0, 3)));
}

/** Calls with pieces of the input, until one is not used up; returns how much was. */
function inPieces(
  bytes: Uint8Array,
  rng: Rng | undefined,
  feed: (bytes: Uint8Array, at: number, length: number) => number,
): number {
  // A window of its own at an odd offset: nobody may look outside of it.
  const window = new Uint8Array(bytes.length + 7).fill(0xee);
  window.set(bytes, 3);
  let used = 0;
  while (used < bytes.length) {
    const left = bytes.length - used;
    const length = rng === undefined ? left : Math.min(left, rng.int(1, rng.pick([1, 4, 40])));
    const taken = feed(window, 3 + used, length);
    assert.ok(taken >= 0 && taken <= length);
    used += taken;
    if (taken < length) break;
  }
  return used;
}

function drained(side: { drain(out: Uint8Array, at: number, room: number): number }): string {
  return String.fromCharCode(...room.subarray(0, side.drain(room, 0, room.length)));
}

/** The same facts for the input in one piece and in random ones. */
function assertSplitless(
  rng: Rng,
  seeds: readonly Uint8Array[],
  run: (bytes: Uint8Array, rng: Rng | undefined) => readonly unknown[],
): void {
  const bytes = input(rng, seeds);
  assert.deepEqual(run(bytes, rng), run(bytes, undefined));
}

Deno.test("SOCKS5 as a server: every split gives the same", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const options = rng.chance(0.5) ? { credentials: CREDENTIALS } : {};
    assertSplitless(rng, SOCKS_SEEDS, (bytes, splitter) => {
      const socks = new Socks5Inbound(options);
      const used = inPieces(
        bytes,
        splitter,
        (window, at, length) => socks.feed(window, at, length),
      );
      if (socks.state === "ready") assert.equal(socks.user === "alice", "credentials" in options);
      return [used, socks.state, socks.fault, socks.command, `${socks.target}`, drained(socks)];
    });
  });
});

Deno.test("SOCKS5 as a client: every split gives the same", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const credential = rng.chance(0.5) ? CREDENTIAL : undefined;
    assertSplitless(rng, SOCKS_SEEDS, (bytes, splitter) => {
      const socks = new Socks5Outbound(TARGET, credential);
      const used = inPieces(
        bytes,
        splitter,
        (window, at, length) => socks.feed(window, at, length),
      );
      return [used, socks.state, socks.code, socks.fault, `${socks.bound}`, drained(socks)];
    });
  });
});

Deno.test("an HTTP proxy: every split gives the same, and what goes on is clean", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const options = rng.chance(0.2) ? { credentials: CREDENTIALS } : {};
    assertSplitless(rng, HTTP_SEEDS, (bytes, splitter) => {
      const http = new HttpInbound(options);
      const used = inPieces(bytes, splitter, (window, at, length) => http.feed(window, at, length));
      let body = 0;
      if (http.state === "ready") {
        http.accept();
        const rest = bytes.subarray(used);
        body = inPieces(rest, splitter, (window, at, length) => http.body(window, at, length));
      }
      const request = room.subarray(0, http.drainRequest(room, 0, room.length));
      if (request.length > 0) assertClean(String.fromCharCode(...request));
      const { state, fault, target, user, keepAlive } = http;
      return [used, body, state, fault, `${target}`, user, keepAlive, [...request], drained(http)];
    });
  });
});

/** What the origin gets can be read in one way only. */
function assertClean(request: string): void {
  assert.ok(request.endsWith("Connection: close\r\n\r\n"), request);
  assert.equal(request.indexOf("\r\n\r\n"), request.length - 4);
  const lines = request.slice(0, -4).split("\r\n");
  assert.match(lines[0] ?? "", /^[^ ]+ [/*][^ ]* HTTP\/1\.[01]$/);
  assert.match(lines[1] ?? "", /^Host: [^ ]+$/);
  const names = lines.slice(1).map((line) => /^([^\s:()]+): /.exec(line)?.[1]?.toLowerCase());
  assert.ok(!names.includes(undefined), request);
  assert.equal(names.filter((name) => name === "host" || name === "connection").length, 2);
  const framing = names.filter((name) => name === "content-length" || name === "transfer-encoding");
  assert.ok(framing.length <= 1);
  assert.ok(!/[\0]|(^|[^\r])\n|\r(?!\n)/.test(request), request);
}

Deno.test("an origin's response: every split gives the same", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const options = {
      isHead: rng.chance(0.1),
      isHttp11: rng.chance(0.9),
      keepAlive: rng.chance(0.5),
    };
    assertSplitless(rng, HTTP_SEEDS, (bytes, splitter) => {
      const response = new HttpResponse(options);
      let out = "";
      const used = inPieces(bytes, splitter, (window, at, length) => {
        let taken = 0;
        for (let isMoving = true; isMoving && taken < length;) {
          const left = length - taken;
          const isBody = response.state === "body";
          const count = isBody
            ? response.body(window, at + taken, left)
            : response.feed(window, at + taken, left);
          if (isBody) {
            out += String.fromCharCode(...window.subarray(at + taken, at + taken + count));
          }
          taken += count;
          out += drained(response);
          isMoving = count > 0;
        }
        return taken;
      });
      const { state, status, fault, keepAlive } = response;
      return [used, out, state, status, fault, keepAlive, response.end()];
    });
  });
});

Deno.test("an upstream's answer to CONNECT: every split gives the same", () => {
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    assertSplitless(rng, HTTP_SEEDS, (bytes, splitter) => {
      const http = new HttpOutbound(TARGET, CREDENTIAL);
      const used = inPieces(bytes, splitter, (window, at, length) => http.feed(window, at, length));
      return [used, http.state, http.status, http.code, http.fault];
    });
  });
});

Deno.test("chunks: every split gives the same", () => {
  const seeds = ["5\r\nhello\r\n0\r\n\r\nX", "a;b=c\r\n0123456789\r\n00\r\nA: b\r\n\r\nX"].map(
    bytesOf,
  );
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    assertSplitless(rng, seeds, (bytes, splitter) => {
      const body = new BodyReader();
      body.start("chunked", 0);
      const used = inPieces(bytes, splitter, (window, at, length) => body.feed(window, at, length));
      return [used, body.state];
    });
  });
});

Deno.test("UDP headers: what is read lies inside, and comes out again as it was", () => {
  const reader = new UdpHeaderReader();
  const target = new Target();
  const seeds = [
    Uint8Array.of(0, 0, 0, 1, 192, 0, 2, 1, 0, 53, 9, 9),
    Uint8Array.of(0, 0, 0, 3, 3, ...bytesOf("a.b"), 0, 53, 9, 9),
    Uint8Array.of(0, 0, 0, 4, ...parseIp("2001:db8::1") ?? [], 0, 53, 9),
  ];
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const bytes = input(rng, seeds);
    const before = reader.fragments + reader.malformed;
    if (!reader.read(bytes, 0, bytes.length)) {
      assert.equal(reader.fragments + reader.malformed, before + 1);
      return;
    }
    assert.equal(reader.dataAt + reader.dataLength, bytes.length);
    assert.equal(reader.addressAt + reader.addressLength, reader.dataAt);
    if (target.readSocks(bytes, reader.addressAt, reader.addressLength) <= 0) return;
    const copy = new Target();
    const length = target.writeSocks(room, 0);
    assert.equal(copy.readSocks(room, 0, length), length);
    assert.equal(`${copy}`, `${target}`);
  });
});

Deno.test("texts of addresses, names, rules: read or refused, and stable when read", () => {
  const seeds = [
    ...["192.0.2.1", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "example.com:443"],
    ...["[2001:db8::1]:80", "full:a.b", "keyword:x", "10.0.0.0/8", "8000-8009", "xn--a.b."],
  ];
  const pieces = [
    ":",
    "::",
    ".",
    "..",
    "/",
    "[",
    "]",
    "0",
    "00",
    "0x",
    "-",
    "255",
    "256",
    "\0",
    "ü",
  ];
  const target = new Target();
  const again = new Target();
  fuzz({ seed: 1, cases: CASES }, (rng) => {
    const text = rng.mutateText(rng.pick(seeds), pieces);
    const ip = parseIp(text);
    if (ip !== undefined) assert.deepEqual(parseIp(formatIp(ip)), ip);
    const name = normalizeDomainText(text);
    if (name !== undefined) assert.equal(normalizeDomainText(name), name);
    if (target.setText(text, 80)) {
      assert.ok(again.setText(`${target}`));
      assert.equal(`${again}`, `${target}`);
      // An address never hides behind a name.
      assert.ok(!target.isDomain || parseIp(target.name) === undefined);
    }
    parseListLine(text);
    parsePorts(text);
  });
});

Deno.test("nothing grows without bound, however much is sent", () => {
  const flood = new Uint8Array(1 << 20).fill(0x41);
  const http = new HttpInbound();
  assert.equal(http.feed(flood, 0, flood.length), HEAD_BYTES_MAX + 1);
  assert.equal(http.state, "failed");
  const outbound = new HttpOutbound(TARGET);
  assert.equal(outbound.feed(flood, 0, flood.length), HEAD_BYTES_MAX + 1);
  const response = new HttpResponse({ isHead: false, isHttp11: true, keepAlive: true });
  assert.equal(response.feed(flood, 0, flood.length), HEAD_BYTES_MAX + 1);
  const socks = new Socks5Inbound();
  assert.ok(socks.feed(flood.fill(5), 0, flood.length) <= 513);
});

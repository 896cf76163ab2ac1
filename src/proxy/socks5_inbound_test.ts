import assert from "node:assert/strict";
import { Credentials } from "./credentials.ts";
import { parseIp } from "../base/ip.ts";
import { SocksReply } from "./outcome.ts";
import { Socks5Inbound, type Socks5Options, SocksCommand } from "./socks5_inbound.ts";

const encoder = new TextEncoder();
const GREETING = [5, 1, 0];
const CONNECT_V4 = [5, 1, 0, 1, 192, 0, 2, 1, 0x01, 0xbb];

function domainRequest(name: string, port = 443, command = 1): number[] {
  const bytes = encoder.encode(name);
  return [5, command, 0, 3, bytes.length, ...bytes, port >> 8, port & 0xff];
}

function auth(user: string, password: string): number[] {
  const [a, b] = [encoder.encode(user), encoder.encode(password)];
  return [1, a.length, ...a, b.length, ...b];
}

interface Fed {
  readonly socks: Socks5Inbound;
  readonly used: number;
  readonly replies: number[];
}

function feed(bytes: readonly number[], options: Socks5Options = {}, step = Infinity): Fed {
  const socks = new Socks5Inbound(options);
  const input = Uint8Array.from(bytes);
  let used = 0;
  for (let at = 0; at < input.length; at += step) {
    const length = Math.min(step, input.length - at);
    const taken = socks.feed(input, at, length);
    used += taken;
    if (taken < length) break;
  }
  return { socks, used, replies: drain(socks) };
}

function drain(socks: Socks5Inbound): number[] {
  const out = new Uint8Array(64);
  return [...out.subarray(0, socks.drain(out, 0, out.length))];
}

Deno.test("CONNECT is read in one piece and byte by byte, early data left alone", () => {
  const cases: [number[], string][] = [
    [CONNECT_V4, "192.0.2.1:443"],
    [[5, 1, 0, 4, ...parseIp("2001:db8::1") ?? [], 0, 53], "[2001:db8::1]:53"],
    [domainRequest("Example.COM."), "example.com:443"],
    [domainRequest("10.0.0.1"), "10.0.0.1:443"],
    [domainRequest("::1"), "[::1]:443"],
  ];
  for (const [request, target] of cases) {
    for (const step of [1, 2, 3, 5, Infinity]) {
      const bytes = [...GREETING, ...request, 0x16, 3, 1];
      const { socks, used, replies } = feed(bytes, {}, step);
      assert.equal(socks.state, "ready");
      assert.equal(socks.command, SocksCommand.CONNECT);
      assert.equal(socks.target.toString(), target);
      assert.equal(used, bytes.length - 3);
      assert.deepEqual(replies, [5, 0]);
    }
  }
});

Deno.test("accept() and refuse() answer once, with the bound address", () => {
  const { socks } = feed([...GREETING, ...CONNECT_V4]);
  socks.accept(parseIp("2001:db8::9"), 1080);
  assert.equal(socks.state, "accepted");
  assert.deepEqual(drain(socks), [5, 0, 0, 4, ...parseIp("2001:db8::9") ?? [], 4, 56]);
  assert.throws(() => socks.accept(), TypeError);
  const { socks: other } = feed([...GREETING, ...CONNECT_V4]);
  other.refuse(SocksReply.REFUSED);
  assert.equal(other.state, "failed");
  assert.deepEqual(drain(other), [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
  assert.throws(() => new Socks5Inbound().refuse(1), TypeError);
});

Deno.test("a reply is drained in pieces", () => {
  const { socks } = feed([...GREETING, ...CONNECT_V4]);
  socks.accept();
  const out = new Uint8Array(1);
  const drained: number[] = [];
  while (socks.pending > 0) drained.push(...out.subarray(0, socks.drain(out, 0, 1)));
  assert.deepEqual(drained, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  assert.equal(socks.drain(out, 0, 1), 0);
});

Deno.test("user and password are asked for and checked", () => {
  const credentials = new Credentials([{ user: "alice", password: "secret" }]);
  const hello = [5, 2, 0, 2];
  for (const step of [1, Infinity]) {
    const bytes = [...hello, ...auth("alice", "secret"), ...CONNECT_V4];
    const { socks, replies } = feed(bytes, { credentials }, step);
    assert.equal(socks.state, "ready");
    assert.equal(socks.user, "alice");
    assert.deepEqual(replies, [5, 2, 1, 0]);
  }
  for (const [user, password] of [["alice", "x"], ["", ""], ["bob", "secret"]] as const) {
    const pair = auth(user, password);
    const { socks, used, replies } = feed([...hello, ...pair, ...CONNECT_V4], {
      credentials,
    });
    assert.equal(socks.state, "failed");
    assert.deepEqual(replies, [5, 2, 1, 1]);
    assert.equal(used, hello.length + pair.length);
  }
});

Deno.test("authentication can't be left out", () => {
  const credentials = new Credentials([{ user: "alice", password: "secret" }]);
  for (const methods of [[], [0], [1, 3, 0x80], [0xff]]) {
    const bytes = [5, methods.length, ...methods, ...CONNECT_V4];
    const { socks, replies } = feed(bytes, { credentials });
    assert.equal(socks.state, "failed");
    assert.deepEqual(replies, [5, 0xff]);
  }
  const { socks, replies } = feed([5, 1, 2, ...CONNECT_V4], { credentials });
  assert.equal(socks.state, "failed");
  assert.deepEqual(replies, [5, 2]);
  assert.equal(feed([5, 1, 2]).socks.state, "failed");
});

Deno.test("commands and addresses that are not served are refused with their code", () => {
  const cases: [number[], number][] = [
    [[5, 2, 0, 1, 1, 1, 1, 1, 0, 80], SocksReply.BAD_COMMAND],
    [[5, 9, 0, 1, 1, 1, 1, 1, 0, 80], SocksReply.BAD_COMMAND],
    [[5, 1, 0, 2, 1, 1, 1, 1, 0, 80], SocksReply.BAD_ADDRESS_TYPE],
    [[5, 1, 0, 1, 1, 1, 1, 1, 0, 0], SocksReply.FAILURE],
    [domainRequest("127.1"), SocksReply.FAILURE],
    [domainRequest("a\0b"), SocksReply.FAILURE],
    [domainRequest(""), SocksReply.FAILURE],
    [[4, 1, 0, 1, 1, 1, 1, 1, 0, 80], SocksReply.FAILURE],
  ];
  for (const [request, reply] of cases) {
    for (const step of [1, Infinity]) {
      const { socks, replies } = feed([...GREETING, ...request], {}, step);
      assert.equal(socks.state, "failed", String(request));
      assert.deepEqual(replies.slice(0, 4), [5, 0, 5, reply]);
      assert.equal(replies.length, 12);
      assert.equal(socks.feed(Uint8Array.of(5), 0, 1), 0);
    }
  }
});

Deno.test("UDP ASSOCIATE may come without an address, and may be switched off", () => {
  const request = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
  const { socks } = feed([...GREETING, ...request]);
  assert.equal(socks.state, "ready");
  assert.equal(socks.command, SocksCommand.UDP_ASSOCIATE);
  const { replies } = feed([...GREETING, ...request], { allowUdp: false });
  assert.equal(replies[3], SocksReply.BAD_COMMAND);
});

Deno.test("what is not SOCKS5 ends at the greeting, without an answer", () => {
  for (const first of [0, 4, 0x47, 0xff]) {
    const { socks, replies } = feed([first, 0]);
    assert.equal(socks.state, "failed");
    assert.deepEqual(replies, []);
  }
});

Deno.test("the longest of everything fits", () => {
  const longest = "x".repeat(255);
  const credentials = new Credentials([{ user: longest, password: longest }]);
  const methods = Array.from({ length: 255 }, (_, i) => i);
  const name = `${"a".repeat(63)}.`.repeat(3) + `${"a".repeat(61)}.`;
  const bytes = [5, 255, ...methods, ...auth(longest, longest), ...domainRequest(name)];
  const { socks } = feed(bytes, { credentials });
  assert.equal(socks.target.name.length, 253);
});

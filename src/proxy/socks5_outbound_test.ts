import assert from "node:assert/strict";
import { Credentials } from "./credentials.ts";
import { parseIp } from "../base/ip.ts";
import { OpenedCode } from "../wire/frames.ts";
import { Socks5Inbound, SocksCommand } from "./socks5_inbound.ts";
import { Socks5Outbound } from "./socks5_outbound.ts";
import { Target } from "./target.ts";

const CREDENTIAL = { user: "alice", password: "secret" };

function target(text: string): Target {
  const made = new Target();
  assert.ok(made.setText(text));
  return made;
}

function drain(side: Socks5Inbound | Socks5Outbound): Uint8Array {
  const out = new Uint8Array(1024);
  return out.subarray(0, side.drain(out, 0, out.length));
}

function feed(socks: Socks5Outbound, bytes: readonly number[]): number {
  return socks.feed(Uint8Array.from(bytes), 0, bytes.length);
}

Deno.test("both sides understand each other, byte by byte", () => {
  for (const credential of [undefined, CREDENTIAL]) {
    for (const text of ["example.com:443", "192.0.2.1:80", "[2001:db8::1]:53"]) {
      const options = credential && { credentials: new Credentials([credential]) };
      const server = new Socks5Inbound(options);
      const client = new Socks5Outbound(target(text), credential);
      for (let round = 0; round < 10 && client.state === "waiting"; round++) {
        for (const byte of drain(client)) server.feed(Uint8Array.of(byte), 0, 1);
        if (server.state === "ready") server.accept(parseIp("2001:db8::5"), 7);
        for (const byte of drain(server)) client.feed(Uint8Array.of(byte), 0, 1);
      }
      assert.equal(server.target.toString(), text);
      assert.equal(client.state, "open");
      assert.equal(client.bound.toString(), "[2001:db8::5]:7");
    }
  }
});

Deno.test("what follows the reply is the stream's", () => {
  const socks = new Socks5Outbound(target("a.b:1"));
  assert.deepEqual([...drain(socks)], [5, 1, 0]);
  assert.equal(feed(socks, [5, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 5, 0x48, 0x49]), 12);
  assert.equal(socks.state, "open");
  assert.equal(feed(socks, [1]), 0);
});

Deno.test("an odd bound address matters to UDP ASSOCIATE only", () => {
  for (const command of [SocksCommand.CONNECT, SocksCommand.UDP_ASSOCIATE]) {
    const socks = new Socks5Outbound(target("a.b:1"), undefined, command);
    feed(socks, [5, 0, 5, 0, 0, 3, 1, 0x20, 0, 5]);
    assert.equal(socks.state, command === SocksCommand.CONNECT ? "open" : "failed");
  }
});

Deno.test("refusals become codes", () => {
  const cases: [number[], number][] = [
    [[4, 0], OpenedCode.unreachable],
    [[5, 0xff], OpenedCode.denied],
    [[5, 2], OpenedCode.denied],
    [[5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0], OpenedCode.refused],
    [[5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0], OpenedCode.denied],
    [[5, 0, 5, 0, 0, 9, 0], OpenedCode.unreachable],
    [[5, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0], OpenedCode.unreachable],
  ];
  for (const [bytes, code] of cases) {
    const socks = new Socks5Outbound(target("a.b:1"));
    feed(socks, bytes);
    assert.equal(socks.state, "failed", String(bytes));
    assert.equal(socks.code, code);
    assert.notEqual(socks.fault, "");
  }
  const socks = new Socks5Outbound(target("a.b:1"), CREDENTIAL);
  feed(socks, [5, 2, 1, 1]);
  assert.deepEqual([socks.state, socks.code], ["failed", OpenedCode.denied]);
});

import assert from "node:assert/strict";
import { type Endpoint, endpoint, routeTo } from "../../ffi/endpoint.ts";
import { udpFragment, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { ADDRESS, Pair } from "../../tests/fixtures/tunnel.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { DATAGRAM_BYTES_MAX } from "../session/limits.ts";
import type { Session } from "../session/session.ts";

const native = testNative();

const SIZES = [1, 1200, 1400, 1472, 1500, 3000, 8000, 30_000, DATAGRAM_BYTES_MAX];

function pattern(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).map((_, i) => Math.imul(length + i, 2_654_435_761) >>> 24);
}

function send(session: Session, length: number): void {
  const bytes = pattern(length);
  assert.ok(session.sendDatagram(5, ADDRESS, 0, ADDRESS.length, bytes, 0, length), `${length}`);
}

Deno.test("datagrams of every size arrive whole, both ways, beside a stream", () => {
  using pair = new Pair();
  const got = { up: [] as number[], down: [] as number[] };
  const take = (sizes: number[]) =>
  (
    _session: Session,
    assoc: number,
    bytes: Uint8Array,
    _addressAt: number,
    _addressLength: number,
    at: number,
    length: number,
  ) => {
    assert.equal(assoc, 5);
    assert.deepEqual(bytes.slice(at, at + length), pattern(length));
    sizes.push(length);
  };
  pair.atServer.datagram = take(got.up);
  pair.atClient.datagram = take(got.down);
  const session = pair.greet();
  pair.until(() => pair.client.state === "open" && pair.atServer.sessions.length === 1);
  const [own] = pair.atServer.sessions;
  pair.until(() => own!.pathState(0)!.isProven);
  const block = new Uint8Array(2 << 20);
  let left = block.length;
  const pour = () => {
    left -= session.write(0, block, 0, left);
    pair.client.wake(session);
  };
  pair.atClient.writable = pour;
  pour();
  for (const size of SIZES) {
    send(session, size);
    send(own!, size);
  }
  pair.client.wake(session);
  pair.server.wake(own!);
  pair.until(() => got.up.length === SIZES.length && got.down.length === SIZES.length);
  pair.until(() => pair.atServer.received === block.length + 5);
  assert.deepEqual([got.up, got.down], [SIZES, SIZES]);
  for (const { pump } of [pair.client, pair.server]) assert.equal(pump.sent.refused, 0);
  const counters = [session.counters, own!.counters];
  assert.deepEqual(counters.map(({ datagramsTooLong }) => datagramsTooLong), [0, 0]);
  assert.equal(own!.recovery.path(0)!.pmtu.holes, 0);
});

Deno.test("a large datagram is in the first words of a client", () => {
  using pair = new Pair();
  let got = 0;
  pair.atServer.datagram = (_s, _a, _b, _at, _al, _d, length) => void (got = length);
  const session = pair.client.session();
  send(session, 9000);
  pair.client.wake(session);
  pair.until(() => got === 9000);
});

Deno.test("more large datagrams than a batch holds arrive", () => {
  using pair = new Pair();
  let got = 0;
  pair.atServer.datagram = () => void got++;
  const session = pair.greet();
  pair.until(() => pair.client.state === "open");
  for (let i = 0; i < 7; i++) send(session, 60_000);
  pair.client.wake(session);
  pair.until(() => got === 7);
});

for (const [name, text] of [["IPv4", "127.0.0.1"], ["IPv6", "::1"]] as const) {
  Deno.test(`a socket that never fragments does where it is asked to: ${name}`, () => {
    const ip = ipBytes(text);
    using from = new UdpSocket(native, {
      local: endpoint(new Uint8Array(16), 0),
      dontFragment: true,
    });
    using to = new UdpSocket(native, { local: endpoint(ip, 0) });
    const peer: Endpoint = endpoint(ip, to.local.port);
    // Loopback's MTU is 65,536: what is on top of it does not fit as one.
    const length = 65_507;
    const outbox = new UdpOutbox(pattern(length));
    const inbox = new UdpInbox();
    const whole = outbox.add(routeTo(peer), 0, 1000);
    const cut = outbox.add(routeTo(peer), 0, length, udpFragment);
    const after = outbox.add(routeTo(peer), 0, 2000);
    assert.equal(from.send(outbox), 3);
    assert.deepEqual([whole, cut, after].map((i) => outbox.result(i)), [0, 0, 0]);
    const sizes: number[] = [];
    for (let count = to.receive(inbox); count > 0; count = to.receive(inbox)) {
      for (let i = 0; i < count; i++) sizes.push(inbox.length(i));
    }
    assert.deepEqual(sizes, [1000, length, 2000]);
  });
}

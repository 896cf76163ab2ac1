import assert from "node:assert/strict";
import { ADDRESS, Pair, type PairOptions, Source } from "../../tests/fixtures/tunnel.ts";
import { testNative } from "../../tests/native.ts";
import { cipherMachine } from "../../ffi/aead.ts";
import { Cipher } from "../crypto/ciphers.ts";
import { CloseCode, OpenedCode } from "../wire/frames.ts";

testNative();

interface Transfer {
  readonly total: number;
  readonly ms: number;
  /** Called now and then, with the share that has arrived. */
  readonly during?: (pair: Pair, share: number) => void;
}

/** Sends a pattern up and down one stream; every byte is compared. */
function transfer(pair: Pair, { total, ms, during }: Transfer): void {
  const { atServer, atClient, client } = pair;
  const up = new Source(total);
  const down = new Source(total);
  const got = { up: 0, down: 0 };
  let isRight = true;
  atServer.opened = (session, stream) => {
    session.answer(stream, OpenedCode.ok, ADDRESS);
    down.pump(session, stream);
    pair.server.wake(session);
  };
  atServer.writable = (session, stream) => {
    down.pump(session, stream);
    pair.server.wake(session);
  };
  atServer.data = (_session, _stream, bytes, at, length) => {
    isRight &&= up.isRight(got.up, bytes, at, length);
    got.up += length;
    return length;
  };
  atClient.data = (_session, _stream, bytes, at, length) => {
    isRight &&= down.isRight(got.down, bytes, at, length);
    got.down += length;
    return length;
  };
  atClient.writable = (session, stream) => up.pump(session, stream);
  const session = client.session();
  const stream = session.openStream(ADDRESS);
  up.pump(session, stream);
  client.wake(session);
  pair.until(() => {
    during?.(pair, (got.up + got.down) / (2 * total));
    return atServer.log.includes("ended 0") && atClient.log.includes("ended 0");
  }, ms);
  assert.ok(isRight, "every byte in its place");
  assert.deepEqual(got, { up: total, down: total });
}

function run(options: PairOptions, what: Transfer, check?: (pair: Pair) => void): void {
  using pair = new Pair(options);
  transfer(pair, what);
  check?.(pair);
}

Deno.test("a stream carries 100 MB each way at once", () => {
  run({}, { total: 100e6, ms: 30_000 }, ({ server, client }) => {
    for (const { pump } of [server, client]) {
      const { junk, forged, repeated, strangers } = pump.received;
      assert.deepEqual({ junk, forged, repeated, strangers }, {
        ...{ junk: 0, forged: 0, repeated: 0, strangers: 0 },
      });
      assert.equal(pump.sent.refused, 0);
    }
  });
});

Deno.test("what is lost, repeated and out of order arrives all the same", () => {
  const middle = { seed: 5, loss: 0.05, duplicate: 0.05, reorder: 0.05 };
  run({ middle }, { total: 4e6, ms: 60_000 }, ({ server }) => {
    assert.ok(server.pump.received.repeated > 0, "copies were seen and dropped");
  });
});

Deno.test("keys are updated while data flows, in both directions", () => {
  const tuning = { keyUpdatePackets: 300 };
  run(
    { serverTuning: tuning, clientTuning: tuning },
    { total: 10e6, ms: 20_000 },
    ({ server, client }) => {
      const phases = [...server.pump.peers.all(), ...client.pump.peers.all()]
        .map(({ keys }) => keys!.updates);
      assert.ok(phases.every((updates) => updates > 2), `updates: ${phases}`);
      assert.equal(server.pump.received.forged + client.pump.received.forged, 0);
    },
  );
});

Deno.test("keys are updated under loss as well", () => {
  const tuning = { keyUpdatePackets: 200 };
  const middle = { seed: 9, loss: 0.03, duplicate: 0.03, reorder: 0.1 };
  run({ serverTuning: tuning, clientTuning: tuning, middle }, { total: 2e6, ms: 60_000 });
});

Deno.test("a client that gets another address keeps its session", () => {
  let moves = 0;
  const during = (pair: Pair, share: number) => {
    if (share > 0.3 * (moves + 1) && moves < 2) {
      moves++;
      pair.middle.moveBack();
    }
  };
  run({ middle: {} }, { total: 20e6, ms: 40_000, during }, ({ atServer, server }) => {
    assert.equal(moves, 2);
    assert.equal(atServer.log.filter((line) => line.startsWith("proven")).length, 1 + 2);
    assert.equal(atServer.sessions.length, 1);
    assert.equal(server.pump.peers.count, 1);
  });
});

Deno.test("a client with a new socket keeps its session", () => {
  let isDone = false;
  const during = (pair: Pair, share: number) => {
    if (share < 0.5 || isDone) return;
    isDone = true;
    pair.client.rebind();
  };
  run({}, { total: 40e6, ms: 40_000, during }, ({ atServer }) => {
    assert.equal(atServer.sessions.length, 1);
    assert.ok(atServer.log.some((line) => line.startsWith("proven")));
  });
});

Deno.test("junk and mangled packets neither stop nor slow a session for good", () => {
  let turn = 0;
  const junk = crypto.getRandomValues(new Uint8Array(1200));
  const during = (pair: Pair) => {
    pair.middle.isKeeping = true;
    for (let i = 0; i < 20; i++) {
      junk[turn++ % junk.length]! ^= turn;
      pair.middle.inject(junk.subarray(0, 1 + turn % 1200), turn % 3 === 0);
    }
    const real = pair.middle.kept.pop();
    pair.middle.kept.length = 0;
    if (real === undefined) return;
    // Once more as it was, and once with a bit that is wrong, from elsewhere.
    pair.middle.inject(real, true);
    real[turn % real.length]! ^= 1;
    pair.middle.inject(real, true);
  };
  const middle = { mangle: 0.05 };
  run({ middle }, { total: 10e6, ms: 40_000, during }, ({ server, atServer }) => {
    const { junk: dropped, forged, repeated } = server.pump.received;
    assert.ok(dropped > 0 && forged > 0 && repeated > 0, `${dropped} ${forged} ${repeated}`);
    assert.equal(atServer.log.filter((line) => line.startsWith("proven")).length, 1);
    assert.equal(server.pump.control.sent, 1, "the ACCEPT alone");
  });
});

Deno.test("10,000 streams in one session, a few bytes each", () => {
  using pair = new Pair();
  const session = pair.client.session();
  pair.atServer.opened = (own, stream) => {
    own.answer(stream, OpenedCode.ok, ADDRESS);
    own.finish(stream);
    pair.server.wake(own);
  };
  const word = new TextEncoder().encode("word");
  for (let i = 0; i < 10_000; i++) {
    const stream = session.openStream(ADDRESS);
    session.write(stream, word, 0, word.length);
    session.finish(stream);
  }
  pair.client.wake(session);
  const isOver = () =>
    pair.atClient.log.filter((line) => line.startsWith("gone")).length === 10_000;
  // No faster than a server takes OPENs.
  pair.until(isOver, 30_000);
  assert.equal(pair.atServer.received, 40_000);
  assert.equal(session.streamCount, 0);
});

Deno.test("datagrams go both ways, and an association ends", () => {
  using pair = new Pair();
  const bytes = new TextEncoder().encode("ping");
  pair.atServer.datagram = (session, assoc, from, addressAt, addressLength, at, length) => {
    session.sendDatagram(assoc, from, addressAt, addressLength, from, at, length);
    pair.server.wake(session);
  };
  const session = pair.client.session();
  assert.ok(session.sendDatagram(3, ADDRESS, 0, ADDRESS.length, bytes, 0, bytes.length));
  pair.client.wake(session);
  pair.until(() => pair.atClient.log.includes("datagram 3 ping"));
  session.endAssoc(3);
  pair.client.wake(session);
  pair.until(() => pair.atServer.log.includes("assoc ended 3"));
});

const { chacha20, aes256 } = Cipher;
const hasAes = cipherMachine(testNative()).hasAes;

Deno.test({
  name: "data goes under whichever cipher both ends have, and under its next keys",
  ignore: !hasAes,
  fn() {
    const clientTuning = { keyUpdatePackets: 50 };
    for (const [client, server] of [[aes256, aes256], [aes256], [chacha20], []] as const) {
      const options = {
        client: client === undefined ? {} : { cipher: client },
        server: server === undefined ? {} : { cipher: server },
      };
      run({ ...options, clientTuning, serverTuning: clientTuning }, { total: 2e6, ms: 40_000 }, ({
        server: { pump },
      }) => {
        const [guest] = pump.peers.all();
        assert.ok(guest!.keys!.updates > 2, `${guest!.keys!.updates} updates`);
        assert.equal(pump.received.forged, 0);
      });
    }
  },
});

Deno.test({
  name: "ends that force ciphers that differ are told so",
  ignore: !hasAes,
  fn() {
    using pair = new Pair({ client: { cipher: chacha20 }, server: { cipher: aes256 } });
    pair.greet();
    pair.until(() => pair.atClient.log.includes(`closed ${CloseCode.noCommonCipher} peer`));
    assert.equal(pair.client.closeCode, CloseCode.noCommonCipher);
    assert.equal(pair.server.pump.peers.count, 0);
    assert.equal(pair.server.counters.ciphersRefused, 1);
  },
});

/** The client's primitives against vectors that were computed elsewhere; needs no server. */
import assert from "node:assert/strict";
import { concat, hex, Reader, unhex, varint } from "./bytes.ts";
import { decodeFrames, encodeFrames } from "./frames.ts";
import * as wire from "./wire.ts";

type Row = Readonly<Record<string, string | number>>;

const FOLDER = new URL("../fixtures/vectors/", import.meta.url);

function rows(name: string): Row[] {
  return JSON.parse(Deno.readTextFileSync(new URL(`${name}.json`, FOLDER)));
}

function str(row: Row, name: string): string {
  const value = row[name];
  if (typeof value !== "string") throw new Error(`${name} is no text`);
  return value;
}

function num(row: Row, name: string): number {
  const value = row[name];
  if (typeof value !== "number") throw new Error(`${name} is no number`);
  return value;
}

function bin(row: Row, name: string): Uint8Array {
  return unhex(str(row, name));
}

function big(row: Row, name: string): bigint {
  return BigInt(`0x${str(row, name)}`);
}

function same(actual: Uint8Array, row: Row, name: string): void {
  assert.equal(hex(actual), str(row, name), name);
}

function directionOf(row: Row): wire.Direction {
  return num(row, "direction") === 0 ? wire.TO_SERVER : wire.TO_CLIENT;
}

/** Masks a clear packet, compares it with the row's, takes the mask off again. */
function sameOnTheWire(keys: wire.Tskd, clear: Uint8Array, row: Row): wire.Unmasked {
  same(clear, row, "clear");
  const window = num(row, "window");
  const direction = directionOf(row);
  const packet = wire.mask(keys.maskKey(window), clear, direction);
  same(packet, row, "packet");
  for (const now of [window - 1, window, window + 1]) {
    const found = wire.unmask(keys, packet, now, direction);
    assert.equal(found?.window, window);
    assert.equal(hex(found.clear), hex(clear));
  }
  assert.equal(wire.unmask(keys, packet, window - 2, direction), undefined);
  assert.equal(wire.unmask(keys, packet, window + 2, direction), undefined);
  const found = wire.unmask(keys, packet, window, direction);
  if (found === undefined) throw new Error("not found under its own window");
  return found;
}

function tokenOf(row: Row, session: string): Uint8Array {
  return wire.resetToken(bin(row, "serverSecret"), num(row, session), num(row, "generation"));
}

Deno.test("vectors: SipHash-2-4", () => {
  for (const row of rows("siphash")) {
    same(wire.sipHash(bin(row, "key"), bin(row, "message")), row, "hash");
  }
});

Deno.test("vectors: HKDF", () => {
  for (const row of rows("hkdf")) {
    const okm = bin(row, "okm");
    const got = wire.derive(bin(row, "ikm"), bin(row, "salt"), bin(row, "info"), okm.length);
    same(got, row, "okm");
  }
});

Deno.test("vectors: X25519", () => {
  for (const row of rows("x25519")) {
    same(wire.x25519(bin(row, "scalar"), bin(row, "u")), row, "result");
  }
});

Deno.test("vectors: X25519 refuses an all-zero secret", () => {
  assert.throws(() => wire.x25519(new Uint8Array(32).fill(7), new Uint8Array(32)));
});

Deno.test("vectors: TSKD", () => {
  for (const row of rows("tskd")) {
    const keys = new wire.Tskd(bin(row, "psk"));
    assert.equal(wire.windowOf(num(row, "unixMs")), num(row, "window"));
    same(keys.windowKey(num(row, "window")), row, "windowKey");
    same(keys.maskKey(num(row, "window")), row, "maskKey");
  }
});

Deno.test("vectors: masks and what is junk", () => {
  for (const row of rows("mask")) {
    const key = bin(row, "maskKey");
    const direction = directionOf(row);
    same(wire.mask(key, bin(row, "clear"), direction), row, "packet");
    const found = wire.unmaskUnder(key, bin(row, "packet"), direction);
    assert.equal(hex(found?.clear ?? new Uint8Array(0)), str(row, "clear"));
    const other = direction === wire.TO_SERVER ? wire.TO_CLIENT : wire.TO_SERVER;
    assert.equal(wire.unmaskUnder(key, bin(row, "packet"), other), undefined);
    for (const junk of (row as unknown as { junk: string[] }).junk) {
      assert.equal(wire.unmaskUnder(key, unhex(junk), direction), undefined, junk);
    }
  }
});

Deno.test("vectors: a header with any of its bits flipped, or of its sample's, is junk", () => {
  for (const row of rows("mask")) {
    for (let bit = 0; bit < 256; bit++) {
      const packet = bin(row, "packet");
      packet[bit >> 3] = (packet[bit >> 3] ?? 0) ^ 1 << (bit & 7);
      assert.equal(wire.unmaskUnder(bin(row, "maskKey"), packet, directionOf(row)), undefined);
    }
  }
});

Deno.test("vectors: AES-256-GCM", () => {
  for (const row of rows("gcm")) {
    const key = { key: bin(row, "key"), cipher: wire.CIPHER.aes256 };
    const aad = bin(row, "aad");
    const sealed = wire.sealAes(key.key, bin(row, "nonce"), aad, bin(row, "plaintext"));
    same(sealed.subarray(aad.length), row, "sealed");
  }
});

Deno.test("vectors: HELLO", () => {
  for (const row of [...rows("hello"), ...rows("hello_parameters")]) {
    const keys = new wire.Tskd(bin(row, "psk"));
    const name = str(row, "user");
    const hello: wire.Hello = {
      window: num(row, "window"),
      user: name === "" ? undefined : { name, key: bin(row, "userKey") },
      userKey: bin(row, "userKey"),
      number: big(row, "number"),
      salt: bin(row, "salt"),
      version: wire.VERSION,
      timeMs: num(row, "timeMs"),
      clientSession: num(row, "clientSession"),
      clientPublic: wire.publicOf(bin(row, "clientPrivate")),
      parameters: bin(row, "parameters"),
      padding: bin(row, "padding"),
      frames: bin(row, "frames"),
    };
    const { ciphers, frames } = wire.parseParameters(hello.parameters);
    assert.deepEqual([ciphers, frames], [num(row, "offered"), num(row, "understood")]);
    same(hello.clientPublic, row, "clientPublic");
    assert.equal(wire.windowOf(num(row, "unixMs")), hello.window);
    if (name !== "") same(wire.userId(name), row, "userId");
    same(wire.identOf(keys, hello), row, "ident");
    same(wire.helloKey(keys, hello), row, "key");
    same(wire.helloPlaintext(hello), row, "plaintext");
    sameOnTheWire(keys, wire.sealHello(keys, hello), row);
    same(encodeFrames(decodeFrames(hello.frames)), row, "frames");
  }
  for (const row of rows("hello")) {
    const parameters = { ciphers: num(row, "offered"), frames: num(row, "understood") };
    same(wire.encodeParameters(parameters), row, "parameters");
  }
});

Deno.test("vectors: ACCEPT", () => {
  for (const row of rows("accept")) {
    const keys = new wire.Tskd(bin(row, "psk"));
    const salt = bin(row, "salt");
    const windowKey = keys.windowKey(num(row, "window"));
    const key = wire.acceptKey(windowKey, bin(row, "userKey"), bin(row, "clientPublic"), salt);
    same(key, row, "key");
    if (num(row, "flags") !== wire.FLAG.refused) {
      same(wire.publicOf(bin(row, "serverPrivate")), row, "serverPublic");
      same(tokenOf(row, "serverSession"), row, "resetToken");
    }
    const session = num(row, "clientSession");
    const header = { session, kind: wire.KIND.accept, number: big(row, "number") };
    const clear = wire.sealSalted(key, header, salt, bin(row, "plaintext"));
    const found = sameOnTheWire(keys, clear, row);
    assert.deepEqual(found.header, header);
    const plaintext = wire.openSalted(key, found.clear);
    if (plaintext === undefined) throw new Error("ACCEPT does not open");
    const accept = wire.parseAccept(plaintext);
    assert.equal(hex(wire.acceptPlaintext(accept)), str(row, "plaintext"));
    assert.equal(accept.version, wire.VERSION);
    const { ciphers, frames } = wire.parseParameters(accept.parameters);
    assert.deepEqual([ciphers, frames], [num(row, "chosen"), num(row, "understood")]);
    for (const name of ["flags", "timeMs", "serverSession", "maxDatagram", "idleS"] as const) {
      assert.equal(accept[name], num(row, name), name);
    }
    for (const name of ["upKbps", "downKbps"] as const) {
      assert.equal(accept[name], num(row, name), name);
    }
    for (const name of ["serverPublic", "resetToken", "parameters", "padding", "frames"] as const) {
      same(accept[name], row, name);
    }
    same(encodeFrames(decodeFrames(accept.frames)), row, "frames");
  }
});

Deno.test("vectors: session keys and their updates", () => {
  for (const row of rows("session") as unknown as Record<string, string | string[]>[]) {
    const part = (name: string) => unhex(String(row[name]));
    const clientPublic = part("clientPublic");
    const serverPublic = part("serverPublic");
    const shared = wire.x25519(part("clientPrivate"), serverPublic);
    assert.equal(hex(shared), row["shared"]);
    assert.equal(hex(wire.x25519(part("serverPrivate"), clientPublic)), row["shared"]);
    const keys = wire.sessionKeys(
      ...[shared, part("userKey"), clientPublic, serverPublic] as const,
      ...[Number(row["offered"]), Number(row["chosen"])] as const,
    );
    for (const way of ["clientToServer", "serverToClient"] as const) {
      let key = keys[way];
      for (const expected of row[way] ?? []) {
        assert.equal(hex(key), expected, way);
        key = wire.nextKey(key);
      }
    }
  }
});

Deno.test("vectors: DATA", () => {
  for (const row of rows("data")) {
    const keys = new wire.Tskd(bin(row, "psk"));
    const key = { key: bin(row, "key"), cipher: num(row, "cipher") };
    const number = num(row, "number");
    const phase = num(row, "phase");
    const clear = wire.sealData(key, num(row, "session"), phase, number, bin(row, "plaintext"));
    const found = sameOnTheWire(keys, clear, row);
    assert.equal(found.header.session, num(row, "session"));
    assert.equal(found.header.number, BigInt(number));
    const plaintext = wire.openData(key, found.header.number, found.clear);
    if (plaintext === undefined) throw new Error("DATA does not open");
    same(plaintext, row, "plaintext");
    const torn = found.clear.slice();
    torn[torn.length - 1] = (torn[torn.length - 1] ?? 0) ^ 1;
    assert.equal(wire.openData(key, found.header.number, torn), undefined);
  }
});

Deno.test("vectors: RESET", () => {
  for (const row of rows("reset")) {
    const keys = new wire.Tskd(bin(row, "psk"));
    const salt = bin(row, "salt");
    const key = wire.resetKey(keys.windowKey(num(row, "window")), salt);
    same(key, row, "key");
    const plaintext = wire.resetPlaintext({
      timeMs: num(row, "timeMs"),
      session: num(row, "session"),
      number: BigInt(num(row, "cause")),
      resetToken: bin(row, "resetToken"),
      reason: num(row, "reason"),
    });
    same(plaintext, row, "plaintext");
    const header = { session: 0, kind: wire.KIND.reset, number: big(row, "number") };
    const found = sameOnTheWire(keys, wire.sealSalted(key, header, salt, plaintext), row);
    const opened = wire.openSalted(key, found.clear);
    if (opened === undefined) throw new Error("RESET does not open");
    assert.deepEqual(wire.resetPlaintext(wire.parseReset(opened)), plaintext);
    same(tokenOf(row, "session"), row, "resetToken");
  }
});

Deno.test("vectors: variable-length integers of RFC 9000, appendix A.1", () => {
  const known: [string, number][] = [
    ["25", 37],
    ["4025", 37],
    ["7bbd", 15293],
    ["9d7f3e7d", 494878333],
  ];
  for (const [bytes, value] of known) assert.equal(new Reader(unhex(bytes)).varint(), value);
  for (const value of [0, 63, 64, 16383, 16384, 2 ** 30 - 1, 2 ** 30, 2 ** 53 - 1]) {
    const reader = new Reader(varint(value));
    assert.equal(reader.varint(), value);
    assert.equal(reader.left, 0);
  }
});

Deno.test("vectors: an ACK's gaps and lengths", () => {
  const frame = {
    type: "ack" as const,
    delayUs: 1000,
    ranges: [{ first: 98, last: 100 }, { first: 90, last: 95 }, { first: 0, last: 0 }],
  };
  const bytes = encodeFrames([frame]);
  // largest 100, delay 1000, two more ranges, first 2; gap 1, length 5; gap 88, length 0
  const expected = concat(unhex("03406443e80202"), unhex("0105"), unhex("405800"));
  assert.equal(hex(bytes), hex(expected));
  assert.deepEqual(decodeFrames(bytes), [frame]);
});

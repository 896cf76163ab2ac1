import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import { PortableAead, PortableBatch } from "../../tests/fixtures/portable_aead.ts";
import { KEY_OLD_MS, KEY_UPDATE_PACKETS } from "../wire/limits.ts";
import { Cipher } from "./ciphers.ts";
import { ReceiveKeys, SendKeys } from "./key_update.ts";
import { deriveSessionKeys, SessionKeys } from "./session_keys.ts";

const primitives = seededPrimitives(1);
const some = new Uint8Array(32).fill(3);

Deno.test("deriveSessionKeys() refuses public keys of small order", () => {
  const smallOrder = [
    "00".repeat(32),
    "01" + "00".repeat(31),
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ];
  for (const hex of smallOrder) {
    const keys = new SessionKeys();
    const agreement = {
      privateKey: some,
      peerPublic: Uint8Array.fromHex(hex),
      clientPublic: some,
      serverPublic: some,
      userKey: some,
      offered: 1,
      chosen: Cipher.chacha20,
    };
    assert.equal(deriveSessionKeys(primitives, agreement, keys), false, hex);
    assert.ok(keys.clientToServer.every((byte) => byte === 0));
  }
});

Deno.test("SessionKeys are wiped by hand or by `using`", () => {
  const keys = new SessionKeys();
  keys.clientToServer.fill(1);
  keys.serverToClient.fill(1);
  keys.wipe();
  assert.ok([...keys.clientToServer, ...keys.serverToClient].every((byte) => byte === 0));
});

Deno.test("SendKeys goes over to the next key, wipes the last, knows what one may seal", () => {
  using aead = new PortableAead(4);
  const keys = new SendKeys(aead, some, Cipher.chacha20);
  assert.ok(keys.packetsMax > KEY_UPDATE_PACKETS);
  const old = keys.keyId;
  keys.update(primitives);
  assert.equal(keys.phase, 1);
  assert.throws(() => aead.removeKey(old), RangeError, "wiped");
  keys.wipe();
  keys.wipe();
  const aes = new SendKeys(aead, some, Cipher.aes256);
  assert.equal(aes.packetsMax, 2 ** 23);
});

Deno.test("ReceiveKeys follows the sender through updates, reordering and forgeries", () => {
  using aead = new PortableAead(8);
  const send = new SendKeys(aead, some, Cipher.chacha20);
  const receive = new ReceiveKeys(aead, some, Cipher.chacha20);
  const batch = new PortableBatch(1);
  const packets: { phase: number; number: number; bytes: Uint8Array<ArrayBuffer> }[] = [];
  for (let number = 0; number < 40; number++) {
    if (number % 10 === 0 && number > 0) send.update(primitives);
    const bytes = new Uint8Array(20).fill(number, 0, 4);
    batch.clear();
    batch.add(send.keyId, number, 0, 0, 0, 4);
    assert.equal(aead.seal(batch, bytes), 1);
    packets.push({ phase: send.phase, number, bytes });
  }
  const open = (i: number, now: number, phase = packets[i]!.phase): boolean => {
    const { number, bytes } = packets[i]!;
    batch.clear();
    batch.add(receive.keyFor(phase, number), number, 0, 0, 0, 4);
    const opened = aead.open(batch, bytes.slice()) === 1;
    if (opened) receive.opened(primitives, phase, number, now);
    return opened;
  };
  // The last of each phase comes after the first two of the next, these two the wrong way round.
  const order = [0, 1, 2, 11, 10, 9, 12, 21, 20, 19, 22, 30, 29, 31];
  for (const i of order) assert.equal(open(i, 100), true, `packet ${i}`);
  assert.equal(open(32, 100, packets[32]!.phase ^ 1), false, "a forged phase");
  assert.equal(receive.phase, packets[39]!.phase, "does not move the phase");
  assert.equal(receive.expiresAt, 100 + KEY_OLD_MS);
  receive.expire(100 + KEY_OLD_MS - 1);
  assert.equal(open(28, 3000), true);
  receive.expire(100 + KEY_OLD_MS);
  assert.equal(open(27, 3200), false, "its key was wiped");
  assert.equal(receive.expiresAt, Infinity);
  assert.equal(open(39, 3200), true);
  send.wipe();
  receive.wipe();
  for (let i = 0; i < 8; i++) aead.addKey(some, Cipher.chacha20);
});

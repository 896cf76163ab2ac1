import assert from "node:assert/strict";
import { chooseCipher, Cipher, isOffered, NO_CIPHER, offerOf } from "./ciphers.ts";

const { chacha20, aes256 } = Cipher;
const plain = { hasAes: false, hasWideChacha: false };
const usual = { hasAes: true, hasWideChacha: false };
const wide = { hasAes: true, hasWideChacha: true };

Deno.test("AES-256-GCM is chosen when both ends have it and one lacks AVX-512", () => {
  const cases = [
    [usual, usual, aes256],
    [usual, wide, aes256],
    [wide, usual, aes256],
    [wide, wide, chacha20],
    [plain, usual, chacha20],
    [wide, plain, chacha20],
    [plain, plain, chacha20],
  ] as const;
  for (const [one, other, chosen] of cases) {
    assert.equal(chooseCipher(offerOf(one), offerOf(other)), chosen);
  }
});

Deno.test("an end that forces a cipher gets it, or none where the other can't", () => {
  assert.equal(chooseCipher(offerOf(wide, aes256), offerOf(wide)), aes256);
  assert.equal(chooseCipher(offerOf(usual), offerOf(usual, chacha20)), chacha20);
  assert.equal(chooseCipher(offerOf(plain), offerOf(usual, aes256)), NO_CIPHER);
  assert.equal(chooseCipher(offerOf(usual, chacha20), offerOf(usual, aes256)), NO_CIPHER);
});

Deno.test("bits that nobody knows choose nothing, and only what was offered may be chosen", () => {
  assert.equal(chooseCipher(0, offerOf(wide)), NO_CIPHER);
  assert.equal(chooseCipher(0x7c, 0xff), NO_CIPHER);
  assert.equal(chooseCipher(0x7c | chacha20, offerOf(usual)), chacha20);
  assert.ok(isOffered(aes256, 0x83));
  for (const chosen of [0, 3, 4, 0x80, aes256]) assert.ok(!isOffered(chosen, 0xfd & ~aes256));
});

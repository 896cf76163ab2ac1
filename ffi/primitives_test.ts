import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
} from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { Rng } from "../tests/fuzz/rng.ts";
import { testNative } from "../tests/native.ts";
import { aeadTagBytes } from "./aead.ts";
import { hkdfBytesMax, NativePrimitives } from "./primitives.ts";

const native = testNative();
const primitives = new NativePrimitives(native);

type Vector<Field extends string> = Readonly<Record<"name" | Field, string>>;

interface Vectors {
  readonly x25519: readonly Vector<"private" | "public" | "shared">[];
  readonly hkdf: readonly Vector<"ikm" | "salt" | "info" | "okm">[];
  readonly hmac: readonly Vector<"key" | "data" | "mac">[];
  readonly sha256: readonly Vector<"data" | "hash">[];
}

const vectors: Vectors = JSON.parse(
  await Deno.readTextFile(new URL("../tests/fixtures/handshake_vectors.json", import.meta.url)),
);

const fromHex = (hex: string) => Uint8Array.fromHex(hex);

// What DER has before the 32 bytes of a key.
const privatePrefix = "302e020100300506032b656e04220420";
const publicPrefix = "302a300506032b656e032100";

function sharedByNode(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const der = { format: "der" } as const;
  const [own, peer] = [privatePrefix + privateKey.toHex(), publicPrefix + publicKey.toHex()];
  return new Uint8Array(diffieHellman({
    privateKey: createPrivateKey({ ...der, type: "pkcs8", key: Buffer.from(own, "hex") }),
    publicKey: createPublicKey({ ...der, type: "spki", key: Buffer.from(peer, "hex") }),
  }));
}

Deno.test("NativePrimitives agrees with RFC 7748, 5869, 4231 and FIPS 180-4", () => {
  for (const vector of vectors.x25519) {
    const shared = primitives.x25519(fromHex(vector.private), fromHex(vector.public));
    assert.equal(shared.toHex(), vector.shared, vector.name);
  }
  const [alice, bob] = vectors.x25519.slice(2);
  assert.equal(primitives.x25519Public(fromHex(alice!.private)).toHex(), bob!.public);
  assert.equal(primitives.x25519Public(fromHex(bob!.private)).toHex(), alice!.public);
  for (const { name, ikm, salt, info, okm } of vectors.hkdf) {
    const [secret, bytes] = [fromHex(ikm), okm.length / 2];
    const out = primitives.hkdf(secret, fromHex(salt), fromHex(info), bytes);
    assert.equal(out.toHex(), okm, name);
  }
  for (const { name, key, data, mac } of vectors.hmac) {
    assert.equal(primitives.hmacSha256(fromHex(key), fromHex(data)).toHex(), mac, name);
  }
  for (const { name, data, hash } of vectors.sha256) {
    assert.equal(primitives.sha256(fromHex(data)).toHex(), hash, name);
  }
});

Deno.test("NativePrimitives.x25519() iterated 1000 times gives what RFC 7748 says", () => {
  let key = new Uint8Array(32);
  key[0] = 9;
  let point = key;
  for (let i = 1; i <= 1000; i++) {
    const shared = primitives.x25519(key, point);
    [key, point] = [shared, key];
    if (i > 1) continue;
    const once = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
    assert.equal(key.toHex(), once);
  }
  const all = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
  assert.equal(key.toHex(), all);
});

Deno.test("NativePrimitives.x25519() equals node:crypto for random keys", () => {
  const rng = new Rng(25519);
  for (let i = 0; i < 200; i++) {
    const [one, other] = [rng.bytes(32), rng.bytes(32)];
    const [ownPublic, peerPublic] = [one, other].map((key) => primitives.x25519Public(key));
    const shared = primitives.x25519(one, peerPublic!);
    assert.deepEqual(shared, sharedByNode(one, peerPublic!));
    assert.deepEqual(primitives.x25519(other, ownPublic!), shared);
    // Any 32 bytes are a public key, also one of the twist, and with the top bit set.
    const any = rng.bytes(32);
    assert.deepEqual(primitives.x25519(one, any), sharedByNode(one, any));
  }
});

Deno.test("NativePrimitives.x25519() gives zeros for public keys of small order", () => {
  const small = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ];
  const rng = new Rng(8);
  const zeros = new Uint8Array(32);
  for (const key of small) {
    assert.deepEqual(primitives.x25519(rng.bytes(32), fromHex(key)), zeros, key);
    const topBit = fromHex(key);
    topBit[31]! |= 0x80;
    assert.deepEqual(primitives.x25519(rng.bytes(32), topBit), zeros, key);
    assert.equal(native.symbols.ph_x25519(rng.bytes(32), topBit, rng.bytes(32)), -22);
  }
});

Deno.test("NativePrimitives hashes as node:crypto does, for every size about the blocks", () => {
  const rng = new Rng(256);
  const sizes = Array.from({ length: 200 }, (_, size) => size);
  sizes.push(1000, 4095, 4096, 4097, 100_000);
  for (const size of sizes) {
    const data = rng.bytes(size);
    const key = rng.bytes(rng.pick([0, 1, 32, 63, 64, 65, 200]));
    const hash = createHash("sha256").update(data).digest("hex");
    assert.equal(primitives.sha256(data).toHex(), hash, `size ${size}`);
    const mac = createHmac("sha256", key).update(data).digest("hex");
    assert.equal(primitives.hmacSha256(key, data).toHex(), mac, `size ${size}`);
  }
});

Deno.test("NativePrimitives.hkdf() equals node:crypto for any lengths", () => {
  const rng = new Rng(5869);
  const lengths = [0, 1, 8, 16, 31, 32, 33, 63, 64, 65, 1000, hkdfBytesMax - 1, hkdfBytesMax];
  for (const length of lengths) {
    for (let i = 0; i < 10; i++) {
      const [ikm, salt, info] = [0, 1, 2].map(() => rng.bytes(rng.pick([0, 1, 32, 64, 65, 130])));
      const expected = new Uint8Array(hkdfSync("sha256", ikm!, salt!, info!, length));
      assert.deepEqual(primitives.hkdf(ikm!, salt!, info!, length), expected, `length ${length}`);
    }
  }
  const none = new Uint8Array(0);
  for (const length of [-1, 1.5, hkdfBytesMax + 1, NaN]) {
    assert.throws(() => primitives.hkdf(none, none, none, length), RangeError);
  }
  const out = new Uint8Array(1);
  const { symbols } = native;
  assert.equal(symbols.ph_hkdf(out, 1, out, 1, out, 1, out, hkdfBytesMax + 1), -22);
  assert.equal(symbols.ph_hkdf(out, 1, out, 1, out, 1, out, 0xffff_ffff), -22);
});

Deno.test("NativePrimitives.aeadSeal() equals @noble/ciphers with a nonce of zeros", () => {
  const rng = new Rng(1305);
  const sizes = Array.from({ length: 130 }, (_, size) => size);
  for (const size of [...sizes, 1200, 2047, 2048, 2049, 65535]) {
    const [key, aadBytes, gap] = [rng.bytes(32), rng.int(0, 49), rng.int(0, 5)];
    const text = aadBytes + gap;
    const arena = rng.bytes(text + size + aeadTagBytes + gap);
    const clear = arena.slice();
    const aad = clear.subarray(0, aadBytes);
    primitives.aeadSeal(key, arena, 0, aadBytes, text, size);
    const sealed = chacha20poly1305(key, new Uint8Array(12), aad)
      .encrypt(clear.subarray(text, text + size));
    const expected = clear.slice();
    expected.set(sealed, text);
    assert.deepEqual(arena, expected, `size ${size}`);
    assert.equal(primitives.aeadOpen(key, arena, 0, aadBytes, text, size), true);
    assert.deepEqual(arena.subarray(0, text + size), clear.subarray(0, text + size));
  }
});

Deno.test("NativePrimitives.aeadOpen() says false of what was changed, and leaves it", () => {
  const rng = new Rng(9);
  for (const size of [0, 1, 100, 2048, 2049]) {
    const [key, arena] = [rng.bytes(32), rng.bytes(40 + size + aeadTagBytes)];
    primitives.aeadSeal(key, arena, 0, 40, 40, size);
    for (let i = 0; i < 20; i++) {
      const [otherKey, changed] = [key.slice(), arena.slice()];
      const victim = rng.pick([otherKey, changed]);
      victim[rng.int(0, victim.length - 1)]! ^= 1 << rng.int(0, 7);
      const before = changed.slice();
      assert.equal(primitives.aeadOpen(otherKey, changed, 0, 40, 40, size), false);
      assert.deepEqual(changed, before);
    }
    assert.equal(primitives.aeadOpen(key, arena, 1, 39, 40, size), false);
    assert.equal(primitives.aeadOpen(key, arena, 0, 39, 40, size), false);
    assert.equal(primitives.aeadOpen(key, arena, 0, 40, 40, size), true);
  }
});

Deno.test("NativePrimitives seals and opens nothing outside the arena or over the AAD", () => {
  const [key, arena] = [new Uint8Array(32), new Uint8Array(100)];
  const high = 0xffff_ffff;
  const wrong = [
    [0, 0, 0, 85],
    [0, 101, 0, 0],
    [0, 0, 101, 0],
    [0, 0, high, high],
    [high, high, 0, 0],
    [0, 0, high - 15, 16],
    [0, 11, 10, 20],
    [45, 1, 10, 20],
    [0, 0, 0, -1],
    [-1, 1, 0, 0],
  ] as const;
  for (const [aad, aadBytes, text, textBytes] of wrong) {
    assert.throws(() => primitives.aeadSeal(key, arena, aad, aadBytes, text, textBytes), {
      code: "EINVAL",
    });
    assert.equal(primitives.aeadOpen(key, arena, aad, aadBytes, text, textBytes), false);
  }
  assert.ok(arena.every((byte) => byte === 0));
});

Deno.test("NativePrimitives.random() fills the whole array, and never the same way", () => {
  const draw = (length: number) => {
    const bytes = new Uint8Array(length);
    primitives.random(bytes);
    return bytes;
  };
  const seen = new Set(Array.from({ length: 1000 }, () => draw(16).toHex()));
  assert.equal(seen.size, 1000);
  assert.equal(draw(0).length, 0);
  // More than the kernel gives in one piece when a signal comes; its end was filled too.
  assert.ok(draw(1 << 20).subarray(-64).some((byte) => byte !== 0));
  // A part of an array is that part only.
  const whole = new Uint8Array(96);
  primitives.random(whole.subarray(32, 64));
  assert.ok([...whole.subarray(0, 32), ...whole.subarray(64)].every((byte) => byte === 0));
  assert.ok(whole.some((byte) => byte !== 0));
});

Deno.test("NativePrimitives throws for keys that have not 32 bytes", () => {
  const [good, bad] = [new Uint8Array(32), new Uint8Array(31)];
  const calls = [
    () => primitives.x25519Public(bad),
    () => primitives.x25519(bad, good),
    () => primitives.x25519(good, bad),
    () => primitives.aeadSeal(bad, good, 0, 0, 0, 16),
    () => primitives.aeadOpen(bad, good, 0, 0, 0, 16),
  ];
  for (const call of calls) {
    assert.throws(call, {
      name: "RangeError",
      message: /^Cannot use an .* key as it must have 32 bytes: current value is 31$/,
    });
  }
});

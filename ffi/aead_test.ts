import assert from "node:assert/strict";
import { gcm } from "@noble/ciphers/aes.js";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { Rng } from "../tests/fuzz/rng.ts";
import { testNative } from "../tests/native.ts";
import {
  aeadAes256Gcm,
  AeadBatch,
  aeadBatchMax,
  aeadKeysMax,
  AeadTable,
  aeadTagBytes,
  cipherMachine,
} from "./aead.ts";

const native = testNative();

interface Vector {
  readonly name: string;
  readonly key: string;
  readonly nonce: string;
  readonly aad: string;
  readonly text: string;
  readonly sealed: string;
  readonly tag: string;
}

const vectors: readonly Vector[] = JSON.parse(
  await Deno.readTextFile(new URL("../tests/fixtures/aead_rfc8439.json", import.meta.url)),
);

/** 12 bytes: zeros, then the number. */
function nonceOf(number: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(number));
  return nonce;
}

/** What noble makes of it: text, then tag. */
function sealedByNoble(key: Uint8Array, number: number, aad: Uint8Array, text: Uint8Array) {
  return chacha20poly1305(key, nonceOf(number), aad).encrypt(text);
}

Deno.test("@noble/ciphers, our oracle, agrees with RFC 8439", () => {
  for (const vector of vectors) {
    const [key, nonce, aad, text] = [vector.key, vector.nonce, vector.aad, vector.text]
      .map((hex) => Uint8Array.fromHex(hex));
    const sealed = chacha20poly1305(key!, nonce!, aad).encrypt(text!);
    assert.equal(sealed.toHex(), vector.sealed + vector.tag, vector.name);
  }
});

Deno.test("AeadTable agrees with RFC 8439 where the nonce begins with 32 zero bits", () => {
  const usable = vectors.filter((vector) => vector.nonce.startsWith("00000000"));
  assert.equal(usable.length, 1);
  for (const vector of usable) {
    using table = new AeadTable(native, 1);
    const aad = Uint8Array.fromHex(vector.aad);
    const text = Uint8Array.fromHex(vector.text);
    const arena = new Uint8Array([...aad, ...text, ...new Uint8Array(aeadTagBytes)]);
    const batch = new AeadBatch(1);
    batch.add(table.addKey(Uint8Array.fromHex(vector.key)), 0, 0, aad.length, 12, text.length);
    // By hand: the vector's number is above 2^53.
    batch.ops[0] = parseInt(vector.nonce.slice(16), 16);
    batch.ops[1] = parseInt(vector.nonce.slice(8, 16), 16);
    assert.equal(table.seal(batch, arena), 1);
    assert.equal(arena.subarray(12).toHex(), vector.sealed + vector.tag);
    assert.equal(table.open(batch, arena), 1);
    assert.equal(arena.subarray(12, -aeadTagBytes).toHex(), vector.text);
  }
});

Deno.test("AeadTable equals @noble/ciphers for every size up to 1500, and some larger", () => {
  const random = new Rng(8439);
  using table = new AeadTable(native, 4);
  const keys = Array.from({ length: 4 }, () => random.bytes(32));
  const ids = keys.map((key) => table.addKey(key));
  const sizes = Array.from({ length: 1501 }, (_, size) => size);
  for (let i = 0; i < 1500; i++) sizes.push(random.int(0, 1500));
  // About the size from which a text is no longer copied (2048), and up to the largest.
  sizes.push(2047, 2048, 2049, 2112, 4096, 9000, 16383, 65519, 65535);
  const batch = new AeadBatch(1);
  for (const size of sizes) {
    const which = random.int(0, 3);
    const number = random.u32() * 2 ** random.int(0, 20) + random.int(0, 1);
    const aad = random.bytes(random.int(0, 49));
    const text = random.bytes(size);
    const start = aad.length + random.int(0, 6);
    const arena = new Uint8Array(start + size + aeadTagBytes);
    arena.set(aad);
    arena.set(text, start);
    batch.clear();
    batch.add(ids[which]!, number, 0, aad.length, start, size);
    assert.equal(table.seal(batch, arena), 1);
    const expected = sealedByNoble(keys[which]!, number, aad, text);
    assert.deepEqual(arena.subarray(start), expected, `size ${size}`);
    assert.equal(table.open(batch, arena), 1);
    assert.deepEqual(arena.subarray(start, start + size), text, `size ${size}`);
  }
});

Deno.test("AeadTable mixes keys, sizes and failures in one batch", () => {
  const random = new Rng(1);
  using table = new AeadTable(native, 8);
  const ids = Array.from({ length: 8 }, () => table.addKey(random.bytes(32)));
  const slot = 3000;
  const arena = random.bytes(64 * slot);
  const plain = arena.slice();
  const batch = new AeadBatch(64);
  for (let i = 0; i < 64; i++) {
    batch.add(ids[i % 8]!, i, i * slot, 20, i * slot + 20, random.int(0, slot - 36 - 1));
  }
  assert.equal(table.seal(batch, arena), 64);
  const sealed = arena.slice();
  // One bit is turned in the associated data of every third.
  for (let i = 0; i < 64; i += 3) arena[i * slot + random.int(0, 19)]! ^= 1 << random.int(0, 7);
  const tampered = arena.slice();
  assert.equal(table.open(batch, arena), 42);
  for (let i = 0; i < 64; i++) {
    const [from, to] = [i * slot + 20, i * slot + 20 + batch.ops[8 * i + 6]!];
    assert.equal(batch.result(i), i % 3 === 0 ? -74 : 0);
    const expected = i % 3 === 0 ? tampered : plain;
    assert.deepEqual(arena.subarray(from, to), expected.subarray(from, to));
    assert.deepEqual(arena.subarray(to, to + 16), sealed.subarray(to, to + 16));
  }
});

Deno.test("AeadTable.open() refuses a changed text, tag, number or key, and leaves all", () => {
  using table = new AeadTable(native, 2);
  const key = table.addKey(new Rng(2).bytes(32));
  const other = table.addKey(new Rng(3).bytes(32));
  for (const size of [0, 1, 100, 2048, 2049, 5000]) {
    const arena = new Uint8Array(8 + size + aeadTagBytes).fill(7);
    const batch = new AeadBatch(1);
    batch.add(key, 9, 0, 8, 8, size);
    assert.equal(table.seal(batch, arena), 1);
    const sealed = arena.slice();
    for (const at of [0, 7, 8 + size - 1, 8 + size, 8 + size + 15]) {
      arena[at]! ^= 0x80;
      const tampered = arena.slice();
      assert.equal(table.open(batch, arena), 0);
      assert.equal(batch.result(0), -74);
      assert.deepEqual(arena, tampered);
      arena.set(sealed);
    }
    for (const [id, number] of [[key, 10], [other, 9], [key, 9 + 2 ** 32]]) {
      batch.clear();
      batch.add(id!, number!, 0, 8, 8, size);
      assert.equal(table.open(batch, arena), 0);
      assert.deepEqual(arena, sealed);
    }
  }
});

Deno.test("AeadTable refuses offsets outside the arena, and associated data in the text", () => {
  using table = new AeadTable(native, 1);
  const key = table.addKey(new Uint8Array(32));
  const arena = new Uint8Array(100);
  const high = 0xffff_ffff;
  const refused: readonly (readonly [number, number, number, number])[] = [
    [0, 0, 0, 85],
    [0, 0, 85, 0],
    [0, 101, 0, 0],
    [100, 1, 0, 0],
    [0, 0, 100, high],
    [0, 0, high, 0],
    [0, 0, high, high],
    [high, 1, 0, 0],
    [high, high, 0, 0],
    [0, 0, high - 15, 16],
    [0, 11, 10, 20],
    [45, 1, 10, 20],
    [0, 100, 10, 20],
  ];
  const accepted: typeof refused = [
    [0, 0, 0, 84],
    [0, 0, 84, 0],
    [100, 0, 0, 0],
    [0, 10, 10, 20],
    [46, 54, 10, 20],
    [15, 0, 10, 20],
  ];
  const batch = new AeadBatch(refused.length + accepted.length);
  for (const [aad, aadBytes, text, textBytes] of [...refused, ...accepted]) {
    batch.add(key, 1, aad, aadBytes, text, textBytes);
  }
  for (const run of ["seal", "open"] as const) {
    if (run === "seal") assert.equal(table.seal(batch, arena), accepted.length);
    else table.open(batch, arena);
    refused.forEach((op, i) => assert.equal(batch.result(i), -22, op.join()));
  }
});

Deno.test("AeadTable refuses a removed key, also when its slot is used again", () => {
  using table = new AeadTable(native, 1);
  const arena = new Uint8Array(100);
  const batch = new AeadBatch(1);
  const old = table.addKey(new Uint8Array(32));
  batch.add(old, 1, 0, 0, 0, 10);
  assert.equal(table.seal(batch, arena), 1);
  table.removeKey(old);
  const seen = new Set([old]);
  for (let i = 0; i < 2000; i++) {
    assert.throws(() => table.removeKey(old), { code: "ENOENT" });
    const before = arena.slice();
    assert.equal(table.seal(batch, arena), 0);
    assert.equal(batch.result(0), -2);
    assert.deepEqual(arena, before);
    const id = table.addKey(new Uint8Array(32).fill(i));
    assert.ok(!seen.has(id));
    seen.add(id);
    assert.equal(table.open(batch, arena), 0);
    assert.equal(batch.result(0), -2);
    table.removeKey(id);
  }
  for (const id of [0x8000_0000, 0xffff_ffff, 1, 0xf_ffff]) {
    assert.throws(() => table.removeKey(id), { code: "ENOENT" });
  }
});

Deno.test("AeadTable wipes a removed key, and keeps its memory out of core dumps", async () => {
  const table = native.symbols.ph_aead_open_table(1, new Int32Array(1))!;
  try {
    const key = new Uint8Array(32).fill(0x5a);
    // One page at least is mapped.
    const memory = new Uint8Array(44_000);
    const keyBytes = () => {
      new Deno.UnsafePointerView(table).copyInto(memory);
      return memory.filter((byte) => byte === 0x5a).length;
    };
    assert.ok(keyBytes() < 16);
    const id = native.symbols.ph_aead_key_add(table, key, 1);
    assert.ok(keyBytes() >= 32);
    assert.equal(native.symbols.ph_aead_key_remove(table, id), 0);
    assert.ok(keyBytes() < 16);
    const start = Deno.UnsafePointer.value(table).toString(16);
    const maps = await Deno.readTextFile("/proc/self/smaps");
    const flags = new RegExp(`^[0-9a-f]*${start}-.*?VmFlags: ([a-z ]+)`, "ms").exec(maps);
    assert.match(flags![1]!, /\bdd\b/);
  } finally {
    native.symbols.ph_aead_close_table(table);
  }
});

Deno.test("AeadTable throws ENOSPC for one key more than its maximum", () => {
  using table = new AeadTable(native, 3);
  const ids = [1, 2, 3].map((byte) => table.addKey(new Uint8Array(32).fill(byte)));
  assert.equal(new Set(ids).size, 3);
  assert.throws(() => table.addKey(new Uint8Array(32)), {
    code: "ENOSPC",
    message: "add AEAD key: ENOSPC (no space left on device): the table holds at most 3 keys",
  });
  table.removeKey(ids[1]!);
  table.addKey(new Uint8Array(32));
  assert.throws(() => table.addKey(new Uint8Array(32)), { code: "ENOSPC" });
});

Deno.test("AeadTable takes 1 to 2^20 keys", () => {
  for (const keysMax of [0, -1, 1.5, aeadKeysMax + 1, NaN]) {
    assert.throws(() => new AeadTable(native, keysMax), RangeError);
  }
  // The library itself, too.
  const error = new Int32Array(1);
  for (const keysMax of [0, aeadKeysMax + 1, 0xffff_ffff]) {
    assert.equal(native.symbols.ph_aead_open_table(keysMax, error), null);
    assert.equal(error[0], -22);
  }
  using table = new AeadTable(native, aeadKeysMax);
  const key = new Uint8Array(32);
  for (let i = 0; i < aeadKeysMax; i++) assert.equal(table.addKey(key), i);
  assert.throws(() => table.addKey(key), { code: "ENOSPC" });
});

Deno.test("AeadTable.addKey() throws for a key that has not 32 bytes", () => {
  using table = new AeadTable(native, 1);
  assert.throws(() => table.addKey(new Uint8Array(31)), {
    name: "RangeError",
    message: "Cannot add an AEAD key as it must have 32 bytes: current value is 31",
  });
});

Deno.test("AeadBatch refuses an operation too many, and a number that can't be exact", () => {
  const batch = new AeadBatch(1);
  for (const number of [-1, 2 ** 53, 0.5, NaN]) {
    assert.throws(() => batch.add(0, number, 0, 0, 0, 0), RangeError);
  }
  assert.equal(batch.add(0, 2 ** 53 - 1, 0, 0, 0, 0), 0);
  assert.deepEqual([...batch.ops.subarray(0, 2)], [0xffff_ffff, 0x1f_ffff]);
  assert.equal(batch.isFull, true);
  assert.throws(() => batch.add(0, 1, 0, 0, 0, 0), RangeError);
  batch.clear();
  assert.equal(batch.add(0, 1, 0, 0, 0, 0), 0);
  for (const capacity of [0, aeadBatchMax + 1]) {
    assert.throws(() => new AeadBatch(capacity), RangeError);
  }
});

Deno.test("AeadTable names itself when used after close", () => {
  const table = new AeadTable(native, 1);
  table.close();
  table.close();
  const message = "Cannot use AEAD table as it is closed";
  assert.throws(() => table.addKey(new Uint8Array(32)), { message });
  assert.throws(() => table.removeKey(0), { message });
  assert.throws(() => table.seal(new AeadBatch(1), new Uint8Array(1)), { message });
  assert.throws(() => table.open(new AeadBatch(1), new Uint8Array(1)), { message });
});

/** The assembly's cases: none, less than a block, its runs of 96, the rest. */
const gcmLengths = [
  0,
  1,
  15,
  16,
  17,
  95,
  96,
  97,
  287,
  288,
  289,
  383,
  384,
  1000,
  1420,
  16_384,
  65_500,
];

Deno.test({
  name: "AeadTable seals and opens AES-256-GCM as @noble/ciphers does, and knows a forgery",
  ignore: !cipherMachine(native).hasAes,
  fn() {
    const random = new Rng(31);
    using table = new AeadTable(native, 4);
    const batch = new AeadBatch(1);
    for (const length of gcmLengths) {
      for (const aadBytes of [0, 5, 16, 40]) {
        const [key, aad, text] = [random.bytes(32), random.bytes(aadBytes), random.bytes(length)];
        const id = table.addKey(key, aeadAes256Gcm);
        const number = random.u32() * 1000 + length;
        const arena = new Uint8Array(aadBytes + length + aeadTagBytes);
        arena.set(aad);
        arena.set(text, aadBytes);
        batch.clear();
        batch.add(id, number, 0, aadBytes, aadBytes, length);
        assert.equal(table.seal(batch, arena), 1);
        const expected = gcm(key, nonceOf(number), aad).encrypt(text);
        assert.deepEqual(arena.slice(aadBytes), expected, `${length} bytes, ${aadBytes} beside`);
        const forged = arena.slice();
        forged[random.int(0, forged.length - 1)]! ^= 1;
        const before = forged.slice();
        assert.equal(table.open(batch, forged), 0);
        assert.deepEqual(forged, before, "what does not open stays as it was");
        assert.equal(table.open(batch, arena), 1);
        assert.deepEqual(arena.slice(aadBytes, aadBytes + length), text);
        table.removeKey(id);
        assert.equal(table.seal(batch, arena), 0, "its key is gone, made ready or not");
      }
    }
  },
});

Deno.test({
  name: "AES keys that share a place made ready are told apart",
  ignore: !cipherMachine(native).hasAes,
  fn() {
    const random = new Rng(32);
    using table = new AeadTable(native, 200);
    const keys = Array.from({ length: 150 }, () => random.bytes(32));
    const ids = keys.map((key, i) => table.addKey(key, i % 3 === 0 ? 1 : aeadAes256Gcm));
    const batch = new AeadBatch(300);
    const arena = new Uint8Array(300 * 64);
    for (let i = 0; i < 300; i++) batch.add(ids[i * 7 % 150]!, i, 0, 0, i * 64, 40);
    assert.equal(table.seal(batch, arena), 300);
    for (let i = 0; i < 300; i++) {
      const which = i * 7 % 150;
      const make = which % 3 === 0 ? chacha20poly1305 : gcm;
      const expected = make(keys[which]!, nonceOf(i)).encrypt(new Uint8Array(40));
      assert.deepEqual(arena.slice(i * 64, i * 64 + 56), expected);
    }
    assert.equal(table.open(batch, arena), 300);
    assert.ok(arena.subarray(0, 40).every((byte) => byte === 0));
  },
});

Deno.test("AeadTable refuses a cipher that there is not", () => {
  using table = new AeadTable(native, 1);
  assert.throws(() => table.addKey(new Uint8Array(32), 3), { code: "EINVAL" });
});

/**
 * Whatever bytes the BTF reader is given, and whatever is then asked of the types: an answer or
 * BtfError, soon. And the generated codecs give back the bytes they read.
 *
 * @module
 */

import assert from "node:assert/strict";

import { type Btf, BtfError, btfSectionOf, readBtf } from "../../ffi/bpf/btf.ts";
import * as contract from "../../ffi/bpf/layout.gen.ts";
import { layoutDifferences, layoutHashOf } from "../../ffi/bpf/layout_hash.ts";
import { modelsOf, structModelOf } from "../../ffi/bpf/layout_model.ts";
import * as libbpf from "../../ffi/bpf/libbpf.gen.ts";
import { generateContract, generateForeign, LayoutError } from "../../tools/layout_gen.ts";
import { holesWithin, mapsOf } from "../../tools/layout_maps.ts";
import { BtfBuilder, buildElf, KIND } from "../fixtures/btf_builder.ts";
import { fuzz, type Rng } from "./rng.ts";

/** One case takes about a millisecond; a slow machine may take a hundred times that. */
const CASE_MS_MAX = 2_000;
const OBJECT = new URL("../../build/bpf/xdp_phantom.o", import.meta.url);
const CONTRACT_NAMES = Object.keys(contract.layouts.xdp_phantom.hashes);
/** The share of large objects among the damaged ones. */
const LARGE = 1 / 12;
const NOTES = { origin: "fuzz", command: "fuzz" };
/** Where counts and offsets are compared with a limit, these are the neighbours of limits. */
const EDGES = [0, 1, 2, 24, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** Copies a piece to another place, four-byte aligned as all fields are. */
function splice(bytes: Uint8Array, rng: Rng): void {
  const last = Math.floor(bytes.length / 4) - 1;
  const from = rng.int(0, last) * 4;
  bytes.copyWithin(rng.int(0, last) * 4, from, from + 4 * rng.int(1, 16));
}

function setWord(bytes: Uint8Array, rng: Rng): void {
  const last = Math.floor(bytes.length / 4) - 1;
  const value = rng.chance(0.5) ? rng.int(0, 63) : rng.pick(EDGES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(rng.int(0, last) * 4, value, true);
}

/** Mostly keeps lengths, which a shift of one byte would make nonsense of at once. */
function damage(seed: Uint8Array, rng: Rng): Uint8Array {
  if (rng.chance(0.25)) return rng.mutate(seed);
  const bytes = seed.slice();
  for (let count = rng.int(1, 4); count > 0; count--) {
    const at = rng.int(0, bytes.length - 1);
    if (rng.chance(0.4)) bytes[at] = (bytes[at] ?? 0) ^ (1 << rng.int(0, 7));
    else if (rng.chance(0.5)) splice(bytes, rng);
    else setWord(bytes, rng);
  }
  return bytes;
}

/** Every kind, with a map, nested structs, and names that the generator looks for. */
function buildSeed(): Uint8Array {
  const builder = new BtfBuilder();
  const word = builder.int("unsigned int", 4);
  const be32 = builder.add(KIND.typedef, { name: "__be32", sizeOrType: word });
  const row = builder.add(KIND.array, { tail: [word, word, 3] });
  const inner = builder.struct("ph_inner", 8, [["a", be32, 0], ["pad", word, 32]]);
  const tail = ["x", word, 0, "y", row, 0];
  builder.add(KIND.union, { name: "either", vlen: 2, sizeOrType: 12, tail });
  builder.struct("ph_outer", 28, [["i", inner, 0], ["list", row, 64], ["j", inner, 160]]);
  builder.add(KIND.enum, { name: "ph_e", vlen: 1, sizeOrType: 4, tail: ["PH_E_A", 0] });
  builder.add(KIND.enum64, { name: "big", vlen: 1, sizeOrType: 8, tail: ["BIG", 1, 2] });
  const one = builder.add(KIND.array, { tail: [word, word, 1] });
  const uint = builder.add(KIND.ptr, { sizeOrType: one });
  const key = builder.add(KIND.ptr, { sizeOrType: 6 });
  const map = builder.struct("", 24, [["type", uint, 0], ["key", key, 64], ["value", key, 128]]);
  const variable = builder.add(KIND.var, { name: "flows", sizeOrType: map, tail: [1] });
  builder.add(KIND.datasec, { name: ".maps", vlen: 1, sizeOrType: 24, tail: [variable, 0, 24] });
  const proto = builder.add(KIND.func_proto, { vlen: 1, sizeOrType: word, tail: ["p", key] });
  builder.add(KIND.func, { name: "main", vlen: 1, sizeOrType: proto });
  builder.add(KIND.float, { name: "double", sizeOrType: 8 });
  builder.add(KIND.decl_tag, { name: "tag", sizeOrType: inner, tail: [0] });
  for (const kind of [KIND.volatile, KIND.const, KIND.restrict, KIND.type_tag, KIND.fwd]) {
    builder.add(kind, { name: "q", sizeOrType: kind === KIND.fwd ? 0 : inner });
  }
  return builder.bytes();
}

function readObject(): Uint8Array | undefined {
  try {
    return Deno.readFileSync(OBJECT);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Small ones, which have every kind, and those of a real program: a hundred times the work. */
function seeds(): { readonly small: Uint8Array[]; readonly large: Uint8Array[] } {
  const raw = buildSeed();
  const small = [raw, buildElf({ ".text": new Uint8Array(4), ".BTF": raw })];
  const object = readObject();
  return { small, large: object === undefined ? small : [object, btfSectionOf(object)] };
}

/** Runs one question; an answer and BtfError are both fine. */
function ask(question: () => unknown): void {
  try {
    question();
  } catch (error) {
    if (!(error instanceof BtfError) && !(error instanceof LayoutError)) throw error;
  }
}

function askEverything(btf: Btf): void {
  const names = new Set(btf.types.map(({ name }) => name));
  for (const { id } of btf.types) {
    ask(() => btf.sizeOf(id));
    ask(() => btf.alignOf(id));
    ask(() => btf.chain(id));
    ask(() => btf.describe(id));
    ask(() => structModelOf(btf, id));
    ask(() => holesWithin(btf, id));
  }
  for (const name of names) {
    ask(() => modelsOf(btf, name));
    ask(() => layoutHashOf(btf, [name]));
  }
  ask(() => mapsOf(btf));
  ask(() => layoutDifferences(btf, contract.layouts.xdp_phantom.hashes));
  ask(() => generateContract([{ name: "fuzz.o", btf }], ["ph_inner", "ph_outer", "ph_e"], NOTES));
  ask(() => generateContract([{ name: "fuzz.o", btf }], CONTRACT_NAMES, NOTES));
  ask(() => generateForeign(btf, [...names].slice(0, 50), NOTES));
}

/** A case must not only end but end soon. */
function timed(run: () => void): void {
  const started = performance.now();
  run();
  const tookMs = performance.now() - started;
  assert.ok(tookMs < CASE_MS_MAX, `took ${tookMs} ms`);
}

Deno.test("readBtf() survives random bytes", () => {
  fuzz({ cases: 2_000 }, (rng) => {
    const bytes = rng.bytes(rng.int(0, 511));
    // Three of four get past a magic number, and one of them past the header.
    const depth = rng.int(0, 3);
    if (depth === 1) bytes.set([0x9f, 0xeb, 1, 0].slice(0, bytes.length));
    if (depth === 2) bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1].slice(0, bytes.length));
    if (depth === 3 && bytes.length > 64) {
      const view = new DataView(bytes.buffer);
      [0x0001_eb9f, 24, 0, bytes.length - 26, bytes.length - 26, 2].forEach((word, index) =>
        view.setUint32(index * 4, word, true)
      );
      bytes.fill(0, bytes.length - 2);
    }
    timed(() => ask(() => askEverything(readBtf(bytes))));
  });
});

Deno.test("readBtf() and all that reads its types survive damaged objects", () => {
  const { small, large } = seeds();
  let cases = 0;
  let survivors = 0;
  fuzz({ cases: 16_000 }, (rng) => {
    const bytes = damage(rng.pick(rng.chance(LARGE) ? large : small), rng);
    cases++;
    timed(() =>
      ask(() => {
        const btf = readBtf(bytes);
        survivors++;
        askEverything(btf);
      })
    );
  });
  // Damage that never gets past the reader would test nothing of what is behind it.
  assert.ok(survivors > cases / 20 || cases < 1_000, `${survivors} objects were still BTF`);
});

interface Codec {
  readonly size: number;
  read(view: DataView, at?: number): object;
  write(view: DataView, at: number, value: object): void;
}

function codecsOf(module: object): [string, Codec][] {
  return Object.entries(module).filter(([, value]) => typeof value?.read === "function");
}

Deno.test("generated codecs write back what they read", () => {
  const codecs = [...codecsOf(contract), ...codecsOf(libbpf)];
  assert.ok(codecs.length > 10);
  const copy = (codec: Codec, bytes: Uint8Array) => {
    const target = new Uint8Array(bytes.length).fill(0xaa);
    const view = new DataView(bytes.buffer);
    codec.write(new DataView(target.buffer), 3, codec.read(view, 3));
    return target;
  };
  fuzz({ cases: 2_000 }, (rng) => {
    const [name, codec] = rng.pick(codecs);
    const bytes = rng.bytes(codec.size + 5);
    // Padding, bit fields and unions come back as zero: where, a struct of ones shows.
    const kept = copy(codec, new Uint8Array(codec.size + 5).fill(0xff));
    const expected = bytes.map((byte, index) => {
      if (index < 3 || index >= codec.size + 3) return 0xaa;
      return kept[index] === 0xff ? byte : 0;
    });
    assert.deepEqual(copy(codec, bytes), expected, name);
  });
});

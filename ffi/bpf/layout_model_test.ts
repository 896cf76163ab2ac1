import assert from "node:assert/strict";

import { BtfBuilder, KIND } from "../../tests/fixtures/btf_builder.ts";
import { BtfError, parseBtf } from "./btf.ts";
import { layoutHashOf } from "./layout_hash.ts";
import { modelsOf, scalarBytes, structModelOf } from "./layout_model.ts";

Deno.test("structModelOf() finds holes between fields and at the end", () => {
  const builder = new BtfBuilder();
  const byte = builder.int("unsigned char", 1);
  const word = builder.int("unsigned int", 4);
  const id = builder.struct("gaps", 16, [["a", byte, 8], ["b", word, 32], ["c", word, 64]]);
  assert.deepEqual(structModelOf(parseBtf(builder.bytes()), id), {
    kind: "struct",
    name: "gaps",
    size: 16,
    fields: [
      { name: "a", offset: 1, size: 1, type: { kind: "scalar", scalar: "u8" } },
      { name: "b", offset: 4, size: 4, type: { kind: "scalar", scalar: "u32" } },
      { name: "c", offset: 8, size: 4, type: { kind: "scalar", scalar: "u32" } },
    ],
    holes: [{ offset: 0, size: 1 }, { offset: 2, size: 2 }, { offset: 12, size: 4 }],
  });
});

Deno.test("structModelOf() tells network order by the typedef alone", () => {
  const builder = new BtfBuilder();
  const short = builder.int("unsigned short", 2);
  const be16 = builder.add(KIND.typedef, { name: "__be16", sizeOrType: short });
  const port = builder.add(KIND.typedef, { name: "port_t", sizeOrType: be16 });
  // A typedef that lies about its width is not believed.
  const odd = builder.add(KIND.typedef, { name: "__be32", sizeOrType: short });
  const members = [["a", short, 0], ["b", port, 16], ["c", odd, 32]] as const;
  const id = builder.struct("ports", 6, members);
  const { fields } = structModelOf(parseBtf(builder.bytes()), id);
  const scalars = fields.map(({ type }) => type.kind === "scalar" && type.scalar);
  assert.deepEqual(scalars, ["u16", "be16", "u16"]);
});

Deno.test("structModelOf() takes both encodings of bit fields for bit fields", () => {
  const builder = new BtfBuilder();
  const word = builder.int("unsigned int", 4);
  const narrow = builder.add(KIND.int, { name: "narrow", sizeOrType: 4, tail: [3] });
  const tail = ["flag", word, (10 << 24) | 5];
  builder.add(KIND.struct, { name: "new", vlen: 1, kindFlag: true, sizeOrType: 4, tail });
  builder.struct("old", 4, [["flag", narrow, 5]]);
  const btf = parseBtf(builder.bytes());
  for (const [name, bits, size] of [["new", 10, 2], ["old", 3, 1]] as const) {
    const [model] = modelsOf(btf, name);
    const fields = model?.kind === "struct" ? model.fields : [];
    const type = { kind: "bitfield", bitOffset: 5, bits };
    assert.deepEqual(fields, [{ name: "flag", offset: 0, size, type }]);
  }
});

Deno.test("structModelOf() refuses what contradicts itself", () => {
  const builder = new BtfBuilder();
  const word = builder.int("unsigned int", 4);
  const long = builder.struct("long", 4, [["a", word, 8]]);
  const askew = builder.struct("askew", 8, [["a", word, 3]]);
  const nothing = builder.struct("nothing", 8, [["a", 0, 0]]);
  const btf = parseBtf(builder.bytes());
  assert.throws(() => structModelOf(btf, long), /long\.a as it ends behind/);
  assert.throws(() => structModelOf(btf, askew), /askew\.a as it starts inside a byte/);
  assert.throws(() => structModelOf(btf, nothing), BtfError);
  assert.throws(() => structModelOf(btf, word), /unsigned int as it is not a struct/);
});

Deno.test("modelsOf() passes over declarations and bounds definitions", () => {
  const builder = new BtfBuilder();
  builder.add(KIND.fwd, { name: "a" });
  builder.add(KIND.enum, { name: "b", sizeOrType: 4 });
  for (let count = 0; count < 16; count++) builder.struct("c", 0, []);
  for (let count = 0; count < 17; count++) builder.struct("d", 0, []);
  const btf = parseBtf(builder.bytes());
  assert.deepEqual(["a", "b", "c"].map((name) => modelsOf(btf, name).length), [0, 0, 16]);
  assert.throws(() => modelsOf(btf, "d"), /more than 16 definitions/);
});

Deno.test("layoutHashOf() ends on structs that hold themselves", () => {
  const builder = new BtfBuilder();
  builder.struct("loop", 4, [["a", 1, 0]]);
  const hash = layoutHashOf(parseBtf(builder.bytes()), ["loop"]);
  assert.match(hash, /^[0-9a-f]{16}$/);
});

Deno.test("layoutHashOf() refuses missing and contradicting definitions", () => {
  const builder = new BtfBuilder();
  const word = builder.int("unsigned int", 4);
  builder.struct("a", 4, [["x", word, 0]]);
  builder.struct("a", 4, [["y", word, 0]]);
  const btf = parseBtf(builder.bytes());
  assert.throws(() => layoutHashOf(btf, ["b"]), /Cannot hash b as it is not in the BTF/);
  assert.throws(() => layoutHashOf(btf, ["a"]), /Cannot hash a as the BTF defines it differently/);
});

Deno.test("scalarBytes() knows every width", () => {
  assert.deepEqual((["u8", "be16", "s32", "be64"] as const).map(scalarBytes), [1, 2, 4, 8]);
});

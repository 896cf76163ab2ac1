import assert from "node:assert/strict";

import { BtfBuilder, buildElf, KIND } from "../../tests/fixtures/btf_builder.ts";
import { BTF_CHAIN_MAX, BtfError, btfSectionOf, parseBtf, readBtf } from "./btf.ts";

const KERNEL_BTF = "/sys/kernel/btf/vmlinux";

function hasKernelBtf(): boolean {
  try {
    return Deno.statSync(KERNEL_BTF).isFile;
  } catch {
    return false;
  }
}

/** One type of each kind, 1 to 19, in the order of their numbers. */
function everyKind(): BtfBuilder {
  const builder = new BtfBuilder();
  builder.int("int", 4, 1);
  builder.add(KIND.ptr, { sizeOrType: 1 });
  builder.add(KIND.array, { tail: [1, 1, 5] });
  builder.struct("pair", 8, [["left", 1, 0], ["right", 1, 32]]);
  builder.add(KIND.union, { name: "either", vlen: 1, sizeOrType: 8, tail: ["both", 4, 0] });
  builder.add(KIND.enum, { name: "sign", vlen: 1, kindFlag: true, sizeOrType: 4, tail: ["M", -1] });
  builder.add(KIND.fwd, { name: "later", kindFlag: true });
  builder.add(KIND.typedef, { name: "alias", sizeOrType: 3 });
  builder.add(KIND.volatile, { sizeOrType: 8 });
  builder.add(KIND.const, { sizeOrType: 9 });
  builder.add(KIND.restrict, { sizeOrType: 2 });
  builder.add(KIND.func, { name: "main", vlen: 1, sizeOrType: 13 });
  builder.add(KIND.func_proto, { vlen: 1, sizeOrType: 1, tail: ["argument", 2] });
  builder.add(KIND.var, { name: "global", sizeOrType: 10, tail: [1] });
  builder.add(KIND.datasec, { name: ".data", vlen: 1, sizeOrType: 20, tail: [14, 0, 20] });
  builder.add(KIND.float, { name: "double", sizeOrType: 8 });
  builder.add(KIND.decl_tag, { name: "mark", sizeOrType: 4, tail: [-1] });
  builder.add(KIND.type_tag, { name: "user", sizeOrType: 1 });
  const tail = ["BIG", 0, 0x8000_0000];
  builder.add(KIND.enum64, { name: "wide", vlen: 1, sizeOrType: 8, tail });
  return builder;
}

Deno.test("parseBtf() reads every kind", () => {
  const { types } = parseBtf(everyKind().bytes());
  assert.deepEqual(types.map((type) => type.kind), ["void", ...Object.keys(KIND)]);
  assert.deepEqual(types[4], {
    kind: "struct",
    id: 4,
    name: "pair",
    size: 8,
    members: [
      { name: "left", type: 1, bitOffset: 0, bitSize: 0 },
      { name: "right", type: 1, bitOffset: 32, bitSize: 0 },
    ],
  });
  assert.deepEqual(types[6], {
    kind: "enum",
    id: 6,
    name: "sign",
    size: 4,
    signed: true,
    values: [{ name: "M", value: -1n }],
  });
  assert.deepEqual(types[13], {
    kind: "func_proto",
    id: 13,
    name: "",
    returns: 1,
    parameters: [{ name: "argument", type: 2 }],
  });
  assert.deepEqual(types[15], {
    kind: "datasec",
    id: 15,
    name: ".data",
    size: 20,
    entries: [{ type: 14, offset: 0, size: 20 }],
  });
  assert.deepEqual(types[17], { kind: "decl_tag", id: 17, name: "mark", type: 4, component: -1 });
  assert.deepEqual(types[19], {
    kind: "enum64",
    id: 19,
    name: "wide",
    size: 8,
    signed: false,
    values: [{ name: "BIG", value: 1n << 63n }],
  });
});

Deno.test("Btf resolves, sizes, aligns and describes through aliases", () => {
  const btf = parseBtf(everyKind().bytes());
  assert.equal(btf.resolve(10).id, 3);
  assert.deepEqual(btf.chain(10).map(({ kind }) => kind), [
    "const",
    "volatile",
    "typedef",
    "array",
  ]);
  assert.equal(btf.sizeOf(10), 20);
  assert.equal(btf.alignOf(10), 4);
  assert.equal(btf.sizeOf(11), 8);
  assert.equal(btf.alignOf(5), 4);
  assert.equal(btf.sizeOf(19), 8);
  assert.equal(btf.describe(10), "alias");
  assert.equal(btf.describe(3), "int[5]");
  assert.equal(btf.describe(11), "int *");
  assert.equal(btf.describe(4), "struct pair");
  assert.equal(btf.describe(7), "union later");
  assert.equal(btf.find("struct", "pair")?.id, 4);
  assert.equal(btf.find("union", "pair"), undefined);
  assert.equal(btf.find("enum", "constructor"), undefined);
  for (const id of [0, 7, 12, 13]) assert.throws(() => btf.sizeOf(id), BtfError);
  assert.throws(() => btf.type(20), BtfError);
});

Deno.test("parseBtf() reads bit fields in both encodings", () => {
  const builder = new BtfBuilder();
  const word = builder.int("unsigned int", 4);
  const narrow = builder.add(KIND.int, { name: "narrow", sizeOrType: 4, tail: [3] });
  const tail = ["flag", word, (3 << 24) | 5];
  builder.add(KIND.struct, { name: "new", vlen: 1, kindFlag: true, sizeOrType: 4, tail });
  builder.struct("old", 4, [["flag", narrow, 5]]);
  const btf = parseBtf(builder.bytes());
  const [flag] = btf.find("struct", "new")?.members ?? [];
  assert.deepEqual(flag, { name: "flag", type: word, bitOffset: 5, bitSize: 3 });
  const type = btf.type(narrow);
  assert.equal(type.kind === "int" && type.bits, 3);
});

Deno.test("readBtf() finds BTF in ELF objects", () => {
  const raw = everyKind().bytes();
  const elf = buildElf({ ".text": new Uint8Array(8), ".BTF": raw, ".BTF.ext": new Uint8Array(4) });
  assert.deepEqual(btfSectionOf(elf), raw);
  assert.equal(readBtf(elf).types.length, 20);
  // As a view into a larger buffer, which is what an embedded file may be.
  const shifted = new Uint8Array(elf.length + 7);
  shifted.set(elf, 7);
  assert.equal(readBtf(shifted.subarray(7)).types.length, 20);
});

Deno.test("readBtf() says what is wrong with an object", () => {
  const elf = buildElf({ ".BTF": everyKind().bytes() });
  const patched = (at: number, ...values: number[]) => {
    const copy = elf.slice();
    copy.set(values, at);
    return copy;
  };
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["no input", new Uint8Array(0), /0 bytes/],
    ["no magic", new Uint8Array(64), /first bytes are not BTF's/],
    ["no debug information", buildElf({ ".text": new Uint8Array(8) }), /no \.BTF.*with -g/],
    ["32 bits", patched(4, 1), /not 64-bit little-endian/],
    ["big-endian", patched(5, 2), /not 64-bit little-endian/],
    ["cut", elf.subarray(0, elf.length - 1), /sections as they end behind/],
    ["header alone", elf.subarray(0, 63), /does not start with an ELF header/],
    ["sections far away", patched(46, 1), /sections as they end behind/],
    ["odd section size", patched(58, 40), /unknown size/],
    ["no names", patched(62, 9), /Cannot find ELF section 9/],
    ["empty", buildElf({ ".BTF": new Uint8Array(0) }), /0 bytes/],
  ];
  for (const [title, bytes, message] of cases) {
    assert.throws(() => readBtf(bytes), (error) => {
      assert.ok(error instanceof BtfError, title);
      assert.match(error.message, message, title);
      return true;
    });
  }
});

Deno.test("parseBtf() says what is wrong with the types", () => {
  const one = (kind: number, options: Parameters<BtfBuilder["add"]>[1]) => {
    const builder = new BtfBuilder();
    builder.add(kind, options);
    return builder.bytes();
  };
  const patched = (at: number, value: number) => {
    const bytes = everyKind().bytes();
    new DataView(bytes.buffer).setUint32(at, value, true);
    return bytes;
  };
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["version 2", patched(0, 0x0002_eb9f), /version must be 1: current value is 2/],
    ["big-endian", patched(0, 0x0001_9feb), /big-endian/],
    ["short header", patched(4, 16), /header says it has 16 bytes/],
    ["long header", patched(4, 1 << 30), /header says/],
    ["types outside", patched(12, 1 << 30), /BTF types as they end behind/],
    ["names outside", patched(20, 1 << 30), /BTF names as they end behind/],
    ["no names", patched(20, 0), /names do not start and end/],
    ["name outside", patched(24, 1 << 20), /Cannot read name at 1048576: there are/],
    ["kind 0", one(0, {}), /kind is unknown: current value is 0/],
    ["kind 20", one(20, {}), /kind is unknown: current value is 20/],
    ["integer of 3 bytes", one(KIND.int, { sizeOrType: 3, tail: [24] }), /integer of 3 bytes/],
    ["float of 5 bytes", one(KIND.float, { sizeOrType: 5 }), /float of 5 bytes/],
    ["enum of 3 bytes", one(KIND.enum, { sizeOrType: 3 }), /enum of 3 bytes/],
    ["no members", one(KIND.struct, { vlen: 0xffff, sizeOrType: 4 }), /types end inside/],
    ["no tail", one(KIND.array, {}), /types end inside/],
    ["reference", one(KIND.ptr, { sizeOrType: 2 }), /refers to 2, which is not there/],
  ];
  for (const [title, bytes, message] of cases) {
    assert.throws(() => parseBtf(bytes), (error) => {
      assert.ok(error instanceof BtfError, title);
      assert.match(error.message, message, title);
      return true;
    });
  }
});

Deno.test("Btf refuses chains that go in circles or too far", () => {
  const loop = new BtfBuilder();
  loop.add(KIND.typedef, { name: "chicken", sizeOrType: 2 });
  loop.add(KIND.typedef, { name: "egg", sizeOrType: 1 });
  loop.add(KIND.array, { tail: [3, 3, 1] });
  loop.struct("self", 4, [["self", 4, 0]]);
  loop.add(KIND.ptr, { sizeOrType: 5 });
  const btf = parseBtf(loop.bytes());
  for (const id of [1, 2, 3]) {
    assert.throws(() => btf.sizeOf(id), BtfError);
    assert.throws(() => btf.alignOf(id), BtfError);
  }
  assert.throws(() => btf.chain(1), BtfError);
  assert.throws(() => btf.alignOf(4), /nests deeper/);
  assert.equal(typeof btf.describe(5), "string");

  const chainOf = (aliases: number) => {
    const builder = new BtfBuilder();
    let id = builder.int("int", 4);
    for (let count = 0; count < aliases; count++) id = builder.add(KIND.const, { sizeOrType: id });
    return parseBtf(builder.bytes()).sizeOf(id);
  };
  assert.equal(chainOf(BTF_CHAIN_MAX - 1), 4);
  assert.throws(() => chainOf(BTF_CHAIN_MAX), BtfError);
});

Deno.test("Btf.sizeOf() refuses sizes that no object has", () => {
  const builder = new BtfBuilder();
  const word = builder.int("int", 4);
  const row = builder.add(KIND.array, { tail: [word, word, 0xffff] });
  const plane = builder.add(KIND.array, { tail: [row, word, 0xffff] });
  const btf = parseBtf(builder.bytes());
  assert.equal(btf.sizeOf(row), 4 * 0xffff);
  assert.throws(() => btf.sizeOf(plane), /exceeds 4 GiB/);
});

Deno.test({
  name: `readBtf() reads a running kernel's types${hasKernelBtf() ? "" : ": skipped, it has none"}`,
  ignore: !hasKernelBtf(),
  fn() {
    const started = performance.now();
    const btf = readBtf(Deno.readFileSync(KERNEL_BTF));
    // 0.2 s here; the limit is for a quadratic step, not for a slow machine.
    assert.ok(performance.now() - started < 10_000);
    assert.ok(btf.types.length > 10_000);
    const task = btf.find("struct", "task_struct");
    const pid = task?.members.find(({ name }) => name === "pid");
    assert.equal(btf.describe(pid?.type ?? 0), "pid_t");
    assert.equal(btf.sizeOf(pid?.type ?? 0), 4);
    assert.equal(btf.sizeOf(btf.find("struct", "list_head")?.id ?? 0), 16);
    assert.equal(btf.alignOf(btf.find("struct", "list_head")?.id ?? 0), 8);
    const ends = btf.types.flatMap((type) =>
      (type.kind === "struct" ? type.members : []).filter(({ bitSize }) => bitSize === 0).map((
        member,
      ) => ({
        type,
        end: member.bitOffset / 8 + btf.sizeOf(member.type),
      }))
    );
    assert.deepEqual(ends.filter(({ type, end }) => end > btf.sizeOf(type.id)), []);
  },
});

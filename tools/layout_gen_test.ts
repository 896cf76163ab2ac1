import assert from "node:assert/strict";

import { type Btf, readBtf } from "../ffi/bpf/btf.ts";
import { layoutDifferences, layoutHashOf } from "../ffi/bpf/layout_hash.ts";
import { compileBpf } from "./compile_bpf.ts";
import {
  anchoredNamesOf,
  contractNamesOf,
  generateContract,
  generateForeign,
  LayoutError,
} from "./layout_gen.ts";
import { MAP_TYPES, mapsOf } from "./layout_maps.ts";

/** What linux/types.h and bpf/bpf_helpers.h would bring, so that no header is needed. */
const PRELUDE = `
typedef unsigned char __u8; typedef signed char __s8;
typedef unsigned short __u16; typedef short __s16;
typedef unsigned int __u32; typedef int __s32;
typedef unsigned long long __u64; typedef long long __s64;
typedef __u16 __be16; typedef __u32 __be32; typedef __u64 __be64;
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
`;
const NOTES = { origin: "test.h", command: "make test" };

async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "phantom_layout_" });
  try {
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function btfOf(source: string): Promise<Btf> {
  return withFolder(async (folder) => {
    const path = `${folder}/test.bpf.c`;
    await Deno.writeTextFile(path, PRELUDE + source);
    return readBtf(await compileBpf(path));
  });
}

async function contractOf(source: string, named: readonly string[] = []): Promise<string> {
  const btf = await btfOf(source);
  const notes = { ...NOTES, named };
  return generateContract([{ name: "some/test.o", btf }], contractNamesOf(source), notes);
}

/** The problems that the generator finds in this C source. */
async function problemsOf(source: string): Promise<readonly string[]> {
  try {
    await contractOf(source);
  } catch (error) {
    if (error instanceof LayoutError) return error.problems;
    throw error;
  }
  return [];
}

interface Codec {
  readonly size: number;
  readonly offset: Readonly<Record<string, number>>;
  read(view: DataView, at?: number): Record<string, unknown>;
  write(view: DataView, at: number, value: Record<string, unknown>): void;
}

/** Type-checks nothing, runs the generated text; the committed files are checked as sources. */
function importText(text: string): Promise<Record<string, unknown>> {
  return withFolder(async (folder) => {
    await Deno.copyFile(
      new URL("../ffi/bpf/layout_io.ts", import.meta.url),
      `${folder}/layout_io.ts`,
    );
    await Deno.writeTextFile(`${folder}/layout.gen.ts`, text);
    return await import(`file://${folder}/layout.gen.ts`);
  });
}

Deno.test("contractNamesOf() finds definitions and nothing else", () => {
  const header = `
    struct ph_one { int a; };
    /* struct ph_comment { */ // enum ph_line {
    enum ph_two
    {
      PH_TWO_A,
    };
    struct ph_declared;
    struct ph_one x = { 1 };
    struct ph_pointer *p(struct ph_pointer *q) { return q; }
    struct __attribute__((packed)) ph_three { int a; };
    union ph_four { int a; };
    struct other { int a; };
  `;
  assert.deepEqual(contractNamesOf(header), ["ph_one", "ph_two", "ph_three", "ph_four"]);
});

Deno.test("anchoredNamesOf() finds anchors and not their macro", () => {
  const source =
    "#define ANCHOR(type) type x\nANCHOR(struct a_b);\n// ANCHOR(enum c);\nANCHOR(enum d);";
  assert.deepEqual(anchoredNamesOf(source), ["a_b", "d"]);
});

const EVERY_FIELD = `
enum ph_colour { PH_COLOUR_RED = 0, PH_COLOUR_DARK_RED = 5, PH_COLOUR_CRIMSON = 5 };
struct ph_inner { __be16 port; __u8 pad[2]; };
struct ph_all {
  __u8 a_u8; __s8 b_s8; __u16 c_u16; __be16 d_be16; __s16 e_s16; __u32 f_u32; __be32 g_be32;
  __s32 h_s32; __u32 pad; __u64 i_u64; __be64 j_be64; __s64 k_s64;
  const volatile __u8 l_bytes[3]; char m_text[4]; _Bool n_bool; __u16 o_list[2];
  enum ph_colour p_colour; __u64 q_longs[2]; struct ph_inner r_inner; struct ph_inner s_inners[2];
  __u32 pad2;
};
struct ph_all anchor;
`;

Deno.test("a generated codec reads and writes every type of field", async () => {
  const module = await importText(await contractOf(EVERY_FIELD));
  const All = module["All"] as Codec;
  assert.equal(All.size, 96);
  const bytes = Uint8Array.from({ length: 100 }, (_, index) => 0x80 + index);
  const value = All.read(new DataView(bytes.buffer), 2);
  assert.deepEqual(value, {
    aU8: 0x82,
    bS8: 0x83 - 0x100,
    cU16: 0x8584,
    dBe16: 0x8687,
    eS16: 0x8988 - 0x1_0000,
    fU32: 0x8d8c8b8a,
    gBe32: 0x8e8f9091,
    hS32: 0x95949392 - 0x1_0000_0000,
    iU64: 0xa1a09f9e9d9c9b9an,
    jBe64: 0xa2a3a4a5a6a7a8a9n,
    kS64: BigInt.asIntN(64, 0xb1b0afaeadacabaan),
    lBytes: bytes.slice(50, 53),
    mText: bytes.slice(53, 57),
    nBool: 0xb9,
    oList: [0xbbba, 0xbdbc],
    pColour: 0xc1c0bfbe,
    qLongs: [0xc9c8c7c6c5c4c3c2n, 0xd1d0cfcecdcccbcan],
    rInner: { port: 0xd2d3 },
    sInners: [{ port: 0xd6d7 }, { port: 0xdadb }],
  });

  const written = new Uint8Array(100).fill(0xff);
  All.write(new DataView(written.buffer), 2, value);
  const expected = bytes.slice();
  expected.fill(0xff, 0, 2).fill(0xff, 98);
  for (const [at, size] of [[22, 4], [84, 2], [88, 2], [92, 2], [94, 4]] as const) {
    expected.fill(0, at, at + size);
  }
  assert.deepEqual(written, expected);
});

Deno.test("a generated write() wants arrays of the exact length", async () => {
  const module = await importText(await contractOf(EVERY_FIELD));
  const All = module["All"] as Codec;
  const view = new DataView(new ArrayBuffer(96));
  const value = All.read(view);
  for (const [key, bad] of [["lBytes", 2], ["lBytes", 4], ["oList", 1], ["sInners", 3]] as const) {
    const wrong = key === "lBytes" ? new Uint8Array(bad) : new Array(bad).fill(0);
    const message = new RegExp(`All.${key} as its length must be \\d: current value is ${bad}`);
    assert.throws(() => All.write(view, 0, { ...value, [key]: wrong }), {
      name: "RangeError",
      message,
    });
  }
});

Deno.test("a generated enum has values, and names for numbers where asked", async () => {
  const nameless = await importText(await contractOf(EVERY_FIELD));
  assert.deepEqual(nameless["Colour"], { red: 0, darkRed: 5, crimson: 5 });
  assert.equal(nameless["colourName"], undefined);
  const module = await importText(await contractOf(EVERY_FIELD, ["ph_colour"]));
  assert.deepEqual(module["Colour"], { red: 0, darkRed: 5, crimson: 5 });
  const colourName = module["colourName"] as (value: number) => string;
  assert.deepEqual([0, 5, 6, -1].map(colourName), ["red", "dark_red", "6", "-1"]);
});

Deno.test("generateContract() describes the maps", async () => {
  const module = await importText(
    await contractOf(`
      struct ph_key { __be32 address; };
      struct ph_value { __u64 packets; };
      struct own { __u8 a; __u64 b; };
      struct { __uint(type, 9); __type(key, struct ph_key); __type(value, struct ph_value);
        __uint(max_entries, 7); __uint(map_flags, 3); } sessions SEC(".maps");
      struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
      struct { __uint(type, 1); __type(key, __u64); __type(value, struct own);
        __uint(max_entries, 1); } scratch SEC(".maps");
      struct { __uint(type, 17); __uint(key_size, 4); __uint(value_size, 4);
        __uint(max_entries, 64); } sockets SEC(".maps");
      struct inner { __uint(type, 2); __type(key, __u32); __type(value, __u32);
        __uint(max_entries, 2); } inner SEC(".maps");
      struct { __uint(type, 12); __type(key, __u32); __uint(max_entries, 2);
        __array(values, struct inner); } outer SEC(".maps");
    `),
  );
  const defaults = { keySize: 4, valueSize: 4, flags: 0, key: "u32", value: "u32" };
  assert.deepEqual(module["maps"], {
    inner: { ...defaults, type: "array", maxEntries: 2 },
    outer: { ...defaults, type: "array_of_maps", maxEntries: 2, value: null },
    ring: {
      type: "ringbuf",
      keySize: 0,
      valueSize: 0,
      maxEntries: 4096,
      flags: 0,
      key: null,
      value: null,
    },
    scratch: {
      type: "hash",
      keySize: 8,
      valueSize: 16,
      maxEntries: 1,
      flags: 0,
      key: "u64",
      value: "bytes",
    },
    sessions: {
      type: "lru_hash",
      keySize: 4,
      valueSize: 8,
      maxEntries: 7,
      flags: 3,
      key: "Key",
      value: "Value",
    },
    sockets: { ...defaults, type: "xskmap", maxEntries: 64, key: null, value: null },
  });
});

Deno.test("generateContract() names what cannot be part of the contract", async (t) => {
  const cases: readonly (readonly [string, string, readonly RegExp[]])[] = [
    ["hole at the end", "struct ph_x { __u64 a; __u32 b; } x;", [
      /^ph_x has 4 unnamed bytes at 12: add an explicit pad/,
    ]],
    ["hole inside", "struct ph_x { __u8 a; __u16 b; } x;", [/^ph_x has 1 unnamed byte at 1: /]],
    ["union", "struct ph_x { union { __u32 v4; __u8 v6[16]; } ip; } x;", [
      /^ph_x\.ip is a union: make it bytes/,
      /^ph_x has no field/,
    ]],
    ["union without a name", "struct ph_x { __u32 a; union { __u32 b; __s32 c; }; } x;", [
      /^ph_x\.\(anonymous at 4\) is a union/,
    ]],
    ["struct without a name", "struct ph_x { __u32 a; struct { __u32 b; } c; } x;", [
      /^ph_x\.c is a struct without a name: /,
    ]],
    ["foreign struct", "struct y { __u32 b; }; struct ph_x { __u32 a; struct y c; } x;", [
      /^ph_x\.c is struct y: define that in the header as ph_/,
    ]],
    ["bit field", "struct ph_x { __u32 a; __u32 b : 3; __u32 c : 29; } x;", [
      /^ph_x\.b is a bit field: make it a __u32 of flags/,
      /^ph_x\.c is a bit field/,
    ]],
    ["pointer", "struct ph_x { __u64 a; void *b; } x;", [/^ph_x\.b is a pointer, /]],
    ["float", "struct ph_x { __u32 a; float b; } x;", [/^ph_x\.b is float, which has no/]],
    ["array of arrays", "struct ph_x { __u32 a; __u8 b[2][2]; } x;", [
      /^ph_x\.b is __u8\[2\]\[2\]/,
    ]],
    ["128 bits", "struct ph_x { __u64 a, c; __int128 b; } x;", [/^ph_x\.b is __int128, which/]],
    ["two fields of one name", "struct ph_x { __u32 a_b; __u32 aB; } x;", [
      /^ph_x has two members that become aB/,
    ]],
    ["enumerator of another name", "enum ph_x { PH_X_A, PH_Y_B } x;", [
      /^ph_x: PH_Y_B must be named PH_X_/,
    ]],
    ["enumerator without a letter", "enum ph_x { PH_X_4 } x;", [
      /^ph_x: PH_X_4 must be named PH_X_… with a letter/,
      /^ph_x: "4" is no name/,
    ]],
    ["negative enumerator", "enum ph_x { PH_X_A = -1 } x;", [/^ph_x: PH_X_A must be within 0 to/]],
    ["not reached", "struct ph_x { __u32 a; }; int y;", [
      /^ph_x is missing in the BTF of some\/test.o: anchor it in a global/,
    ]],
    [
      "only by pointer",
      "struct ph_x { __u32 a; }; struct ph_y { struct ph_x *x; __u64 z; } y;",
      [/^ph_x is only declared, being reached through pointers in/, /^ph_y\.x is a pointer/],
    ],
    ["union as a whole", "union ph_x { __u32 a; __u16 b; } x;", [/^ph_x is a union: make it/]],
    ["name that TypeScript needs", "struct ph_data_view { __u32 a; } x;", [/^DataView is a name/]],
    ["no types", "int x;", [/^test\.h defines no ph_… type/]],
  ];
  for (const [title, source, expected] of cases) {
    await t.step(title, async () => {
      const problems = await problemsOf(source);
      assert.equal(problems.length, expected.length, problems.join("\n"));
      expected.forEach((pattern, index) => assert.match(problems[index] ?? "", pattern));
    });
  }
});

Deno.test("generateContract() finds holes in map keys, however deep", async (t) => {
  const anchor = "struct ph_x { __u32 a; } x;";
  const map = (key: string) =>
    `${anchor} struct { __uint(type, 1); __type(key, ${key}); __type(value, __u32);
      __uint(max_entries, 1); } flows SEC(".maps");`;
  await t.step("in a private key", async () => {
    const problems = await problemsOf(`struct own { __u16 a; __u32 b; }; ${map("struct own")}`);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? "", /^map flows: key struct own has 2 unnamed bytes at 2: add/);
  });
  await t.step("in a key of the contract", async () => {
    const problems = await problemsOf(`struct ph_y { __u32 b; __u8 a; }; ${map("struct ph_y")}`);
    assert.match(problems[0] ?? "", /^ph_y has 3 unnamed bytes at 5/);
    assert.match(problems[1] ?? "", /^map flows: key struct ph_y has 3 unnamed bytes at 5/);
  });
  await t.step("in a struct inside a union inside", async () => {
    const inner = "struct in { __u8 a; __u16 b; }; union u { struct in i[2]; __u64 w; };";
    const problems = await problemsOf(`${inner} struct own { union u u; }; ${map("struct own")}`);
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? "", /^map flows: key struct in has 1 unnamed byte at 1: add/);
  });
});

Deno.test("generateContract() takes several objects, if they agree", async () => {
  const one = { name: "one.o", btf: await btfOf("struct ph_a { __u32 x; } a;") };
  const two = { name: "two.o", btf: await btfOf("struct ph_b { __u32 y; } b;") };
  const text = generateContract([one, two], ["ph_a", "ph_b"], NOTES);
  assert.match(text, /interface A [\s\S]*interface B /);

  const other = { name: "other.o", btf: await btfOf("struct ph_a { __s32 x; } a;") };
  assert.throws(() => generateContract([one, other], ["ph_a"], NOTES), {
    message: "ph_a differs between one.o and other.o: compile both again",
  });
});

Deno.test("layoutHashOf() changes when and only when a layout does", async () => {
  const names = ["ph_a", "ph_e"];
  const hashOf = async (source: string) => layoutHashOf(await btfOf(source), names);
  const inner = "struct ph_i { __u16 y; __u16 z; };";
  const struct = "struct ph_a { __u32 x; struct ph_i i; } a;";
  const values = "enum ph_e { PH_E_A, PH_E_B } e;";
  const base = await hashOf(inner + struct + values);

  const same = [
    `/* moved */ ${values} ${inner} struct other { int q; } o; ${struct}`,
    `${inner} typedef __u32 word; struct ph_a { const word x; struct ph_i i; } a; ${values}`,
    `${inner + struct} enum ph_e { PH_E_B = 1, PH_E_A = 0 } e;`,
  ];
  for (const source of same) assert.equal(await hashOf(source), base, source);

  const different = [
    inner + struct.replace("__u32 x", "__s32 x") + values,
    inner + struct.replace("__u32 x", "__be32 x") + values,
    inner + struct.replace("x;", "w;") + values,
    inner + struct.replace("__u32 x;", "__u16 x; __u16 w;") + values,
    inner.replace("__u16 y; __u16 z;", "__u16 z; __u16 y;") + struct + values,
    inner + struct + values.replace("PH_E_B", "PH_E_C"),
    inner + struct + values.replace("PH_E_B", "PH_E_B = 2"),
    inner + struct + values.replace("PH_E_B", "PH_E_B, PH_E_C"),
  ];
  const hashes = await Promise.all(different.map(hashOf));
  assert.equal(new Set([base, ...hashes]).size, different.length + 1);
});

interface ObjectLayout {
  readonly hash: string;
  readonly hashes: Readonly<Record<string, string>>;
}

async function layoutsOf(text: string): Promise<Readonly<Record<string, ObjectLayout>>> {
  return (await importText(text))["layouts"] as Readonly<Record<string, ObjectLayout>>;
}

Deno.test("the hash in the file is that of the object", async () => {
  const btf = await btfOf(EVERY_FIELD);
  const { hash, hashes } = (await layoutsOf(await contractOf(EVERY_FIELD)))["test"]!;
  assert.deepEqual(Object.keys(hashes), ["ph_colour", "ph_inner", "ph_all"]);
  assert.equal(hash, layoutHashOf(btf, Object.keys(hashes)));
  assert.deepEqual(layoutDifferences(btf, hashes), []);
  const changed = await btfOf(EVERY_FIELD.replace("a_u8", "renamed"));
  assert.deepEqual(layoutDifferences(changed, hashes), ["ph_all differs"]);
  const less = await btfOf("struct ph_inner { __be16 port; __u8 pad[2]; } anchor;");
  assert.deepEqual(layoutDifferences(less, hashes), ["ph_colour is missing", "ph_all is missing"]);
});

Deno.test("types of another object do not change an object's hash", async () => {
  const common = "enum ph_verdict { PH_VERDICT_PASS, PH_VERDICT_DROP };";
  const tunnel = "struct ph_session { __u64 bytes; };";
  const policy = "struct ph_rule { __u32 from; }; enum ph_act { PH_ACT_ALLOW, PH_ACT_DENY };";
  const first = {
    name: "bpf/xdp_phantom.o",
    btf: await btfOf(`${common} ${tunnel} enum ph_verdict v; struct ph_session s;`),
  };
  const names = contractNamesOf(common + tunnel);
  const before = await layoutsOf(generateContract([first], names, NOTES));
  // Their header is included by the first object too, and what it has is not used there.
  const again = {
    name: first.name,
    btf: await btfOf(`${common} ${tunnel} ${policy} enum ph_verdict v; struct ph_session s;`),
  };
  const second = {
    name: "bpf/tc_policy.o",
    btf: await btfOf(`${common} ${policy} enum ph_verdict v; struct ph_rule r; enum ph_act a;`),
  };
  const all = contractNamesOf(common + tunnel + policy);
  const after = await layoutsOf(generateContract([again, second], all, NOTES));
  assert.deepEqual(after["xdp_phantom"], before["xdp_phantom"]);
  assert.deepEqual(Object.keys(after["tc_policy"]!.hashes), ["ph_verdict", "ph_rule", "ph_act"]);
  assert.notEqual(after["tc_policy"]!.hash, after["xdp_phantom"]!.hash);
});

Deno.test("names are made of types that there are", async () => {
  await assert.rejects(contractOf(EVERY_FIELD, ["ph_color"]), {
    message: "ph_color is to have names, but is none of the types",
  });
});

Deno.test("generateForeign() flattens, keeps going, and writes parts", async () => {
  const source = `
    struct opts {
      unsigned long sz; const char *name; _Bool flag; long :0;
      __u32 bits : 3; __u32 pad;
      struct { __u32 low; } nested;
      union { struct { __u32 ifindex; } xdp; __u64 cookie; };
    } a;
    enum kind { KIND_A_ONE = 1, KIND_A_TWO, __KIND_MAX, MAX_KIND } b;
  `;
  const text = generateForeign(await btfOf(source), ["opts", "kind"], NOTES);
  const module = await importText(text);
  const Opts = module["Opts"] as Codec;
  assert.deepEqual(Opts.offset, {
    sz: 0,
    name: 8,
    flag: 16,
    nestedLow: 32,
    xdpIfindex: 40,
    cookie: 40,
  });
  assert.match(text, /Left out: bits \(bit field\)/);
  const bytes = new Uint8Array(56).fill(0xff);
  Opts.write(new DataView(bytes.buffer), 4, { name: 0x1234n, flag: 1 });
  const expected = new Uint8Array(56).fill(0xff, 0, 4).fill(0xff, 52);
  expected.set([48, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 1], 4);
  assert.deepEqual(bytes, expected);
  assert.deepEqual(module["Kind"], { one: 1, two: 2 });

  const btf = await btfOf("int x;");
  assert.throws(() => generateForeign(btf, ["gone"], NOTES), /gone is missing/);
});

Deno.test("mapsOf() refuses maps it does not understand", async () => {
  const unknown = await btfOf(`struct { __uint(type, 99); } m SEC(".maps");`);
  assert.throws(() => mapsOf(unknown), /Map m has the unknown type 99/);
  const legacy = await btfOf(`struct { __u32 type; } m SEC(".maps");`);
  assert.throws(() => mapsOf(legacy), /Map m does not give type by __uint\(\)/);
  assert.deepEqual(mapsOf(await btfOf("int x;")), []);
  assert.equal(MAP_TYPES.indexOf("ringbuf"), 27);
});

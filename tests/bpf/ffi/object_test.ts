import assert from "node:assert/strict";
import { BpfError } from "../../../ffi/bpf/bpf_error.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { openProgramById } from "../../../ffi/bpf/program.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";

const libs = libraries();
const XDP_PASS = 2;

function openTesting(): BpfObject {
  return new BpfObject(libs, "testing", bpfObject("testing"));
}

Deno.test("BpfObject refuses what is no object, with libbpf's words", () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(64), bpfObject("testing").slice(0, 900)]) {
    assert.throws(() => new BpfObject(libs, "garbage", bytes), (error) => {
      assert(error instanceof BpfError);
      assert.match(error.message, /open BPF object garbage: [A-Z_]+ .*cut short/);
      return true;
    });
  }
});

Deno.test("BpfObject shows the maps and programs of the file before loading", () => {
  using object = openTesting();
  const numbers = object.shapes().find(({ name }) => name === "numbers");
  assert.deepEqual(numbers, {
    name: "numbers",
    type: 1,
    keySize: 4,
    valueSize: 8,
    maxEntries: 100_000,
    flags: 0,
  });
  assert(object.programNames.includes("tally"));
  assert(!object.shapes().some(({ name }) => name.includes("rodata")));
});

Deno.test("BpfObject.setConstant() reaches the program, at each size and its limits", () => {
  const answerWith = (name: string, value: number | bigint) => {
    using object = openTesting();
    object.setConstant(name, value);
    object.load();
    return object.program("answer_constant").run({ data: new Uint8Array(64) }).value;
  };
  assert.equal(answerWith("answer", 4711), 4711);
  assert.equal(answerWith("answer", 0xffff_ffff), 0xffff_ffff);
  assert.equal(answerWith("wide", 0x1_0000_0000n), 43);
  assert.equal(answerWith("wide", 0xffff_ffffn), 42);
  assert.equal(answerWith("narrow", 255), 43);
});

Deno.test("BpfObject.setConstant() refuses unknown names and values that do not fit", () => {
  using object = openTesting();
  assert.throws(() => object.setConstant("nonsense", 1), /has no such constant/);
  assert.throws(() => object.setConstant("narrow", 256), /does not fit/);
  assert.throws(() => object.setConstant("answer", 0x1_0000_0000n), /does not fit/);
  object.load();
  assert.throws(() => object.setConstant("answer", 1), /loaded already/);
});

Deno.test("BpfObject.load() tells what the verifier refused, in full", () => {
  using object = new BpfObject(libs, "rejected", bpfObject("rejected"));
  assert.throws(() => object.load(), (error) => {
    assert(error instanceof BpfError);
    assert.equal(error.code, "EACCES");
    assert.match(error.message, /load BPF object rejected: EACCES .*verifier/);
    assert.match(error.log, /invalid access to packet/);
    assert.match(error.log, /reads_too_far/);
    return true;
  });
});

Deno.test("loadBeside() loads, and tells what was refused, from another thread", async () => {
  using object = openTesting();
  const loading = object.loadBeside();
  assert.throws(() => object.setConstant("answer", 1), /being loaded/);
  assert.equal(await loading, object);
  assert.throws(() => object.load(), /loaded already/);
  assert(object.program("answer_constant").run({ data: new Uint8Array(64) }).value >= 0);
  using refused = new BpfObject(libs, "rejected", bpfObject("rejected"));
  await assert.rejects(refused.loadBeside(), (error) => {
    assert(error instanceof BpfError);
    assert.equal(error.code, "EACCES");
    assert.match(error.log, /invalid access to packet/);
    assert.match(error.log, /reads_too_far/);
    return true;
  });
});

Deno.test("BpfObject.load({verbose}) keeps the verifier's output of a program that passes", () => {
  using object = openTesting();
  object.load({ verbose: true });
  assert.match(object.verifierLogs().get("tally") ?? "", /processed \d+ insns/);
});

Deno.test("BpfObject.resize() and skip() take effect before loading only", () => {
  using object = openTesting();
  object.resize("numbers", 7);
  object.skip("emit_ring");
  object.load();
  assert.equal(object.map("numbers").info.maxEntries, 7);
  assert.throws(() => object.program("emit_ring"), /program emit_ring/);
  assert.throws(() => object.resize("numbers", 8), /loaded already/);
  assert.throws(() => object.load(), /loaded already/);
});

Deno.test("BpfObject names what it has when asked for what it has not", () => {
  using object = openTesting();
  assert.throws(() => object.map("numbers"), /not loaded yet/);
  object.load();
  assert.throws(() => object.map("number"), /has only .*numbers/);
  assert.throws(() => object.program("talley"), /has only .*tally/);
});

Deno.test("a closed object takes its maps and programs with it, and closes once", () => {
  const object = openTesting().load();
  const map = object.map("numbers");
  const program = object.program("xdp_pass");
  assert.equal(program.run({ data: new Uint8Array(64) }).value, XDP_PASS);
  object.close();
  object.close();
  assert.throws(() => object.map("numbers"), /Cannot use BPF object testing as it is closed/);
  assert.throws(() => map.get(new Uint8Array(4)), /Cannot use map numbers as it is closed/);
  assert.throws(() => program.run(), /Cannot use BPF program xdp_pass as it is closed/);
  assert.throws(() => program.fd, /closed/);
});

Deno.test("BpfObject.reuse() shares a map between two objects", () => {
  using first = openTesting().load();
  using second = openTesting();
  second.reuse("tallies", first.map("tallies"));
  second.load();
  second.program("tally").run({ data: new Uint8Array(64) });
  assert.equal(first.map("tallies").sums()[10], 1);
  assert.equal(first.map("tallies").info.id, second.map("tallies").info.id);
});

Deno.test("BpfProgram.run() gives verdict, data and time; info() agrees", () => {
  using object = openTesting().load();
  const program = object.program("xdp_drop");
  const data = crypto.getRandomValues(new Uint8Array(100));
  const result = program.run({ data, repeat: 1000 });
  assert.equal(result.value, 1);
  assert.deepEqual(result.data, data);
  assert(result.durationNs < 100_000);
  const info = program.info();
  assert.equal(info.name, "xdp_drop");
  assert.match(info.tag, /^[0-9a-f]{16}$/);
  using again = openProgramById(libs, info.id);
  assert.equal(again?.info().tag, info.tag);
  assert.equal(openProgramById(libs, 0x7fff_fff0), undefined);
});

Deno.test("BpfProgram.run() says which call failed and why", () => {
  using object = openTesting().load();
  assert.throws(
    () => object.program("xdp_pass").run({ data: new Uint8Array(3) }),
    /run BPF program xdp_pass: EINVAL/,
  );
});

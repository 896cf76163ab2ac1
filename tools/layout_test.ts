import assert from "node:assert/strict";

import { readBtf } from "../ffi/bpf/btf.ts";
import * as libbpf from "../ffi/bpf/libbpf.gen.ts";
import { compileBpf } from "./compile_bpf.ts";
import { anchoredNamesOf, generateForeign } from "./layout_gen.ts";
import { MAP_TYPES } from "./layout_maps.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const HEADER = "struct ph_pair { unsigned int left; unsigned int right; };\n";

interface Result {
  readonly code: number;
  readonly stderr: string;
}

async function runLayout(...args: string[]): Promise<Result> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "tools/layout.ts", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

/** Compiles the header's types and runs `use` with the paths of object, header and output. */
async function withObject(
  use: (object: string, header: string, output: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "phantom_layout_" });
  try {
    await Deno.writeTextFile(`${folder}/pair.h`, HEADER);
    await Deno.writeTextFile(`${folder}/pair.c`, `${HEADER}struct ph_pair anchor;\n`);
    await Deno.writeFile(`${folder}/pair.o`, await compileBpf(`${folder}/pair.c`));
    await use(`${folder}/pair.o`, `${folder}/pair.h`, `${folder}/out.gen.ts`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function hasLibbpfHeaders(): boolean {
  try {
    return Deno.statSync("/usr/include/bpf/libbpf.h").isFile;
  } catch {
    return false;
  }
}

Deno.test("layout.ts writes, and --check tells a stale file", async () => {
  await withObject(async (object, header, output) => {
    const args = ["--header", header, object, "-o", output];
    const command = `deno run -A tools/layout.ts ${args.join(" ")}`;
    const stale = { code: 1, stderr: `${output} is stale; make it again with:\n  ${command}\n` };
    assert.deepEqual(await runLayout("--check", ...args), stale);
    assert.deepEqual(await runLayout(...args), { code: 0, stderr: "" });
    assert.deepEqual(await runLayout("--check", ...args), { code: 0, stderr: "" });

    const text = await Deno.readTextFile(output);
    assert.ok(text.includes(`//   ${command}\n`));
    await Deno.writeTextFile(output, text.replace("left: 0", "left: 4"));
    assert.deepEqual(await runLayout("--check", ...args), stale);
  });
});

Deno.test("layout.ts explains what it cannot do, without a stack trace", async () => {
  await withObject(async (object, header, output) => {
    const cases: readonly [string[], RegExp][] = [
      [["--header", header, object], /^Cannot write: name the file with -o\n$/],
      [["-o", output], /^Cannot choose: name either compiled objects or one C file/],
      [["-o", output, "--c", header, object], /^Cannot choose/],
      [["-o", output, "--nonsense"], /^Unknown option '--nonsense'/],
      [["-o", output, `${object}.gone`], /^No such file .*pair\.o\.gone/],
      [["-o", output, header], /^Cannot read BTF as its first bytes are not BTF's\n$/],
      [["-o", output, object], /^ph_\w+ is missing in the BTF of .*pair\.o: anchor it/],
      [["-o", output, "--c", `${object}.c`], /^Cannot compile .*pair\.o\.c:\n/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await runLayout(...args);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, message);
    }
    await assert.rejects(Deno.stat(output), Deno.errors.NotFound);
  });
});

/** What a module of layouts says: sizes, offsets and values, without code. */
function factsOf(module: object): Map<string, number> {
  const facts = new Map<string, number>();
  for (const [name, value] of Object.entries(module)) {
    if (typeof value !== "object") continue;
    for (const [key, fact] of Object.entries({ ...value, ...value.offset })) {
      if (typeof fact === "number") facts.set(`${name}.${key}`, fact);
    }
  }
  return facts;
}

/**
 * Other headers than those the file was made from may know more, at the end of a struct: that is
 * compatible, both for libbpf (it is told our size) and for the kernel. They must not disagree.
 */
Deno.test({
  name: `ffi/bpf/libbpf.gen.ts agrees with the installed headers${
    hasLibbpfHeaders() ? "" : ": skipped, libbpf-dev is not installed"
  }`,
  ignore: !hasLibbpfHeaders(),
  async fn() {
    const args = [
      ...["--named", "bpf_map_type", "--c", "tools/libbpf_anchors.c"],
      ...["-o", "ffi/bpf/libbpf.gen.ts"],
    ];
    const btf = readBtf(await compileBpf(`${ROOT}tools/libbpf_anchors.c`));
    const anchors = await Deno.readTextFile(`${ROOT}tools/libbpf_anchors.c`);
    const notes = { origin: "", command: "", named: ["bpf_map_type"] };
    const text = generateForeign(btf, anchoredNamesOf(anchors), notes)
      .replace('"./layout_io.ts"', `"file://${ROOT}ffi/bpf/layout_io.ts"`);
    const installed = factsOf(await import(`data:text/typescript,${encodeURIComponent(text)}`));
    const committed = factsOf(libbpf);
    assert.ok(committed.size > 200);
    for (const [name, fact] of committed) {
      if (name.endsWith(".size")) assert.ok(fact <= (installed.get(name) ?? 0), name);
      else assert.equal(installed.get(name), fact, name);
    }
    const isSame = committed.size === installed.size &&
      [...committed].every(([name, fact]) => installed.get(name) === fact);
    if (isSame) assert.deepEqual(await runLayout("--check", ...args), { code: 0, stderr: "" });
  },
});

Deno.test("MAP_TYPES has the kernel's numbers", () => {
  for (const [key, value] of Object.entries(libbpf.BpfMapType)) {
    assert.equal(MAP_TYPES[value], libbpf.bpfMapTypeName(value), key);
  }
});

import { lint } from "./lint.ts";
import { layerOf, LAYERS, tableMarkdown } from "./lint_layers.ts";

function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** The rules that fire on one file, as "line:rule". */
function rules(path: string, text: string): string[] {
  return lint(new Map([[path, text]])).map((finding) => `${finding.line}:${finding.rule}`);
}

function expect(path: string, text: string, wanted: readonly string[]): void {
  const got = rules(path, text);
  assert(
    JSON.stringify(got) === JSON.stringify(wanted),
    `${path}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}\n${text}`,
  );
}

Deno.test("LAYERS names only layers that exist, and makes no ring", () => {
  const done = new Set<string>();
  const visit = (name: string, trail: readonly string[]): void => {
    assert(!trail.includes(name), `ring: ${[...trail, name].join(" → ")}`);
    if (done.has(name)) return;
    const layer = LAYERS[name];
    assert(layer !== undefined, `no layer ${name}`);
    for (const next of [...layer.may, ...(layer.types ?? [])]) visit(next, [...trail, name]);
    done.add(name);
  };
  for (const name of Object.keys(LAYERS)) visit(name, []);
});

Deno.test("layerOf() finds files and folders", () => {
  assert(layerOf("main.ts") === "main", "main.ts");
  assert(layerOf("src/app/server.ts") === "app", "src/app/");
  assert(layerOf("src/wire/frame.ts") === "wire", "src/wire/");
  assert(layerOf("src/new/thing.ts") === undefined, "unknown folder");
});

Deno.test("layer: an import goes down the table, and never up", () => {
  expect("src/wire/frame.ts", 'import { a } from "../base/a.ts";\n', []);
  expect("src/wire/frame.ts", 'import { a } from "../session/a.ts";\n', ["1:layer"]);
  expect("src/base/a.ts", 'export { a } from "../wire/a.ts";\n', ["1:layer"]);
  expect("ffi/map.ts", 'import { a } from "./_a.ts";\nimport { b } from "../src/base/b.ts";\n', []);
  expect("ffi/map.ts", 'import { a } from "./_a.ts";\nimport { b } from "../src/wire/b.ts";\n', [
    "2:layer",
  ]);
  expect("src/cli/run.ts", 'const run = await import("../../main.ts");\nrun.main();\n', [
    "1:layer",
  ]);
  expect("src/policy/a.ts", 'import { a } from "../kernel/a.ts";\n', []);
  expect("src/new/thing.ts", "export const a = 1;\n", ["1:layer"]);
});

Deno.test("layer: some layers may import types only", () => {
  expect("src/relay/a.ts", 'import type { A } from "../config/a.ts";\n', []);
  expect("src/relay/a.ts", 'import { type A, type B } from "../config/a.ts";\n', []);
  expect("src/relay/a.ts", 'export type { A } from "../config/a.ts";\n', []);
  expect("src/relay/a.ts", 'let a: import("../config/a.ts").A;\n', []);
  expect("src/relay/a.ts", 'import { a, type B } from "../config/a.ts";\n', ["1:layer"]);
  expect("src/relay/a.ts", 'import "../config/a.ts";\n', ["1:layer"]);
});

Deno.test("layer: base, wire and ffi import no packages", () => {
  expect("src/base/a.ts", 'import { parse } from "yaml";\n', ["1:layer"]);
  expect("src/config/a.ts", 'import { parse } from "yaml";\n', []);
});

Deno.test("layer: tests import what they like, strings and comments import nothing", () => {
  expect("src/base/a_test.ts", 'import { a } from "../app.ts";\n', []);
  const text = '// import { a } from "../app.ts";\nexport const b = \'import "../app.ts"\';\n';
  expect("src/base/a.ts", text, []);
});

Deno.test("cycle: a ring of files is reported once", () => {
  const files = new Map([
    ["src/base/a.ts", 'import { b } from "./b.ts";\n'],
    ["src/base/b.ts", '\nimport type { C } from "./c.ts";\n'],
    ["src/base/c.ts", 'import { a } from "./a.ts";\n'],
    ["src/base/d.ts", 'import { a } from "./a.ts";\n'],
  ]);
  const findings = lint(files);
  assert(findings.length === 1, JSON.stringify(findings));
  const ring = "src/base/a.ts → src/base/b.ts → src/base/c.ts → src/base/a.ts";
  assert(findings[0]!.rule === "cycle" && findings[0]!.remedy.startsWith(ring), ring);
});

Deno.test("unsafe: pointers and dlopen only under ffi/", () => {
  expect("src/tunnel/a.ts", 'Deno.dlopen("x", {});\n', ["1:unsafe"]);
  expect("src/tunnel/a.ts", "const { UnsafePointer: p } = Deno;\np.of(a);\n", ["1:unsafe"]);
  expect("tools/a.ts", "\nDeno.UnsafePointer.of(a);\n", ["2:unsafe"]);
  expect("ffi/a.ts", "Deno.UnsafePointer.of(a);\n", []);
  expect("src/tunnel/a.ts", "// Deno.dlopen\nconst a = `Deno.dlopen`;\n", []);
});

Deno.test("pure: no Deno, clock, timer or randomness", () => {
  const cases = [
    "Deno.cwd();",
    "const a = Date.now();",
    "const a = performance.now();",
    'const a = Math["random"]();',
    "const { random } = Math;",
    "setTimeout(f, 1);",
    "const a = new Date();",
    "crypto.getRandomValues(a);",
  ];
  for (const text of cases) {
    for (const path of ["src/wire/a.ts", "src/switcher/decision_rtt.ts", "src/policy/compile.ts"]) {
      expect(path, `${text}\n`, ["1:pure"]);
    }
    expect("src/wire/a_test.ts", `${text}\n`, []);
    expect("src/switcher/driver.ts", `${text}\n`, []);
  }
  const harmless =
    "const a = { setTimeout: 1, fetch: 2 };\na.fetch + Math.max(1, 2);\nnew Date(5);\n";
  expect("src/wire/a.ts", harmless, []);
});

Deno.test("default-export: every form is found", () => {
  expect("src/base/a.ts", "export default 1;\n", ["1:default-export"]);
  expect("src/base/a.ts", "export default function a() {}\n", ["1:default-export"]);
  expect("src/base/a.ts", "const a = 1;\nexport { a as default };\n", ["2:default-export"]);
  expect("src/base/a.ts", "export const a = 1;\n", []);
});

Deno.test("function-length: 70 lines pass, 71 do not; tests and generated code are exempt", () => {
  const body = (lines: number): string =>
    `export function a(): void {\n${"  f();\n".repeat(lines - 2)}}\n`;
  expect("src/base/a.ts", body(70), []);
  expect("src/base/a.ts", body(71), ["1:function-length"]);
  expect("src/base/a.ts", body(71).replace("function a(): void", "const a = (): void =>"), [
    "1:function-length",
  ]);
  expect("src/base/a_test.ts", body(71), []);
  expect("ffi/bpf/layout.gen.ts", body(71), []);
});

Deno.test("line-length: 100 columns pass, 101 do not, unless nothing can be broken", () => {
  const comment = (length: number): string => `// ${"ab ".repeat(40)}`.slice(0, length) + "\n";
  expect("src/base/a.ts", comment(100), []);
  expect("src/base/a.ts", comment(101), ["1:line-length"]);
  expect("src/base/a.ts", `// see ${"x".repeat(110)}\n`, []);
  expect("ffi/bpf/layout.gen.ts", comment(101), []);
  expect("bpf/a.h", `/* ${"ab ".repeat(20)}*/\n\t\t\t\t\t\t/* ${"ab ".repeat(20)}*/\n`, [
    "2:line-length",
  ]);
});

Deno.test("todo, in-sync: comments only", () => {
  expect("src/base/a.ts", "// TODO: later\n", ["1:todo"]);
  expect("src/base/a.ts", "/*\n * FIXME\n */\n", ["2:todo"]);
  expect("src/base/a.ts", "// TODO(needs Linux 6.7): later\n", []);
  expect("src/base/a.ts", 'export const a = "TODO";\n', []);
  expect("src/base/a.ts", "// Keep this in sync with b.ts.\n", ["1:in-sync"]);
  expect("bpf/a.h", "/* must be kept in sync with b.ts */\nint a; // TODO\n", [
    "1:in-sync",
    "2:todo",
  ]);
});

Deno.test("C: indent by tabs, functions of at most 120 lines", () => {
  expect("bpf/a.bpf.c", "/*\n * text\n */\nint a(void)\n{\n\tf(a,\n\t  b);\n}\n", []);
  expect("bpf/a.bpf.c", "int a(void)\n{\n    return 0;\n}\n", ["3:indent"]);
  expect("bpf/a.bpf.c", `int a(void)\n{\n${"\tf();\n".repeat(118)}}\n`, []);
  expect("bpf/a.bpf.c", `int a(void)\n{\n${"\tf();\n".repeat(119)}}\n`, ["2:function-length"]);
  expect("ffi/native/a.c", `int a(void) {\n${"\tf();\n".repeat(119)}}\n`, ["1:function-length"]);
  expect("bpf/vmlinux.h", "    int a;\n", []);
});

Deno.test("tableMarkdown() has a row for each layer", () => {
  const rows = tableMarkdown().trimEnd().split("\n");
  assert(rows.length === Object.keys(LAYERS).length + 2, "one row a layer");
});

import { lint, lintTree, settle } from "./lint.ts";
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
    const paths = ["wire/a.ts", "session/a.ts", "proxy/a.ts", "relay/maglev.ts", "relay/plan.ts"];
    paths.push("switcher/decision_rtt.ts", "policy/compile.ts");
    for (const path of paths.map((one) => `src/${one}`)) {
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
  expect("src/base/a.ts", "// The same as bpf/b.h has.\n", ["1:in-sync"]);
  expect("src/base/a.ts", "// The same as in C: two words.\n", []);
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

// ---- rules that see every file ----

/** "path:line:rule" of each finding. */
function found(files: Record<string, string>): string[] {
  return lintTree(new Map(Object.entries(files)))
    .map(({ path, line, rule }) => `${path}:${line}:${rule}`);
}

function expectTree(files: Record<string, string>, wanted: readonly string[]): void {
  const got = found(files);
  assert(JSON.stringify(got) === JSON.stringify(wanted), JSON.stringify({ got, wanted }));
}

Deno.test("thread: what a worker's entry reaches does not wait, wherever that is written", () => {
  const worker = 'import { b } from "./b.ts";\nb();\n';
  const cases = [
    "export async function b() {}",
    "export const b = () => new Promise(() => {});",
    "export function b(): Promise<void> | undefined {}",
    'export const b = () => import("./c.ts");',
    "export const b = async () => { for await (const a of c) d(a); };",
  ];
  for (const text of cases) {
    const waits = found({ "src/relay/worker.ts": worker, "src/relay/b.ts": text });
    assert(waits.length > 0 && waits.every((one) => one === "src/relay/b.ts:1:thread"), text);
    expectTree({ "src/relay/a.ts": worker, "src/relay/b.ts": text }, []);
  }
  const types = { "src/relay/worker.ts": 'import type { b } from "./b.ts";\n' };
  expectTree({ ...types, "src/relay/b.ts": cases[0]! }, []);
});

Deno.test("thread: a worker reaches nothing that is main's, however far away", () => {
  expectTree({
    "src/a/worker.ts": 'import { b } from "./b.ts";\nb();\n',
    "src/a/b.ts": 'import { c } from "../config/c.ts";\nexport const b = () => c();\n',
    "src/config/c.ts": "export const c = () => 1;\n",
  }, ["src/config/c.ts:1:thread"]);
});

Deno.test("fault: a worker's catch uses the error, or a comment says why not", () => {
  const caught = (clause: string) =>
    found({ "src/a/worker.ts": `try {\n  a();\n} ${clause}\n` }).length > 0;
  assert(caught("catch {}"), "no error");
  assert(caught("catch { b(); }"), "another call");
  assert(caught("catch (error) { b(); }"), "an error that is not used");
  assert(!caught("catch (error) { loop.fault(error); }"), "passed on");
  assert(!caught("catch {\n  // It is gone already.\n}"), "a reason");
});

Deno.test("export: what no other file uses is not exported", () => {
  const used = 'import { a } from "./a.ts";\na();\n';
  expectTree({ "src/x/a.ts": "export function a() {}\n", "src/x/b.ts": used }, []);
  expectTree({ "src/x/a.ts": "export function a() {}\n" }, ["src/x/a.ts:1:export"]);
  expectTree({ "src/x/a.ts": "export const A = 1;\nb(A);\n" }, ["src/x/a.ts:1:export"]);
  const all = 'import * as x from "./a.ts";\nx.a();\n';
  const two = "export function a() {}\nexport function b() {}\n";
  expectTree({ "src/x/a.ts": two, "src/x/b.ts": all }, ["src/x/a.ts:2:export"]);
  expectTree({ "src/x/a.ts": two, "src/x/b.ts": 'await import("./a.ts");\n' }, []);
  expectTree({ "src/x/a.ts": two, "src/x/b.ts": 'export * from "./a.ts";\n' }, []);
  // A type may be part of what is exported.
  expectTree({
    "src/x/a.ts": "export interface B {}\nexport function a(b: B) {}\n",
    "src/x/b.ts": used,
  }, []);
  expectTree({ "src/x/a.ts": "export interface B {}\n" }, ["src/x/a.ts:1:export"]);
});

Deno.test("export: what tests alone use says so, but for limits and parts of a file", () => {
  const test = 'import { a } from "./a.ts";\na;\n';
  const check = (text: string, wanted: readonly string[]) =>
    expectTree({ "src/x/a.ts": text, "src/x/a_test.ts": test }, wanted);
  check("export function a() {}\n", ["src/x/a.ts:1:export"]);
  check("/** For tests. */\nexport function a() {}\n", []);
  check("export const a = 16;\n", []);
  check("export function a() {}\nb(a());\n", []);
});

Deno.test("fields: 25 in a class pass, 26 do not; methods and statics are none", () => {
  const fields = (count: number) => Array.from({ length: count }, (_, i) => `  #x${i} = 0;\n`);
  const source = (count: number) =>
    `class A {\n${fields(count).join("")}  static b = 1;\n  c() {}\n` +
    "  constructor(private readonly d: number) {}\n}\n";
  expectTree({ "src/x/a.ts": source(24) }, []);
  expectTree({ "src/x/a.ts": source(25) }, ["src/x/a.ts:1:fields"]);
});

Deno.test("folder: 25 sources pass, 26 do not; tests and src/cli are apart", () => {
  const folder = (path: string, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`${path}/a${i}.ts`, "\n"]));
  expectTree({ ...folder("src/x", 25), "src/x/b_test.ts": "\n" }, []);
  expectTree(folder("src/x", 26), ["src/x:1:folder"]);
  expectTree(folder("src/cli", 26), []);
});

Deno.test("figures: one function too long is enough; those of tests do not count", () => {
  const long = (lines: number) => `function a() {\n${"  b();\n".repeat(lines - 2)}}\n`;
  const short = "function c() {}\n".repeat(50);
  expectTree({ "src/x/a.ts": short + long(52) }, []);
  expectTree({ "src/x/a.ts": short + long(53) }, ["src:1:figures"]);
  expectTree({ "src/x/a.ts": short, "src/x/a_test.ts": long(53) }, []);
});

Deno.test("table: ARCHITECTURE.md's is the code's", () => {
  expectTree({ "ARCHITECTURE.md": `# A\n\n${tableMarkdown()}\n` }, []);
  const other = tableMarkdown().replace("| wire |", "| wires |");
  expectTree({ "ARCHITECTURE.md": other }, ["ARCHITECTURE.md:1:table"]);
});

Deno.test("settle() takes off what is owed, and says what is paid", () => {
  const finding = { path: "src/a.ts", line: 7, rule: "export", remedy: "x" };
  const rest = (debts: Record<string, number>) =>
    settle([finding, finding], debts).map(({ line }) => line);
  assert(rest({ "export src/a.ts": 2 }).length === 0, "all owed");
  assert(rest({ "export src/a.ts": 1 }).join() === "7", "one more than owed");
  assert(rest({ "export src/a.ts": 3 }).join() === "1", "one is paid");
  assert(rest({ "fields src/a.ts": 1 }).join() === "7,7,1", "another rule's");
});

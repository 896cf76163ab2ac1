/**
 * The symbol table of libbpf against the installed headers: a wrong type there is a crash or a
 * wrong number here, and no compiler looks at it.
 */

import assert from "node:assert/strict";
import { libbpfSymbols } from "../../../ffi/bpf/libbpf.ts";
import { BpfHelper } from "../../../ffi/bpf/probe.ts";
import { repository } from "../../fixtures/libraries.ts";

const HEADERS = ["libbpf.h", "bpf.h", "btf.h"].map((name) => `/usr/include/bpf/${name}`);
const hasHeaders = HEADERS.every((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});
if (!hasHeaders) console.log("skipped: libbpf's headers are not installed (make setup)");

interface Prototype {
  readonly result: string;
  readonly parameters: readonly string[];
}

/** "int bpf_x(int fd, const void *key)" → types, without names. */
function parsePrototype(text: string, name: string): Prototype {
  const match = new RegExp(`^(.*?)\\b${name}\\s*\\((.*)\\)$`).exec(text.trim());
  assert(match, `no prototype of ${name} in ${text}`);
  const [, result = "", list = ""] = match;
  const parameters = list.trim() === "void" ? [] : list.split(",").map(withoutName);
  return { result: squeeze(result), parameters };
}

function withoutName(parameter: string): string {
  const text = squeeze(parameter);
  const match = /^(.*[\s*])(\w+)$/.exec(text);
  return squeeze(match?.[1] ?? text);
}

function squeeze(text: string): string {
  return text.replace(/\s+/g, " ").replace(/\s*\*\s*/g, " *").trim();
}

/** The FFI types that stand for a C type. */
function ffiTypes(cType: string): readonly string[] {
  if (cType.includes("*")) return ["pointer", "buffer"];
  if (cType === "libbpf_print_fn_t") return ["pointer"];
  if (cType.startsWith("enum ") || cType === "__u32") return ["u32"];
  const scalars: Record<string, string> = {
    int: "i32",
    __s32: "i32",
    bool: "bool",
    void: "void",
    __u64: "u64",
    "unsigned int": "u32",
    size_t: "usize",
  };
  const type = scalars[cType];
  assert(type, `no FFI type for ${cType}`);
  return [type];
}

function declaredIn(headers: string, name: string): string {
  const match = new RegExp(`LIBBPF_API\\s+([^;{}]*?\\b${name}\\s*\\([^;]*?\\));`).exec(headers);
  assert(match, `${name} is in none of libbpf's headers`);
  return squeeze(match[1]!);
}

/** The comment above an entry of the table, its lines joined. */
function commentOf(source: string, name: string): string {
  const lines = source.split("\n");
  const at = lines.findIndex((line) => line.trim().startsWith(`${name}: {`));
  assert(at > 0, `${name} has no line of its own`);
  const comment: string[] = [];
  for (let i = at - 1; lines[i]!.trim().startsWith("//"); i--) {
    comment.unshift(lines[i]!.trim().slice(2).trim());
  }
  return squeeze(comment.filter((line) => !line.startsWith("(")).join(" "));
}

Deno.test({
  name: "every symbol of ffi/bpf/libbpf.ts agrees with libbpf's installed headers",
  ignore: !hasHeaders,
  fn() {
    const headers = HEADERS.map((path) => Deno.readTextFileSync(path)).join("\n")
      .replace(/\/\*[\s\S]*?\*\//g, "");
    for (const [name, symbol] of Object.entries(libbpfSymbols)) {
      const { result, parameters } = parsePrototype(declaredIn(headers, name), name);
      if ("type" in symbol) continue;
      assert(ffiTypes(result).includes(symbol.result), `${name}: result ${result}`);
      assert.equal(symbol.parameters.length, parameters.length, `${name}: number of parameters`);
      for (const [i, type] of parameters.entries()) {
        assert(ffiTypes(type).includes(symbol.parameters[i]!), `${name}: parameter ${i}, ${type}`);
      }
    }
  },
});

Deno.test({
  name: "every comment in ffi/bpf/libbpf.ts is the declaration in libbpf's installed headers",
  ignore: !hasHeaders,
  fn() {
    const headers = HEADERS.map((path) => Deno.readTextFileSync(path)).join("\n")
      .replace(/\/\*[\s\S]*?\*\//g, "");
    const source = Deno.readTextFileSync(`${repository}ffi/bpf/libbpf.ts`);
    for (const name of Object.keys(libbpfSymbols)) {
      const expected = parsePrototype(declaredIn(headers, name), name);
      const comment = commentOf(source, name);
      assert.deepEqual(parsePrototype(comment, name), expected, name);
    }
  },
});

Deno.test("the numbers of the helpers are the kernel's", () => {
  const header = Deno.readTextFileSync("/usr/include/linux/bpf.h");
  const names = [...header.matchAll(/^\tFN\((\w+)\)/gm)].map(([, name]) => name!);
  for (const [name, number] of Object.entries(BpfHelper)) {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    assert.equal(names.indexOf(snake), number, snake);
  }
});

import assert from "node:assert/strict";
import { asciiOf, numberedParts, sourceName } from "./finish_bundle.ts";

Deno.test("asciiOf() leaves strings and regular expressions what they were", () => {
  const text = "µ − § \u{1f600} plain";
  const escaped = asciiOf(JSON.stringify(text));
  assert.match(escaped, /^[ -~]+$/);
  assert.equal(JSON.parse(escaped), text);
  assert.match("µ\u{1f600}", new RegExp(asciiOf("^[aµ]\u{1f600}$"), "u"));
  assert.match("µ", new RegExp(asciiOf("^[aµ]$")));
});

Deno.test("asciiOf() changes nothing of ASCII", () => {
  const code = 'const a = "\\u00b5\\n"; // a comment\n\tlet b;\n';
  assert.equal(asciiOf(code), code);
});

Deno.test("sourceName() calls packages the same wherever they are kept", () => {
  const file = "npm/registry.npmjs.org/yaml/2.9.1/browser/index.js";
  const path = (folder: string) => `${folder}/${file}`;
  assert.equal(sourceName(path("/root/.cache/deno"), "/src"), "npm/yaml/2.9.1/browser/index.js");
  assert.equal(sourceName(path("/src/.deno"), "/src"), "npm/yaml/2.9.1/browser/index.js");
  assert.equal(sourceName("/src/src/cli/mod.ts", "/src"), "src/cli/mod.ts");
});

Deno.test("numberedParts() names parts by their way from main.js, and no others", () => {
  const parts = numberedParts(
    new Map([
      ["chunk-QRSTUVWX.js", "export const shared = 1;"],
      ["main.js", 'import{shared}from"./chunk-QRSTUVWX.js";import("./run-ABCDEFGH.js")'],
      ["run-ABCDEFGH.js", 'import"./chunk-QRSTUVWX.js";const no="./chunk-short.js"'],
      ["old-ABCDEFGH.js", ""],
    ]),
  );
  assert.deepEqual(
    [...parts],
    [
      ["main.js", {
        old: "main.js",
        code: 'import{shared}from"./chunk-00000001.js";import("./run-00000002.js")',
      }],
      ["chunk-00000001.js", { old: "chunk-QRSTUVWX.js", code: "export const shared = 1;" }],
      ["run-00000002.js", {
        old: "run-ABCDEFGH.js",
        code: 'import"./chunk-00000001.js";const no="./chunk-short.js"',
      }],
    ],
  );
});

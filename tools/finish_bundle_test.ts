import assert from "node:assert/strict";
import { asciiOf, placelessOf } from "./finish_bundle.ts";

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

Deno.test("placelessOf() calls packages the same wherever they are kept", () => {
  const bundle = (folder: string): string =>
    `// ${folder}/npm/registry.npmjs.org/yaml/2.9.1/dist/visit.js\n` +
    "var require_visit = __commonJS({\n" +
    `  "${folder}/npm/registry.npmjs.org/yaml/2.9.1/dist/visit.js"(exports) {\n` +
    '    exports.home = "https://registry.npmjs.org/npm/registry.npmjs.org/yaml";\n';
  const placeless = placelessOf(bundle("../../root/.cache/deno"));
  assert.equal(placeless, placelessOf(bundle(".deno")));
  assert.match(placeless, /^\/\/ npm\/yaml\/2\.9\.1\/dist\/visit\.js$/m);
  assert.match(placeless, /^ {2}"npm\/yaml\/2\.9\.1\/dist\/visit\.js"\(exports\) \{$/m);
  assert.match(placeless, /home = "https:\/\/registry\.npmjs\.org\/npm\/registry\.npmjs\.org\/y/);
});

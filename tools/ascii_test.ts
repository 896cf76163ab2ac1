import assert from "node:assert/strict";
import { asciiOf } from "./ascii.ts";

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

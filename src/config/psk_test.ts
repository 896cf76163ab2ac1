import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { keyProblem, parseKey } from "./psk.ts";
import { PLACEHOLDER } from "./settings.ts";

const KEY = Uint8Array.from({ length: 32 }, (_, i) => (i * 37 + 251) & 0xff);
const BASE64 = Buffer.from(KEY).toString("base64");
const BASE64_URL = Buffer.from(KEY).toString("base64url");
const HEX = Buffer.from(KEY).toString("hex");

Deno.test("parseKey() reads every spelling of a key", () => {
  const unpadded = BASE64.replace("=", "");
  const spellings = [BASE64, unpadded, BASE64_URL, `${BASE64_URL}=`, HEX, HEX.toUpperCase()];
  for (const text of [...spellings, ` ${BASE64}\n`]) {
    assert.deepEqual(parseKey(text), KEY, text);
    assert.equal(keyProblem(text), undefined, text);
  }
});

Deno.test("parseKey() agrees with the platform's decoder", () => {
  for (let seed = 1; seed < 500; seed++) {
    const key = Uint8Array.from({ length: 32 }, (_, i) => Math.imul(seed, i * 2 + 7919) >>> 8);
    assert.deepEqual(parseKey(Buffer.from(key).toString("base64")), key);
    assert.deepEqual(parseKey(Buffer.from(key).toString("base64url")), key);
  }
});

Deno.test("keyProblem() says why a text is no key and how to make one", () => {
  const cases: [string, RegExp][] = [
    ["", /^is empty$/],
    [PLACEHOLDER, /placeholder/],
    [HEX.slice(2), /must be 64 hex digits: there are 62/],
    [Buffer.from(KEY.subarray(1)).toString("base64"), /exactly 32 bytes: it has 31/],
    [Buffer.from([...KEY, 1]).toString("base64"), /exactly 32 bytes: it has 33/],
    ["hello world", /it is neither/],
    [`${BASE64}=`, /it is neither/],
    [`+-${BASE64.slice(2)}`, /it is neither/],
    [`${BASE64.slice(0, 42)}B=`, /it is neither/],
    ["a".repeat(10_000), /it is neither|64 hex digits/],
    ["ab".repeat(32), /weak key/],
    [Buffer.from(new Uint8Array(32)).toString("base64"), /weak key/],
  ];
  for (const [text, rule] of cases) {
    const problem = keyProblem(text);
    assert.match(problem?.rule ?? "", rule, text);
    assert.match(problem?.remedy ?? "", /phantom keygen/);
    assert.equal(parseKey(text), undefined, text);
    if (text.length > 8) assert.ok(!JSON.stringify(problem).includes(text), text);
  }
});

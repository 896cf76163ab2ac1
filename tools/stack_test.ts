import assert from "node:assert/strict";
import { placeIn, type SourceMap, withSources } from "./stack.ts";

// a.ts has `throw` at 3:5, bundled at 1:10; b.ts begins at 2:1 of the bundle.
const map: SourceMap = { sources: ["src/a.ts", "src/b.ts"], mappings: "AAAA,SAEI;ACFJ" };

Deno.test("placeIn() takes the segment that a place lies in", () => {
  assert.deepEqual(placeIn(map, 1, 1), { source: "src/a.ts", line: 1, column: 1 });
  assert.deepEqual(placeIn(map, 1, 9), { source: "src/a.ts", line: 1, column: 1 });
  assert.deepEqual(placeIn(map, 1, 10), { source: "src/a.ts", line: 3, column: 5 });
  assert.deepEqual(placeIn(map, 1, 99), { source: "src/a.ts", line: 3, column: 5 });
  assert.deepEqual(placeIn(map, 2, 4), { source: "src/b.ts", line: 1, column: 1 });
  assert.equal(placeIn(map, 3, 1), undefined);
});

Deno.test("withSources() changes what it has a map of, and nothing else", () => {
  const bundled = "file:///tmp/deno-compile-phantom/src/loop/worker.js";
  const text = `Error: full\n    at a.#b (${bundled}:1:12)\n    at ext:core/01_core.js:1:1\n`;
  assert.equal(
    withSources(text, (bundle) => bundle === "src/loop/worker.js" ? map : undefined),
    "Error: full\n    at a.#b (src/a.ts:3:5)\n    at ext:core/01_core.js:1:1\n",
  );
  assert.equal(withSources(text, () => undefined), text);
});

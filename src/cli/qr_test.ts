import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { encodeQR } from "qr";
import { renderQr } from "./qr.ts";

/**
 * Made with npm:qrcode 1.5.4: for each version and level the fewest and the most bytes it takes.
 * Modules by rows, a bit each.
 */
interface Vector {
  readonly level: "L" | "M";
  readonly length: number;
  readonly mask: 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;
  readonly version: number;
  readonly sha256: string;
  readonly modules?: string;
}

const VECTORS: readonly Vector[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../tests/fixtures/vectors/qr.json", import.meta.url)),
);
const PLAIN = { ecc: "low", encoding: "byte", border: 1 } as const;

/** The bytes that the vectors hold. */
function sample(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 89 + length * 7 + (i >> 3) * 13) & 255);
}

/** Without its border. */
function inner<T>(rows: readonly (readonly T[])[], border: number): T[][] {
  return rows.slice(border, -border).map((row) => row.slice(border, -border));
}

function bitsOf(modules: readonly (readonly boolean[])[]): Uint8Array {
  const size = modules.length;
  const bytes = new Uint8Array(Math.ceil(size * size / 8));
  for (let i = 0; i < size * size; i++) {
    bytes[i >> 3]! |= +modules[Math.floor(i / size)]![i % size]! << (7 - (i & 7));
  }
  return bytes;
}

Deno.test("the package gives the matrices of another implementation", () => {
  for (const { level, length, mask, version, sha256, modules } of VECTORS) {
    const label = `${level} ${length}`;
    const ecc = level === "L" ? "low" : "medium";
    const textEncoder = () => sample(length);
    const code = inner(encodeQR("bytes", "raw", { ...PLAIN, ecc, mask, textEncoder }), 1);
    assert.equal(code.length, 17 + 4 * version, label);
    const bits = bitsOf(code);
    if (modules !== undefined) assert.equal(bits.toHex(), modules, label);
    assert.equal(createHash("sha256").update(bits).digest("hex"), sha256, label);
  }
  const seen = new Set(VECTORS.map(({ level, version }) => `${level}${version}`));
  assert.equal(seen.size, 40);
});

Deno.test("renderQr() draws two rows a line, in a quiet zone", () => {
  const { text, columns } = renderQr("phantom")!;
  const lines = text.split("\n");
  assert.equal(lines.length, Math.ceil((21 + 8) / 2));
  assert.ok(lines.every((line) => line.length === 29));
  assert.equal(columns, 29);
  // Four modules of quiet zone on each side.
  for (const i of [0, 1, -1, -2]) assert.equal(lines.at(i), "█".repeat(29));
  assert.match(lines[2]!, /^████ ▄▄▄▄▄ .* ▄▄▄▄▄ ████$/);
  const read = lines.flatMap((line) => [
    Array.from(line, (char) => !"█▀".includes(char)),
    Array.from(line, (char) => !"█▄".includes(char)),
  ]);
  // The last line has one row.
  assert.deepEqual(inner(read.slice(0, 29), 4), inner(encodeQR("phantom", "raw", PLAIN), 1));
});

Deno.test("renderQr() in colour is white and black in every theme, light or dark", () => {
  const plain = renderQr("phantom")!;
  const colored = renderQr("phantom", true)!;
  assert.equal(colored.columns, plain.columns);
  // The fixed ones of the 256 colours: white before, black behind, and both end with the line.
  const lines = plain.text.split("\n").map((line) => `\x1b[38;5;231;48;5;16m${line}\x1b[0m`);
  assert.equal(colored.text, lines.join("\n"));
});

Deno.test("renderQr() draws what fits a terminal, and no more", () => {
  assert.equal(renderQr("x".repeat(858))!.columns, 17 + 4 * 20 + 8);
  assert.equal(renderQr("x".repeat(859)), undefined);
  assert.equal(renderQr("x".repeat(5000)), undefined);
});

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
  const lines = renderQr("phantom")!.split("\n");
  assert.equal(lines.length, Math.ceil((21 + 4) / 2));
  assert.ok(lines.every((line) => line.length === 25));
  assert.equal(lines[0], "█".repeat(25));
  assert.match(lines[1]!, /^██ ▄▄▄▄▄ .* ▄▄▄▄▄ ██$/);
  assert.match(lines.at(-1)!, /^▀+$/);
  const read = lines.flatMap((line) => [
    Array.from(line, (char) => !"█▀".includes(char)),
    Array.from(line, (char) => !"█▄".includes(char)),
  ]);
  // The last line has one row.
  assert.deepEqual(inner(read.slice(0, 25), 2), inner(encodeQR("phantom", "raw", PLAIN), 1));
  for (const line of renderQr("phantom", true)!.split("\n")) {
    assert.ok(line.startsWith("\x1b[97;40m") && line.endsWith("\x1b[0m"));
  }
});

Deno.test("renderQr() draws what fits a terminal, and no more", () => {
  assert.equal(renderQr("x".repeat(858))!.split("\n")[0]!.length, 17 + 4 * 20 + 4);
  assert.equal(renderQr("x".repeat(859)), undefined);
  assert.equal(renderQr("x".repeat(5000)), undefined);
});

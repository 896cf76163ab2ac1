import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { encodeQr, penalty, type QrCode, type QrLevel, renderQr } from "./qr.ts";

/**
 * Made with npm:qrcode 1.5.4: for each version and level the fewest and the most bytes it takes.
 * Modules by rows, a bit each.
 */
interface Vector {
  readonly level: QrLevel;
  readonly length: number;
  readonly mask: number;
  readonly version: number;
  readonly sha256: string;
  readonly modules?: string;
}

const VECTORS: readonly Vector[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../tests/fixtures/vectors/qr.json", import.meta.url)),
);

/** The bytes that the vectors hold. */
function sample(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 89 + length * 7 + (i >> 3) * 13) & 255);
}

function bitsOf({ size, modules }: QrCode): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(size * size / 8));
  for (let i = 0; i < size * size; i++) {
    bytes[i >> 3]! |= modules[Math.floor(i / size)]![i % size]! << (7 - (i & 7));
  }
  return bytes;
}

Deno.test("encodeQr() gives the matrices of another implementation", () => {
  for (const { level, length, mask, version, sha256, modules } of VECTORS) {
    const label = `${level} ${length}`;
    const code = encodeQr(sample(length), { level, mask });
    assert.ok(code !== undefined, label);
    assert.deepEqual(
      [code.version, code.mask, code.size],
      [version, mask, 17 + 4 * version],
      label,
    );
    const bits = bitsOf(code);
    if (modules !== undefined) assert.equal(bits.toHex(), modules, label);
    assert.equal(createHash("sha256").update(bits).digest("hex"), sha256, label);
  }
  const seen = new Set(VECTORS.map(({ level, version }) => `${level}${version}`));
  assert.equal(seen.size, 40);
});

Deno.test("encodeQr() takes the mask with the least penalty", () => {
  for (let length = 0; length < 400; length += 37) {
    const chosen = encodeQr(sample(length))!;
    const all = Array.from({ length: 8 }, (_, mask) => encodeQr(sample(length), { mask })!);
    const points = all.map(({ modules }) => penalty(modules));
    assert.equal(penalty(chosen.modules), Math.min(...points));
    assert.deepEqual(chosen.modules, all[chosen.mask]!.modules);
  }
});

Deno.test("encodeQr() refuses what is too long, and masks that are none", () => {
  assert.equal(encodeQr(sample(858))?.version, 20);
  assert.equal(encodeQr(sample(859)), undefined);
  assert.equal(encodeQr(sample(666), { level: "M" })?.version, 20);
  assert.equal(encodeQr(sample(667), { level: "M" }), undefined);
  for (const mask of [-1, 8, 1.5]) {
    assert.throws(() => encodeQr(sample(1), { mask }), RangeError);
  }
});

Deno.test("penalty() counts runs, blocks, finders and imbalance", () => {
  const rows = (...lines: string[]) => lines.map((line) => Uint8Array.from(line, Number));
  // All dark: 5 runs a direction of 3 points, 16 blocks of 3, 50 % off balance: nine steps.
  assert.equal(penalty(Array.from({ length: 5 }, () => new Uint8Array(5).fill(1))), 30 + 48 + 90);
  assert.equal(penalty(rows("10", "01")), 0);
  const lines = Array.from({ length: 11 }, (_, i) => i % 2 ? "01010101010" : "10111010000");
  const finder = rows(...lines);
  assert.ok(penalty(finder) >= 6 * 40);
});

Deno.test("renderQr() draws two rows a line, in a quiet zone", () => {
  const code = encodeQr(new TextEncoder().encode("phantom"), { mask: 0 })!;
  const lines = renderQr(code).split("\n");
  assert.equal(lines.length, Math.ceil((21 + 4) / 2));
  assert.ok(lines.every((line) => line.length === 25));
  assert.equal(lines[0], "█".repeat(25));
  assert.match(lines[1]!, /^██ ▄▄▄▄▄ .* ▄▄▄▄▄ ██$/);
  assert.match(lines.at(-1)!, /^▀+$/);
  const read = lines.flatMap((line) => [
    Uint8Array.from(line, (char) => "█▀".includes(char) ? 0 : 1),
    Uint8Array.from(line, (char) => "█▄".includes(char) ? 0 : 1),
  ]);
  const inner = read.slice(2, 23).map((row) => row.slice(2, 23));
  assert.deepEqual(inner, [...code.modules]);
  for (const line of renderQr(code, { color: true }).split("\n")) {
    assert.ok(line.startsWith("\x1b[97;40m") && line.endsWith("\x1b[0m"));
  }
  assert.equal(renderQr(code, { quiet: 4 }).split("\n").length, Math.ceil(29 / 2));
});

/** QR codes of texts, as pictures for a terminal. */

import { encodeQR } from "qr";

/** What a code of version 20 holds: a larger one, of over 97 modules a side, fits no terminal. */
const TEXT_BYTES_MAX = 858;
const QUIET_MODULES = 2;

/**
 * The code in half blocks, two modules a character, with a quiet zone; undefined: the text is too
 * long. Light modules are drawn, as most terminals are dark; with `color` both are, whatever the
 * terminal's own colours.
 */
export function renderQr(text: string, color = false): string | undefined {
  if (new TextEncoder().encode(text).length > TEXT_BYTES_MAX) return undefined;
  const dark = encodeQR(text, "raw", { ecc: "low", encoding: "byte", border: QUIET_MODULES });
  const lines: string[] = [];
  for (let y = 0; y < dark.length; y += 2) {
    const line = dark[y]!.map((isDark, x) => {
      // Below the last row there is nothing, not even quiet zone.
      const isDarkBelow = dark[y + 1]?.[x] ?? true;
      if (isDark) return isDarkBelow ? " " : "▄";
      return isDarkBelow ? "▀" : "█";
    }).join("");
    lines.push(color ? `\x1b[97;40m${line}\x1b[0m` : line);
  }
  return lines.join("\n");
}

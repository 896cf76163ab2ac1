/** QR codes of texts, as pictures for a terminal. */

import { encodeQR } from "qr";

/** What a code of version 20 holds: a larger one, of over 97 modules a side, fits no terminal. */
const TEXT_BYTES_MAX = 858;
/** What the standard asks for. */
const QUIET_MODULES = 4;
/** White on black of the 256 colours: unlike the first 16 they are the same in every theme. */
const COLORS = "\x1b[38;5;231;48;5;16m";

export interface QrPicture {
  readonly text: string;
  /** How wide it is. */
  readonly columns: number;
}

/**
 * The code in half blocks, two modules a character, in its quiet zone; undefined: the text is too
 * long. Light modules are drawn, as most terminals are dark; with `color` both are, whatever the
 * terminal's own colours.
 */
export function renderQr(text: string, color = false): QrPicture | undefined {
  if (new TextEncoder().encode(text).length > TEXT_BYTES_MAX) return undefined;
  const dark = encodeQR(text, "raw", { ecc: "low", encoding: "byte", border: QUIET_MODULES });
  const lines: string[] = [];
  for (let y = 0; y < dark.length; y += 2) {
    const line = dark[y]!.map((isDark, x) => {
      // The last line has one row: below it is more quiet zone.
      const isDarkBelow = dark[y + 1]?.[x] ?? false;
      if (isDark) return isDarkBelow ? " " : "▄";
      return isDarkBelow ? "▀" : "█";
    }).join("");
    lines.push(color ? `${COLORS}${line}\x1b[0m` : line);
  }
  return { text: lines.join("\n"), columns: dark.length };
}

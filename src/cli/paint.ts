/** Colours, only where somebody sees them. */

const CODES = { red: 31, green: 32, yellow: 33, dim: 2 } as const;
export type Color = keyof typeof CODES;
export type Painter = (color: Color, text: string) => string;

/** Paints for a terminal; elsewhere, and with NO_COLOR, gives the text as it is. */
export function painter(stream: { isTerminal(): boolean }): Painter {
  if (!stream.isTerminal() || Deno.noColor) return (_color, text) => text;
  return (color, text) => `\x1b[${CODES[color]}m${text}\x1b[0m`;
}

/**
 * `deno run -A tools/ascii.ts FILE`: writes what is not ASCII in a bundle as \u escapes. One such
 * character, if only in a comment, makes V8 keep and scan the whole text as two-byte characters:
 * a worker's code then takes 8 ms to compile, and 4 ms without.
 */

/** The same program. In a string, template, regular expression or name an escape is the same. */
export function asciiOf(code: string): string {
  return code.replace(
    // deno-lint-ignore no-control-regex
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

if (import.meta.main) {
  for (const path of Deno.args) {
    Deno.writeTextFileSync(path, asciiOf(Deno.readTextFileSync(path)));
  }
}

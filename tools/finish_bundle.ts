/**
 * `deno run -A tools/finish_bundle.ts FILE`: what a bundle still needs.
 *
 * What is not ASCII becomes \u escapes. One such character, if only in a comment, makes V8 keep and
 * scan the whole text as two-byte characters: a worker's code then takes 8 ms to compile, and 4 ms
 * without. And packages are called by their names, not by the folder that this machine keeps them
 * in: a commit gives the same bundle wherever it is built.
 */

/** The same program. In a string, template, regular expression or name an escape is the same. */
export function asciiOf(code: string): string {
  return code.replace(
    // deno-lint-ignore no-control-regex
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `"../root/.cache/deno/npm/registry.npmjs.org/yaml/…"(exports)` → `"npm/yaml/…"(exports)`. */
export function placelessOf(code: string): string {
  return code
    .replace(/^(\/\/ )[^"\n]*\/npm\/registry\.npmjs\.org\//gm, "$1npm/")
    .replace(/^(\s*")[^"\n]*\/npm\/registry\.npmjs\.org\/([^"\n]*"\()/gm, "$1npm/$2");
}

if (import.meta.main) {
  for (const path of Deno.args) {
    Deno.writeTextFileSync(path, asciiOf(placelessOf(Deno.readTextFileSync(path))));
  }
}

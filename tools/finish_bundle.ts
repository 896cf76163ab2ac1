/**
 * `deno run -A tools/finish_bundle.ts FILE MAPS`: what a bundle still needs.
 *
 * What is not ASCII becomes \u escapes. One such character, if only in a comment, makes V8 keep and
 * scan the whole text as two-byte characters: a worker's code then takes 8 ms to compile, and 4 ms
 * without. And packages are called by their names, not by the folder that this machine keeps them
 * in: a commit gives the same bundle wherever it is built. The map of the bundle goes to the folder
 * of maps, for tools/stack.ts.
 *
 * `--split FOLDER MAPS` does so to the files that a bundle was split into, of which main.js is the
 * first. They are called by a number and not by a hash, which would be that of what they were
 * before; it has as many digits, so that the places on a line stay what the map says.
 */

import { basename, dirname, relative, resolve } from "node:path/posix";

/** The same program. In a string, template, regular expression or name an escape is the same. */
export function asciiOf(code: string): string {
  return code.replace(
    // deno-lint-ignore no-control-regex
    /[^\x00-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `/root/.cache/deno/npm/registry.npmjs.org/yaml/…` → `npm/yaml/…`; our own: `src/cli/mod.ts`. */
export function sourceName(path: string, root: string): string {
  const [, ofPackage] = path.split("/npm/registry.npmjs.org/");
  return ofPackage === undefined ? relative(root, path) : `npm/${ofPackage}`;
}

/** As esbuild names what it splits: `import("./bench-NVDCJE4B.js")`. */
const PART = /(?<=["'])\.\/([a-z_]+)-[0-9A-Z]{8}\.js(?=["'])/g;

/** The files under names that say where in the program they come; main.js is reached first. */
export function numberedParts(
  files: ReadonlyMap<string, string>,
): Map<string, { readonly old: string; readonly code: string }> {
  const names = new Map([["main.js", "main.js"]]);
  // A map is walked with what is added on the way.
  for (const name of names.keys()) {
    for (const [path, stem] of files.get(name)!.matchAll(PART)) {
      const part = path.slice(2);
      const number = String(names.size).padStart(8, "0");
      if (!names.has(part)) names.set(part, `${stem}-${number}.js`);
    }
  }
  const renamed = (code: string) =>
    code.replace(PART, (path) => `./${names.get(path.slice(2)) ?? path.slice(2)}`);
  return new Map(
    [...names].map(([old, name]) => [name, { old, code: renamed(files.get(old)!) }]),
  );
}

/** The map without the texts, and with sources called as they are in the repository. */
function finishMap(path: string, target: string): void {
  const { sourcesContent: _, sources, ...map } = JSON.parse(Deno.readTextFileSync(path));
  const named = sources.map((source: string) =>
    sourceName(resolve(dirname(path), source), Deno.cwd())
  );
  Deno.mkdirSync(dirname(target), { recursive: true });
  Deno.writeTextFileSync(target, JSON.stringify({ ...map, sources: named }));
  Deno.removeSync(path);
}

function finishSplit(folder: string, maps: string): void {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter(isCode);
  const files = new Map(names.map((name) => [name, Deno.readTextFileSync(`${folder}/${name}`)]));
  for (const name of names) Deno.removeSync(`${folder}/${name}`);
  for (const [name, { old, code }] of numberedParts(files)) {
    Deno.writeTextFileSync(`${folder}/${name}`, asciiOf(code));
    finishMap(`${folder}/${old}.map`, `${maps}/${name}.map`);
  }
}

function isCode(name: string): boolean {
  return name.endsWith(".js");
}

if (import.meta.main) {
  const [first, ...rest] = Deno.args;
  if (first === "--split") finishSplit(rest[0]!, rest[1]!);
  else {
    const path = first!;
    Deno.writeTextFileSync(path, asciiOf(Deno.readTextFileSync(path)));
    finishMap(`${path}.map`, `${rest[0]}/${basename(path)}.map`);
  }
}

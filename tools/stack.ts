/**
 * `deno run -A tools/stack.ts < log`: the stacks of faults as the sources have them.
 *
 * The executable holds bundles whose names are shortened, and stacks in its log tell places in
 * those. `make build` of the same commit gives the same bundles, and their maps in build/maps.
 */

/** A place in a source; lines and columns begin at 1. */
export interface Place {
  readonly source: string;
  readonly line: number;
  readonly column: number;
}

/** What of a source map is read here: https://tc39.es/ecma426/ */
export interface SourceMap {
  readonly sources: readonly string[];
  readonly mappings: string;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/** As the executable calls its files: file:///tmp/deno-compile-phantom/main.js:1:2 */
const BUNDLED = /file:\/\/\/[^\s:]*?\/deno-compile-[^/\s]+\/([^\s:]+\.js):(\d+):(\d+)/g;

/** The text with places of sources instead of those of bundles, where there is a map. */
export function withSources(
  text: string,
  mapOf: (bundle: string) => SourceMap | undefined,
): string {
  return text.replace(BUNDLED, (whole, bundle: string, line: string, column: string) => {
    const map = mapOf(bundle);
    const place = map && placeIn(map, Number(line), Number(column));
    return place === undefined ? whole : `${place.source}:${place.line}:${place.column}`;
  });
}

/** Where a place of the bundle comes from. */
export function placeIn(map: SourceMap, line: number, column: number): Place | undefined {
  let [source, sourceLine, sourceColumn] = [0, 0, 0];
  let found: Place | undefined;
  for (const [index, segments] of map.mappings.split(";", line).entries()) {
    let at = 0;
    for (const segment of segments.split(",")) {
      const [move = 0, ...rest] = numbersOf(segment);
      at += move;
      if (rest.length < 3) continue;
      source += rest[0]!;
      sourceLine += rest[1]!;
      sourceColumn += rest[2]!;
      if (index !== line - 1 || at > column - 1) continue;
      found = { source: map.sources[source]!, line: sourceLine + 1, column: sourceColumn + 1 };
    }
  }
  return found;
}

/** Variable-length quantities in base 64: five bits a digit, the lowest of all is the sign. */
function numbersOf(segment: string): number[] {
  const numbers: number[] = [];
  let [value, shift] = [0, 0];
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value += (bits & 31) << shift;
    shift += 5;
    if ((bits & 32) !== 0) continue;
    numbers.push((value & 1) === 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

function mapFile(folder: URL): (bundle: string) => SourceMap | undefined {
  const known = new Map<string, SourceMap | undefined>();
  return (bundle) => {
    if (!known.has(bundle)) known.set(bundle, readMap(new URL(`${bundle}.map`, folder)));
    return known.get(bundle);
  };
}

function readMap(path: URL): SourceMap | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const folder = new URL("../build/maps/", import.meta.url);
  const text = await new Response(Deno.stdin.readable).text();
  await Deno.stdout.write(new TextEncoder().encode(withSources(text, mapFile(folder))));
}

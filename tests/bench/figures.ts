/** Figures of the benchmarks: the best of several runs, printed for people or as JSON. */

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the figure should reach, where something is promised. */
  readonly aim?: string;
}

const RUNS = 5;

/** The least nanoseconds an iteration took: everything that disturbs a run makes it slower. */
export function leastNs(iterations: number, body: () => void): number {
  let best = Infinity;
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    for (let i = 0; i < iterations; i++) body();
    best = Math.min(best, (performance.now() - start) * 1e6 / iterations);
  }
  return best;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** As a table, or with --json as one JSON document. */
export function printFigures(figures: readonly Figure[]): void {
  if (Deno.args.includes("--json")) {
    console.log(JSON.stringify(figures, null, 2));
    return;
  }
  const width = Math.max(...figures.map(({ name }) => name.length));
  for (const { name, value, unit, aim } of figures) {
    const text = value.toFixed(value < 100 ? 2 : 0).padStart(12);
    console.log(`${name.padEnd(width)}${text} ${unit}${aim === undefined ? "" : `  (aim ${aim})`}`);
  }
}

/**
 * Two builds by turns: `deno run -A tools/pairs.ts [--pairs 15] [--json] BEFORE AFTER`, each a
 * shell command that prints figures as JSON (`--json` of the benchmarks here). Which of the two
 * goes first changes with every pair, so that neither a drift of the machine nor a habit of its
 * clock is one build's alone. For each figure: both medians, the median of the pairs' ratios
 * AFTER / BEFORE, and its interval of 95 % by the ranks of a sign test.
 */

/** As tests/bench/figures.ts prints it. */
interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

interface Interval {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[sorted.length - 1 >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

/** The median of values and its interval of at least 95 %, the widest where there are too few. */
export function medianInterval(values: readonly number[]): Interval {
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  // P(at most k of n fall on one side of the median) for k = 0, 1, …: half of it is left out.
  let rank = 0;
  let ways = 1;
  let tail = 0;
  for (let k = 0; k < n / 2; k++) {
    tail += ways / 2 ** n;
    if (tail > 0.025) break;
    rank = k + 1;
    ways = ways * (n - k) / (k + 1);
  }
  const at = Math.max(0, rank - 1);
  return { low: sorted[at]!, median: median(sorted), high: sorted[n - 1 - at]! };
}

function figuresOf(command: string): Map<string, Figure> {
  const output = new Deno.Command("sh", { args: ["-c", command], stderr: "inherit" }).outputSync();
  if (!output.success) throw new Error(`Cannot compare as \`${command}\` failed: ${output.code}`);
  const figures = JSON.parse(new TextDecoder().decode(output.stdout)) as Figure[];
  const named = new Map<string, Figure>();
  let last = "";
  // A figure without a name belongs to the one before it.
  for (const figure of figures) {
    if (figure.name !== "") last = figure.name;
    named.set(figure.name === "" ? `${last}, ${figure.unit}` : figure.name, figure);
  }
  return named;
}

function main(args: readonly string[]): number {
  const pairsAt = args.indexOf("--pairs");
  const pairs = pairsAt < 0 ? 15 : Number(args[pairsAt + 1]);
  const commands = args.filter((arg, i) => !arg.startsWith("--") && (i === 0 || i !== pairsAt + 1));
  const [before, after] = commands;
  if (before === undefined || after === undefined || !(pairs > 0)) {
    console.error("usage: pairs.ts [--pairs 15] [--json] BEFORE AFTER");
    return 2;
  }
  const values = new Map<string, { unit: string; before: number[]; after: number[] }>();
  const take = (command: string, side: "before" | "after"): void => {
    for (const [name, { value, unit }] of figuresOf(command)) {
      const entry = values.get(name) ?? { unit, before: [], after: [] };
      entry[side].push(value);
      values.set(name, entry);
    }
  };
  for (let pair = 0; pair < pairs; pair++) {
    const turns = [[before, "before"], [after, "after"]] as const;
    for (const [command, side] of pair % 2 === 0 ? turns : turns.toReversed()) take(command, side);
    console.error(`pair ${pair + 1} of ${pairs}`);
  }
  const rows = [...values].filter(([, one]) => one.before.length === one.after.length)
    .map(([name, one]) => ({
      name,
      unit: one.unit,
      before: median(one.before),
      after: median(one.after),
      ratio: medianInterval(one.after.map((value, i) => value / one.before[i]!)),
    }));
  if (args.includes("--json")) console.log(JSON.stringify(rows));
  else for (const row of rows) print(row);
  return 0;
}

function print(
  { name, unit, before, after, ratio }: {
    readonly name: string;
    readonly unit: string;
    readonly before: number;
    readonly after: number;
    readonly ratio: Interval;
  },
): void {
  const short = (value: number): string => value.toPrecision(4);
  const percent = (value: number): string => `${((value - 1) * 100).toFixed(1)} %`;
  console.log(
    `${name}: ${short(before)} → ${short(after)} ${unit}; ratio ${ratio.median.toFixed(3)}, ` +
      `95 %: ${percent(ratio.low)} to ${percent(ratio.high)}`,
  );
}

if (import.meta.main) Deno.exit(main(Deno.args));

/**
 * The project's own rules, which no ready linter knows: import directions, pure folders, cycles,
 * threads, exports, lengths, comments. Instead, `--table` prints the import table as Markdown, and
 * `--figures` how long functions are.
 *
 * @module
 */
import { checkC } from "./lint_c.ts";
import { checkExports, checkThreads } from "./lint_graph.ts";
import { checkCycles, checkLayer, isTest, tableMarkdown } from "./lint_layers.ts";
import { checkShape, functionFigures } from "./lint_shape.ts";
import { type Finding, parseSource, type SourceModel } from "./lint_source.ts";
import { checkStyle } from "./lint_style.ts";

const ROOTS = ["src", "ffi", "bpf", "tools", "tests"];

/**
 * What is known and not mended yet: "rule path" → how many. What is mended has to go from here, and
 * none may come.
 */
const DEBTS: Readonly<Record<string, number>> = {};

/** What the rules of single files and imports find: path in the repository → text. */
export function lint(files: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [];
  for (const [path, text] of files) {
    if (/\.[ch]$/.test(path)) findings.push(...checkC(path, text));
  }
  const sources = parseAll(files);
  for (const source of sources) findings.push(...checkLayer(source), ...checkStyle(source));
  findings.push(...checkCycles(sources.filter((source) => !isTest(source.path))));
  return sorted(findings);
}

/** What the rules find that have to see every file. */
export function lintTree(files: ReadonlyMap<string, string>): Finding[] {
  const sources = parseAll(files);
  const code = sources.filter((source) => !isTest(source.path));
  const findings = [...checkThreads(code), ...checkExports(sources), ...checkShape(code)];
  const architecture = files.get("ARCHITECTURE.md");
  if (architecture !== undefined && !architecture.includes(tableMarkdown())) {
    const remedy = "the import table is not the code's: paste what tools/lint.ts --table prints";
    findings.push({ path: "ARCHITECTURE.md", line: 1, rule: "table", remedy });
  }
  return sorted(findings);
}

function sorted(findings: Finding[]): Finding[] {
  return findings.sort((a, b) => a.path.localeCompare(b.path) || a.line - b.line);
}

/** Takes what is owed off the findings; a debt that is paid is one. */
export function settle(
  findings: readonly Finding[],
  debts: Readonly<Record<string, number>>,
): Finding[] {
  const left = new Map(Object.entries(debts));
  const rest = findings.filter(({ rule, path }) => {
    const owed = left.get(`${rule} ${path}`) ?? 0;
    left.set(`${rule} ${path}`, owed - 1);
    return owed <= 0;
  });
  for (const [name, count] of left) {
    if (count <= 0) continue;
    const [rule, path] = name.split(" ");
    const remedy = `${count} fewer than DEBTS of tools/lint.ts says: take them off there`;
    rest.push({ path: path!, line: 1, rule: rule!, remedy });
  }
  return rest;
}

function parseAll(files: ReadonlyMap<string, string>): SourceModel[] {
  return [...files].filter(([path]) => path.endsWith(".ts"))
    .map(([path, text]) => parseSource(path, text));
}

function readTree(folder: string, files: Map<string, string>): void {
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) readTree(path, files);
    else if (/\.(ts|c|h)$/.test(entry.name)) files.set(path, Deno.readTextFileSync(path));
  }
}

function main(args: readonly string[]): number {
  if (args.includes("--table")) {
    console.log(tableMarkdown().trimEnd());
    return 0;
  }
  const alone = ["main.ts", "ARCHITECTURE.md"];
  const files = new Map(alone.map((path) => [path, Deno.readTextFileSync(path)]));
  for (const root of ROOTS) readTree(root, files);
  if (args.includes("--figures")) {
    const { count, median, p90, max } = functionFigures(parseAll(files));
    console.log(`${count} functions in src: ${median} / ${p90} / ${max} lines (med / p90 / max)`);
    return 0;
  }
  const findings = settle([...lint(files), ...lintTree(files)], DEBTS);
  for (const { path, line, rule, remedy } of findings) {
    console.error(`${path}:${line}: ${rule}: ${remedy}`);
  }
  console.error(`${files.size} files, ${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(main(Deno.args));

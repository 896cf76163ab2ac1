/**
 * The project's own rules, which no ready linter knows: import directions, pure folders, cycles,
 * lengths, comments. `--table` prints the import table instead, as Markdown.
 *
 * @module
 */
import { checkC } from "./lint_c.ts";
import { checkCycles, checkLayer, isTest, tableMarkdown } from "./lint_layers.ts";
import { type Finding, parseSource } from "./lint_source.ts";
import { checkStyle } from "./lint_style.ts";

const ROOTS = ["src", "ffi", "bpf", "tools", "tests"];

/** Findings for a set of files: path in the repository → text. */
export function lint(files: ReadonlyMap<string, string>): Finding[] {
  const findings: Finding[] = [];
  const sources = [];
  for (const [path, text] of files) {
    if (/\.[ch]$/.test(path)) findings.push(...checkC(path, text));
    if (path.endsWith(".ts")) sources.push(parseSource(path, text));
  }
  for (const source of sources) findings.push(...checkLayer(source), ...checkStyle(source));
  findings.push(...checkCycles(sources.filter((source) => !isTest(source.path))));
  return findings.sort((a, b) => a.path.localeCompare(b.path) || a.line - b.line);
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
  const files = new Map([["main.ts", Deno.readTextFileSync("main.ts")]]);
  for (const root of ROOTS) readTree(root, files);
  const findings = lint(files);
  for (const { path, line, rule, remedy } of findings) {
    console.error(`${path}:${line}: ${rule}: ${remedy}`);
  }
  console.error(`${files.size} files, ${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(main(Deno.args));

/**
 * How large things are: fields a class, sources a folder, lines a function.
 *
 * @module
 */
import ts from "typescript";
import { dirname } from "node:path/posix";
import { isTest } from "./lint_layers.ts";
import { type Finding, lineAt, type SourceModel, walk } from "./lint_source.ts";

const FIELDS_MAX = 25;
const SOURCES_MAX = 25;
/** Lines of src's functions: median, nine of ten, the longest. */
const FUNCTION_FIGURES = { median: 6, p90: 18, max: 52 } as const;

/** Fields of a class: its own, and those that its constructor's parameters declare. */
function fieldsOf(node: ts.ClassLikeDeclaration): number {
  let fields = 0;
  for (const member of node.members) {
    const isStatic = ts.canHaveModifiers(member) &&
      member.modifiers?.some((one) => one.kind === ts.SyntaxKind.StaticKeyword);
    if (ts.isPropertyDeclaration(member) && !isStatic) fields++;
    if (!ts.isConstructorDeclaration(member)) continue;
    fields += member.parameters.filter((one) => (one.modifiers?.length ?? 0) > 0).length;
  }
  return fields;
}

/** Classes of too many fields, folders of src of too many sources, functions that grew. */
export function checkShape(sources: readonly SourceModel[]): Finding[] {
  const findings: Finding[] = [];
  const folders = new Map<string, number>();
  for (const { path, tree } of sources) {
    if (isTest(path)) continue;
    if (path.startsWith("src/") && !path.startsWith("src/cli/")) {
      folders.set(dirname(path), (folders.get(dirname(path)) ?? 0) + 1);
    }
    walk(tree, (node) => {
      if (!ts.isClassLike(node) || fieldsOf(node) <= FIELDS_MAX) return;
      const remedy = `${node.name?.text} has ${fieldsOf(node)} fields, at most ${FIELDS_MAX}: ` +
        "cut it along a seam";
      findings.push({ path, line: lineAt(tree, node.getStart(tree)), rule: "fields", remedy });
    });
  }
  for (const [path, count] of folders) {
    if (count <= SOURCES_MAX) continue;
    const remedy = `${count} sources, at most ${SOURCES_MAX}: give a job of it a folder`;
    findings.push({ path, line: 1, rule: "folder", remedy });
  }
  findings.push(...checkFigures(sources));
  return findings;
}

export interface Figures {
  readonly count: number;
  readonly median: number;
  readonly p90: number;
  readonly max: number;
}

/** Lines of the functions of src. */
export function functionFigures(sources: readonly SourceModel[]): Figures {
  const lengths: number[] = [];
  for (const { path, tree } of sources) {
    if (!path.startsWith("src/") || isTest(path)) continue;
    walk(tree, (node) => {
      if (!ts.isFunctionLike(node) || !("body" in node) || node.body === undefined) return;
      lengths.push(lineAt(tree, node.getEnd()) - lineAt(tree, node.getStart(tree)) + 1);
    });
  }
  lengths.sort((a, b) => a - b);
  const at = (share: number): number => lengths[Math.floor(share * (lengths.length - 1))] ?? 0;
  return { count: lengths.length, median: at(0.5), p90: at(0.9), max: at(1) };
}

/** Functions that have grown as a whole. */
function checkFigures(sources: readonly SourceModel[]): Finding[] {
  const figures = functionFigures(sources);
  return (["median", "p90", "max"] as const).flatMap((name) => {
    if (figures[name] <= FUNCTION_FIGURES[name]) return [];
    const remedy = `functions have ${figures[name]} lines (${name}), at most ` +
      `${FUNCTION_FIGURES[name]}: split the longest by what they do`;
    return [{ path: "src", line: 1, rule: "figures", remedy }];
  });
}

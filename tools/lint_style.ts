/**
 * Style rules for one TypeScript file: what formatter, linter and compiler do not see.
 *
 * @module
 */
import ts from "typescript";
import { type Comment, type Finding, lineAt, type SourceModel, walk } from "./lint_source.ts";
import { isTest, PURE } from "./lint_layers.ts";

export const LINE_LENGTH_MAX = 100;
export const FUNCTION_LINES_MAX = 70;

/** A run without a blank that long is an address or a hash: it can't be broken. */
const UNBREAKABLE_MIN = 80;

const UNSAFE = [
  "dlopen",
  "UnsafePointer",
  "UnsafePointerView",
  "UnsafeCallback",
  "UnsafeFnPointer",
];

/** object.member, or a bare name, that reads a clock, draws a random number or waits. */
const IMPURE: ReadonlySet<string> = new Set([
  ...["Date.now", "performance.now", "Math.random", "setTimeout", "setInterval", "fetch"],
  ...["crypto.getRandomValues", "crypto.randomUUID"],
]);

type Report = (position: number, rule: string, remedy: string) => void;

/** Every style finding of a file. */
export function checkStyle(source: SourceModel): Finding[] {
  const { path, tree } = source;
  const findings: Finding[] = [];
  const report: Report = (position, rule, remedy) => {
    findings.push({ path, line: lineAt(tree, position), rule, remedy });
  };
  const generated = path.endsWith(".gen.ts");
  const pure = !isTest(path) && PURE.some((pattern) => pattern.test(path));
  walk(tree, (node) => {
    checkDefaultExport(node, report);
    // Tests reach for calls that only they need, such as entering a network namespace.
    if (!path.startsWith("ffi/") && !isTest(path)) checkUnsafe(node, report);
    if (pure) checkPure(node, report);
    if (!generated && !isTest(path)) checkFunctionLength(tree, node, report);
  });
  findings.push(...checkComments(path, source.comments));
  if (!generated) findings.push(...checkLineLength(path, source.text));
  return findings;
}

function checkDefaultExport(node: ts.Node, report: Report): void {
  const isDefault = (ts.isExportAssignment(node) && !node.isExportEquals) ||
    (ts.isExportSpecifier(node) && node.name.text === "default") ||
    (ts.canHaveModifiers(node) &&
      node.modifiers?.some((one) => one.kind === ts.SyntaxKind.DefaultKeyword));
  if (isDefault) report(node.getStart(), "default-export", "export it by its name");
}

/** The names taken from an object called `base`: base.x, base["x"], const { x } = base. */
function membersOf(node: ts.Node, base: string): string[] {
  const isBase = (one: ts.Node | undefined): boolean =>
    one !== undefined && ts.isIdentifier(one) && one.text === base;
  if (ts.isPropertyAccessExpression(node) && isBase(node.expression)) return [node.name.text];
  if (ts.isQualifiedName(node) && isBase(node.left)) return [node.right.text];
  if (ts.isElementAccessExpression(node) && isBase(node.expression)) {
    const key = node.argumentExpression;
    return ts.isStringLiteralLike(key) ? [key.text] : [];
  }
  if (ts.isVariableDeclaration(node) && isBase(node.initializer)) {
    if (!ts.isObjectBindingPattern(node.name)) return [];
    return node.name.elements.map((one) => (one.propertyName ?? one.name).getText());
  }
  return [];
}

function checkUnsafe(node: ts.Node, report: Report): void {
  // A type is harmless: what counts is reaching for the pointer.
  if (ts.isQualifiedName(node)) return;
  for (const name of membersOf(node, "Deno")) {
    if (!UNSAFE.includes(name)) continue;
    report(node.getStart(), "unsafe", `Deno.${name} belongs under ffi/: add a typed call there`);
  }
}

/** A use of a global by its name: not a property, not a declaration of the same name. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.name !== node;
  if (ts.isQualifiedName(parent)) return parent.right !== node;
  const named = parent as { readonly name?: ts.Node; readonly propertyName?: ts.Node };
  return named.name !== node && named.propertyName !== node;
}

function checkPure(node: ts.Node, report: Report): void {
  const pass = "pure code: have the caller pass in the time, the randomness or the bytes";
  if (ts.isIdentifier(node) && isReference(node)) {
    if (node.text === "Deno" || IMPURE.has(node.text)) {
      report(node.getStart(), "pure", `${node.text} in ${pass}`);
    }
  }
  for (const base of ["Date", "performance", "Math", "crypto"]) {
    for (const name of membersOf(node, base)) {
      if (IMPURE.has(`${base}.${name}`)) {
        report(node.getStart(), "pure", `${base}.${name} in ${pass}`);
      }
    }
  }
  const now = ts.isNewExpression(node) && node.expression.getText() === "Date" &&
    (node.arguments?.length ?? 0) === 0;
  if (now) report(node.getStart(), "pure", `new Date() in ${pass}`);
}

function checkFunctionLength(tree: ts.SourceFile, node: ts.Node, report: Report): void {
  if (!ts.isFunctionLike(node) || !("body" in node) || node.body === undefined) return;
  const first = lineAt(tree, node.getStart(tree));
  const lines = lineAt(tree, node.getEnd()) - first + 1;
  if (lines <= FUNCTION_LINES_MAX) return;
  const name = node.name?.getText(tree) ?? "function";
  const remedy =
    `${name} has ${lines} lines, at most ${FUNCTION_LINES_MAX}: split it by what it does`;
  report(node.getStart(tree), "function-length", remedy);
}

/** Comment rules, the same for TypeScript and C. */
export function checkComments(path: string, comments: readonly Comment[]): Finding[] {
  return comments.flatMap((comment) =>
    comment.text.split("\n").flatMap((text, index) => {
      const at = { path, line: comment.line + index };
      const findings: Finding[] = [];
      if (/\b(TODO|FIXME)\b(?!\([^)\s][^)]*\))/.test(text)) {
        findings.push({ ...at, rule: "todo", remedy: "do it, or write why not yet: TODO(reason)" });
      }
      const isTwin = /\b(keep|kept|stay|be)\b.{0,24}\bin sync\b/i.test(text) ||
        /\bsame as (in )?`?[\w./-]+\.(ts|c|h)\b/i.test(text);
      if (isTwin) {
        findings.push({
          ...at,
          rule: "in-sync",
          remedy: "write the fact once, and derive the other",
        });
      }
      return findings;
    })
  );
}

/** Lines that are too long, a tab counting as `tabWidth` columns. */
export function checkLineLength(path: string, text: string, tabWidth = 2): Finding[] {
  return text.split("\n").flatMap((line, index) => {
    const length = columns(line, tabWidth);
    const longestRun = Math.max(...line.split(/\s+/).map((run) => run.length));
    if (length <= LINE_LENGTH_MAX || longestRun >= UNBREAKABLE_MIN) return [];
    const remedy = `${length} columns, at most ${LINE_LENGTH_MAX}: break the line`;
    return [{ path, line: index + 1, rule: "line-length", remedy }];
  });
}

function columns(line: string, tabWidth: number): number {
  let column = 0;
  for (const char of line) column += char === "\t" ? tabWidth - column % tabWidth : 1;
  return column;
}

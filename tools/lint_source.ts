/**
 * A TypeScript file as the lint rules see it: parsed once, by the compiler's own parser.
 *
 * @module
 */
import ts from "typescript";

/** What a rule found, and what to do about it. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly remedy: string;
}

export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly typeOnly: boolean;
}

export interface Comment {
  readonly text: string;
  readonly line: number;
}

export interface SourceModel {
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
  readonly comments: readonly Comment[];
}

export function parseSource(path: string, text: string): SourceModel {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  return { path, text, tree, imports: findImports(tree), comments: findComments(tree) };
}

export function lineAt(tree: ts.SourceFile, position: number): number {
  return tree.getLineAndCharacterOfPosition(position).line + 1;
}

/** Calls visit for each node, parents first. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

function findImports(tree: ts.SourceFile): Import[] {
  const imports: Import[] = [];
  walk(tree, (node) => {
    const specifier = importedFrom(node);
    if (specifier === undefined) return;
    const line = lineAt(tree, node.getStart(tree));
    imports.push({ specifier, line, typeOnly: isTypeOnly(node) });
  });
  return imports;
}

function importedFrom(node: ts.Node): string | undefined {
  let from: ts.Node | undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) from = node.moduleSpecifier;
  else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    from = node.argument.literal;
  } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    from = node.arguments[0];
  }
  return from !== undefined && ts.isStringLiteralLike(from) ? from.text : undefined;
}

function isTypeOnly(node: ts.Node): boolean {
  const allTypes = (list: readonly { readonly isTypeOnly: boolean }[]): boolean =>
    list.length > 0 && list.every((item) => item.isTypeOnly);
  if (ts.isImportTypeNode(node)) return true;
  if (ts.isExportDeclaration(node)) {
    const clause = node.exportClause;
    return node.isTypeOnly ||
      (clause !== undefined && ts.isNamedExports(clause) && allTypes(clause.elements));
  }
  if (!ts.isImportDeclaration(node)) return false;
  const clause = node.importClause;
  if (clause === undefined || clause.isTypeOnly) return clause !== undefined;
  const named = clause.namedBindings;
  return clause.name === undefined && named !== undefined && ts.isNamedImports(named) &&
    allTypes(named.elements);
}

function findComments(tree: ts.SourceFile): Comment[] {
  const text = tree.text;
  const found = new Map<number, Comment>();
  const take = (ranges: ts.CommentRange[] | undefined): void => {
    for (const { pos, end } of ranges ?? []) {
      found.set(pos, { text: text.slice(pos, end), line: lineAt(tree, pos) });
    }
  };
  // Comments lie between tokens; getChildren() is the only way to see all tokens.
  const visit = (node: ts.Node): void => {
    const children = node.getChildren(tree);
    if (children.length > 0) return children.forEach(visit);
    take(ts.getLeadingCommentRanges(text, node.getFullStart()));
    take(ts.getTrailingCommentRanges(text, node.getEnd()));
  };
  visit(tree);
  return [...found.values()];
}

/**
 * Rules about what files are to each other: which threads run them, and who uses what they export.
 *
 * @module
 */
import ts from "typescript";
import { isTest, resolveImport } from "./lint_layers.ts";
import { type Finding, lineAt, type SourceModel, walk } from "./lint_source.ts";

/** Where a worker begins. What it reaches runs on its loop. */
const WORKER = /^src\/.*\/worker\.ts$/;

/** Of main's thread alone, though nothing in them waits. */
const MAIN_ONLY = /^src\/(cli|app|admin|config)\/|^src\/loop\/pool\.ts$/;

/** Every file that an entry reaches by imports that stay at run time, with who imports it first. */
function reached(
  entries: readonly string[],
  byPath: ReadonlyMap<string, SourceModel>,
): Map<string, string> {
  const found = new Map(entries.map((path) => [path, path]));
  for (const path of found.keys()) {
    for (const { specifier, typeOnly } of byPath.get(path)?.imports ?? []) {
      const target = resolveImport(path, specifier);
      if (typeOnly || target === undefined || found.has(target) || !byPath.has(target)) continue;
      found.set(target, path);
    }
  }
  return found;
}

/** A worker's loop has no promises, swallows no fault, and runs nothing that is main's. */
export function checkThreads(sources: readonly SourceModel[]): Finding[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const findings: Finding[] = [];
  for (
    const [path, from] of reached([...byPath.keys()].filter((one) => WORKER.test(one)), byPath)
  ) {
    const source = byPath.get(path)!;
    if (MAIN_ONLY.test(path)) {
      const remedy = `a worker reaches it by ${from}: it is main's, pass in what is needed of it`;
      findings.push({ path, line: 1, rule: "thread", remedy });
    }
    walk(source.tree, (node) => {
      const wait = waits(node);
      const line = lineAt(source.tree, node.getStart(source.tree));
      if (wait !== undefined) {
        const remedy = `${wait} in a worker's loop (by ${from}): call back, or tell main`;
        findings.push({ path, line, rule: "thread", remedy });
      }
      if (ts.isCatchClause(node) && swallows(source, node)) {
        const remedy = "pass the error on (Loop.fault), or say in a comment why it may be dropped";
        findings.push({ path, line, rule: "fault", remedy });
      }
    });
  }
  return findings;
}

function waits(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AsyncKeyword) return "async";
  if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier)) {
    return "await";
  }
  if (ts.isIdentifier(node) && node.text === "Promise") return "Promise";
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return "import()";
  }
  return undefined;
}

function swallows(source: SourceModel, { block, variableDeclaration }: ts.CatchClause): boolean {
  const text = block.getFullText(source.tree);
  if (/\/\/|\/\*/.test(text)) return false;
  if (variableDeclaration === undefined) return true;
  const name = variableDeclaration.name.getText(source.tree);
  let used = false;
  walk(block, (node) => used ||= ts.isIdentifier(node) && node.text === name);
  return !used;
}

// ---- exports ----

interface Export {
  readonly name: string;
  readonly line: number;
  readonly kind: "function" | "constant" | "type";
  /** Its comment says that it is there for tests. */
  readonly forTests: boolean;
}

/** Stands for every export of a file. */
const ALL = "*";

/**
 * Exports of src and ffi without a user. A type, class or enum may be spoken of by what its own
 * file exports; a constant may be a limit that tests go up to. What tests alone use, and not even
 * its own file, has to say in its comment that it is there "for tests".
 */
export function checkExports(sources: readonly SourceModel[]): Finding[] {
  const inCode = new Set<string>();
  const inTests = new Set<string>();
  for (const source of sources) addUses(source, isTest(source.path) ? inTests : inCode);
  return sources.flatMap((source) => {
    const { path } = source;
    if (!/^(src|ffi)\//.test(path) || isTest(path) || path.endsWith(".gen.ts")) return [];
    return exportsOf(source).flatMap(({ name, line, kind, forTests }) => {
      const isIn = (uses: ReadonlySet<string>) =>
        uses.has(`${path} ${name}`) || uses.has(`${path} ${ALL}`);
      const isTested = isIn(inTests);
      const isAtHome = (kind === "type" || isTested) && isSpokenOf(source, name);
      if (isIn(inCode) || isAtHome || (isTested && (kind === "constant" || forTests))) return [];
      const remedy = isTested
        ? `only tests use ${name}: move it there, or let its comment say "for tests"`
        : `no other file uses ${name}: do not export it`;
      return [{ path, line, rule: "export", remedy }];
    });
  });
}

/** Whether the file names it anywhere but where it is declared. */
function isSpokenOf({ tree }: SourceModel, name: string): boolean {
  let times = 0;
  walk(tree, (node) => {
    if (ts.isIdentifier(node) && node.text === name) times++;
  });
  return times > 1;
}

function exportsOf({ tree }: SourceModel): Export[] {
  return tree.statements.flatMap((node) => {
    if (!ts.canHaveModifiers(node)) return [];
    if (!node.modifiers?.some((one) => one.kind === ts.SyntaxKind.ExportKeyword)) return [];
    const line = lineAt(tree, node.getStart(tree));
    const comment = tree.text.slice(node.getFullStart(), node.getStart(tree));
    const forTests = /\bfor[\s*]+tests\b/i.test(comment);
    const kind = ts.isFunctionDeclaration(node)
      ? "function"
      : ts.isVariableStatement(node)
      ? "constant"
      : "type";
    return namesOf(node).map((name) => ({ name, line, kind, forTests }));
  });
}

function namesOf(node: ts.Node): string[] {
  if (ts.isVariableStatement(node)) {
    return node.declarationList.declarations.flatMap(({ name }) =>
      ts.isIdentifier(name)
        ? [name.text]
        : name.elements.flatMap((one) => ts.isBindingElement(one) ? [one.name.getText()] : [])
    );
  }
  const { name } = node as { readonly name?: ts.Node };
  return name !== undefined && ts.isIdentifier(name) ? [name.text] : [];
}

/** What a file takes from others, as "path name". */
function addUses({ path, tree }: SourceModel, uses: Set<string>): void {
  const add = (from: ts.Expression | undefined, names: readonly string[]): void => {
    if (from === undefined || !ts.isStringLiteralLike(from)) return;
    const target = resolveImport(path, from.text);
    for (const name of names) uses.add(`${target} ${name}`);
  };
  walk(tree, (node) => {
    if (ts.isImportDeclaration(node)) {
      const bindings = node.importClause?.namedBindings;
      if (bindings === undefined) return;
      add(
        node.moduleSpecifier,
        ts.isNamespaceImport(bindings) ? membersUsed(tree, bindings.name.text) : takenBy(bindings),
      );
    } else if (ts.isExportDeclaration(node)) {
      const clause = node.exportClause;
      add(node.moduleSpecifier, clause && ts.isNamedExports(clause) ? takenBy(clause) : [ALL]);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], [ALL]);
    }
  });
}

function takenBy({ elements }: ts.NamedImports | ts.NamedExports): string[] {
  return elements.map((one) => (one.propertyName ?? one.name).text);
}

function membersUsed(tree: ts.SourceFile, namespace: string): string[] {
  const names: string[] = [];
  walk(tree, (node) => {
    const isMember = ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) &&
      node.expression.text === namespace;
    if (isMember) names.push(node.name.text);
  });
  return names;
}

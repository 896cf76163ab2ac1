// YAML text → a small tree of texts with positions. What a text means is the schema's business:
// nothing is a number, a date or a "Norway problem" here. Everything hostile input can inflate
// (pieces, depth, aliases) is bounded before it costs anything.

import { Composer, type Document, isAlias, isMap, isScalar, isSeq, Lexer, Parser } from "yaml";
import type { ErrorCode, Node as YamlNode, YAMLMap, YAMLParseError, YAMLSeq } from "yaml";
import { PROBLEMS_MAX, type Report } from "./problem.ts";

/** A text; `plain` when it was written without quotes. */
export interface ScalarNode {
  readonly kind: "scalar";
  readonly offset: number;
  readonly text: string;
  readonly plain: boolean;
  /** It stands for what could not be read, and was reported. */
  readonly broken?: true;
}

export interface ListNode {
  readonly kind: "list";
  readonly offset: number;
  readonly items: readonly Node[];
}

export interface MapNode {
  readonly kind: "map";
  readonly offset: number;
  readonly entries: readonly Entry[];
}

export interface Entry {
  readonly name: string;
  readonly offset: number;
  /** Where the value ends. */
  readonly end: number;
  readonly value: Node;
}

export type Node = ScalarNode | ListNode | MapNode;

/** The top level of a file; `broken` when syntax errors have left only part of it. */
export interface Tree {
  readonly root: MapNode;
  readonly broken: boolean;
}

/** Bytes of a configuration file. */
export const FILE_BYTES_MAX = 1 << 20;
/** Words, separators and comments of a file: a hostile MiB of brackets costs seconds otherwise. */
export const PIECES_MAX = 100_000;
/** Nesting of sections and lists. */
export const DEPTH_MAX = 16;
/** Aliases (`*name`) in a file. */
export const ALIASES_MAX = 100;

const EMPTY: MapNode = { kind: "map", offset: 0, entries: [] };
const NULL_TEXTS: ReadonlySet<string> = new Set(["", "~", "null", "Null", "NULL"]);

/** Whether a key was written without a value. */
export function isNull(node: Node): boolean {
  return node.kind === "scalar" && node.plain && NULL_TEXTS.has(node.text);
}

/** Reads a text; what is wrong goes to the report. Undefined when nothing can be made of it. */
export function parseTree(text: string, report: Report): Tree | undefined {
  if (byteLengthExceeds(text, FILE_BYTES_MAX)) {
    const remedy = "Split off what does not belong here: a configuration is a few KiB.";
    report.fail(0, "", `the file is larger than ${FILE_BYTES_MAX} bytes`, remedy);
    return undefined;
  }
  const document = composeBounded(text, report);
  if (document === undefined) return undefined;
  const firstError = reportSyntax(document.errors, text, report);
  const contents: YamlNode | null = document.contents;
  const tree = new TreeBuilder(report).build(contents);
  if (tree.kind !== "map") {
    if (isNull(tree)) return { root: EMPTY, broken: firstError !== undefined };
    // After a syntax error the rest is noise about the same mistake.
    if (firstError === undefined) {
      const found = tree.kind === "list" ? "a list" : "a single value";
      const remedy = 'Write "name: value" lines, with a space after each colon.';
      report.fail(tree.offset, "", `the file must be a list of keys: found ${found}`, remedy);
    }
    return undefined;
  }
  if (firstError === undefined) return { root: tree, broken: false };
  // Entries that ended before the first error are whole; what follows may be misread.
  const entries = tree.entries.filter(({ end }) => end < firstError);
  return { root: { ...tree, entries }, broken: true };
}

/** Runs lexer, parser and composer piece by piece, so that the bounds hold while reading. */
function composeBounded(text: string, report: Report): Document.Parsed | undefined {
  const composer = new Composer({ schema: "failsafe", uniqueKeys: false, prettyErrors: false });
  const parser = new Parser();
  const documents: Document.Parsed[] = [];
  let pieces = 0;
  try {
    for (const piece of new Lexer().lex(text)) {
      pieces += 1;
      // Each level takes one place on the parser's stack, and the document one.
      if (pieces > PIECES_MAX || parser.stack.length - 1 > DEPTH_MAX) {
        reportExcess(pieces > PIECES_MAX, parser.offset, report);
        return undefined;
      }
      for (const token of parser.next(piece)) documents.push(...composer.next(token));
      if (documents.length > 1) break;
    }
    if (documents.length < 2) {
      for (const token of parser.end()) documents.push(...composer.next(token));
      documents.push(...composer.end(documents.length === 0, text.length));
    }
  } catch {
    // The library promises not to throw; its message could quote the text, so it is not shown.
    report.fail(0, "", "the file cannot be read as YAML", "Start again from the example file.");
    return undefined;
  }
  reportSecondDocument(documents[1], report);
  return documents[0];
}

function reportExcess(tooMany: boolean, offset: number, report: Report): void {
  if (tooMany) {
    const remedy = "Split off what does not belong here.";
    report.fail(offset, "", `the file has more than ${PIECES_MAX} words and signs`, remedy);
    return;
  }
  const remedy = "Remove a level: sections stand directly at the top.";
  report.fail(offset, "", `the nesting is deeper than ${DEPTH_MAX} levels`, remedy);
}

function reportSecondDocument(second: Document.Parsed | undefined, report: Report): void {
  if (second === undefined) return;
  const remedy = 'Keep one document: remove the "---" or "..." line between them.';
  report.fail(second.range[0], "", "a second YAML document starts here", remedy);
}

interface SyntaxText {
  readonly rule: string;
  readonly remedy: string;
}

const SYNTAX_FALLBACK: SyntaxText = {
  rule: "this is not valid YAML",
  remedy: "Check brackets, commas, quotes and the space after each colon in this line.",
};

const UNCLOSED_QUOTE: SyntaxText = {
  rule: "a quoted value is not closed",
  remedy: "Add the closing quote.",
};

// The library's own messages quote the text, which may be a key: only its codes are used.
const SYNTAX_TEXTS: { readonly [code in ErrorCode]?: SyntaxText } = {
  BAD_INDENT: {
    rule: "the indentation does not fit, or a bracket is not closed",
    remedy: "Indent the keys of one section alike, and close every [ and {.",
  },
  TAB_AS_INDENT: { rule: "a tab is used to indent", remedy: "Indent with spaces." },
  BAD_SCALAR_START: {
    rule: "a value starts with a sign that YAML keeps for itself",
    remedy: "Put the value in quotes.",
  },
  BAD_DQ_ESCAPE: {
    rule: "a backslash in double quotes starts no known escape",
    remedy: "Write two backslashes, or use single quotes.",
  },
  BLOCK_AS_IMPLICIT_KEY: {
    rule: 'a second "name:" stands in one value',
    remedy: "Put each key on a line of its own, indented like its neighbours; quote a value " +
      'that holds ": ".',
  },
  MISSING_CHAR: {
    rule: "a sign is missing",
    remedy: 'Write "name: value" with a space after the colon; put commas between items.',
  },
  MULTILINE_IMPLICIT_KEY: {
    rule: 'a line has no "name:"',
    remedy: 'Write "name: value", or "- item" in a list.',
  },
  KEY_OVER_1024_CHARS: {
    rule: "a name is longer than 1024 characters",
    remedy: 'Write "name: value" with a space after the colon.',
  },
  UNEXPECTED_TOKEN: {
    rule: "something here does not belong to the value",
    remedy: "Put the whole value in quotes, or remove the stray sign.",
  },
};

/** One problem a line; returns where the first syntax error is. */
function reportSyntax(
  errors: readonly YAMLParseError[],
  text: string,
  report: Report,
): number | undefined {
  const sorted = [...errors].sort((a, b) => a.pos[0] - b.pos[0]);
  let lineEnd = -1;
  let reported = 0;
  for (const { code, message, pos: [at] } of sorted) {
    const offset = Math.min(at, text.length);
    if (offset <= lineEnd) continue;
    const next = text.indexOf("\n", offset);
    lineEnd = next === -1 ? text.length : next;
    if (++reported > PROBLEMS_MAX) {
      report.omit();
      continue;
    }
    const isQuote = message.startsWith("Missing closing");
    const { rule, remedy } = isQuote ? UNCLOSED_QUOTE : SYNTAX_TEXTS[code] ?? SYNTAX_FALLBACK;
    report.fail(offset, "", rule, remedy);
  }
  return sorted[0]?.pos[0];
}

/** Turns the library's nodes into ours. Its recursion is bounded by {@linkcode DEPTH_MAX}. */
class TreeBuilder {
  readonly #report: Report;
  readonly #anchors = new Map<string, Node>();
  #aliases = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  build(contents: YamlNode | null): Node {
    return this.#node(contents, 0, "");
  }

  #node(node: unknown, parentOffset: number, path: string): Node {
    if (isAlias(node)) return this.#alias(node.source, node.range?.[0] ?? parentOffset, path);
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) return nullNode(parentOffset);
    const offset = node.range?.[0] ?? parentOffset;
    if (node.tag !== undefined) {
      const remedy = "Remove the word that starts with an exclamation mark.";
      this.#report.fail(offset, path, "YAML tags are not supported", remedy);
    }
    let built: Node;
    if (isMap(node)) built = this.#map(node, offset, path);
    else if (isSeq(node)) built = this.#list(node, offset, path);
    else {
      const text = typeof node.value === "string" ? node.value : "";
      const plain = node.type === "PLAIN" || node.type === undefined;
      // An absent value has no place of its own: its key has.
      built = plain && text === ""
        ? nullNode(parentOffset)
        : { kind: "scalar", offset, text, plain };
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, built);
    return built;
  }

  #alias(name: string, offset: number, path: string): Node {
    this.#aliases += 1;
    if (this.#aliases > ALIASES_MAX) {
      if (this.#aliases === ALIASES_MAX + 1) {
        const remedy = "Write the values out.";
        this.#report.fail(offset, path, `there are more than ${ALIASES_MAX} aliases`, remedy);
      }
      return { ...nullNode(offset), broken: true };
    }
    const target = this.#anchors.get(name);
    if (target !== undefined) return { ...target, offset };
    // Who writes a pattern of names means no alias.
    const isPattern = name.startsWith(".") || name === "";
    const rule = isPattern
      ? "a text that starts with a star needs quotes"
      : "the alias names no anchor above it";
    const remedy = isPattern
      ? "Put it in quotes."
      : "Write the value out, or quote it when it really starts with a star.";
    this.#report.fail(offset, path, rule, remedy);
    return { ...nullNode(offset), broken: true };
  }

  #list(node: YAMLSeq, offset: number, path: string): ListNode {
    const items = node.items.map((item, i) => this.#node(item, offset, `${path}[${i}]`));
    return { kind: "list", offset, items };
  }

  #map(node: YAMLMap, offset: number, path: string): MapNode {
    const entries = new Map<string, Entry>();
    for (const { key, value } of node.items) {
      const keyOffset = rangeOf(key)?.[0] ?? offset;
      const keyNode = this.#node(key, keyOffset, path);
      if (keyNode.kind !== "scalar") {
        const remedy = "Write a plain word before the colon, and quote a value with brackets.";
        this.#report.fail(keyOffset, path, "a list or section stands where a name must", remedy);
        continue;
      }
      const name = keyNode.text;
      const shown = this.#report.showName(name);
      const entryPath = path === "" ? shown : `${path}.${shown}`;
      const child = this.#node(value, keyOffset, entryPath);
      const earlier = entries.get(name);
      if (earlier !== undefined) {
        const rule = `is written twice: first in line ${this.#report.lineOf(earlier.offset)}`;
        this.#report.fail(keyOffset, entryPath, rule, "Remove one of the two.");
        continue;
      }
      const end = rangeOf(value)?.[1] ?? keyOffset;
      entries.set(name, { name, offset: keyOffset, end, value: child });
    }
    return { kind: "map", offset, entries: [...entries.values()] };
  }
}

function rangeOf(node: unknown): readonly [number, number, number] | undefined {
  if (isAlias(node) || isScalar(node) || isMap(node) || isSeq(node)) {
    return node.range ?? undefined;
  }
  return undefined;
}

function nullNode(offset: number): ScalarNode {
  return { kind: "scalar", offset, text: "", plain: true };
}

function byteLengthExceeds(text: string, max: number): boolean {
  if (text.length > max) return true;
  return text.length * 3 > max && new TextEncoder().encode(text).length > max;
}

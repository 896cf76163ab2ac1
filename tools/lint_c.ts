/**
 * Style rules for C: kernel style, as far as it can be told line by line.
 *
 * @module
 */
import type { Comment, Finding } from "./lint_source.ts";
import { checkComments, checkLineLength } from "./lint_style.ts";

const TAB_WIDTH = 8;
export const C_FUNCTION_LINES_MAX = 120;

interface Masked {
  /** The text with strings and comments blanked, of the same length. */
  readonly code: string;
  readonly comments: readonly Comment[];
}

/** Line comment, block comment, string or character constant. */
const OPAQUE = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g;

function mask(text: string): Masked {
  const comments: Comment[] = [];
  const code = text.replace(OPAQUE, (part, position: number) => {
    if (part.startsWith("/")) {
      comments.push({ text: part, line: text.slice(0, position).split("\n").length });
    }
    return part.replace(/[^\n]/g, " ");
  });
  return { code, comments };
}

/** Every finding of a C source or header. */
export function checkC(path: string, text: string): Finding[] {
  const generated = /(^|\/)(vmlinux\.h|[^/]+\.gen\.h)$/.test(path);
  const { code, comments } = mask(text);
  const findings = checkComments(path, comments);
  if (generated) return findings;
  return [
    ...findings,
    ...checkLineLength(path, text, TAB_WIDTH),
    ...checkIndent(path, text, comments),
    ...checkFunctions(path, code),
  ];
}

function checkIndent(path: string, text: string, comments: readonly Comment[]): Finding[] {
  const inComment = new Set<number>();
  for (const comment of comments) {
    const count = comment.text.split("\n").length;
    for (let index = 1; index < count; index++) inComment.add(comment.line + index);
  }
  return text.split("\n").flatMap((line, index) => {
    const indent = /^[\t ]*/.exec(line)![0];
    const wrong = indent.includes(" \t") || indent.includes(" ".repeat(TAB_WIDTH)) ||
      (indent.startsWith(" ") && line.trim() !== "");
    if (!wrong || inComment.has(index + 1)) return [];
    return [{ path, line: index + 1, rule: "indent", remedy: "indent by tabs of 8" }];
  });
}

/** A function's body opens with `{` at, or a heading that starts in, the first column. */
function checkFunctions(path: string, code: string): Finding[] {
  const findings: Finding[] = [];
  const lines = code.split("\n");
  let start: number | undefined;
  lines.forEach((line, index) => {
    if (start === undefined) {
      if (opensFunction(lines, index)) start = index;
      return;
    }
    if (!line.startsWith("}")) return;
    const count = index - start + 1;
    if (count > C_FUNCTION_LINES_MAX) {
      const remedy = `function has ${count} lines, at most ${C_FUNCTION_LINES_MAX}: ` +
        "split it by stage (parse, classify, act)";
      findings.push({ path, line: start + 1, rule: "function-length", remedy });
    }
    start = undefined;
  });
  return findings;
}

function opensFunction(lines: readonly string[], index: number): boolean {
  const line = lines[index]!.trimEnd();
  if (/^[A-Za-z_].*\)\s*\{$/.test(line)) return true;
  if (line !== "{") return false;
  return /\)$/.test((lines[index - 1] ?? "").trimEnd());
}

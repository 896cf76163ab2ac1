// What can be wrong with a configuration, where, and what to do about it.

/** One thing wrong (or, as a warning, unwise). `line` and `column` start at 1; 0 means none. */
export interface Problem {
  readonly file: string;
  /** Dotted name of the key, such as `switcher.loss_threshold`; empty for the whole file. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
  /** What is wrong, with the current value unless that is a secret. */
  readonly rule: string;
  /** What to write or do instead. */
  readonly remedy: string;
}

/** Problems listed at most; the rest is counted. */
export const PROBLEMS_MAX = 100;

const SHOWN_LENGTH_MAX = 60;
const NAME_LENGTH_MAX = 40;
const SECRET_LENGTH_MIN = 6;
const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
// A run this long with capitals and digits is no word: it is a key that landed in a wrong place.
const KEY_RUN = /[A-Za-z0-9+_=-]{24,}/g;
const KEY_WHOLE = /^[A-Za-z0-9+][A-Za-z0-9+/]{38,}={0,2}$/;
const HEX_RUN = /[0-9a-fA-F]{24}/;
const UNPRINTABLE = /[\p{C}\u2028\u2029]/gu;

/** Thrown with every problem at once, ordered by position. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];
  /** Problems beyond the first {@linkcode PROBLEMS_MAX}, counted only. */
  readonly omitted: number;

  constructor(problems: readonly Problem[], omitted = 0) {
    const lines = problems.map(formatProblem);
    if (omitted > 0) lines.push(`and ${omitted} more`);
    super(lines.join("\n"));
    this.problems = problems;
    this.omitted = omitted;
  }
}

/** One line: `file:line:column: path: rule. remedy`. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, path, rule, remedy } = problem;
  const place = line > 0 ? `${file}:${line}:${column}` : file;
  return `${place}: ${path === "" ? "" : `${path}: `}${rule}. ${remedy}`;
}

interface Draft {
  readonly offset: number;
  readonly path: string;
  readonly rule: string;
  readonly remedy: string;
}

/** Offset of a problem that stands in the environment and not in the file. */
const OUTSIDE = -1;
const ENVIRONMENT = "environment";

/** Collects problems by offset and turns them into positions at the end. */
export class Report {
  readonly #file: string;
  readonly #text: string;
  readonly #drafts: Draft[] = [];
  /** Of the drafts: a file of many users may ask for each. */
  readonly #paths = new Set<string>();
  readonly #warnings: Draft[] = [];
  readonly #secrets: string[] = [];
  #lineStarts: number[] | undefined;
  #omitted = 0;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
  }

  get failed(): boolean {
    return this.#drafts.length > 0;
  }

  hasProblem(path: string): boolean {
    return this.#paths.has(path);
  }

  fail(offset: number, path: string, rule: string, remedy: string): void {
    this.#drafts.push({ offset, path, rule, remedy });
    this.#paths.add(path);
  }

  failOutside(variable: string, rule: string, remedy: string): void {
    this.fail(OUTSIDE, variable, rule, remedy);
  }

  warn(offset: number, path: string, rule: string, remedy: string): void {
    this.#warnings.push({ offset, path, rule, remedy });
  }

  /** Counts a problem that could not be among the first {@linkcode PROBLEMS_MAX}. */
  omit(): void {
    this.#omitted += 1;
  }

  /** No message will show this text or a piece of it. */
  hide(secret: string): void {
    if (secret.length >= SECRET_LENGTH_MIN) this.#secrets.push(secret);
  }

  /** A value as it may stand in a message: quoted, cut, printable, never a key. */
  show(text: string): string {
    if (this.hides(text)) return "[hidden: it looks like a key]";
    const cut = text.length > SHOWN_LENGTH_MAX;
    const shown = JSON.stringify(cut ? text.slice(0, SHOWN_LENGTH_MAX) : text);
    return (cut ? `${shown.slice(0, -1)}…"` : shown).replace(UNPRINTABLE, escapeCharacter);
  }

  /** A key's name as it may stand in a message. */
  showName(name: string): string {
    if (name.length > NAME_LENGTH_MAX || this.hides(name)) return "[a long name]";
    return PLAIN_NAME.test(name) ? name : this.show(name);
  }

  /** All problems, ordered by position. */
  error(): ConfigError {
    const sorted = this.#drafts.sort(compareDrafts);
    const kept = sorted.slice(0, PROBLEMS_MAX);
    const omitted = this.#omitted + sorted.length - kept.length;
    return new ConfigError(this.#locate(kept), omitted);
  }

  warnings(): Problem[] {
    return this.#locate(this.#warnings.sort(compareDrafts));
  }

  /** Whether a text is, or may be, what no message shows. */
  hides(text: string): boolean {
    if (looksLikeKey(text)) return true;
    return text.length >= SECRET_LENGTH_MIN &&
      this.#secrets.some((secret) => secret.includes(text) || text.includes(secret));
  }

  /** The line, from 1, that an offset is in. */
  lineOf(offset: number): number {
    this.#lineStarts ??= findLineStarts(this.#text);
    let low = 0;
    let high = this.#lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  #locate(drafts: readonly Draft[]): Problem[] {
    return drafts.map(({ offset, path, rule, remedy }) => {
      if (offset === OUTSIDE) {
        return { file: ENVIRONMENT, path, line: 0, column: 0, rule, remedy };
      }
      const line = this.lineOf(offset);
      const column = offset - (this.#lineStarts?.[line - 1] ?? 0) + 1;
      return { file: this.#file, path, line, column, rule, remedy };
    });
  }
}

function findLineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) {
    starts.push(at + 1);
  }
  return starts;
}

function looksLikeKey(text: string): boolean {
  if (HEX_RUN.test(text) || KEY_WHOLE.test(text)) return true;
  const runs = text.match(KEY_RUN) ?? [];
  return runs.some((run) => /[A-Z]/.test(run) && /[a-z]/.test(run) && /\d/.test(run));
}

function compareDrafts(a: Draft, b: Draft): number {
  return a.offset - b.offset || compareText(a.path, b.path) || compareText(a.rule, b.rule);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function escapeCharacter(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

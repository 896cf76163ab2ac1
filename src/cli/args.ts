/** Arguments of a command: its options as data, which both the parser and --help read. */

import { printable } from "../base/log.ts";
import { nearest } from "../base/nearest.ts";
import type { EarlyWorkers } from "../loop/early_workers.ts";

export interface Option {
  /** Without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** What a value is called in --help; without it the option is a switch. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  readonly options: readonly Option[];
  /** The option whose value may also be given without its name: `phantom check FILE`. */
  readonly argument?: string;
  /** Runs with what was given; the process exits with its answer. */
  readonly run: (given: Given, context: Context) => Promise<number> | number;
}

/** What a command may know of its surroundings. */
export interface Context {
  /** Where main.ts lies. */
  readonly root: URL;
  /** Of a command that serves by them. */
  readonly early?: EarlyWorkers;
}

export class Given {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  value(name: string): string | undefined {
    return this.#values.get(name);
  }
}

/** Wrong arguments; the message says which and what to write instead. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const TERMINAL_COLUMNS = 80;
const SECOND_COLUMNS_MIN = 30;
const HELP: Option = { name: "help", short: "h", help: "show this" };

/** Reads `--name value`, `--name=value`, `-n value`, `-nvalue`, switches, and the argument. */
export function parseArgs(command: Command, args: readonly string[]): Given {
  const values = new Map<string, string>();
  const options = [...command.options, HELP];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (isArgument(command, arg)) {
      const name = command.argument!;
      if (values.has(name)) throw new UsageError(`${command.name} takes no second argument`);
      values.set(name, arg);
      continue;
    }
    const [flag, inline] = isLongName(options, arg) ? [arg, undefined] : split(arg);
    const option = options.find(({ name, short }) => flag === `--${name}` || flag === `-${short}`);
    if (option === undefined) throw unknownArgument(command, options, arg);
    if (option.value === undefined) {
      // `-jv` is two switches, or a slip: nobody knows.
      if (inline !== undefined && !flag.startsWith("--")) {
        throw unknownArgument(command, options, arg);
      }
      if (inline !== undefined) throw new UsageError(`--${option.name} takes no value`);
      values.set(option.name, "");
      continue;
    }
    const value = inline ?? args[++i];
    if (value === undefined || value === "") {
      throw new UsageError(`--${option.name} wants a value: --${option.name} ${option.value}`);
    }
    values.set(option.name, value);
  }
  return new Given(values);
}

function unknownArgument(
  command: Command,
  options: readonly Option[],
  arg: string,
): UsageError {
  const [flag] = arg.split("=", 1) as [string];
  if (isSecretLike(flag)) {
    return new UsageError(`${command.name} does not take an argument (not shown: it may be a key)`);
  }
  const shown = printable(flag);
  if (!flag.startsWith("-")) return new UsageError(`${command.name} takes no argument "${shown}"`);
  const near = nearest(flag.replace(/^-+/, ""), options.map(({ name }) => name));
  const hint = near === undefined ? "" : `; did you mean --${near}?`;
  return new UsageError(`${command.name} has no option ${shown}${hint}`);
}

/** A key or a link where it does not belong: what is written out ends up in logs. */
function isSecretLike(text: string): boolean {
  return /^-*phantom:/i.test(text) || (text.length >= 32 && /^[A-Za-z0-9+/_=-]+$/.test(text));
}

/** What a command takes without a name; a single dash is standard input. */
function isArgument({ argument }: Command, text: string): boolean {
  if (argument === undefined || (text.startsWith("-") && text !== "-")) return false;
  // A path that is long enough may look like a key, and shows by its beginning that it is none.
  return !isSecretLike(text) || /^\.{0,2}\//.test(text);
}

/** `-config` or `-config=FILE`, with a dash too few. */
function isLongName(options: readonly Option[], text: string): boolean {
  return options.some(({ name }) => text === `-${name}` || text.startsWith(`-${name}=`));
}

/** `--name=value`, `-nvalue` and `-n=value` in two. */
function split(text: string): [string, string | undefined] {
  if (text.startsWith("--")) {
    const at = text.indexOf("=");
    return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  }
  if (!/^-[a-z]./s.test(text)) return [text, undefined];
  return [text.slice(0, 2), text.slice(2).replace(/^=/, "")];
}

/** The text of `phantom COMMAND --help`. */
export function helpOf(command: Command): string {
  const rows = [...command.options, HELP].map(({ name, short, value, help }) => {
    const flags = `${short === undefined ? "    " : `-${short}, `}--${name}`;
    return [value === undefined ? flags : `${flags} ${value}`, help] as const;
  });
  const { name, summary, argument } = command;
  const taken = command.options.find((option) => option.name === argument)?.value;
  const usage = taken === undefined ? "" : `Usage: phantom ${name} [${taken}] [OPTION ...]\n\n`;
  return `phantom ${name}: ${summary}\n\n${usage}${columns(rows)}`;
}

/** Two columns, the first as wide as its widest; the second is broken where a terminal ends. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  const room = Math.max(TERMINAL_COLUMNS - width - 4, SECOND_COLUMNS_MIN);
  return rows.map(([left, right]) =>
    wrapped(right, room).map((line, index) =>
      `  ${(index === 0 ? left : "").padEnd(width)}  ${line}\n`
    ).join("")
  ).join("");
}

function wrapped(text: string, room: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}

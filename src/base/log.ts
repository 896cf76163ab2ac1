/** Log lines for people (text) or machines (JSON), a line an event, to one sink. */

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Takes one line, its newline included. */
  readonly write: (line: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** @default {false} */
  readonly color?: boolean;
}

const COLORS: Record<LogLevel, string> = {
  error: "\x1b[31m",
  warn: "\x1b[33m",
  info: "\x1b[32m",
  debug: "\x1b[2m",
};
const RESET = "\x1b[0m";
// C0 and C1 controls: a name from outside must not move a terminal's cursor or forge a line.
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;
const NEEDS_QUOTES = /[\s"=]|^$/;

export class Log {
  readonly #options: LogOptions;
  readonly #rank: number;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#rank = LOG_LEVELS.indexOf(options.level);
  }

  error(message: string, fields?: LogFields): void {
    this.#put("error", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#put("warn", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#put("info", message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.#put("debug", message, fields);
  }

  #put(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (LOG_LEVELS.indexOf(level) > this.#rank) return;
    const { format, now, write, color } = this.#options;
    const time = new Date(now()).toISOString();
    if (format === "json") {
      // Ours last: no field takes the place of one of these.
      const event = { ...fields, time, level, message };
      write(`${JSON.stringify(event).replace(CONTROL, escapeInJson)}\n`);
      return;
    }
    const label = level.toUpperCase().padEnd(5);
    const tag = color ? `${COLORS[level]}${label}${RESET}` : label;
    const parts = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => ` ${key}=${quoted(printable(String(value)))}`);
    write(`${time} ${tag} ${printable(message)}${parts.join("")}\n`);
  }
}

/** The text with its control characters spelled out. */
export function printable(text: string): string {
  return text.replace(
    CONTROL,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** What JSON may hold as it is and a terminal must not see: DEL and C1. */
function escapeInJson(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function quoted(text: string): string {
  return NEEDS_QUOTES.test(text) ? JSON.stringify(text) : text;
}

/**
 * Log lines for people (text) or machines (JSON), a line an event, to one sink.
 *
 * Each says which part of the program speaks (`component`), what happened by an id that does not
 * change with the wording (`event`), and in plain words (`message`); the rest are fields. A worker
 * has a Log of its own, whose records go to main's.
 */

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What of a line is not a field; a field of such a name would be lost, so it is a type error. */
type OwnName = "time" | "level" | "component" | "event" | "message";
export type LogValues = LogFields & { readonly [name in OwnName]?: never };

export interface LogRecord {
  readonly level: LogLevel;
  readonly component: string;
  readonly event: string;
  readonly message: string;
  readonly fields: LogFields;
}

export interface LogOptions {
  readonly level: LogLevel | LogThreshold;
  readonly format: "text" | "json";
  /** Takes one line, its newline included. */
  readonly write: (line: string) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** @default {false} */
  readonly color?: boolean;
  /**
   * The journal reads it: a priority in front of each line, and no time in a text.
   * @default {false}
   */
  readonly journal?: boolean;
}

/** Of syslog, as the journal reads it in front of a line: `<4>`. */
export const Priority: Readonly<Record<LogLevel, number>> = {
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
};

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

/** What holds lines back (log_limit.ts). */
export interface LineCount {
  /** Lines that were held back. */
  readonly heldBack: number;
  /** Counts the next line of an event as held back where it would be, and says so. */
  holds(level: LogLevel, component: string, event: string): boolean;
}

/** The least important lines that anybody reads; a word that all threads see, and main sets. */
export class LogThreshold {
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(of: LogLevel | SharedArrayBuffer) {
    this.memory = typeof of === "string" ? new SharedArrayBuffer(4) : of;
    this.#word = new Int32Array(this.memory);
    if (typeof of === "string") this.level = of;
  }

  get level(): LogLevel {
    return LOG_LEVELS[this.#word[0]!]!;
  }

  set level(level: LogLevel) {
    this.#word[0] = LOG_LEVELS.indexOf(level);
  }
}

export class Log {
  readonly limit: LineCount | undefined;
  readonly threshold: LogThreshold;
  readonly #sink: (record: LogRecord) => void;
  readonly #component: string;

  /**
   * `sink` takes every record, whatever its level, but no debug line that nobody reads; `limit`:
   * what is between the two.
   */
  constructor(
    sink: (record: LogRecord) => void,
    component?: string,
    limit?: LineCount,
    threshold: LogThreshold = new LogThreshold("debug"),
  ) {
    this.#sink = sink;
    this.#component = component ?? "phantom";
    this.limit = limit;
    this.threshold = threshold;
  }

  /** Writes lines. */
  static to(options: LogOptions): Log {
    const { level } = options;
    const threshold = typeof level === "string" ? new LogThreshold(level) : level;
    const sink = (record: LogRecord): void => {
      // Asked for each time: it may change while the program runs.
      const rank = LOG_LEVELS.indexOf(threshold.level);
      if (LOG_LEVELS.indexOf(record.level) <= rank) options.write(lineOf(record, options));
    };
    return new Log(sink, undefined, undefined, threshold);
  }

  /** Whether anybody reads debug lines: what would only be said there need not be put in words. */
  get tellsDebug(): boolean {
    return this.threshold.level === "debug";
  }

  /** The same log as another part of the program uses it. */
  with({ component }: { readonly component: string }): Log {
    return new Log(this.#sink, component, this.limit, this.threshold);
  }

  error(event: string, message: string, fields?: LogValues): void {
    this.log("error", event, message, fields);
  }

  warn(event: string, message: string, fields?: LogValues): void {
    this.log("warn", event, message, fields);
  }

  info(event: string, message: string, fields?: LogValues): void {
    this.log("info", event, message, fields);
  }

  /** For what may happen thousands of times a second: of a line held back no text is made. */
  often(level: LogLevel, event: string, message: string, fields: () => LogValues): void {
    if (this.limit?.holds(level, this.#component, event) === true) return;
    this.log(level, event, message, fields());
  }

  debug(event: string, message: string, fields?: LogValues): void {
    if (this.tellsDebug) this.log("debug", event, message, fields);
  }

  log(level: LogLevel, event: string, message: string, fields: LogValues = {}): void {
    this.#sink({ level, component: this.#component, event, message, fields });
  }

  /** Takes what another Log has recorded, a worker's. */
  put(record: LogRecord): void {
    this.#sink(record);
  }
}

function lineOf(record: LogRecord, { format, now, color, journal }: LogOptions): string {
  const { level, component, event, message, fields } = record;
  const mark = journal ? `<${Priority[level]}>` : "";
  const time = new Date(now()).toISOString();
  if (format === "json") {
    // Ours first for people, and last for what counts: no field takes the place of one of these.
    const own = { time, level, message, component, event };
    const text = JSON.stringify({ ...own, ...fields, ...own });
    return `${mark}${text.replace(CONTROL, escapeInJson)}\n`;
  }
  const label = level.toUpperCase().padEnd(5);
  const tag = color ? `${COLORS[level]}${label}${RESET}` : label;
  const parts = Object.entries({ ...fields, event })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${quoted(printable(String(value)))}`);
  const head = journal ? mark : `${time} ${tag} `;
  return `${head}${component}: ${printable(message)}${parts.join("")}\n`;
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

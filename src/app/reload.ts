/** A configuration that is read again while its server or client runs, by whoever asks for it. */

import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Secret } from "../base/secret.ts";
import { ConfigError, formatProblem, writtenName } from "../config/mod.ts";

/** A configuration, and where it came from. */
export interface ReloadSource<C> {
  /** For the log, and for who asks which file this runs from; null: from none. */
  readonly path: string | null;
  /** Reads the file; throws where it is wrong. */
  readonly read: () => C;
  /** Takes what no part does; the settings that were taken. */
  readonly apply?: (config: C) => readonly string[];
  /** Hears when it begins, and when it is over. */
  readonly watch?: (isUnderWay: boolean) => void;
}

export interface ReloadOptions<C> extends ReloadSource<C> {
  /** What was started with. */
  readonly running: C;
  /** Tells all parts; the settings that were taken. */
  readonly applyParts: (config: C) => readonly string[] | Promise<readonly string[]>;
  readonly log: Log;
}

/** What became of a file. */
export interface ReloadOutcome {
  readonly path: string | null;
  /** Whether it was taken; else all stayed as it was. */
  readonly taken: boolean;
  /** Settings that are others from now on, as the file calls them. */
  readonly changed: readonly string[];
  /** Settings that will be others after the next start. */
  readonly waiting: readonly string[];
  /** Why it was not taken, a line each. */
  readonly problems: readonly string[];
  /** The file is wrong, and not what reads it. */
  readonly isFileWrong: boolean;
}

/** Settings by the name of their field in the configuration, and as the file calls them. */
interface Change {
  readonly field: string;
  readonly written: string;
}

const NO_FILE = "it was started without a file: there is nothing to read again";

export class Reload<C extends object> {
  readonly #options: ReloadOptions<C>;
  /** What was taken last. */
  #current: C;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ReloadOptions<C>) {
    this.#options = options;
    this.#current = options.running;
  }

  /** Takes over what can change in what runs; a wrong file changes nothing. */
  again(): Promise<ReloadOutcome> {
    const { watch } = this.#options;
    const outcome = this.#last.then(() => {
      watch?.(true);
      return this.#take().finally(() => watch?.(false));
    });
    this.#last = outcome;
    return outcome;
  }

  /** The keys of what was read, but not of what was started with. */
  wipe(): void {
    if (this.#current !== this.#options.running) wipeKeys(this.#current);
  }

  async #take(): Promise<ReloadOutcome> {
    const { path, read, running, log } = this.#options;
    let config: C | undefined;
    try {
      if (path === null) throw new Error(NO_FILE);
      config = read();
      const taken = new Set(await this.#apply(config));
      const changed = writtenOf(changesOf(this.#current, config), (field) => taken.has(field));
      const waiting = writtenOf(changesOf(running, config), (field) => !taken.has(field));
      this.wipe();
      this.#current = config;
      logTaken(log, path, changed, waiting);
      return { path, taken: true, changed, waiting, problems: [], isFileWrong: false };
    } catch (error) {
      if (config !== undefined) wipeKeys(config);
      const problems = problemsOf(error);
      const isFileWrong = error instanceof ConfigError;
      logRefused(log, path, problems);
      return { path, taken: false, changed: [], waiting: [], problems, isFileWrong };
    }
  }

  async #apply(config: C): Promise<readonly string[]> {
    const { apply, applyParts } = this.#options;
    return [...await applyParts(config), ...apply?.(config) ?? []];
  }
}

function problemsOf(error: unknown): string[] {
  if (error instanceof ConfigError) {
    const rest = error.omitted > 0 ? [`and ${error.omitted} more`] : [];
    return [...error.problems.map(formatProblem), ...rest];
  }
  const cause = error instanceof Error && error.cause !== undefined
    ? `: ${messageOf(error.cause)}`
    : "";
  return [messageOf(error) + cause];
}

function logTaken(
  log: Log,
  path: string,
  changed: readonly string[],
  waiting: readonly string[],
): void {
  const list = changed.length === 0 ? "nothing" : changed.join(",");
  log.info("config_reloaded", "the configuration is read again", { path, changed: list });
  if (waiting.length === 0) return;
  log.warn("config_needs_restart", "some settings take effect at the next start", {
    settings: waiting.join(","),
  });
}

/** A line each: whoever mends them wants to see them all. */
function logRefused(log: Log, path: string | null, problems: readonly string[]): void {
  log.error("config_rejected", "the configuration stays as it was", {
    path: path ?? undefined,
    problems: problems.length,
  });
  for (const problem of problems) log.error("config_problem", problem);
}

/** Of a configuration that is no longer used: every secret in it. */
export function wipeKeys(config: object): void {
  for (const value of Object.values(config)) {
    if (value instanceof Secret) value.wipe();
    else if (typeof value === "object" && value !== null) wipeKeys(value);
  }
}

/** Where two configurations differ: fields, and of a section which of its settings. */
function changesOf<C extends object>(before: C, after: C): Change[] {
  const names = Object.keys(before) as (keyof C & string)[];
  return names.flatMap((field) => {
    const [was, is] = [before[field], after[field]];
    if (isSame(was, is)) return [];
    if (!isSection(was) || !isSection(is)) return [{ field, written: writtenName(field) }];
    return Object.keys(is).filter((name) => !isSame(was[name], is[name])).map((name) => ({
      field,
      written: `${writtenName(field)}.${writtenName(name)}`,
    }));
  });
}

function writtenOf(changes: readonly Change[], isWanted: (field: string) => boolean): string[] {
  return changes.filter(({ field }) => isWanted(field)).map(({ written }) => written);
}

/** Also of keys, which show in no text. */
function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Secret && b instanceof Secret) return a.equals(b);
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const [mine, theirs] = [Object.entries(a), Object.entries(b)];
  return mine.length === theirs.length &&
    mine.every(([name, value]) => isSame(value, (b as Record<string, unknown>)[name]));
}

/** An address is one value, and a list is one. */
function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Secret) && !("port" in value);
}

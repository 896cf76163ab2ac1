/** Finding and reading the configuration, for all commands that take -c. */

import { wipeKeys } from "../app/reload.ts";
import {
  type Config,
  ConfigError,
  type ConfigSources,
  defaultConfigText,
  type FileKind,
  fileKind,
  formatProblem,
  KEY_VARIABLE,
  loadConfig,
  type LoadedConfig,
  type Problem,
  type RoutingConfig,
  type RuleFault,
} from "../config/mod.ts";
import { compileRules } from "../proxy/rules.ts";
import { interfaceNames } from "../kernel/interfaces.ts";
import { ruleText } from "../outbound/rule_text.ts";
import type { Given, Option } from "./args.ts";
import { warn } from "./complain.ts";
import { freshKey } from "./keygen.ts";

export const CONFIG_OPTION: Option = {
  name: "config",
  short: "c",
  value: "FILE",
  help: "the configuration, or - for standard input (default: ./phantom.yaml, else " +
    "phantom.yaml or config.yaml of /etc/phantom)",
};

/** Of a key, a list of rules, a configuration. */
const READ_CHARS_MAX = 64 << 20;
const PIECE_BYTES = 64 << 10;
const CANDIDATES = ["phantom.yaml", "/etc/phantom/phantom.yaml", "/etc/phantom/config.yaml"];

/** As a path: there is no file, and all settings are their defaults. */
export const NO_FILE = "";
/** As a path. */
const STANDARD_INPUT = "-";

/**
 * The file that -c names, or the first of the usual ones that exists. Without any the defaults do,
 * where the environment has the key.
 */
export function configPath(given: Given): string {
  const path = given.value("config") ?? usualConfig();
  if (path !== undefined) return path;
  return Deno.env.get(KEY_VARIABLE) ? NO_FILE : CANDIDATES[0]!;
}

/** Where a file is made that is not named. */
export function newConfigPath(given: Given): string {
  return given.value("config") ?? usualConfig() ?? CANDIDATES[0]!;
}

/** The first of the usual ones that exists. */
export function usualConfig(): string | undefined {
  return CANDIDATES.find(isFile);
}

/** Reads the configuration, all its problems at once; warnings go to standard error. */
export function readConfig(path: string): LoadedConfig {
  const loaded = loadServer(path);
  printWarnings(loaded.warnings);
  return loaded;
}

/** Reads the configuration; warnings are the caller's to tell. */
export function loadServer(path: string): LoadedConfig {
  return parseConfig(path, readConfigText(path));
}

/** The configuration that a text is. */
export function parseConfig(path: string, text: string, env = environment): LoadedConfig {
  return asKind("server", path, text, () =>
    loadConfig(text, {
      ...sourcesOf(path, env),
      checkRules,
      interfaces: interfaceNames,
      now: Date.now,
    }));
}

/**
 * What a file says of places, for who has no use for its key: that may be in the environment of the
 * server alone. Another stands in for it.
 */
export function readPlaces(path: string): Config {
  const key = freshKey();
  const env = (name: string) => name === KEY_VARIABLE ? key : environment(name);
  const { config } = parseConfig(path, readConfigText(path), env);
  wipeKeys(config);
  return config;
}

function environment(name: string): string | undefined {
  return Deno.env.get(name);
}

/** What loading a file may ask of this machine. */
export function sourcesOf(path: string, env = environment): ConfigSources {
  return {
    file: nameOf(path),
    env,
    readFile: readRegular,
    fileMode: (name) => Deno.statSync(name).mode,
  };
}

export function printWarnings(warnings: readonly Problem[]): void {
  for (const warning of warnings) warn(`warning: ${formatProblem(warning)}`);
}

/** Of a file of the other kind nearly every line is a problem, and none of them is the one. */
export function asKind<T>(wanted: FileKind, path: string, text: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    const kind = error instanceof ConfigError ? fileKind(text) : undefined;
    if (kind === undefined || kind === wanted) throw error;
    const problem = wanted === "server"
      ? { rule: "is a client's file", remedy: `Start it with \`phantom client -c ${path}\`.` }
      : { rule: "is the server's file", remedy: `Start it with \`phantom run -c ${path}\`.` };
    throw new ConfigError([{ file: nameOf(path), path: "", line: 1, column: 1, ...problem }]);
  }
}

/** As whoever works in another folder finds it; null where there is no file. */
export function absolutePath(path: string): string | null {
  if (path === NO_FILE || path === STANDARD_INPUT) return null;
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** For messages. */
function nameOf(path: string): string {
  if (path === NO_FILE) return "defaults";
  return path === STANDARD_INPUT ? "standard input" : path;
}

/** What a configuration names: a device or a pipe may never end. */
function readRegular(name: string): string {
  if (!Deno.statSync(name).isFile) throw new Error("it is no regular file");
  return readBounded(name);
}

/** A configuration may come by a pipe, but not without an end. */
function readBounded(name: string): string {
  if (name === STANDARD_INPUT) return readAll(Deno.stdin);
  using file = Deno.openSync(name);
  return readAll(file);
}

function readAll(file: { readSync(into: Uint8Array): number | null }): string {
  const decoder = new TextDecoder();
  const piece = new Uint8Array(PIECE_BYTES);
  let text = "";
  for (let count = file.readSync(piece); count !== null; count = file.readSync(piece)) {
    text += decoder.decode(piece.subarray(0, count), { stream: true });
    if (text.length > READ_CHARS_MAX) throw new Error("it is larger than 64 MiB");
  }
  return text + decoder.decode();
}

/** What the rules' own compiler says of them. */
function checkRules(routing: RoutingConfig): readonly RuleFault[] {
  const compiled = compileRules({
    rules: routing.rules.map(ruleText),
    outbounds: routing.outbounds.map(({ name }) => ({ name })),
    fallback: routing.defaultOutbound,
  });
  return "problems" in compiled ? compiled.problems : [];
}

/** Writes a configuration with a fresh key when there is none; whether it did. */
export function initConfig(path: string): boolean {
  try {
    const text = defaultConfigText(freshKey());
    Deno.writeTextFileSync(path, text, { createNew: true, mode: 0o600 });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw new Error(`Cannot write ${path}`, { cause: error });
  }
}

/** The text of the server's file. */
export function readConfigText(path: string): string {
  return path === NO_FILE ? "" : readNamed(path, `\`phantom init ${path}\` makes one`);
}

/** The text of a file that somebody named; `remedy`: what makes one. */
export function readNamed(path: string, remedy: string): string {
  try {
    return readBounded(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw new Error(`Cannot read ${path}`, { cause });
    throw new Error(`Cannot read ${path} as there is no such file: ${remedy}`);
  }
}

export function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

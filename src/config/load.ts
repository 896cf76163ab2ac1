// Configuration text → Config, or every problem of it at once. Pure: files, their modes and the
// environment come in through the sources.

import { Secret } from "../base/secret.ts";
import { type Problem, Report } from "./problem.ts";
import { KEY_MISSING, keyProblem, parseKey } from "./psk.ts";
import { read, type Reading } from "./schema.ts";
import { type Config, SETTINGS } from "./settings.ts";
import { type MapNode, parseTree } from "./tree.ts";

/** What the loader may ask of the world. */
export interface ConfigSources {
  /** Name of the configuration file: stands in messages, and its folder is psk_file's. */
  readonly file: string;
  /** A variable of the environment. */
  readonly env: (name: string) => string | undefined;
  /** The text of a file; throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  /** The permission bits of a file; nothing when they are unknown. */
  readonly fileMode: (path: string) => number | null | undefined;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly Problem[];
}

/** Overrides both psk and psk_file. */
export const KEY_VARIABLE = "PHANTOM_PSK";

const KEY_FILE_LENGTH_MAX = 4096;
const OTHERS = 0o077;
const BYTE_ORDER_MARK = "\ufeff";

/** Reads a configuration. Throws a ConfigError that lists every problem by position. */
export function loadConfig(text: string, sources: ConfigSources): LoadedConfig {
  const body = text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
  const report = new Report(sources.file, body);
  const variable = sources.env(KEY_VARIABLE)?.trim() ?? "";
  report.hide(variable);
  const tree = parseTree(body, report);
  if (tree === undefined) throw report.error();
  hideKeys(tree.root, report);
  const reading = read(SETTINGS, tree.root, report);
  const finder = new KeyFinder(sources, report, reading);
  const psk = finder.find(variable, tree.broken);
  if (report.failed || psk === undefined) {
    psk?.wipe();
    throw report.error();
  }
  const config: Config = Object.freeze({ ...reading.settings, psk });
  warnOfContradictions(config, reading, report);
  return { config, warnings: report.warnings() };
}

/** A key may also stand, by mistake, where another value does: no message repeats it. */
function hideKeys(root: MapNode, report: Report): void {
  for (const { name, value } of root.entries) {
    if (name === "psk" && value.kind === "scalar") report.hide(value.text.trim());
  }
}

function warnOfContradictions(
  config: Config,
  { offsets }: Reading<typeof SETTINGS>,
  report: Report,
): void {
  if (config.mode === "ebpf" && !config.ebpf.enabled) {
    const remedy = 'Set ebpf.enabled to true, or mode to "auto".';
    const rule = "asks for a transport that ebpf.enabled turns off";
    report.warn(offsets.get("mode") ?? 0, "mode", rule, remedy);
  }
}

/** Takes the key from the first place that has one: environment, file, text. */
class KeyFinder {
  readonly #sources: ConfigSources;
  readonly #report: Report;
  readonly #reading: Reading<typeof SETTINGS>;

  constructor(sources: ConfigSources, report: Report, reading: Reading<typeof SETTINGS>) {
    this.#sources = sources;
    this.#report = report;
    this.#reading = reading;
  }

  /** Undefined after reporting why there is none; with `partial`, silence about absence. */
  find(variable: string, partial: boolean): Secret | undefined {
    if (variable !== "") return this.#fromEnvironment(variable);
    const { settings: { psk, pskFile }, offsets } = this.#reading;
    const pskOffset = offsets.get("psk") ?? 0;
    const fileOffset = offsets.get("psk_file") ?? 0;
    if (psk !== "" && pskFile !== "") {
      const rule = "is set beside psk";
      const remedy = "Keep one of the two: the file is the safer place.";
      this.#report.fail(fileOffset, "psk_file", rule, remedy);
      return undefined;
    }
    if (pskFile !== "") return this.#fromFile(pskFile, fileOffset);
    if (psk !== "") return this.#fromText(psk, pskOffset);
    // A key that was written, but not as a text, has its problem already.
    const isReported = this.#report.hasProblem("psk") || this.#report.hasProblem("psk_file");
    if (!partial && !isReported) {
      this.#report.fail(pskOffset, "psk", KEY_MISSING.rule, KEY_MISSING.remedy);
    }
    return undefined;
  }

  #fromEnvironment(text: string): Secret | undefined {
    const problem = keyProblem(text);
    if (problem === undefined) return makeSecret(text);
    this.#report.failOutside(KEY_VARIABLE, problem.rule, problem.remedy);
    return undefined;
  }

  #fromText(text: string, offset: number): Secret | undefined {
    const problem = keyProblem(text);
    if (problem !== undefined) {
      this.#report.fail(offset, "psk", problem.rule, problem.remedy);
      return undefined;
    }
    this.#warnOfMode(this.#sources.file, "psk", offset);
    return makeSecret(text);
  }

  #fromFile(path: string, offset: number): Secret | undefined {
    const resolved = besides(this.#sources.file, path);
    const shown = this.#report.show(resolved);
    let text: string;
    try {
      text = this.#sources.readFile(resolved);
    } catch (error) {
      const { rule, remedy } = describeReadError(error, path);
      this.#report.fail(offset, "psk_file", `${rule}: current value is ${shown}`, remedy);
      return undefined;
    }
    this.#warnOfMode(resolved, "psk_file", offset);
    const problem = text.length > KEY_FILE_LENGTH_MAX
      ? { rule: "holds more than a key", remedy: "Put the key alone into the file." }
      : keyProblem(text);
    if (problem === undefined) return makeSecret(text);
    this.#report.fail(offset, "psk_file", `the file ${shown} ${problem.rule}`, problem.remedy);
    return undefined;
  }

  #warnOfMode(path: string, key: string, offset: number): void {
    let mode: number | null | undefined;
    try {
      mode = this.#sources.fileMode(path);
    } catch {
      // A file whose mode cannot be asked for is judged by reading it.
      return;
    }
    if (typeof mode !== "number" || (mode & OTHERS) === 0) return;
    const shown = this.#report.show(path);
    const octal = (mode & 0o777).toString(8).padStart(3, "0");
    const rule = `the key's file ${shown} is open to other users: its mode is ${octal}`;
    this.#report.warn(offset, key, rule, `Run: chmod 600 ${shown}`);
  }
}

function makeSecret(text: string): Secret | undefined {
  const bytes = parseKey(text);
  if (bytes === undefined) return undefined;
  const secret = new Secret(bytes);
  bytes.fill(0);
  return secret;
}

/** The error's own message is not shown: it may quote what it read. */
function describeReadError(error: unknown, path: string): { rule: string; remedy: string } {
  if (parseKey(path) !== undefined) {
    return { rule: "holds a key and not a path", remedy: "Write the key as psk." };
  }
  const name = error instanceof Error ? error.name : "";
  if (name === "NotFound") {
    const remedy = "Create it with `phantom keygen`, or correct the path.";
    return { rule: "names a file that does not exist", remedy };
  }
  if (name === "PermissionDenied" || name === "NotCapable") {
    const remedy = "Make the user that runs Phantom its owner.";
    return { rule: "names a file that may not be read", remedy };
  }
  return { rule: "names a file that cannot be read", remedy: "Name a text file with the key." };
}

/** A relative path counts from the folder of the configuration file. */
function besides(file: string, path: string): string {
  const slash = file.lastIndexOf("/");
  return path.startsWith("/") || slash === -1 ? path : file.slice(0, slash + 1) + path;
}

// Finding keys: in the environment, in a file of their own, in the configuration's text.

import { Secret } from "../base/secret.ts";
import { type Problem, Report } from "./problem.ts";
import { KEY_MISSING, keyProblem, parseKey } from "./psk.ts";
import type { Fault } from "./schema.ts";
import { type MapNode, type Node, parseTree, type Tree } from "./tree.ts";

/** What reading a configuration may ask of the world. */
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

/** What was read, and what is unwise about it. */
export interface Loaded<C> {
  readonly config: C;
  readonly warnings: readonly Problem[];
}

/** Overrides both psk and psk_file. */
export const KEY_VARIABLE = "PHANTOM_PSK";

const KEY_FILE_LENGTH_MAX = 4096;
/** Bits of a mode: of anybody at all, and of all those that a key is not meant for. */
const OTHERS = 0o077;
const STRANGERS = 0o027;
/** Names of settings that hold what no message shows. */
const SECRET_NAMES = new Set(["psk", "key", "password"]);

const BYTE_ORDER_MARK = "\ufeff";

/** A text that can be read, and the key of the environment. */
export interface OpenText {
  readonly report: Report;
  readonly tree: Tree;
  readonly variable: string;
}

/** Parses a text. Throws a ConfigError when nothing can be made of it. */
export function openText(text: string, sources: ConfigSources): OpenText {
  const body = text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
  const report = new Report(sources.file, body);
  const variable = sources.env(KEY_VARIABLE)?.trim() ?? "";
  report.hide(variable);
  const tree = parseTree(body, report);
  if (tree === undefined) throw report.error();
  hideSecrets(tree.root, report);
  return { report, tree, variable };
}

/** The shared key: of the environment, else of the file; with `partial`, silence about absence. */
export function findPsk(
  finder: KeyFinder,
  variable: string,
  settings: { readonly psk: string; readonly pskFile: string },
  partial: boolean,
  faults: Pick<KeyPlace, "missing" | "remedy"> = { missing: KEY_MISSING },
): Secret | undefined {
  if (variable !== "") return finder.fromEnvironment(variable);
  const place = { path: "psk", text: settings.psk, file: settings.pskFile };
  const { missing, ...remedy } = faults;
  return finder.find({ ...place, ...remedy, ...(partial || !missing ? {} : { missing }) });
}

/** A secret may also stand, by mistake, where another value does: no message repeats it. */
function hideSecrets(root: MapNode, report: Report): void {
  for (const { name, value } of root.entries) {
    if (value.kind === "scalar" && SECRET_NAMES.has(name)) report.hide(value.text.trim());
    if (value.kind === "list") value.items.forEach((item) => hideInItem(item, report));
  }
}

function hideInItem(item: Node, report: Report): void {
  if (item.kind !== "map") return;
  for (const { name, value } of item.entries) {
    if (value.kind === "scalar" && SECRET_NAMES.has(name)) report.hide(value.text.trim());
  }
}

/** Where a key is written: its text, or the name of its file. */
export interface KeyPlace {
  /** Dotted name of the text's setting; the file's has `_file` behind it. */
  readonly path: string;
  readonly text: string;
  readonly file: string;
  /** Without it, a key that is nowhere is no problem. */
  readonly missing?: Fault;
  /** What to do about a key that is none. @default that a new one is made */
  readonly remedy?: string;
  /** Offset of what the key belongs to, when neither is written. */
  readonly offset?: number;
}

/** Takes keys from the first place that has one; what is wrong goes to the report. */
export class KeyFinder {
  readonly #sources: ConfigSources;
  readonly #report: Report;
  readonly #offsets: ReadonlyMap<string, number>;

  constructor(
    sources: ConfigSources,
    report: Report,
    offsets: ReadonlyMap<string, number>,
  ) {
    this.#sources = sources;
    this.#report = report;
    this.#offsets = offsets;
  }

  fromEnvironment(text: string): Secret | undefined {
    const problem = keyProblem(text);
    if (problem === undefined) return makeSecret(text);
    this.#report.failOutside(KEY_VARIABLE, problem.rule, problem.remedy);
    return undefined;
  }

  /** Undefined when there is none, or after reporting what is wrong with it. */
  find({ path, text, file, missing, remedy, offset = 0 }: KeyPlace): Secret | undefined {
    const filePath = `${path}_file`;
    const textOffset = this.#offsets.get(path) ?? offset;
    const fileOffset = this.#offsets.get(filePath) ?? offset;
    if (text !== "" && file !== "") {
      const rule = `is set beside ${lastName(path)}`;
      const choice = "Keep one of the two: the file is the safer place.";
      this.#report.fail(fileOffset, filePath, rule, choice);
      return undefined;
    }
    if (file !== "") return this.#fromFile(file, filePath, fileOffset, remedy);
    if (text !== "") return this.#fromText(text, path, textOffset, remedy);
    // A key that was written, but not as a text, has its problem already.
    const isReported = this.#report.hasProblem(path) || this.#report.hasProblem(filePath);
    if (missing !== undefined && !isReported) {
      this.#report.fail(textOffset, path, missing.rule, missing.remedy);
    }
    return undefined;
  }

  #fromText(text: string, path: string, offset: number, remedy?: string): Secret | undefined {
    const problem = keyProblem(text);
    if (problem !== undefined) {
      this.#report.fail(offset, path, problem.rule, remedy ?? problem.remedy);
      return undefined;
    }
    this.#warnOfMode(this.#sources.file, path, offset);
    return makeSecret(text);
  }

  #fromFile(name: string, path: string, offset: number, better?: string): Secret | undefined {
    const resolved = besides(this.#sources.file, name);
    const shown = this.#report.show(resolved);
    let text: string;
    try {
      text = this.#sources.readFile(resolved);
    } catch (error) {
      const { rule, remedy } = describeReadError(error, name, path);
      this.#report.fail(offset, path, `${rule}: current value is ${shown}`, remedy);
      return undefined;
    }
    if (this.#isOpen(resolved, path, offset)) return undefined;
    const problem = text.length > KEY_FILE_LENGTH_MAX
      ? { rule: "holds more than a key", remedy: "Put the key alone into the file." }
      : keyProblem(text);
    if (problem === undefined) return makeSecret(text);
    const remedy = better ?? problem.remedy;
    this.#report.fail(offset, path, `the file ${shown} ${problem.rule}`, remedy);
    return undefined;
  }

  #warnOfMode(file: string, path: string, offset: number): void {
    const mode = this.#modeOf(file);
    if ((mode & OTHERS) === 0) return;
    const { rule, remedy } = this.#openTo(file, mode);
    this.#report.warn(offset, path, rule, remedy);
  }

  /**
   * Whether a key's own file is open to whomever; then it is reported and not used. The group may
   * read it, where that was given on purpose, and is warned of.
   */
  #isOpen(file: string, path: string, offset: number): boolean {
    const mode = this.#modeOf(file);
    if ((mode & STRANGERS) === 0) {
      this.#warnOfMode(file, path, offset);
      return false;
    }
    const { rule, remedy } = this.#openTo(file, mode);
    this.#report.fail(offset, path, rule, remedy);
    return true;
  }

  #openTo(file: string, mode: number): Fault {
    const shown = this.#report.show(file);
    const octal = (mode & 0o777).toString(8).padStart(3, "0");
    const rule = `the key's file ${shown} is open to other users: its mode is ${octal}`;
    return { rule, remedy: `Run: chmod 600 ${shown}` };
  }

  /** 0 where it can't be asked for: such a file is judged by reading it. */
  #modeOf(file: string): number {
    try {
      return this.#sources.fileMode(file) ?? 0;
    } catch {
      return 0;
    }
  }
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

function makeSecret(text: string): Secret | undefined {
  const bytes = parseKey(text);
  if (bytes === undefined) return undefined;
  const secret = new Secret(bytes);
  bytes.fill(0);
  return secret;
}

/** The error's own message is not shown: it may quote what it read. */
function describeReadError(error: unknown, name: string, path: string): Fault {
  if (parseKey(name) !== undefined) {
    const instead = lastName(path).replace(/_file$/, "");
    return { rule: "holds a key and not a path", remedy: `Write the key as ${instead}.` };
  }
  const kind = error instanceof Error ? error.name : "";
  if (kind === "NotFound") {
    const remedy = "Create it with `phantom keygen`, or correct the path.";
    return { rule: "names a file that does not exist", remedy };
  }
  if (kind === "PermissionDenied" || kind === "NotCapable") {
    const remedy = "Make the user that runs Phantom its owner.";
    return { rule: "names a file that may not be read", remedy };
  }
  return { rule: "names a file that cannot be read", remedy: "Name a text file with the key." };
}

/** A relative path counts from the folder of the configuration file. */
export function besides(file: string, path: string): string {
  const slash = file.lastIndexOf("/");
  return path.startsWith("/") || slash === -1 ? path : file.slice(0, slash + 1) + path;
}

/** `phantom init` */

import { ConfigError, defaultConfigText, formatAddress, parseAddress } from "../config/mod.ts";
import { chooseInterface } from "../kernel/interfaces.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { isFile, parseConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { freshKey } from "./keygen.ts";

const SYSTEM_FOLDER = "/etc/phantom";
const NAME = "phantom.yaml";
/** The file of the systemd unit, and how to know that systemd runs. */
const UNIT_FILE = `${SYSTEM_FOLDER}/${NAME}`;
const SYSTEMD = "/run/systemd/system";

/** What a terminal holds of one. */
const LINE_BYTES_MAX = 4096;

/** What is asked for, as texts. */
export interface Answers {
  readonly path: string;
  readonly listen: string;
  readonly interface: string;
  /** Names with commas; empty: all share the one key. */
  readonly users: string;
}

/** Asks a person; what they typed, or what stands for nothing. */
export type Ask = (question: string, fallback: string) => string;

export const command: Command = {
  name: "init",
  summary: "make a server's configuration with a fresh key; it starts nothing",
  options: [
    {
      name: "config",
      short: "c",
      value: "FILE",
      help: `where (default: ${UNIT_FILE} where that folder is, else ./${NAME})`,
    },
    { name: "listen", value: "ADDR", help: "where clients come in (default: :54321)" },
    { name: "interface", value: "NAME", help: "for XDP (default: auto, the default route's)" },
    { name: "users", value: "NAMES", help: "a key for each, with commas (default: one for all)" },
    { name: "yes", short: "y", help: "ask nothing" },
    { name: "json", help: "print JSON, and ask nothing" },
  ],
  argument: "config",
  run(given) {
    const isAsking = Deno.stdin.isTerminal() && !given.has("yes") && !given.has("json");
    const answers = answersOf(given, isAsking ? askTerminal : (_question, fallback) => fallback);
    const text = configText(answers);
    write(answers.path, text);
    if (given.has("json")) {
      const { path: file, listen } = answers;
      const next = nextSteps(answers).map(([command]) => command);
      console.log(JSON.stringify({ file, listen, users: namesOf(answers.users), next }));
    } else console.log(told(answers));
    return Exit.ok;
  },
};

/** Asked only for what no flag has said. */
export function answersOf(given: Given, ask: Ask): Answers {
  const of = (name: string, question: string, fallback: string): string =>
    given.value(name) ?? ask(question, fallback);
  const device = chooseInterface([]);
  const shown = device === undefined ? "" : ` (now ${device})`;
  const path = of("config", "File", hasFolder(SYSTEM_FOLDER) ? UNIT_FILE : NAME);
  // Before more is asked, in vain.
  if (isFile(path)) throw alreadyThere(path);
  return {
    path,
    listen: of("listen", "Where clients come in, as address:port or :port", ":54321"),
    interface: of("interface", `Interface; auto is the default route's${shown}`, "auto"),
    users: of("users", "Users, each with a key; none: one key for all", ""),
  };
}

/** The example with these answers in it, which has been read back. */
export function configText({ listen, interface: device, users }: Answers): string {
  const address = parseAddress(listen);
  if (!("value" in address)) throw new UsageError(`--listen: ${address.rule}. ${address.remedy}`);
  let text = defaultConfigText(freshKey());
  text = replaced(text, /^listen: .*$/m, `listen: ${JSON.stringify(listen)}`);
  text = replaced(text, /^ {2}interface: .*$/m, `  interface: ${JSON.stringify(device)}`);
  const names = namesOf(users);
  if (names.length > 0) {
    const lines = names.map((name) =>
      `  - name: ${JSON.stringify(name)}\n    key: ${JSON.stringify(freshKey())}`
    );
    text = replaced(text, /^users: .*$/m, `users:\n${lines.join("\n")}`);
  }
  try {
    parseConfig(NAME, text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { path, rule, remedy } = error.problems[0]!;
    throw new UsageError(`${path}: ${rule}. ${remedy}`);
  }
  return text;
}

/** A function, for a value may hold what a pattern means. */
function replaced(text: string, line: RegExp, value: string): string {
  if (!line.test(text)) {
    throw new Error(`Cannot make a configuration as the example has no ${line}`);
  }
  return text.replace(line, () => value);
}

function namesOf(users: string): string[] {
  return users.split(",").map((name) => name.trim()).filter((name) => name !== "");
}

function askTerminal(question: string, fallback: string): string {
  const shown = fallback === "" ? "" : ` [${fallback}]`;
  // To standard error: what is printed may lead elsewhere.
  Deno.stderr.writeSync(new TextEncoder().encode(`${question}${shown}: `));
  return readLine().trim() || fallback;
}

/** A terminal gives a line at a time; the end of it all is a line, too. */
function readLine(): string {
  const bytes = new Uint8Array(LINE_BYTES_MAX);
  const count = Deno.stdin.readSync(bytes) ?? 0;
  return new TextDecoder().decode(bytes.subarray(0, count)).split("\n", 1)[0]!;
}

function write(path: string, text: string): void {
  try {
    Deno.writeTextFileSync(path, text, { createNew: true, mode: 0o600 });
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) {
      throw alreadyThere(path);
    }
    if (cause instanceof Deno.errors.NotFound) {
      throw new Error(`Cannot write ${path} as there is no such folder: make it first`);
    }
    throw new Error(`Cannot write ${path}`, { cause });
  }
}

function alreadyThere(path: string): Error {
  return new Error(`Cannot write ${path} as there is such a file already: it is left as it is`);
}

function told(answers: Answers): string {
  const steps = nextSteps(answers).map(([command, why]) => `  ${command}\n      ${why}`);
  const address = parseAddress(answers.listen);
  const port = "value" in address ? formatAddress(address.value) : answers.listen;
  return `${answers.path}: written, with a fresh key, for you alone (mode 600)\n\n` +
    `Next:\n${steps.join("\n")}\n\nLet UDP to ${port} through the firewall.`;
}

/** Commands, and what they do. */
function nextSteps({ path, users }: Answers): [string, string][] {
  const [user] = namesOf(users);
  const shown = quoted(path);
  const isUnit = path === UNIT_FILE && hasFolder(SYSTEMD);
  return [
    [`phantom check ${shown}`, "whether all is well with it, and with this machine's kernel"],
    isUnit
      ? ["systemctl enable --now phantom", "starts the server, now and at each boot"]
      : [`phantom run -c ${shown}`, "starts the server"],
    [
      `phantom link -c ${shown}${user === undefined ? "" : ` --user ${quoted(user)}`}`,
      "the link for a client: phantom client --link ...",
    ],
  ];
}

/** As a shell takes it for one word. */
function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function hasFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

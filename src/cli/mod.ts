/** The command line: picks the command, runs it, turns failures into messages and exit codes. */

import { printable } from "../base/log.ts";
import { Resources, type WorkerName } from "../kernel/resources.ts";
import { EarlyWorkers } from "../loop/early_workers.ts";
import { columns, type Command, type Context, helpOf, parseArgs, UsageError } from "./args.ts";
import { Exit } from "./exit.ts";
import { complain } from "./complain.ts";

/** Each loads only when it is asked for: `version` should not wait for a YAML parser. */
const commands: Readonly<Record<string, () => Promise<{ command: Command }>>> = {
  init: () => import("./init.ts"),
  run: () => import("./run.ts"),
  client: () => import("./client.ts"),
  ping: () => import("./ping.ts"),
  bench: () => import("./bench.ts"),
  check: () => import("./check.ts"),
  doctor: () => import("./doctor.ts"),
  status: () => import("./status.ts"),
  reload: () => import("./reload.ts"),
  unload: () => import("./unload.ts"),
  keygen: () => import("./keygen.ts"),
  link: () => import("./link.ts"),
  config: () => import("./config.ts"),
  version: () => import("./version.ts"),
};

/** Commands that serve by workers: a first one comes up while the command's own code loads. */
const WORKERS: Readonly<Record<string, WorkerName>> = {
  run: "tunnel/server",
  client: "tunnel/client",
};

/** What takes something away is never suggested: a hint is typed without being read. */
const NEVER_SUGGESTED: ReadonlySet<string> = new Set(["unload"]);
const JSON_FLAG = "--json";
/** Other names of commands. */
const ALIASES: Readonly<Record<string, string>> = { server: "run" };

/** Runs a command line; the process should exit with the answer. */
export async function main(args: readonly string[], root: URL): Promise<number> {
  const [first = "help", ...rest] = args;
  const name = first === "--version" || first === "-V" ? "version" : first;
  if (!isHelp(name)) return await runNamed(name, rest, { root });
  const helped = rest[0];
  if (helped !== undefined && !isHelp(helped)) return await runNamed(helped, ["--help"], { root });
  console.log(await overview());
  return args.length === 0 ? Exit.usage : Exit.ok;
}

function isHelp(name: string): boolean {
  return name === "help" || name === "--help" || name === "-h";
}

async function runNamed(
  given: string,
  args: readonly string[],
  context: Context,
): Promise<number> {
  const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (load === undefined) return await unknownCommand(name, args.includes(JSON_FLAG));
  const early = earlyWorkers(name, args, context.root);
  try {
    const { command } = await load();
    return await runCommand(command, args, { ...context, ...early && { early } });
  } finally {
    early?.close();
  }
}

function earlyWorkers(name: string, args: readonly string[], root: URL): EarlyWorkers | undefined {
  const worker = Object.hasOwn(WORKERS, name) ? WORKERS[name] : undefined;
  if (worker === undefined || args.includes("--help") || args.includes("-h")) return undefined;
  const early = new EarlyWorkers(new Resources(root).worker(worker));
  early.want(1);
  return early;
}

async function runCommand(
  command: Command,
  args: readonly string[],
  context: Context,
): Promise<number> {
  const isJson = args.includes(JSON_FLAG) && command.options.some(({ name }) => name === "json");
  try {
    const given = parseArgs(command, args);
    if (given.has("help")) {
      console.log(helpOf(command).trimEnd());
      return Exit.ok;
    }
    return await command.run(given, context);
  } catch (error) {
    const code = exitOf(error);
    if (isJson) printFailure(describe(error), code, problemsOf(error));
    else {
      const hint = code === Exit.usage ? `\nTry \`phantom ${command.name} --help\`.` : "";
      complain(`phantom: ${describe(error)}${hint}`);
    }
    return code;
  }
}

function exitOf(error: unknown): Exit {
  if (error instanceof UsageError) return Exit.usage;
  return error instanceof Error && error.name === "ConfigError" ? Exit.config : Exit.failed;
}

/** Of a configuration, a thing each. */
function problemsOf(error: unknown): unknown {
  return error instanceof Error && "problems" in error ? error.problems : undefined;
}

/** What whoever asked for JSON gets instead of it, on standard output as well. */
function printFailure(error: string, code: Exit, problems?: unknown): void {
  console.log(JSON.stringify({ error, code, ...(problems === undefined ? {} : { problems }) }));
}

/** The message and those of its causes; the stack only when PHANTOM_DEBUG is set. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (Deno.env.get("PHANTOM_DEBUG")) return error.stack ?? error.message;
  const cause = error.cause instanceof Error ? `\n  because: ${describe(error.cause)}` : "";
  return `${error.message}${cause}`;
}

async function unknownCommand(name: string, isJson: boolean): Promise<number> {
  const { nearest } = await import("../base/nearest.ts");
  const suggested = Object.keys(commands).filter((one) => !NEVER_SUGGESTED.has(one));
  const near = nearest(name, suggested);
  const hint = near === undefined ? "" : ` Did you mean \`phantom ${near}\`?`;
  const text = `there is no command "${printable(name)}".${hint}`;
  if (isJson) printFailure(text, Exit.usage);
  else complain(`phantom: ${text}\nTry \`phantom help\`.`);
  return Exit.usage;
}

async function overview(): Promise<string> {
  const rows: [string, string][] = [];
  for (const [name, load] of Object.entries(commands)) {
    rows.push([name, (await load()).command.summary]);
  }
  return "phantom: encrypted 0-RTT proxy with an eBPF data plane\n\n" +
    `Usage: phantom COMMAND [OPTION ...]\n\n${columns(rows)}\n` +
    "`phantom COMMAND --help` tells the options of each.\n\n" +
    "A server:  phantom init, then check, run, and link for its clients.\n" +
    "A client:  phantom client --link 'phantom://...'";
}

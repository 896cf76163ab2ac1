/** `phantom reload` */

import type { ReloadOutcome } from "../app/reload.ts";
import { askReload, askStatus, reloadPath, statusPath } from "../app/status_socket.ts";
import { ConfigError, formatAddress } from "../config/mod.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { clientConfig } from "./client_config.ts";
import { CONFIG_OPTION, usualConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { placesOf, PLANE_OPTIONS } from "./plane_options.ts";

export const command: Command = {
  name: "reload",
  summary: "have the running server read its configuration again, and tell what came of it",
  options: [
    { ...CONFIG_OPTION, help: "the configuration that the server runs from (default: the usual)" },
    ...PLANE_OPTIONS.filter(({ name }) => name === "instance"),
    { name: "client", help: "a client instead: check its file, and send SIGHUP to --pid" },
    { name: "pid", value: "PID", help: "the client's process" },
    { name: "json", help: "print JSON" },
  ],
  argument: "config",
  async run(given) {
    if (given.has("client")) return reloadClient(given);
    if (given.has("pid")) throw new UsageError("--pid is for --client: a server is found without");
    const outcome = await reloadServer(given);
    if (given.has("json")) console.log(JSON.stringify(withCode(outcome)));
    else print(outcome);
    return exitOf(outcome);
  },
};

/** Throws, with nothing asked for, where the file is wrong already as it is seen from here. */
async function reloadServer(given: Given): Promise<ReloadOutcome> {
  const usual = given.has("instance") ? undefined : usualConfig();
  const { instance, stateDir } = placesFor(given, usual);
  const path = statusPath(stateDir, instance);
  const status = await askStatus(path);
  if (status === undefined) {
    throw new Error(
      `Cannot reload as no server of instance "${instance}" answers at ${path}: is one running, ` +
        "and are these its instance, its state_dir and its user?",
    );
  }
  const named = given.value("config");
  if (named !== undefined && !isSameFile(named, status.config)) {
    throw new Error(`Cannot reload ${named} as the server runs from ${status.config ?? "no file"}`);
  }
  const outcome = await askReload(reloadPath(stateDir, instance));
  if (outcome === undefined) throw new Error("Cannot reload as the server did not answer");
  return outcome;
}

/** What is wrong with the file is seen here first, and the server hears nothing of it. */
function placesFor(given: Given, usual: string | undefined): ReturnType<typeof placesOf> {
  try {
    return placesOf(given, usual);
  } catch (error) {
    if (error instanceof ConfigError) {
      error.message += "\nphantom: the server was not asked; it goes on as it was";
    }
    throw error;
  }
}

function isSameFile(a: string, b: string | null): boolean {
  if (b === null) return false;
  try {
    return Deno.realPathSync(a) === Deno.realPathSync(b);
  } catch {
    return a === b;
  }
}

function exitOf({ taken, isFileWrong }: ReloadOutcome): Exit {
  if (taken) return Exit.ok;
  return isFileWrong ? Exit.config : Exit.failed;
}

/** Refused, it is a failure like any other. */
function withCode(outcome: ReloadOutcome): unknown {
  if (outcome.taken) return outcome;
  return { error: outcome.problems.join("\n"), code: exitOf(outcome), ...outcome };
}

function print({ path, taken, changed, waiting, problems }: ReloadOutcome): void {
  if (!taken) {
    for (const problem of problems) console.error(problem);
    console.error("phantom: the configuration was refused; the server goes on as it was");
    return;
  }
  console.log(`${path}: read again`);
  console.log(`  changed: ${changed.join(", ") || "nothing"}`);
  if (waiting.length > 0) console.log(`  waits for a restart: ${waiting.join(", ")}`);
}

/** A client has no socket to be asked by: its log tells what came of it. */
function reloadClient(given: Given): Exit {
  const text = given.value("pid") ?? "";
  const pid = Number(text);
  if (!/^\d+$/.test(text) || pid < 2) {
    throw new UsageError("--client wants --pid PID, the number of the client's process");
  }
  const { server, psk, key } = clientConfig(given);
  psk.wipe();
  key?.wipe();
  // SIGHUP ends what does not know it: a number may be another's by now.
  if (!isClient(pid)) {
    throw new Error(`Cannot reload as process ${pid} is no \`phantom client\`: has it ended?`);
  }
  Deno.kill(pid, "SIGHUP");
  const message = "the client is asked to read its configuration again; its log tells the rest";
  if (given.has("json")) console.log(JSON.stringify({ pid, server: formatAddress(server) }));
  else console.log(message);
  return Exit.ok;
}

function isClient(pid: number): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").includes("client");
  } catch {
    return false;
  }
}

/** `phantom check` */

import { BpfError } from "../../ffi/bpf/bpf_error.ts";
import { layouts } from "../../ffi/bpf/layout.gen.ts";
import { openLibraries } from "../../ffi/libraries.ts";
import type { BpfObject } from "../../ffi/bpf/object.ts";
import { messageOf } from "../base/errors.ts";
import { Log } from "../base/log.ts";
import {
  type ClientConfig,
  type Config,
  ConfigError,
  formatProblem,
  type Loaded as LoadedFile,
  type Problem,
} from "../config/mod.ts";
import { type BpfCode, type ObjectName, Resources } from "../kernel/resources.ts";
import { eventsPart } from "../kernel/events.ts";
import { ObjectPlane } from "../kernel/object_plane.ts";
import { ANY_CONFIG_OPTIONS, anyConfig } from "./any_config.ts";
import type { Command } from "./args.ts";
import { parseClientConfig } from "./client_config.ts";
import { parseConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";

const MAIN: ObjectName = "xdp_phantom";
/** Loaded with its maps, so only where it loads. */
const BESIDE: readonly ObjectName[] = ["xdp_sessions", "tc_egress", "steer"];

const SILENT = new Log(() => {});

/** What has been through the verifier. */
type Loaded = Pick<BpfObject, "verifierLogs" | "close">;

interface LoadReport {
  readonly object: string;
  readonly origin: string;
  readonly ok: boolean;
  readonly error?: string;
  /** libbpf's and the verifier's output, when it failed or --verbose is given. */
  readonly log?: string;
}

/** What is to say of a file. */
interface Findings {
  readonly problems: readonly Problem[];
  /** Problems that are not listed. */
  readonly omitted: number;
  readonly warnings: readonly Problem[];
}

export const command: Command = {
  name: "check",
  summary: "check a configuration, and load all BPF programs without attaching them",
  options: [
    ...ANY_CONFIG_OPTIONS,
    { name: "json", help: "print JSON" },
    { name: "verbose", short: "v", help: "print the verifier's output even when all is well" },
  ],
  argument: "config",
  run(given, { root }) {
    const { path, text, kind } = anyConfig(given);
    const { config, ...findings } = kind === "client"
      ? finding<ClientConfig>(() => parseClientConfig(path, text))
      : finding<Config>(() => parseConfig(path, text));
    // A client has no BPF programs.
    const bpf = kind === "client" ? [] : loadAll(
      new Resources(root),
      config !== undefined && "ebpf" in config ? config : undefined,
      given.has("verbose"),
    );
    if (given.has("json")) {
      console.log(JSON.stringify({ file: path, kind, ...findings, bpf }, null, 2));
    } else print(path, findings, bpf);
    if (findings.problems.length > 0) return Exit.config;
    return bpf.every(({ ok }) => ok) ? Exit.ok : Exit.lacking;
  },
};

function finding<C>(load: () => LoadedFile<C>): Findings & { readonly config?: C } {
  try {
    const { config, warnings } = load();
    return { problems: [], omitted: 0, warnings, config };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems, omitted: error.omitted, warnings: [] };
  }
}

/** With a broken configuration the embedded programs are still worth a try. */
function loadAll(resources: Resources, config: Config | undefined, verbose: boolean): LoadReport[] {
  const libs = openLibraries((name) => resources.library(name));
  const folder = config?.ebpf.programPath;
  const events = eventsPart(libs);
  const stats = { constants: { stats_enabled: config?.ebpf.enableStats === false ? 0 : 1 } };
  const reports: LoadReport[] = [];
  let main: ObjectPlane | undefined;
  const attempt = <T extends Loaded>(code: BpfCode, load: () => T): T | undefined => {
    const report = { object: code.name, origin: code.origin };
    try {
      const object = load();
      const log = [...object.verifierLogs().values()].join("\n");
      reports.push({ ...report, ok: true, ...(verbose ? { log } : {}) });
      return object;
    } catch (error) {
      const log = error instanceof BpfError ? error.log : "";
      const message = messageOf(error);
      reports.push({ ...report, ok: false, error: message, log });
      return undefined;
    }
  };
  try {
    const code = resources.bpf(MAIN, folder);
    const parts = [events, stats];
    const options = { libs, code, layout: layouts[MAIN], parts, log: SILENT, verbose };
    main = attempt(code, () => ObjectPlane.open(options));
    for (const name of main === undefined ? [] : BESIDE) {
      // Only this one of them sends events.
      const part = name === "xdp_sessions" ? events : {};
      const code = resources.bpf(name, folder);
      attempt(code, () => main!.beside(code, part, verbose))?.close();
    }
  } finally {
    main?.close();
  }
  return reports;
}

function print(path: string, findings: Findings, reports: readonly LoadReport[]): void {
  const { problems, omitted, warnings } = findings;
  for (const problem of problems) console.log(formatProblem(problem));
  if (omitted > 0) console.log(`and ${omitted} more`);
  for (const warning of warnings) console.log(`warning: ${formatProblem(warning)}`);
  if (problems.length === 0) {
    const count = warnings.length === 1 ? "1 warning" : `${warnings.length} warnings`;
    console.log(`${path}: good${warnings.length === 0 ? "" : `, with ${count}`}`);
  }
  for (const { object, origin, ok, error, log } of reports) {
    console.log(`${object} (${origin}): ${ok ? "loads" : error}`);
    if (log) console.log(log.trimEnd());
  }
}

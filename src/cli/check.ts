/** `phantom check` */

import { BpfError } from "../../ffi/bpf/bpf_error.ts";
import { layouts } from "../../ffi/bpf/layout.gen.ts";
import { openLibraries } from "../../ffi/libraries.ts";
import type { BpfObject } from "../../ffi/bpf/object.ts";
import { messageOf } from "../base/errors.ts";
import { Log } from "../base/log.ts";
import { type Config, ConfigError, formatProblem, type Problem } from "../config/mod.ts";
import { type BpfCode, type ObjectName, Resources } from "../kernel/resources.ts";
import { eventsPart } from "../kernel/events.ts";
import { ObjectPlane } from "../kernel/object_plane.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
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

export const command: Command = {
  name: "check",
  summary: "check a configuration, and load all BPF programs without attaching them",
  options: [
    CONFIG_OPTION,
    { name: "json", help: "print JSON" },
    { name: "verbose", short: "v", help: "print the verifier's output even when all is well" },
  ],
  argument: "config",
  run(given, { root }) {
    const path = configPath(given);
    const isJson = given.has("json");
    const problems: Problem[] = [];
    let config: Config | undefined;
    try {
      config = readConfig(path).config;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
    const reports = loadAll(new Resources(root), config, given.has("verbose"));
    const isLoaded = reports.every(({ ok }) => ok);
    if (isJson) console.log(JSON.stringify({ file: path, problems, bpf: reports }, null, 2));
    else print(path, problems, reports);
    if (problems.length > 0) return Exit.config;
    return isLoaded ? Exit.ok : Exit.lacking;
  },
};

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

function print(path: string, problems: readonly Problem[], reports: readonly LoadReport[]): void {
  for (const problem of problems) console.log(formatProblem(problem));
  if (problems.length === 0) console.log(`${path}: good`);
  for (const { object, origin, ok, error, log } of reports) {
    console.log(`${object} (${origin}): ${ok ? "loads" : error}`);
    if (log) console.log(log.trimEnd());
  }
}

/** `phantom check` */

import { BpfError } from "../../ffi/bpf/bpf_error.ts";
import { type Libraries, openLibraries } from "../../ffi/libraries.ts";
import type { BpfObject } from "../../ffi/bpf/object.ts";
import { messageOf } from "../base/errors.ts";
import { type Config, ConfigError, formatProblem, type Problem } from "../config/mod.ts";
import { type BpfCode, type ObjectName, Resources } from "../kernel/resources.ts";
import { eventConstants, openBeside, openProgram } from "../kernel/xdp_plane.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";

const MAIN: ObjectName = "xdp_phantom";
/** Loaded with its maps, so only where it loads. */
const BESIDE: readonly ObjectName[] = ["xdp_sessions", "tc_egress", "steer"];

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
  const byPerf = eventConstants(libs);
  const constants = { stats_enabled: config?.ebpf.enableStats === false ? 0 : 1, ...byPerf };
  const reports: LoadReport[] = [];
  let main: BpfObject | undefined;
  const attempt = (code: BpfCode, load: (verbose: boolean) => BpfObject): BpfObject | undefined => {
    const report = { object: code.name, origin: code.origin };
    try {
      const object = load(verbose);
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
    main = attempt(code, (verbose) => loadMain(libs, code, constants, verbose));
    for (const name of main === undefined ? [] : BESIDE) {
      // Only this one of them sends events.
      const settings = name === "xdp_sessions" ? byPerf : {};
      const code = resources.bpf(name, name === "tc_egress" ? "" : folder);
      attempt(code, (verbose) => openBeside(libs, main!, code, settings, verbose))?.close();
    }
  } finally {
    main?.close();
  }
  return reports;
}

function loadMain(
  libs: Libraries,
  code: BpfCode,
  constants: Readonly<Record<string, number | bigint>>,
  verbose: boolean,
): BpfObject {
  const object = openProgram(libs, code, { constants });
  try {
    return object.load({ verbose });
  } catch (error) {
    object.close();
    throw error;
  }
}

function print(path: string, problems: readonly Problem[], reports: readonly LoadReport[]): void {
  for (const problem of problems) console.log(formatProblem(problem));
  if (problems.length === 0) console.log(`${path}: good`);
  for (const { object, origin, ok, error, log } of reports) {
    console.log(`${object} (${origin}): ${ok ? "loads" : error}`);
    if (log) console.log(log.trimEnd());
  }
}

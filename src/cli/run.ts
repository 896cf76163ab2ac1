/** `phantom run` */

import denoJson from "../../deno.json" with { type: "json" };
import { wipeKeys } from "../app/reload.ts";
import { Server } from "../app/server.ts";
import { ServiceManager } from "../app/service_manager.ts";
import { type Config, formatAddress, formatProblem, KEY_VARIABLE } from "../config/mod.ts";
import { chooseInterface } from "../kernel/interfaces.ts";
import { Resources } from "../kernel/resources.ts";
import type { Log } from "../base/log.ts";
import type { Command } from "./args.ts";
import {
  absolutePath,
  CONFIG_OPTION,
  configPath,
  initConfig,
  loadServer,
  newConfigPath,
  NO_FILE,
} from "./config_file.ts";
import { Exit } from "./exit.ts";
import { Hangups, openLog, RESTART_SIGNAL, stopSignal } from "./service.ts";
import { hostDoubt, reachableHost, shareLink } from "./share_link.ts";

export const command: Command = {
  name: "run",
  summary: "start the server (also: phantom server)",
  options: [
    CONFIG_OPTION,
    { name: "init", help: "make a configuration with a fresh key when there is none" },
    { name: "show-link", help: "print the client's link when ready (it holds the key)" },
  ],
  async run(given, { root, early }) {
    const path = given.has("init") ? newConfigPath(given) : configPath(given);
    const isNew = given.has("init") && initConfig(path);
    const { config, warnings } = loadServer(path);
    const log = openLog(config);
    if (isNew) log.info("config_written", "a configuration with a fresh key is written", { path });
    if (path === NO_FILE) tellOfDefaults(log);
    for (const warning of warnings) log.warn("config_warning", formatProblem(warning));
    const stopped = stopSignal();
    const hangups = new Hangups();
    const manager = new ServiceManager(Deno.env.get("NOTIFY_SOCKET"), log);
    const source = {
      path: absolutePath(path),
      read: () => readAgain(path, log),
      apply({ logLevel }: Config) {
        log.threshold.level = logLevel;
        // Whoever prints a link reads the file for it.
        return ["logLevel", "publicHost"];
      },
      watch: (isUnderWay: boolean): void =>
        isUnderWay ? manager.reloading() : manager.ready(() => server.summary),
    };
    const resources = new Resources(root);
    const server: Server = await Server.start({
      config,
      resources,
      ...early && { early },
      log,
      source,
    });
    // Also when it fails: whoever watches it starts it again.
    let isRestart = true;
    try {
      server.giveUpRights(log);
      logReady(log, config, server, resources);
      if (given.has("init") || given.has("show-link")) printLink(config, path, log);
      manager.ready(() => server.summary);
      hangups.use(() => void server.reload());
      const signal = await Promise.race([stopped, server.failure]);
      isRestart = signal === RESTART_SIGNAL;
      log.info("stopping", "stopping", { signal });
    } finally {
      manager.stopping();
      await server.stop({ isRestart });
      wipeKeys(config);
    }
    return Exit.ok;
  },
};

function logReady(log: Log, { listen }: Config, server: Server, resources: Resources): void {
  // From a checkout git would have to tell: a developer knows.
  const commit = Deno.build.standalone ? resources.commit()?.commit.slice(0, 12) : undefined;
  log.info("ready", "ready", {
    version: denoJson.version,
    ...commit === undefined ? {} : { commit },
    listen: formatAddress(listen),
    xdp: server.level,
    workers: server.workers,
    ms: Math.round(performance.now()),
  });
}

/** Warnings are lines of the log, as those of the start were. */
function readAgain(path: string, log: Log): Config {
  const { config, warnings } = loadServer(path);
  for (const warning of warnings) log.warn("config_warning", formatProblem(warning));
  return config;
}

function tellOfDefaults(log: Log): void {
  log.info("config_defaults", "there is no configuration: all settings are their defaults", {
    key: KEY_VARIABLE,
    remedy: "phantom init makes a file",
  });
}

/** To standard output and not to the log: a log is kept and read by others, this holds the key. */
function printLink(config: Config, path: string, log: Log): void {
  const host = reachableHost(config, chooseInterface(config.ebpf.interface));
  const doubt = hostDoubt(config, host, path);
  if (doubt !== undefined) log.warn("link_doubtful", doubt.rule, { remedy: doubt.remedy });
  const user = config.users.find(({ enabled }) => enabled);
  const whose = user === undefined ? "the client" : `the client of ${user.name}`;
  console.log(`\nFor ${whose} (keep it secret):\n\n  ${shareLink(config, host, { user })}\n`);
}

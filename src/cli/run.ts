/** `phantom run` */

import { Reload, wipeKeys } from "../app/reload.ts";
import { Server } from "../app/server.ts";
import { type Config, formatAddress } from "../config/mod.ts";
import { chooseInterface } from "../kernel/interfaces.ts";
import { Resources } from "../kernel/resources.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, initConfig, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { openLog, RESTART_SIGNAL, stopSignal } from "./service.ts";
import { reachableHost, shareLink } from "./share_link.ts";

export const command: Command = {
  name: "run",
  summary: "start the server (also: phantom server)",
  options: [
    CONFIG_OPTION,
    { name: "init", help: "make a configuration with a fresh key when there is none" },
    { name: "show-link", help: "print the client's link when ready (it holds the key)" },
  ],
  async run(given, { root }) {
    const path = configPath(given);
    const isNew = given.has("init") && initConfig(path);
    const { config } = readConfig(path);
    const log = openLog(config);
    if (isNew) log.info("config_written", "a configuration with a fresh key is written", { path });
    const stopped = stopSignal();
    const server = await Server.start({ config, resources: new Resources(root), log });
    // Also when it fails: whoever watches it starts it again.
    let isRestart = true;
    try {
      server.giveUpRights(log);
      log.info("ready", "ready", {
        listen: formatAddress(config.listen),
        xdp: server.level,
        workers: server.workers,
        ms: Math.round(performance.now()),
      });
      if (given.has("init") || given.has("show-link")) printLink(config);
      const reload = new Reload({
        path,
        read: () => readConfig(path).config,
        running: config,
        apply: (config) => server.apply(config),
        log,
      });
      Deno.addSignalListener("SIGHUP", () => void reload.again());
      const signal = await Promise.race([stopped, server.failure]);
      isRestart = signal === RESTART_SIGNAL;
      log.info("stopping", "stopping", { signal });
    } finally {
      await server.stop({ isRestart });
      wipeKeys(config);
    }
    return Exit.ok;
  },
};

/** To standard output and not to the log: a log is kept and read by others, this holds the key. */
function printLink(config: Config): void {
  const host = reachableHost(config, chooseInterface(config.ebpf.interface));
  const user = config.users.find(({ enabled }) => enabled);
  const whose = user === undefined ? "the client" : `the client of ${user.name}`;
  console.log(`\nFor ${whose} (keep it secret):\n\n  ${shareLink(config, host, { user })}\n`);
}

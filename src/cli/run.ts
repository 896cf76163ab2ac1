/** `phantom run` */

import { Server } from "../app/server.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Config, formatAddress } from "../config/mod.ts";
import { chooseInterface } from "../kernel/interfaces.ts";
import { Resources } from "../kernel/resources.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, initConfig, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { openLog, stopSignal } from "./service.ts";
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
    try {
      log.info("ready", "ready", {
        listen: formatAddress(config.listen),
        xdp: server.level,
        workers: server.workers,
        ms: Math.round(performance.now()),
      });
      if (given.has("init") || given.has("show-link")) printLink(config);
      let reloading = Promise.resolve();
      Deno.addSignalListener("SIGHUP", () => {
        reloading = reloading.then(() => reload(path, config, server, log));
      });
      const signal = await Promise.race([stopped, server.failure]);
      log.info("stopping", "stopping", { signal });
    } finally {
      await server.stop();
      wipeKeys(config);
    }
    return Exit.ok;
  },
};

/** Settings that a server that runs takes over. */
const LIVE = new Set(["rules", "users", "outbounds", "defaultOutbound", "ipPreference", "bench"]);

/** Takes over what can change in a server that runs; a wrong file changes nothing. */
async function reload(path: string, running: Config, server: Server, log: Log): Promise<void> {
  try {
    const { config } = readConfig(path);
    const { rules, users } = config;
    server.setUsers(users);
    await server.setRouting(config);
    const later = changedSettings(running, config).filter((name) => !LIVE.has(name)).map(written);
    log.info("config_reloaded", "the configuration is read again", {
      path,
      rules: rules.length,
      users: users.length,
    });
    if (later.length > 0) {
      log.warn("config_needs_restart", "some settings take effect at the next start", {
        settings: later.join(","),
      });
    }
    wipeKeys(config);
  } catch (error) {
    const cause = messageOf(error);
    log.error("config_rejected", "the configuration stays as it was", { path, cause });
  }
}

function changedSettings(before: Config, after: Config): string[] {
  const names = Object.keys(before) as (keyof Config)[];
  const changed = names.filter((name) =>
    JSON.stringify(before[name]) !== JSON.stringify(after[name])
  );
  // Keys don't show in JSON.
  const isNewKey = !before.psk.equals(after.psk);
  return isNewKey ? [...changed, "psk"] : changed;
}

/** As the file calls it: `idleMs` → `idle`. */
function written(name: string): string {
  return name.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function wipeKeys({ psk, users }: Config): void {
  psk.wipe();
  for (const { key } of users) key.wipe();
}

/** To standard output and not to the log: a log is kept and read by others, this holds the key. */
function printLink(config: Config): void {
  const host = reachableHost(config, chooseInterface(config.ebpf.interface));
  const user = config.users.find(({ enabled }) => enabled);
  const whose = user === undefined ? "the client" : `the client of ${user.name}`;
  console.log(`\nFor ${whose} (keep it secret):\n\n  ${shareLink(config, host, { user })}\n`);
}

/** `phantom run` */

import { Server } from "../app.ts";
import { Log } from "../base/log.ts";
import { type Config, formatAddress } from "../config/mod.ts";
import { chooseInterface } from "../dataplane/interfaces.ts";
import { Resources } from "../dataplane/resources.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, initConfig, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { reachableHost, shareLink } from "./share_link.ts";

export const command: Command = {
  name: "run",
  summary: "start the server",
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
    if (isNew) log.info("wrote a configuration with a fresh key", { path });
    const stopped = stopSignal();
    const server = await Server.start({ config, resources: new Resources(root), log });
    try {
      log.info("ready", {
        listen: formatAddress(config.listen),
        level: server.level,
        workers: server.workers,
        ms: Math.round(performance.now()),
      });
      if (given.has("init") || given.has("show-link")) printLink(config);
      const signal = await Promise.race([stopped, server.failure]);
      log.info("stopping", { signal });
    } finally {
      await server.stop();
      config.psk.wipe();
    }
    return Exit.ok;
  },
};

function openLog(config: Config): Log {
  const encoder = new TextEncoder();
  return new Log({
    level: config.logLevel,
    format: config.logFormat,
    write: (line) => writeAll(encoder.encode(line)),
    now: Date.now,
    color: Deno.stderr.isTerminal() && !Deno.noColor,
  });
}

function writeAll(bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Whoever read the log is gone. That is no reason to stop serving.
  }
}

/** To standard output and not to the log: a log is kept and read by others, this holds the key. */
function printLink(config: Config): void {
  const host = reachableHost(config, chooseInterface(config.ebpf.interface)?.name);
  console.log(`\nFor the client (keep it secret):\n\n  ${shareLink(config, host)}\n`);
}

function stopSignal(): Promise<Deno.Signal> {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => resolve(signal));
  }
  return promise;
}

/** `phantom client` */

import { formatEndpoint } from "../../ffi/endpoint.ts";
import { Client, type ClientOptions, inboundsOf } from "../app/client.ts";
import { ServiceManager } from "../app/service_manager.ts";
import { type ClientConfig, formatAddress } from "../config/mod.ts";
import { Resources } from "../kernel/resources.ts";
import type { SessionReport } from "../tunnel/protocol.ts";
import type { Command } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig, clientConfigPath } from "./client_config.ts";
import { Exit } from "./exit.ts";
import { Hangups, openLog, stopSignal } from "./service.ts";

export const command: Command = {
  name: "client",
  summary: "start a client: local proxies and port forwards through the tunnel",
  options: [
    ...CLIENT_OPTIONS,
    {
      name: "mixed",
      value: "ADDR",
      help: "SOCKS5 and HTTP proxy here, such as 127.0.0.1:1080; several with commas",
    },
    { name: "verbose", short: "v", help: "log more" },
  ],
  async run(given, { root, early }) {
    const config = clientConfig(given);
    const levelOf = ({ logLevel }: ClientConfig) => given.has("verbose") ? "debug" : logLevel;
    const log = openLog({ logLevel: levelOf(config), logFormat: config.logFormat });
    const source = {
      path: clientConfigPath(given),
      read: () => clientConfig(given),
      apply(config: ClientConfig): string[] {
        log.threshold.level = levelOf(config);
        return ["logLevel"];
      },
    };
    const stopped = stopSignal();
    const resources = new Resources(root);
    try {
      await serve({ config, resources, ...early && { early }, log, source }, stopped);
    } finally {
      config.psk.wipe();
      config.key?.wipe();
    }
    return Exit.ok;
  },
};

/** From the start to the signal that ends it. */
async function serve(options: ClientOptions, stopped: Promise<Deno.Signal>): Promise<void> {
  const { config, log } = options;
  const hangups = new Hangups();
  const manager = new ServiceManager(Deno.env.get("NOTIFY_SOCKET"), log);
  let state = "looking for the server";
  const ready = () => manager.ready(() => state);
  const onReport = (report: SessionReport) => state = stateOf(report);
  const watch = (isUnderWay: boolean): void => isUnderWay ? manager.reloading() : ready();
  const source = options.source && { ...options.source, watch };
  const client = await Client.start({ ...options, ...source && { source }, onReport });
  try {
    client.giveUpRights(log);
    log.info("ready", "ready", {
      server: formatAddress(config.server),
      inbounds: describe(config),
      ms: Math.round(performance.now()),
    });
    // Whoever starts a client wants to know whether it gets through.
    client.ask();
    ready();
    hangups.use(() => void client.reload());
    const signal = await Promise.race([stopped, client.failure]);
    log.info("stopping", "stopping", { signal });
  } finally {
    manager.stopping();
    await client.stop();
  }
}

/** For `systemctl status`. */
function stateOf({ state, rttMs }: SessionReport): string {
  if (state !== "open") return state === "lost" ? "no connection" : "connecting";
  return rttMs > 0 ? `connected, round trip ${Math.round(rttMs)} ms` : "connected";
}

function describe(config: ClientConfig): string {
  return inboundsOf(config).map(({ kind, listen, target }) =>
    `${kind}:${formatEndpoint(listen)}${target === undefined ? "" : `>${target}`}`
  ).join(",");
}

/** `phantom client` */

import { formatEndpoint } from "../../ffi/endpoint.ts";
import { Client, inboundsOf } from "../app/client.ts";
import { type ClientConfig, formatAddress } from "../config/mod.ts";
import { Resources } from "../kernel/resources.ts";
import type { Command } from "./args.ts";
import { CLIENT_OPTIONS, clientConfig } from "./client_config.ts";
import { Exit } from "./exit.ts";
import { openLog, stopSignal } from "./service.ts";

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
  async run(given, { root }) {
    const config = clientConfig(given);
    const log = openLog(given.has("verbose") ? { ...config, logLevel: "debug" } : config);
    const stopped = stopSignal();
    const abort = new AbortController();
    stopped.then(() => abort.abort());
    const resources = new Resources(root);
    try {
      const client = await Client.start({ config, resources, log, signal: abort.signal });
      try {
        client.giveUpRights(log);
        log.info("ready", "ready", {
          server: formatAddress(config.server),
          inbounds: describe(config),
          ms: Math.round(performance.now()),
        });
        // Whoever starts a client wants to know whether it gets through.
        client.ask();
        const signal = await Promise.race([stopped, client.failure]);
        log.info("stopping", "stopping", { signal });
      } finally {
        await client.stop();
      }
    } catch (error) {
      // Ended while it still looked for its server: as it was told to.
      if (!abort.signal.aborted || error !== abort.signal.reason) throw error;
    } finally {
      config.psk.wipe();
      config.key?.wipe();
    }
    return Exit.ok;
  },
};

function describe(config: ClientConfig): string {
  return inboundsOf(config).map(({ kind, listen, target }) =>
    `${kind}:${formatEndpoint(listen)}${target === undefined ? "" : `>${target}`}`
  ).join(",");
}

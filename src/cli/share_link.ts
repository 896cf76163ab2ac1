/** The link that tells a client everything it needs; see config/link.ts. */

import { type Config, formatLink, type UserConfig } from "../config/mod.ts";

export interface ShareOptions {
  /** Whose link it is, where there are users. */
  readonly user?: UserConfig | undefined;
  /** The client's line, bits a second; 0: not stated. */
  readonly upBps?: number;
  readonly downBps?: number;
}

export function shareLink(config: Config, host: string, options: ShareOptions = {}): string {
  const { user, upBps = 0, downBps = 0 } = options;
  return formatLink({
    host,
    port: config.listen.port,
    psk: config.psk,
    user: user?.name ?? "",
    userKey: user?.key,
    upBps,
    downBps,
    name: config.instance === "default" ? "" : config.instance,
  });
}

/** The address clients most likely reach: the listen address, else the default route's own. */
export function reachableHost(config: Config, interfaceName: string | undefined): string {
  const { host } = config.listen;
  if (host !== "" && host !== "0.0.0.0" && host !== "::") return host;
  const own = Deno.networkInterfaces().filter(({ name }) => name === interfaceName);
  const global = own.filter(({ address, scopeid }) =>
    !address.startsWith("fe80:") && (scopeid === null || scopeid === 0)
  );
  const best = global.find(({ family }) => family === "IPv4") ?? global[0];
  return best?.address ?? "127.0.0.1";
}

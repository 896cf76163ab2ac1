/**
 * The link that tells a client everything it needs:
 *
 *     phantom://<key, base64url>@<host>:<port>?v=4#<name>
 */

import type { Config } from "../config/mod.ts";

export function shareLink(config: Config, host: string): string {
  const key = new Uint8Array(config.psk.expose()).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  const name = config.instance === "default" ? "" : `#${encodeURIComponent(config.instance)}`;
  const bracketed = host.includes(":") ? `[${host}]` : host;
  return `phantom://${key}@${bracketed}:${config.listen.port}?v=4${name}`;
}

/** The address clients most likely reach: the listen address, else the default route's own. */
export function reachableHost(config: Config, interfaceName: string | undefined): string {
  if (config.listen.host !== "") return config.listen.host;
  const own = Deno.networkInterfaces().filter(({ name }) => name === interfaceName);
  const global = own.filter(({ address, scopeid }) =>
    !address.startsWith("fe80:") && (scopeid === null || scopeid === 0)
  );
  const best = global.find(({ family }) => family === "IPv4") ?? global[0];
  return best?.address ?? "127.0.0.1";
}

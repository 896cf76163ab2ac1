/** The link that tells a client everything it needs; see config/link.ts. */

import { parseIp } from "../base/ip.ts";
import { type Config, formatLink, type UserConfig } from "../config/mod.ts";
import { AddressClass, classify } from "../proxy/address_class.ts";

export interface ShareOptions {
  /** Whose link it is, where there are users. */
  readonly user?: UserConfig | undefined;
  /** The client's line, bits a second; 0: not stated. */
  readonly upBps?: number;
  readonly downBps?: number;
  /** What people call it. @default the instance, unless that is the default one */
  readonly name?: string | undefined;
}

export function shareLink(config: Config, host: string, options: ShareOptions = {}): string {
  const { user, upBps = 0, downBps = 0 } = options;
  const { name = config.instance === "default" ? "" : config.instance } = options;
  return formatLink({
    host,
    port: config.listen.port,
    psk: config.psk,
    user: user?.name ?? "",
    userKey: user?.key,
    upBps,
    downBps,
    name,
  });
}

const NOWHERE = "127.0.0.1";

/** Where clients most likely reach the server: as configured, else the default route's own. */
export function reachableHost(config: Config, interfaceName: string | undefined): string {
  if (config.publicHost !== "") return config.publicHost;
  const { host } = config.listen;
  if (host !== "" && host !== "0.0.0.0" && host !== "::") return host;
  const own = Deno.networkInterfaces().filter(({ name }) => name === interfaceName);
  const global = own.filter(({ address, scopeid }) =>
    !address.startsWith("fe80:") && (scopeid === null || scopeid === 0)
  );
  const best = global.find(({ family }) => family === "IPv4") ?? global[0];
  return best?.address ?? NOWHERE;
}

/** Why clients may not reach the host that was found; nothing of one that somebody chose. */
export function hostDoubt(
  { publicHost, listen }: Config,
  host: string,
  path: string,
): { readonly rule: string; readonly remedy: string } | undefined {
  const ip = parseIp(host);
  if (publicHost !== "" || ip === undefined) return undefined;
  const kind = classify(ip);
  if (kind === AddressClass.PUBLIC) return undefined;
  const remedy = `Name the public one: \`phantom link -c ${path} --host HOST\`, or public_host ` +
    "in that file.";
  if (kind !== AddressClass.LOOPBACK) {
    return { rule: `the link holds ${host}, which only clients in the same net reach`, remedy };
  }
  const rule = listen.host === host
    ? `the link holds ${host}, where listen is: no other machine reaches that`
    : `no address of this machine was found, and the link holds ${host}: that leads nowhere`;
  return { rule, remedy };
}

/** Where traffic goes as it is configured → as the workers take it. */

import type { Log } from "../base/log.ts";
import type { Config, OutboundConfig, RuleConfig } from "../config/mod.ts";
import type { NameLookup } from "../loop/name_lookup.ts";
import type { OutboundText, Routing, RuleText } from "./routing.ts";

/** Without the conditions that were not written: an empty list would match nothing. */
export function ruleText({ network, outbound, ...lists }: RuleConfig): RuleText {
  const written = Object.entries(lists).filter(([, list]) => list.length > 0);
  return {
    ...Object.fromEntries(written),
    ...(network === "any" ? {} : { network }),
    outbound,
  };
}

export type RoutingSettings = Pick<
  Config,
  "rules" | "outbounds" | "defaultOutbound" | "ipPreference" | "bench"
>;

/** With the addresses of proxies that are named by name as they are now. */
export async function routingText(
  { rules, outbounds, defaultOutbound, ipPreference, bench }: RoutingSettings,
  lookup: Pick<NameLookup, "find">,
  log: Log,
): Promise<Routing> {
  return {
    rules: rules.map(ruleText),
    outbounds: await Promise.all(outbounds.map((one) => outboundText(one, lookup, log))),
    defaultOutbound,
    ipPreference,
    bench,
  };
}

async function outboundText(
  outbound: OutboundConfig,
  lookup: Pick<NameLookup, "find">,
  log: Log,
): Promise<OutboundText> {
  const { name, type, address, user, password, source, passNames } = outbound;
  const { host = "", port = 0 } = address ?? {};
  const isNamed = host !== "" && !/^[\d.]+$|:/.test(host);
  const hosts = isNamed ? (await lookup.find(host)).addresses : host === "" ? [] : [host];
  if (isNamed && hosts.length === 0) {
    log.warn("outbound_not_resolved", "the name of an outbound has no address", { name, host });
  }
  return {
    name,
    kind: type,
    peers: hosts.map((one) => ({ host: one, port })),
    ...(user === "" ? {} : { credential: { user, password } }),
    device: outbound.interface,
    source,
    passesNames: passNames,
  };
}

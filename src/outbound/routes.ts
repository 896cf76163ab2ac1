/** Where streams and datagrams go: the rules, and the ways that they name. */

import { endpoint } from "../../ffi/endpoint.ts";
import { ipBytes } from "../base/ip.ts";
import type { OwnAddresses } from "../proxy/own_addresses.ts";
import { compileRules, type Rules } from "../proxy/rules.ts";
import type { DialOptions, Upstream } from "./dial.ts";
import type { IpPreference, OutboundText, Routing } from "./routing.ts";

/** From where this machine reaches targets. */
export type Origin = Pick<DialOptions, "sources" | "device">;

export interface Routes {
  readonly rules: Rules;
  /** Upstream proxies, by the names of the rules' outbounds. */
  readonly upstreams?: ReadonlyMap<string, Upstream>;
  /** Ways of this machine's own beside `direct`. */
  readonly origins?: ReadonlyMap<string, Origin>;
  readonly dial?: DialOptions;
  /** Whether the server itself is a target, for measuring. @default {true} */
  readonly bench?: boolean;
}

/** Throws where the rules, or what they name, can't be used. */
export function routesOf(routing: Routing, own?: OwnAddresses): Routes {
  const { rules, outbounds = [], defaultOutbound = "direct", ipPreference = "auto" } = routing;
  const result = compileRules({
    rules,
    outbounds: outbounds.map(({ name, passesNames = false }) => ({
      name,
      resolvesNames: passesNames,
    })),
    fallback: defaultOutbound,
    ...(own === undefined ? {} : { own }),
  });
  if ("problems" in result) {
    const [first] = result.problems;
    const where = first === undefined || first.rule < 0 ? "rules" : `rules[${first.rule}]`;
    const what = first === undefined ? "are wrong" : `.${first.place} ${first.text}`;
    throw new Error(`Cannot use the rules as ${where}${what}`);
  }
  const upstreams = outbounds.filter(({ kind }) => kind !== "direct");
  const directs = outbounds.filter(({ kind }) => kind === "direct");
  return {
    rules: result.rules,
    upstreams: new Map(upstreams.map((one) => [one.name, upstreamOf(one)])),
    origins: new Map(directs.map((one) => [one.name, originOf(one)])),
    dial: familiesOf(ipPreference),
    bench: routing.bench ?? true,
  };
}

function upstreamOf(outbound: OutboundText): Upstream {
  const { kind, peers = [], credential } = outbound;
  return {
    kind: kind === "http" ? "http" : "socks5",
    peers: peers.map(({ host, port }) => endpoint(ipBytes(host), port)),
    ...(credential === undefined ? {} : { credential }),
    origin: originOf(outbound),
  };
}

function originOf({ device = "", source = "" }: OutboundText): Origin {
  return {
    ...(device === "" ? {} : { device }),
    ...(source === "" ? {} : { sources: [endpoint(ipBytes(source), 0)] }),
  };
}

function familiesOf(preference: IpPreference): DialOptions {
  if (preference === "auto") return {};
  return {
    preferred: preference.startsWith("ipv4") ? 4 : 6,
    only: preference.endsWith("-only"),
  };
}

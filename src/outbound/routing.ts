/** Where traffic goes, as data: what main hands to the workers, and the workers make Routes of. */

import type { ListText } from "../proxy/rule_form.ts";

/** Where streams and datagrams go. */
export interface Routing {
  readonly rules: readonly RuleText[];
  /** Beside `direct` and `reject`. */
  readonly outbounds?: readonly OutboundText[];
  /** What no rule matches; `direct` by default. */
  readonly defaultOutbound?: string;
  readonly ipPreference?: IpPreference;
  /** Whether the server itself is a target, for measuring; it is by default. */
  readonly bench?: boolean;
}

/** Which addresses of a name are tried first, or at all. */
export type IpPreference = "auto" | "ipv4" | "ipv6" | "ipv4-only" | "ipv6-only";

/** A way to targets: an upstream proxy, or an interface or address of this machine. */
export interface OutboundText {
  readonly name: string;
  readonly kind: "direct" | "socks5" | "http";
  /** The addresses of the proxy. */
  readonly peers?: readonly { readonly host: string; readonly port: number }[];
  readonly credential?: { readonly user: string; readonly password: string };
  /** Name of the interface to use. */
  readonly device?: string;
  /** The address to come from. */
  readonly source?: string;
  /** Names go to the proxy as they are. */
  readonly passesNames?: boolean;
}

/** An outbound rule as configured; compiled by proxy/rules.ts. */
export interface RuleText {
  readonly domain?: readonly string[];
  readonly domainSuffix?: readonly string[];
  readonly domainKeyword?: readonly string[];
  readonly cidr?: readonly string[];
  readonly lists?: readonly ListText[];
  readonly port?: readonly string[];
  readonly network?: "tcp" | "udp";
  readonly user?: readonly string[];
  readonly outbound: string;
}

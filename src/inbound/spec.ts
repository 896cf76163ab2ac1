/** What listens for applications, as data. */

import type { Endpoint } from "../../ffi/endpoint.ts";

/** One listener as JSON carries it. */
export interface InboundText extends Omit<InboundSpec, "listen"> {
  readonly listen: { readonly host: string; readonly port: number };
}

/** One listener. */
export interface InboundSpec {
  /** mixed: SOCKS5 and HTTP by the first byte; tcp, udp: a port forward to `target`. */
  readonly kind: "mixed" | "socks5" | "http" | "tcp" | "udp";
  readonly listen: Endpoint;
  /** host:port. */
  readonly target?: string;
  readonly users?: readonly { readonly name: string; readonly password: string }[];
}

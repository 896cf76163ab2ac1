/** From the configuration to what is to be relayed. */

import { ipBytes } from "../base/ip.ts";
import type { Config } from "../config/mod.ts";
import type { RelayPlan, RelayServiceSpec } from "./kernel_relay.ts";

type RelaySettings = Pick<Config, "relays" | "relay">;

/** Undefined: nothing. */
export function relayPlan({ relays, relay }: RelaySettings): RelayPlan | undefined {
  if (relays.length === 0) return undefined;
  const { first, last } = relay.ports;
  return {
    services: relays.map(serviceOf),
    ports: { first, count: last - first + 1 },
    idleMs: relay.idleMs,
    flowsMax: relay.flowsMax,
  };
}

function serviceOf({ listen, to, only, affinity }: Config["relays"][number]): RelayServiceSpec {
  return {
    ...(listen.host === "" ? {} : { ip: bytesOf(listen.host) }),
    first: listen.first,
    last: listen.last,
    backends: to.map(({ address, weight }) => ({
      ip: bytesOf(address.host),
      port: address.port,
      weight,
    })),
    phantomOnly: only === "phantom",
    byPort: affinity === "port",
  };
}

function bytesOf(host: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(ipBytes(host));
}

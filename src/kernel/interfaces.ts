/** Which network interfaces to attach to. */

const ROUTE_UP = 1;

/** The first configured interface that exists, else that of the default route; or nothing. */
export function chooseInterface(configured: readonly string[]): string | undefined {
  return wantedInterfaces(configured, interfaceNames(), [])[0];
}

/**
 * The configured interfaces as far as they are there. Where none is, or none is named: that of the
 * default route, and those held already, for a route that moves takes no traffic with it.
 */
export function wantedInterfaces(
  configured: readonly string[],
  present: readonly string[],
  held: readonly string[],
): string[] {
  const found = configured.filter((name) => present.includes(name));
  if (found.length > 0) return found;
  const name = defaultRouteInterface();
  const wanted = name === undefined ? held : [...held, name];
  return [...new Set(wanted)].filter((one) => present.includes(one));
}

/** All interfaces of this network namespace, in the kernel's order. */
export function interfaceNames(): string[] {
  const lines = readText("/proc/thread-self/net/dev").split("\n").slice(2);
  return lines.map((line) => line.split(":")[0]!.trim()).filter((name) => name !== "");
}

/** By the IPv4 default route of the lowest metric, else by the IPv6 one. */
export function defaultRouteInterface(): string | undefined {
  return ipv4Default(readText("/proc/thread-self/net/route")) ??
    ipv6Default(readText("/proc/thread-self/net/ipv6_route"));
}

/** In /proc/net/route: name, destination, gateway, flags, references, use, metric, mask, … */
export function ipv4Default(table: string): string | undefined {
  let best: { name: string; metric: number } | undefined;
  for (const line of table.split("\n").slice(1)) {
    const [name, destination, , flags, , , metricText, mask] = line.split(/\s+/);
    if (name === undefined || destination !== "00000000" || mask !== "00000000") continue;
    if ((parseInt(flags ?? "0", 16) & ROUTE_UP) === 0) continue;
    const metric = Number(metricText);
    if (best === undefined || metric < best.metric) best = { name, metric };
  }
  return best?.name;
}

/** In /proc/net/ipv6_route: destination, its length, source, its length, next hop, metric, … */
export function ipv6Default(table: string): string | undefined {
  let best: { name: string; metric: number } | undefined;
  for (const line of table.split("\n")) {
    const fields = line.trim().split(/\s+/);
    const name = fields[9];
    if (name === undefined || name === "lo" || fields[1] !== "00") continue;
    if (!/^0+$/.test(fields[0]!) || (parseInt(fields[8]!, 16) & ROUTE_UP) === 0) continue;
    const metric = parseInt(fields[5]!, 16);
    if (best === undefined || metric < best.metric) best = { name, metric };
  }
  return best?.name;
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    // No /proc, or a kernel without IPv6.
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

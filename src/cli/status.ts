/** `phantom status` */

import { openLibraries } from "../../ffi/libraries.ts";
import type { EventCount } from "../kernel/events.ts";
import { PinFolder } from "../kernel/pins.ts";
import { Resources } from "../kernel/resources.ts";
import { askStatus, type ServerStatus, statusPath } from "../app/status_socket.ts";
import {
  type Counter,
  type MapUse,
  mapUses,
  pinnedCounters,
  type PinnedState,
  planeMapsFolder,
  planeStates,
} from "../tunnel/kernel/plane.ts";
import { type RelayReport, relayReport } from "../relay/relay_state.ts";
import { columns, type Command } from "./args.ts";
import { Exit } from "./exit.ts";
import { placesOf, PLANE_OPTIONS } from "./plane_options.ts";

/** What there is: by the pins, and by the server's own word where it runs. */
interface Report {
  readonly path: string;
  readonly isLoaded: boolean;
  readonly interfaces: readonly PinnedState[];
  readonly counters: readonly Counter[] | undefined;
  readonly maps: readonly MapUse[];
  readonly relay: RelayReport | undefined;
  readonly server: ServerStatus | undefined;
}

export const command: Command = {
  name: "status",
  summary: "show what is attached and its counters",
  options: [...PLANE_OPTIONS, { name: "json", help: "print JSON" }],
  async run(given, { root }) {
    const resources = new Resources(root);
    const libs = openLibraries((name) => resources.library(name));
    const { pinPath, instance, stateDir } = placesOf(given);
    const pins = new PinFolder(libs, pinPath, instance);
    const said = await askStatus(statusPath(stateDir, instance));
    const report: Report = {
      path: pins.path,
      isLoaded: pins.exists,
      interfaces: pins.exists ? planeStates(libs, pins) : [],
      counters: pins.exists ? pinnedCounters(libs, pins) : undefined,
      maps: pins.exists ? mapUses(libs, pins) : [],
      relay: pins.exists ? relayReport(libs, planeMapsFolder(pins)) : undefined,
      // One of the same instance, whose pins lie elsewhere, is not the one that was asked for.
      server: isAsked(said, pins.path, given.has("pin-path")) ? said : undefined,
    };
    if (given.has("json")) print(report);
    else console.log(textOf(report));
    const isAttached = report.interfaces.some(({ mode }) => mode !== undefined);
    return isAttached || report.server !== undefined ? Exit.ok : Exit.failed;
  },
};

/** Without pins a server is known by its state folder alone. */
function isAsked(said: ServerStatus | undefined, path: string, isExact: boolean): boolean {
  return said?.pins === path || (said?.pins === null && !isExact);
}

function print({ path, interfaces, counters, maps, relay, server }: Report): void {
  const nothing = { counters: counters ?? null, server: server ?? null };
  console.log(JSON.stringify({ path, interfaces, maps, relay, ...nothing }));
}

function textOf({ path, isLoaded, interfaces, counters, maps, relay, server }: Report): string {
  if (!isLoaded && server === undefined) return `nothing is loaded at ${path}`;
  const parts = [isLoaded ? path : `nothing is pinned at ${path}`];
  parts.push(
    section(
      "interfaces",
      interfaces.map(({ interfaceName, mode, programId }) =>
        [interfaceName, mode === undefined ? "lost" : `${mode} XDP, program ${programId}`] as const
      ),
    ),
  );
  // An array is always full: nothing to tell.
  const tables = maps.filter(({ entries }) => entries !== undefined);
  parts.push(
    section(
      "tables",
      tables.map(({ name, entries, maxEntries }) => [name, `${entries} of ${maxEntries} entries`]),
    ),
  );
  if (isLoaded && counters === undefined) parts.push("counters: another version's, not readable");
  else if (counters?.length === 0) parts.push("counters: nothing seen yet");
  parts.push(
    section(
      "counters",
      (counters ?? []).map(({ verdict, reason, packets, bytes }) =>
        [`${verdict} ${reason}`, `${packets} packets, ${bytes} bytes`] as const
      ),
    ),
  );
  parts.push(relayText(relay), ...serverText(server));
  return parts.filter((part) => part !== "").join("\n\n");
}

function relayText(relay: RelayReport | undefined): string {
  if (relay === undefined) return "";
  const backends = relay.backends.map((one) => {
    const { address, state, flows, packetsOut, packetsIn } = one;
    const traffic = `${flows} clients, ${packetsOut} packets out, ${packetsIn} in`;
    return [`${one.relay} ${address}`, `${state}, ${traffic}`] as const;
  });
  const counts = Object.entries(relay.counts).map(([name, count]) =>
    [name, `${count} packets`] as const
  );
  return section("relay", [...backends, ...counts]);
}

function serverText(server: ServerStatus | undefined): string[] {
  if (server === undefined) return ["no server runs, or it can't be asked (-c tells where it is)"];
  const { pid, level, workers, startedAt, counters, health, events, sessions } = server;
  const rows = [
    ["process", `${pid}, since ${new Date(startedAt).toISOString()}`],
    ["level", level],
    ["workers", String(workers)],
  ] as const;
  const failed = server.interfaces.flatMap(({ interfaceName, failed }) =>
    failed.map(({ level, cause, remedy }) =>
      `  ${interfaceName}: no ${level} XDP: ${cause}; ${remedy}`
    )
  );
  return [
    section("server", rows),
    failed.join("\n"),
    section("packets and sessions, all workers", Object.entries(counters)),
    section("health", Object.entries(health ?? {})),
    section("events", Object.entries(events ?? {}).map(eventRow)),
    section("sessions in the kernel", Object.entries(sessions ?? {}).map(sessionRow)),
  ];
}

function eventRow(
  [kind, { told, missed }]: readonly [string, Readonly<EventCount>],
): readonly [string, string] {
  return [kind, `${told}, and ${missed} held back`];
}

function sessionRow([name, count]: readonly [string, number]): readonly [string, string] {
  return name === "pressure" ? [name, `${count.toFixed(1)} %`] : [name, String(count)];
}

/** "" without rows. */
function section(
  title: string,
  rows: readonly (readonly [string, string | number])[],
): string {
  if (rows.length === 0) return "";
  const texts = rows.map(([name, value]) => [name, String(value)] as const);
  return `${title}\n${columns(texts).trimEnd()}`;
}

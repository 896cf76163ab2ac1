/** What `phantom status` tells people: the server in three lines, its users; asked, the rest. */

import type { ServerStatus } from "../app/status_socket.ts";
import type { EventCount } from "../kernel/events.ts";
import type { RelayReport } from "../relay/relay_state.ts";
import type { Counter, MapUse, PinnedState } from "../tunnel/kernel/plane.ts";
import type { UserStatus } from "../tunnel/server/account_book.ts";
import { columns } from "./args.ts";

/** What there is: by the pins, and by the server's own word where it runs. */
export interface Report {
  readonly path: string;
  readonly isLoaded: boolean;
  readonly interfaces: readonly PinnedState[];
  readonly counters: readonly Counter[] | undefined;
  readonly maps: readonly MapUse[];
  readonly relay: RelayReport | undefined;
  readonly server: ServerStatus | undefined;
  /** Somebody has the server's socket, and does not answer. */
  readonly isSilent?: boolean;
  /** Of this executable; undefined: not known. */
  readonly commit?: string | undefined;
}

/** Users shown without --all: those that are online, else those seen last. */
const USERS_SHOWN = 20;
const COMMIT_DIGITS = 12;
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

export function statusText(report: Report, isAll: boolean, now: number): string {
  const { path, isLoaded, server, isSilent } = report;
  const parts = server === undefined
    ? [
      isSilent === true
        ? "a server runs, and does not answer: it is stopped, or too busy"
        : "no server runs, or it can't be asked (-c tells where it is)",
      isLoaded ? path : `nothing is pinned at ${path}`,
    ]
    : [summary(server, now) + otherBuild(report), usersText(server.users, isAll, now)];
  if (server === undefined || isAll) parts.push(...planeText(report));
  if (server !== undefined && isAll) parts.push(...detailText(server));
  const text = parts.filter((part) => part !== "").join("\n\n");
  return server === undefined || isAll ? text : `${text}\n\n(--all: packets, tables, events)`;
}

/** Three lines: since when, what it carries, how; and why not better. */
function summary(server: ServerStatus, now: number): string {
  const { pid, version, startedAt, workers, counters, level, interfaces } = server;
  const since = `${new Date(startedAt).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const age = ageText(now - startedAt);
  const { sessions, streams, bytesIn, bytesOut } = counters;
  const carried = `${bytesText(bytesIn)} in, ${bytesText(bytesOut)} out`;
  return [
    `running since ${since} (${age}): version ${version}, ${plural(workers, "worker")}, pid ${pid}`,
    `${plural(sessions, "client")}, ${plural(streams, "connection")}; ${carried}`,
    level,
    ...interfaces.flatMap(({ interfaceName, failed }) =>
      failed.map((one) => `  ${interfaceName}: no ${one.level} XDP: ${one.cause}; ${one.remedy}`)
    ),
  ].join("\n");
}

/** Whoever has put a new executable in place wants to know that the old one still runs. */
function otherBuild({ server, commit }: Report): string {
  const running = server?.commit;
  if (running === commit || running === null || commit === undefined) return "";
  const its = running === undefined ? "an earlier one" : running.slice(0, COMMIT_DIGITS);
  const ours = commit.slice(0, COMMIT_DIGITS);
  const rest = `than this executable (${ours}): a restart takes this one`;
  return `\nit runs another build (${its}) ${rest}`;
}

/** Undefined: an earlier build does not tell. */
function usersText(users: readonly UserStatus[] | undefined, isAll: boolean, now: number): string {
  if (users === undefined || users.length === 0) return "";
  const sorted = users.toSorted((a, b) =>
    Number(b.sessions > 0) - Number(a.sessions > 0) || trafficOf(b) - trafficOf(a) ||
    (b.seenAtMs ?? 0) - (a.seenAtMs ?? 0) || (a.name < b.name ? -1 : 1)
  );
  const shown = isAll ? sorted : sorted.slice(0, USERS_SHOWN);
  const head = ["user", "online", "open", "last from", "seen", "in", "out", "quota"];
  const rows = shown.map((user) => [
    user.name,
    user.isEnabled ? String(user.sessions) : "disabled",
    openText(user),
    user.from ?? "-",
    user.seenAtMs === undefined ? "-" : user.sessions > 0 ? "now" : ageText(now - user.seenAtMs),
    bytesText(user.upBytes),
    bytesText(user.downBytes),
    quotaText(user, now),
  ]);
  const more = sorted.length - shown.length;
  return table([head, ...rows]) + (more > 0 ? `\n  and ${more} more (--all)` : "");
}

function trafficOf({ upBytes, downBytes }: UserStatus): number {
  return upBytes + downBytes;
}

/** Connections. An earlier build does not tell how many there may be. */
function openText({ connections, connectionsMax }: UserStatus): string {
  return connectionsMax > 0 ? `${connections} of ${connectionsMax}` : String(connections);
}

function quotaText(user: UserStatus, now: number): string {
  const { trafficMax, expiresAtMs, upBytes, downBytes } = user;
  if (expiresAtMs > 0 && now >= expiresAtMs) return "expired";
  if (trafficMax === 0) return "-";
  const share = Math.min(100, Math.floor(100 * (upBytes + downBytes) / trafficMax));
  return `${share} % of ${bytesText(trafficMax)}`;
}

/** What the kernel has of it, also where no server runs. */
function planeText({ isLoaded, interfaces, counters, maps, relay }: Report): string[] {
  const attached = interfaces.map(({ interfaceName, mode, programId }) =>
    [interfaceName, mode === undefined ? "lost" : `${mode} XDP, program ${programId}`] as const
  );
  // An array is always full: nothing to tell.
  const tables = maps.flatMap(({ name, entries, maxEntries }) =>
    entries === undefined || entries === 0
      ? []
      : [[name, `${entries} of ${maxEntries} entries`] as const]
  );
  const parts = [section("interfaces", attached), section("tables", tables)];
  if (isLoaded && counters === undefined) parts.push("counters: another version's, not readable");
  else if (counters?.length === 0) parts.push("counters: nothing seen yet");
  const counted = (counters ?? []).map(({ verdict, reason, packets, bytes }) =>
    [`${verdict} ${reason}`, `${packets} packets, ${bytes} bytes`] as const
  );
  parts.push(section("counters", counted), relayText(relay));
  return parts;
}

function relayText(relay: RelayReport | undefined): string {
  if (relay === undefined) return "";
  const backends = relay.backends.map((one) => {
    const { address, state, flows, packetsOut, packetsIn } = one;
    const traffic = `${flows} clients, ${packetsOut} packets out, ${packetsIn} in`;
    return [`${one.relay} ${address}`, `${state}, ${traffic}`] as const;
  });
  const counts = nonZero(Object.entries(relay.counts)).map(([name, count]) =>
    [name, `${count} packets`] as const
  );
  return section("relay", [...backends, ...counts]);
}

function detailText({ counters, health, events, sessions }: ServerStatus): string[] {
  const inKernel = nonZero(Object.entries(sessions ?? {})).map(([name, count]) =>
    [name, name === "pressure" ? `${count.toFixed(1)} %` : String(count)] as const
  );
  const told = Object.entries(events ?? {}).filter(([, one]) => one.told + one.missed > 0);
  return [
    section("packets and sessions, all workers", nonZero(Object.entries(counters))),
    section("health", nonZero(Object.entries(health ?? {}))),
    section("events", told.map(eventRow)),
    section("sessions in the kernel", inKernel),
  ];
}

function eventRow(
  [kind, { told, missed }]: readonly [string, Readonly<EventCount>],
): readonly [string, string] {
  return [kind, `${told}, and ${missed} held back`];
}

function nonZero(rows: readonly (readonly [string, number])[]): (readonly [string, number])[] {
  return rows.filter(([, count]) => count !== 0);
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

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    `  ${row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ")}`.trimEnd()
  ).join("\n");
}

/** Three digits that count: 1234567 gives `1.23 MB`. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${UNITS[unit]}`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** The two largest parts: `3 h 12 min`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [60, 3600, 86_400].map((one) => Math.floor(seconds / one));
  if (days! > 0) return `${days} d ${hours! % 24} h`;
  if (hours! > 0) return `${hours} h ${minutes! % 60} min`;
  return minutes! > 0 ? `${minutes} min` : `${seconds} s`;
}

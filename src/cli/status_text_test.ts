import assert from "node:assert/strict";
import type { ServerStatus } from "../app/status_socket.ts";
import type { UserStatus } from "../tunnel/server/account_book.ts";
import { ageText, bytesText, type Report, statusText } from "./status_text.ts";

const NOW = Date.UTC(2026, 0, 2, 12, 0, 0);

function user(name: string, over: Partial<UserStatus> = {}): UserStatus {
  return {
    ...{ name, isEnabled: true, upBytes: 0, downBytes: 0, connections: 0, sessions: 0 },
    ...{ connectionsMax: 0, trafficMax: 0, expiresAtMs: 0, ...over },
  };
}

function reportOf(users: readonly UserStatus[]): Report {
  const server = {
    ...{ pid: 7, version: "1.2.3", workers: 2, level: "native XDP on eth0", users },
    startedAt: NOW - 11_520_000,
    interfaces: [],
    counters: { sessions: 1, streams: 12, bytesIn: 1_234_567, bytesOut: 34, junk: 0, datagrams: 9 },
    ...{ health: { attached: 1, lost: 0 }, events: null, sessions: null },
  } as unknown as ServerStatus;
  const nothing = { interfaces: [], counters: [], maps: [], relay: undefined };
  return { path: "/pins", isLoaded: true, ...nothing, server };
}

Deno.test("a running server is three lines, then its users, those online first", () => {
  const text = statusText(
    reportOf([
      user("zoe", { seenAtMs: NOW - 7_200_000, from: "192.0.2.9:1" }),
      user("anna", {
        ...{ sessions: 2, from: "192.0.2.7:4711", seenAtMs: NOW - 1000, trafficMax: 1e9 },
        ...{ upBytes: 20_000_000, downBytes: 100_000_000 },
        ...{ connections: 12, connectionsMax: 20 },
      }),
      user("most", { downBytes: 200_000_000 }),
      user("late", { expiresAtMs: NOW - 1 }),
      user("off", { isEnabled: false }),
    ]),
    false,
    NOW,
  );
  assert.equal(
    text,
    `running since 2026-01-02 08:48:00 UTC (3 h 12 min): version 1.2.3, 2 workers, pid 7
1 client, 12 connections; 1.23 MB in, 34 B out
native XDP on eth0

  user  online    open      last from       seen       in     out     quota
  anna  2         12 of 20  192.0.2.7:4711  now        20 MB  100 MB  12 % of 1 GB
  most  0         0         -               -          0 B    200 MB  -
  zoe   0         0         192.0.2.9:1     2 h 0 min  0 B    0 B     -
  late  0         0         -               -          0 B    0 B     expired
  off   disabled  0         -               -          0 B    0 B     -

(--all: packets, tables, events)`,
  );
});

Deno.test("a server of an earlier build is told by that", () => {
  const report = reportOf([]);
  const server = { ...report.server!, commit: "a".repeat(40) };
  const text = (commit: string | undefined) =>
    statusText({ ...report, server, commit }, false, NOW);
  assert.match(
    text("b".repeat(40)),
    /^it runs another build \(a{12}\) than .* \(b{12}\): a restart/m,
  );
  for (const same of ["a".repeat(40), undefined]) assert.doesNotMatch(text(same), /another build/);
  // One that told neither its commit nor its users.
  const { users: _users, ...early } = report.server!;
  const old = { ...report, server: early as typeof server, commit: "b".repeat(40) };
  assert.match(statusText(old, true, NOW), /another build \(an earlier one\)/);
});

Deno.test("--all tells the rest without lines of zeros, and all users", () => {
  const many = Array.from({ length: 30 }, (_, i) => user(`u${i}`));
  assert.match(statusText(reportOf(many), false, NOW), /^ {2}and 10 more \(--all\)$/m);
  const text = statusText(reportOf(many), true, NOW);
  assert.match(text, /^ {2}u29 /m);
  assert.match(text, /^ {2}datagrams +9$/m);
  assert.match(text, /^ {2}attached +1$/m);
  assert.doesNotMatch(text, /junk|lost|--all/);
});

Deno.test("without a server it says so first, and what is attached all the same", () => {
  const report = { ...reportOf([]), server: undefined };
  const interfaces = [{ interfaceName: "va", mode: "native", programId: 3 }] as const;
  const text = statusText({ ...report, interfaces: [...interfaces] } as Report, false, NOW);
  assert.match(
    text,
    /^no server runs, .*\n\n\/pins\n\ninterfaces\n {2}va {2}native XDP, program 3/,
  );
  const nothing = { ...report, isLoaded: false };
  assert.match(statusText(nothing, false, NOW), /^no server runs, .*\n\nnothing is pinned at/);
  const silent = { ...nothing, isSilent: true };
  assert.match(statusText(silent, false, NOW), /^a server runs, and does not answer: /);
});

Deno.test("bytesText() and ageText() are short", () => {
  const bytes = [0, 999, 1000, 1_234_567, 999_600_000, 5e12, 7e18];
  const texts = ["0 B", "999 B", "1 kB", "1.23 MB", "1 GB", "5 TB", "7000 PB"];
  assert.deepEqual(bytes.map(bytesText), texts);
  const ages = [-5, 59_999, 60_000, 3_600_000, 90_000_000].map(ageText);
  assert.deepEqual(ages, ["0 s", "59 s", "1 min", "1 h 0 min", "1 d 1 h"]);
});

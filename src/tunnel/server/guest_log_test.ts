import assert from "node:assert/strict";
import { endpoint, routeTo } from "../../../ffi/endpoint.ts";
import { Log, type LogRecord, LogThreshold } from "../../base/log.ts";
import { ipBytes } from "../../base/ip.ts";
import { CloseCode } from "../../wire/frames.ts";
import type { User } from "../../crypto/users.ts";
import type { Guest } from "./guest.ts";
import { GuestLog, LIMIT_TOLD_EVERY_MS } from "./guest_log.ts";

function setUp() {
  const lines: string[] = [];
  const clock = { now: 1000 };
  const write = (line: string) => void lines.push(line.trim().split(/ INFO +/)[1]!);
  const log = Log.to({ level: "info", format: "text", write, now: () => 0 });
  const seen: string[] = [];
  const guests = new GuestLog(log, () => clock.now, (...who) => void seen.push(who.join(" ")));
  return { lines, clock, seen, guests };
}

const route = routeTo(endpoint(ipBytes("192.0.2.7"), 4711));

/** What the log looks at. */
function guestOf(name: string): Guest {
  return {
    user: { user: { name } },
    routes: [route],
    session: { activePath: 0, receivedBytes: 1200, sentBytes: 34_000 },
  } as unknown as Guest;
}

Deno.test("who comes and goes is a line each, with what went and why", () => {
  const { lines, clock, seen, guests } = setUp();
  const anna = guestOf("anna");
  guests.came(anna, "udp");
  clock.now += 61_400;
  guests.left(anna, CloseCode.idle, true);
  const alone = guestOf("");
  guests.came(alone, "udp");
  guests.left(alone, CloseCode.done, false);
  assert.deepEqual(lines, [
    "phantom: client in user=anna from=192.0.2.7:4711 carrier=udp event=client_in",
    "phantom: client gone user=anna from=192.0.2.7:4711 in=1200 out=34000 seconds=61 " +
    'why="silence for as long as idle allows" event=client_gone',
    "phantom: client in from=192.0.2.7:4711 carrier=udp event=client_in",
    "phantom: client gone from=192.0.2.7:4711 in=1200 out=34000 seconds=0 " +
    'why="the client stopped" event=client_gone',
  ]);
  assert.deepEqual(seen, ["anna 192.0.2.7:4711", "anna"]);
});

Deno.test("a session that never came in is not told of", () => {
  const { lines, guests } = setUp();
  guests.left(guestOf("anna"), CloseCode.idle, true);
  assert.deepEqual(lines, []);
});

Deno.test("a user at a limit is told of at once, and then once a minute", () => {
  const { lines, clock, guests } = setUp();
  const hit = () => guests.limited("anna", CloseCode.tooManyConnections);
  for (; clock.now < 1000 + LIMIT_TOLD_EVERY_MS; clock.now += 100) hit();
  assert.deepEqual(lines, [
    'phantom: a user is at a limit user=anna limit="too many connections at a time" ' +
    "event=user_limit",
  ]);
  hit();
  assert.equal(lines.length, 2);
  // Each limit, and each user, for itself.
  guests.limited("anna", CloseCode.expired, route);
  guests.limited("bert", CloseCode.tooManyConnections);
  assert.equal(lines.length, 4);
  assert.match(lines[2]!, /user=anna from=192\.0\.2\.7:4711 limit="the account has expired"/);
});

Deno.test("a right key with another time is counted, and told of at DEBUG", () => {
  const lines: string[] = [];
  const sink = ({ level, fields: { user, from, offSeconds, admitted } }: LogRecord) =>
    void lines.push(`${level} ${user} ${from} ${offSeconds} ${admitted}`);
  const counters = { clocksOff: 0, clocksRefused: 0, unproven: 0 };
  for (const level of ["info", "debug"] as const) {
    const guests = new GuestLog(
      new Log(sink, "x", undefined, new LogThreshold(level)),
      () => 0,
      () => {},
    );
    const user = { name: "anna" } as User;
    for (const skewMs of [0, 9000, -9000, 12_000, -31_000]) {
      guests.lookedAt({ user, skewMs, isUnproven: false }, { route }, counters);
    }
    // It did not open.
    guests.lookedAt({ user: undefined, skewMs: 12_000, isUnproven: false }, { route }, counters);
    guests.lookedAt({ user: undefined, skewMs: 0, isUnproven: true }, { route }, counters);
  }
  assert.deepEqual(counters, { clocksOff: 2, clocksRefused: 2, unproven: 2 });
  assert.deepEqual(lines, [
    "debug anna 192.0.2.7:4711 -12 true",
    "debug anna 192.0.2.7:4711 31 false",
    "debug undefined 192.0.2.7:4711 undefined undefined",
  ]);
});

import assert from "node:assert/strict";
import { Cubic } from "../reliability/congestion/cubic.ts";
import { Path } from "../reliability/path.ts";
import { PathMtu } from "../reliability/pmtu.ts";
import { Writer } from "../wire/cursor.ts";
import { FrameReader, FrameType } from "../wire/frames.ts";
import { CHALLENGE_REPEAT_MS, CHALLENGES_MAX, PATHS_MAX, PONGS_MAX } from "./limits.ts";
import { NO_PATH, SessionPath, SessionPaths } from "./paths.ts";

function recoveryPath(index: number): Path {
  return new Path(index, new Cubic(4, 1200), new PathMtu());
}

Deno.test("a stranger's path is allowed three times what came by it", () => {
  const path = new SessionPath(recoveryPath(0), false);
  assert.equal(path.allowance, 0);
  assert(path.isBlocked);
  path.receivedBytes = 100;
  path.sentBytes = 204;
  assert.equal(path.allowance, 96);
  assert(!path.isBlocked);
  path.sentBytes = 205;
  assert(path.isBlocked);
  path.isProven = true;
  assert(!path.isBlocked);
  assert.equal(
    new SessionPath(recoveryPath(0), false, true).isBlocked,
    false,
    "a client knows its server",
  );
});

Deno.test("only the answer to a challenge that went out proves a path", () => {
  const path = new SessionPath(recoveryPath(0), false);
  assert.equal(path.answers(0, 0), false, "nothing was asked");
  path.challenge(10, 1, 2);
  assert.equal(path.answers(1, 2), false, "it has not gone out");
  path.challengeSent(10);
  assert.equal(path.answers(1, 3), false);
  assert(path.answers(1, 2) && path.isProven);
  assert.equal(path.answers(1, 2), false, "once");
  assert.equal(path.challengeAt, Infinity);
});

Deno.test("a challenge is repeated so often and no more", () => {
  const path = new SessionPath(recoveryPath(0), true);
  path.challenge(0, 1, 2);
  let now = 0;
  let sent = 0;
  while (path.challengeAt !== Infinity) {
    now = path.challengeAt;
    assert(path.owesNow(now));
    path.writeEchoes(now, new Writer(new Uint8Array(20)));
    sent++;
  }
  assert.equal(sent, CHALLENGES_MAX);
  assert.equal(now, (CHALLENGES_MAX - 1) * CHALLENGE_REPEAT_MS);
});

Deno.test("what does not fit into a packet stays owed", () => {
  const path = new SessionPath(recoveryPath(0), true);
  path.owePong(1, 2);
  path.owesResponse = true;
  path.writeEchoes(0, new Writer(new Uint8Array(10)));
  assert(path.owesPong && !path.owesResponse);
});

Deno.test("each PING gets its PONG, in order, up to the maximum", () => {
  const path = new SessionPath(recoveryPath(0), true);
  for (let i = 0; i < PONGS_MAX; i++) assert(path.owePong(0, i));
  assert.equal(path.owePong(0, 99), false);
  const seen: number[] = [];
  const reader = new FrameReader();
  while (path.owesPong) {
    const bytes = new Uint8Array(50);
    const writer = new Writer(bytes);
    path.writeEchoes(0, writer);
    reader.reset(bytes, 0, writer.at);
    while (reader.next() === FrameType.pong) seen.push(reader.echoLow);
  }
  assert.deepEqual(seen, Array.from({ length: PONGS_MAX }, (_, i) => i));
  assert(path.owePong(0, 0));
});

Deno.test("SessionPaths takes its maximum, and uses free places again", () => {
  const paths = new SessionPaths(true);
  for (let i = 0; i < PATHS_MAX; i++) {
    assert.equal(paths.freeIndex, i);
    paths.add(recoveryPath(i), true);
  }
  assert.equal(paths.freeIndex, NO_PATH);
  paths.remove(3);
  assert.equal(paths.freeIndex, 3);
});

Deno.test("the client's highest PATH_STATUS wins, once its path is proven", () => {
  const paths = new SessionPaths(false);
  paths.add(recoveryPath(0), true);
  paths.add(recoveryPath(1), false);
  paths.add(recoveryPath(2), true);
  paths.onStatus(paths.at(2)!, 5, true);
  assert.equal(paths.active, 2);
  paths.onStatus(paths.at(0)!, 4, true);
  assert.equal(paths.active, 2, "an old one");
  paths.onStatus(paths.at(1)!, 6, true);
  assert.equal(paths.active, 2, "it may be a forger's");
  paths.at(1)!.challenge(0, 7, 8);
  paths.at(1)!.challengeSent(0);
  assert.equal(paths.onResponse(7, 8), 1);
  assert.equal(paths.active, 1);
  paths.follow(paths.at(0)!);
  assert.equal(paths.active, 1, "the client has spoken");
});

Deno.test("without PATH_STATUS the server follows proven paths; a client never does", () => {
  const server = new SessionPaths(false);
  server.add(recoveryPath(0), true);
  server.add(recoveryPath(1), false);
  server.follow(server.at(1)!);
  assert.equal(server.active, 0);
  server.at(1)!.isProven = true;
  server.follow(server.at(1)!);
  assert.equal(server.active, 1);
  const client = new SessionPaths(true);
  client.add(recoveryPath(0), true);
  client.add(recoveryPath(1), true);
  client.follow(client.at(1)!);
  client.onStatus(client.at(1)!, 9, true);
  assert.equal(client.active, 0);
});

Deno.test("a lost PATH_STATUS is said again only while it is the newest", () => {
  const paths = new SessionPaths(true);
  paths.add(recoveryPath(0), true);
  paths.add(recoveryPath(1), true);
  paths.activate(1);
  paths.at(1)!.owesStatus = false;
  paths.activate(0);
  paths.at(0)!.owesStatus = false;
  paths.statusLost(1);
  assert(!paths.at(0)!.owesStatus && !paths.at(1)!.owesStatus);
  paths.statusLost(2);
  assert(paths.at(0)!.owesStatus);
  paths.remove(0);
  assert.equal(paths.active, NO_PATH);
  paths.add(recoveryPath(0), true);
  assert(paths.at(0)!.owesStatus, "the server has to hear of the new one");
});

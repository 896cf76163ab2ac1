import assert from "node:assert/strict";
import type { Peer } from "./peer.ts";
import { PeerQueue } from "./peer_queue.ts";

Deno.test("peers have their turns in order, however many there are", () => {
  const queue = new PeerQueue<Peer>();
  const peers = Array.from({ length: 1000 }, () => ({ isQueued: false }) as Peer);
  for (let round = 0; round < 3; round++) {
    for (const peer of peers.slice(0, 40)) queue.push(peer);
    for (const peer of peers.slice(0, 40)) assert.equal(queue.shift(), peer);
  }
  for (const peer of peers) queue.push(peer);
  assert.ok(peers.every(({ isQueued }) => isQueued));
  for (const peer of peers) assert.equal(queue.shift(), peer);
  assert.equal(queue.count, 0);
  assert.ok(peers.every(({ isQueued }) => !isQueued));
});

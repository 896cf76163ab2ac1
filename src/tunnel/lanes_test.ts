import assert from "node:assert/strict";
import { carrierOf, endpoint, isSameRoute, type Route, routeTo } from "../../ffi/endpoint.ts";
import { UdpOutbox } from "../../ffi/udp.ts";
import type { Carrier } from "../transport/carrier.ts";
import { Lane, Lanes, RoutePeers } from "./lanes.ts";
import type { Peer } from "./peer.ts";

const LOOPBACK = new Uint8Array(16).with(15, 1);

function route(port: number, carrier = 0): Route {
  return routeTo(endpoint(LOOPBACK, port), endpoint(LOOPBACK, 1), carrier);
}

function lane(id: number, blocked: Route[] = []): Lane<Peer> {
  const carrier: Carrier = {
    ...{ id, kind: "test", mtu: { base: 100, max: 100 }, controls: "its own" },
    hasConnections: true,
    send: (outbox: UdpOutbox) => outbox.count,
    isBlocked: (one) => blocked.includes(one),
    close: () => {},
  };
  const arena = new Uint8Array(100);
  return new Lane<Peer>(carrier, { memory: arena }, arena);
}

Deno.test("a route's words say whose it is, and which", () => {
  const [one, other] = [route(443), route(443, 7)];
  assert.deepEqual([carrierOf(one), carrierOf(other)], [0, 7]);
  assert.ok(!isSameRoute(one, other) && isSameRoute(other, route(443, 7)));
  const lanes = new Lanes<Peer>();
  const seventh = lane(7);
  lanes.add(lane(0));
  lanes.add(seventh);
  assert.equal(lanes.of(other), seventh);
  assert.throws(() => lanes.add(lane(7)), RangeError);
  assert.throws(() => lanes.add(lane(64)), RangeError);
  lanes.remove(seventh);
  assert.equal(lanes.of(other), undefined);
});

Deno.test("a lane is blocked by its carrier's route, or as a whole by packets that wait", () => {
  const [full, free] = [route(1), route(2)];
  const one = lane(0, [full]);
  assert.deepEqual([one.isBlocked(full), one.isBlocked(free)], [true, false]);
  one.region = { begin: 0, end: 100, holders: 1 };
  assert.ok(one.isBlocked(free));
});

Deno.test("who waits for a route is called once, with all others or alone", () => {
  const peers = new RoutePeers<string>();
  const [a, b] = [route(1), route(2)];
  peers.add(a, "one");
  peers.add(a, "two");
  peers.add(a, "two");
  peers.add(b, "three");
  assert.deepEqual(peers.take(a), ["one", "two"]);
  assert.deepEqual(peers.take(a), []);
  peers.add(a, "one");
  peers.remove(b, "three");
  peers.remove(b, "nobody");
  assert.deepEqual(peers.at(b), []);
  assert.deepEqual(peers.take(undefined), ["one"]);
  assert.deepEqual(peers.take(undefined), []);
});

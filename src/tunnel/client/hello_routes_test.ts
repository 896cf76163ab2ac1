import assert from "node:assert/strict";
import { endpoint, readEndpoint, routeTo } from "../../../ffi/endpoint.ts";
import { HelloRoutes } from "./hello_routes.ts";

const LOOPBACK = new Uint8Array(16).with(15, 1);
const server = (port: number) => endpoint(LOOPBACK, port);

/** The ports that are tried, from the next on. */
function tried(routes: HelloRoutes): number[] {
  return Array.from({ length: routes.count }, () => {
    const { port } = readEndpoint(routes.next, 0);
    routes.advance();
    return port;
  });
}

Deno.test("addresses and other carriers' routes are tried in turn", () => {
  const routes = new HelloRoutes([server(1), server(2)]);
  const other = routeTo(server(3), undefined, 5);
  routes.add(other);
  assert.deepEqual(tried(routes), [1, 2, 3]);
  routes.prefer(other);
  assert.deepEqual(tried(routes), [3, 1, 2]);
  routes.remove(other);
  assert.deepEqual(tried(routes), [1, 2]);
});

Deno.test("new addresses leave the next one the next where it is among them", () => {
  const routes = new HelloRoutes([server(1), server(2)]);
  routes.prefer(routeTo(server(2)));
  routes.setServers([server(4), server(2)]);
  assert.deepEqual(tried(routes), [2, 4]);
  routes.setServers([server(7), server(8)]);
  assert.deepEqual(tried(routes), [7, 8]);
});

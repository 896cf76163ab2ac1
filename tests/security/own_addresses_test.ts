/**
 * What listens on the server's own machine, behind its firewall: no target, by whatever name or
 * form of its addresses, unless a rule names the very address.
 */

import assert from "node:assert/strict";
import { curl, SOCKS, tunnelTest as test } from "../fixtures/scenario.ts";
import { SELF, SERVER, TARGET } from "../fixtures/topology.ts";

/** All that lead to the server: both of its links, as every client may write them. */
const FORMS: readonly string[] = [
  SERVER.v4,
  "45.3.0.1",
  `[${SERVER.v6}]`,
  "[2a00:3::1]",
  `[::ffff:${SERVER.v4}]`,
  "[64:ff9b::2d02:2]",
  "0x2d020002",
  SELF.name,
];
const LATE = "45.9.0.9";
/** More than it takes the server to hear of an address. */
const HEARD_MS = 1500;

test("the server's own addresses are no targets", {
  client: {
    mixed: "127.0.0.1:1080",
    forwards: [
      { listen: 7007, target: `${SERVER.v4}:7`, network: "both" },
      { listen: 7008, target: `${TARGET.v4}:7`, network: "both" },
    ],
  },
}, async ({ topology }) => {
  await using _service = await topology.startTarget(topology.server);
  const isReached = (host: string) =>
    curl(topology, "-m", "5", "-x", SOCKS, `http://${host}/`).then(() => true, () => false);
  const reached = [];
  for (const host of FORMS) if (await isReached(host)) reached.push(host);
  assert.deepEqual(reached, []);
  assert.equal(await isReached(TARGET.v4), true);

  const udp = (port: string) => topology.probe("udp-echo", "127.0.0.1", port, "2", "100");
  assert.equal(await udp("7007"), "0");
  assert.equal(await udp("7008"), "2");

  topology.server.ip("addr", "add", `${LATE}/32`, "dev", "lo");
  await new Promise((resolve) => setTimeout(resolve, HEARD_MS));
  assert.equal(await isReached(LATE), false);
});

test("a rule that names an own address of the server lets traffic to it, and to no other", {
  server: {
    rules: [
      { cidr: "45.3.0.1", port: "80", outbound: "direct" },
      { cidr: "45.2.0.0/24", outbound: "direct" },
    ],
  },
}, async ({ topology }) => {
  await using _service = await topology.startTarget(topology.server);
  assert.match(await curl(topology, "-x", SOCKS, "http://45.3.0.1/"), /^hello from /);
  // A net that happens to hold one does not name it.
  await assert.rejects(curl(topology, "-m", "5", "-x", SOCKS, `http://${SERVER.v4}/`));
});

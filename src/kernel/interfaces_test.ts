import assert from "node:assert/strict";
import {
  chooseInterface,
  defaultRouteInterface,
  interfaceNames,
  ipv4Default,
  ipv6Default,
  wantedInterfaces,
} from "./interfaces.ts";

const HEADER =
  "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   \n";

/** A line of /proc/net/route, padded as the kernel does. */
function v4(name: string, destination: string, flags: string, metric: number, mask: string) {
  const line = `${name}\t${destination}\t010200C0\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0`;
  return `${line.padEnd(127)}\n`;
}

/** A line of /proc/net/ipv6_route. */
function v6(name: string, destination: string, length: string, metric: string, flags: string) {
  const zero = "0".repeat(32);
  const route = `${destination.padEnd(32, "0")} ${length} ${zero} 00 fe80${"0".repeat(28)}`;
  return `${route} ${metric} 00000001 00000000 ${flags} ${name.padStart(8)}\n`;
}

Deno.test("ipv4Default() takes the default route of the lowest metric", () => {
  const table = HEADER +
    v4("eth1", "00000000", "0003", 200, "00000000") +
    v4("eth0", "00000000", "0003", 100, "00000000") +
    v4("wlan0", "00000000", "0003", 600, "00000000") +
    v4("eth2", "000200C0", "0001", 0, "00FFFFFF");
  assert.equal(ipv4Default(table), "eth0");
});

Deno.test("ipv4Default() takes the first of equals", () => {
  const table = HEADER + v4("a0", "00000000", "0003", 0, "00000000") +
    v4("b0", "00000000", "0003", 0, "00000000");
  assert.equal(ipv4Default(table), "a0");
});

Deno.test("ipv4Default() leaves out routes that are down and halves of the world", () => {
  const table = HEADER +
    v4("down0", "00000000", "0002", 0, "00000000") +
    v4("tun0", "00000000", "0003", 0, "00000080") +
    v4("tun0", "00000080", "0003", 0, "00000080");
  assert.equal(ipv4Default(table), undefined);
});

Deno.test("there is no default without routes", () => {
  for (const table of ["", HEADER, "\n\n", "garbage", `${HEADER}eth0\n`, HEADER.trimEnd()]) {
    assert.equal(ipv4Default(table), undefined);
    assert.equal(ipv6Default(table), undefined);
  }
});

Deno.test("ipv6Default() takes the default route of the lowest metric", () => {
  const table = v6("eth1", "0", "00", "00000400", "00000003") +
    v6("eth0", "0", "00", "00000064", "00450003") +
    v6("eth2", "20010db8", "20", "00000000", "00000001");
  assert.equal(ipv6Default(table), "eth0");
});

Deno.test("ipv6Default() leaves out the unreachable default of lo, and what is down", () => {
  const table = v6("lo", "0", "00", "ffffffff", "00200200") +
    v6("lo", "0", "00", "00000001", "00000001") +
    v6("down0", "0", "00", "00000001", "00000002");
  assert.equal(ipv6Default(table), undefined);
});

Deno.test("interfaceNames() finds lo on this machine", () => {
  assert.ok(interfaceNames().includes("lo"));
  for (const name of ["", "no-such0", "lo ", "l", "Inter-|   Receive"]) {
    assert.ok(!interfaceNames().includes(name));
  }
});

Deno.test("chooseInterface() takes the configured one, else the default route's", () => {
  const name = defaultRouteInterface();
  assert.equal(chooseInterface(["lo"]), "lo");
  assert.equal(chooseInterface(["no-such0", "lo"]), "lo");
  assert.equal(chooseInterface([]), name);
  assert.equal(chooseInterface(["no-such0"]), name);
});

Deno.test("wantedInterfaces() takes all configured ones that are there", () => {
  const present = ["lo", "a0", "b0", "c0"];
  assert.deepEqual(wantedInterfaces(["b0", "d0", "a0"], present, ["c0"]), ["b0", "a0"]);
});

Deno.test("wantedInterfaces() keeps what is held while the default route is to decide", () => {
  const name = defaultRouteInterface();
  const present = ["a0", "b0", ...(name === undefined ? [] : [name])];
  const expected = ["a0", ...(name === undefined ? [] : [name])];
  for (const configured of [[], ["no-such0"]]) {
    assert.deepEqual(wantedInterfaces(configured, present, ["a0", "gone0"]), expected);
  }
});

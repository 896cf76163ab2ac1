/** Programs that people use, through the tunnel: iperf3, a browser, git. */

import assert from "node:assert/strict";
import { browse, BROWSER } from "../../fixtures/browser.ts";
import { piped, Running } from "../../fixtures/process.ts";
import { atRate, curl, MIXED, shell, SOCKS, tunnelTest as test } from "../../fixtures/scenario.ts";
import { TARGET, type Topology } from "../../fixtures/topology.ts";
import { PARTS, type Seen, WEB } from "../../fixtures/web.ts";

const IPERF_PORT = 5201;
const RATE_MIN = 50e6;

/** `iperf3 -s` in the target's namespace. */
async function startIperf(topology: Topology): Promise<Running> {
  const args = ["-s", "--forceflush", "-p", String(IPERF_PORT)];
  const running = new Running(topology.target.command("iperf3", args, piped));
  await running.until("Server listening");
  return running;
}

interface IperfSum {
  readonly bytes: number;
  readonly bits_per_second: number;
  readonly lost_percent?: number;
}

/** What iperf3's client says at its end. */
async function iperf(
  { client }: Topology,
  port: number,
  ...args: string[]
): Promise<Readonly<Record<"sum" | "sum_sent" | "sum_received", IperfSum>>> {
  const text = `iperf3 -J -c 127.0.0.1 -p ${port} -t 1 ${args.join(" ")}`;
  return JSON.parse(await shell(client, text)).end;
}

/** What came in the best of a few seconds. */
function received(topology: Topology, port: number, ...args: string[]): Promise<IperfSum> {
  const act = async () => (await iperf(topology, port, ...args)).sum_received;
  return atRate(RATE_MIN, (sum) => sum.bits_per_second, act);
}

test("iperf3 through a port forward: up, down, several streams, IPv6, UDP", {
  client: {
    forwards: [
      { listen: 6001, target: `${TARGET.name}:${IPERF_PORT}`, network: "both" },
      { listen: 6002, target: `[${TARGET.v6}]:${IPERF_PORT}` },
    ],
  },
}, async ({ topology }) => {
  await using _iperf = await startIperf(topology);
  for (const args of [[], ["-R"], ["-P", "8"], ["-P", "8", "-R"]]) {
    const sum = await received(topology, 6001, ...args);
    assert.ok(sum.bits_per_second > RATE_MIN, `${args}: ${JSON.stringify(sum)}`);
  }
  for (const args of [[], ["-R"]]) {
    const sum = await received(topology, 6002, ...args);
    assert.ok(sum.bits_per_second > RATE_MIN, `IPv6 ${args}: ${JSON.stringify(sum)}`);
  }
  for (const args of [[], ["-R"]]) {
    const { sum } = await iperf(topology, 6001, "-u", "-b", "20M", "-l", "1200", ...args);
    assert.ok(sum.bytes > 1e6 && sum.lost_percent! < 5, `UDP ${args}: ${JSON.stringify(sum)}`);
  }
});

test("a browser loads a page and its parts over SOCKS5", {
  isMissing: BROWSER === undefined,
}, async ({ topology }) => {
  await using _web = await topology.startWeb();
  await browse(topology, `socks5://${MIXED}`);
  const url = `http://${TARGET.name}:${WEB.port}`;
  const said = await curl(topology, "-x", SOCKS, `${url}/seen`);
  const seen: Seen[] = JSON.parse(said);
  const { scripts, images, styles } = PARTS;
  const parts = new Set(seen.map(({ path }) => path).filter((path) => path.startsWith("/part/")));
  assert.equal(parts.size, scripts + images + styles);
  for (const { path, from } of seen) assert.match(from, /45\.3\.0\.1$|^2a00:3::1$/, path);
});

test("git clone over HTTP: CONNECT and plain, and over SOCKS5", {}, async ({ topology }) => {
  await using web = await topology.startWeb();
  const { client, folder } = topology;
  const ways = [
    { name: "connect", proxy: `http://${MIXED}`, url: `https://${TARGET.name}:${WEB.tlsPort}` },
    { name: "plain", proxy: `http://${MIXED}`, url: `http://${TARGET.name}:${WEB.port}` },
    { name: "socks", proxy: SOCKS, url: `http://[${TARGET.v6}]:${WEB.port}` },
  ];
  for (const { name, proxy, url } of ways) {
    const git = `GIT_SSL_CAINFO=${web.certificate} timeout 30 git -c http.proxy=${proxy}`;
    const into = `${folder}/clone-${name}`;
    await shell(client, `${git} clone -q ${url}/repo.git ${into}`);
    const commit = await shell(client, `git -C ${into} rev-parse HEAD && git -C ${into} fsck`);
    assert.equal(commit.trim(), web.commit, name);
  }
});

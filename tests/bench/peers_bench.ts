/**
 * Throughput through a tunnel beside its peers, in one run and one topology: `deno run -A
 * tests/bench/peers_bench.ts [--json] [--seconds N] [--only NAME]`, as root, after `make build`.
 * Peers that are not installed (shadowsocks-libev, wireguard-go, wireguard-tools, kcptun) are left
 * out.
 *
 *     client ns ── veth ── router ns ── veth ── server ns: tunnel's server, iperf3 -s
 */

import { Namespace, run } from "../fixtures/netns.ts";
import { executable, isInstalled, option, sleep, word } from "./bench_net.ts";
import { type Figure, printFigures } from "./figures.ts";

const SERVER_IP = "10.91.2.2";
const IPERF_PORT = "5201";
const SETTLE_MS = 1500;
const HERTZ = 100;
const seconds = option("seconds", 6);

interface Net {
  readonly client: Namespace;
  readonly router: Namespace;
  readonly server: Namespace;
  readonly folder: string;
}

interface Load {
  readonly streams: number;
  readonly isDown: boolean;
}

const LOADS: readonly Load[] = [
  { streams: 1, isDown: false },
  { streams: 8, isDown: false },
  { streams: 1, isDown: true },
  { streams: 8, isDown: true },
];

interface Contender {
  readonly name: string;
  readonly needs: readonly string[];
  /** Starts it; where iperf3 connects to. */
  start(net: Net): Promise<{ host: string; port: string; processes: Deno.ChildProcess[] }>;
}

function topology(): Net {
  const [client, router, server] = [new Namespace(), new Namespace(), new Namespace()];
  client.veth("wan", "c", router);
  server.veth("wan", "s", router);
  client.ip("addr", "add", "10.91.1.2/24", "dev", "wan");
  router.ip("addr", "add", "10.91.1.1/24", "dev", "c");
  router.ip("addr", "add", "10.91.2.1/24", "dev", "s");
  server.ip("addr", "add", `${SERVER_IP}/24`, "dev", "wan");
  client.ip("route", "add", "default", "via", "10.91.1.1");
  server.ip("route", "add", "default", "via", "10.91.2.1");
  router.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
  return { client, router, server, folder: Deno.makeTempDirSync({ prefix: "phantom-peers-" }) };
}

function spawn(where: Namespace, program: string, ...args: string[]): Deno.ChildProcess {
  return where.command(program, args, { stdin: "null", stdout: "null", stderr: "null" }).spawn();
}

/** CPU seconds that a process (and its threads) has used. */
function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / HERTZ;
}

async function iperf(net: Net, host: string, port: string, load: Load): Promise<number> {
  const output = await net.client.command("iperf3", [
    ...["-c", host, "-p", port, "-t", String(seconds), "-P", String(load.streams), "-J"],
    ...(load.isDown ? ["-R"] : []),
  ], { stdin: "null" }).output();
  const text = new TextDecoder().decode(output.stdout);
  const report = JSON.parse(text) as {
    end?: { sum_received?: { bits_per_second: number } };
    error?: string;
  };
  const rate = report.end?.sum_received?.bits_per_second;
  if (rate === undefined) throw new Error(`iperf3: ${report.error ?? "no result"}`);
  return rate / 1e9;
}

const direct: Contender = {
  name: "direct",
  needs: [],
  start: () => Promise.resolve({ host: SERVER_IP, port: IPERF_PORT, processes: [] }),
};

const phantom: Contender = {
  name: "phantom udp",
  needs: [],
  async start({ client, server, folder }) {
    const psk = crypto.getRandomValues(new Uint8Array(32)).toBase64();
    const rate = "hysteria2: {enabled: false}\n";
    Deno.writeTextFileSync(
      `${folder}/server.yaml`,
      `listen: ":54321"\npsk: ${psk}\nstate_dir: ${folder}\nebpf: {enabled: false}\n${rate}` +
        'workers: 1\nrules: [{cidr: ["127.0.0.0/8"], outbound: direct}]\n',
      { mode: 0o600 },
    );
    Deno.writeTextFileSync(
      `${folder}/client.yaml`,
      `server: "${SERVER_IP}:54321"\npsk: ${psk}\n` +
        `forwards: [{listen: "127.0.0.1:15201", target: "127.0.0.1:${IPERF_PORT}"}]\n`,
      { mode: 0o600 },
    );
    const processes = [
      spawn(server, executable, "run", "-c", `${folder}/server.yaml`),
      spawn(client, executable, "client", "-c", `${folder}/client.yaml`),
    ];
    await sleep(SETTLE_MS);
    return { host: "127.0.0.1", port: "15201", processes };
  },
};

const shadowsocks: Contender = {
  name: "shadowsocks-libev",
  needs: ["ss-server", "ss-tunnel"],
  async start({ client, server }) {
    const crypt = ["-k", "benchmark", "-m", "chacha20-ietf-poly1305"];
    const processes = [
      spawn(server, "ss-server", "-s", SERVER_IP, "-p", "8388", ...crypt),
      spawn(
        ...[client, "ss-tunnel", "-s", SERVER_IP, "-p", "8388", "-l", "15202"] as const,
        ...["-L", `127.0.0.1:${IPERF_PORT}`],
        ...crypt,
      ),
    ];
    await sleep(SETTLE_MS);
    return { host: "127.0.0.1", port: "15202", processes };
  },
};

const kcptun: Contender = {
  name: "kcptun fast3",
  needs: ["kcptun-server", "kcptun-client"],
  async start({ client, server }) {
    const tuned = ["-mode", "fast3", "-key", "benchmark", "-sndwnd", "8192", "-rcvwnd", "8192"];
    const processes = [
      spawn(server, "kcptun-server", "-t", `127.0.0.1:${IPERF_PORT}`, "-l", ":29900", ...tuned),
      spawn(client, "kcptun-client", "-r", `${SERVER_IP}:29900`, "-l", ":15203", ...tuned),
    ];
    await sleep(SETTLE_MS);
    return { host: "127.0.0.1", port: "15203", processes };
  },
};

const wireguard: Contender = {
  name: "wireguard-go",
  needs: ["wireguard-go", "wg"],
  async start({ client, server, folder }) {
    const keys = ["client", "server"].map((side) => {
      const key = run("wg", "genkey").trim();
      Deno.writeTextFileSync(`${folder}/${side}.key`, key, { mode: 0o600 });
      return run("sh", "-c", `wg pubkey < ${folder}/${side}.key`).trim();
    });
    const processes = [
      spawn(server, "wireguard-go", "-f", "wgs"),
      spawn(client, "wireguard-go", "-f", "wgc"),
    ];
    await sleep(SETTLE_MS);
    const peer = (key: string, ip: string) => ["peer", key, "allowed-ips", `${ip}/32`];
    const listen = ["listen-port", "51820", "private-key"];
    server.run(
      "wg",
      "set",
      "wgs",
      ...listen,
      `${folder}/server.key`,
      ...peer(keys[0]!, "10.99.0.1"),
    );
    client.run(
      ...["wg", "set", "wgc", "private-key", `${folder}/client.key`] as const,
      ...peer(keys[1]!, "10.99.0.2"),
      ...["endpoint", `${SERVER_IP}:51820`],
    );
    for (const [namespace, device, ip] of [[server, "wgs", 2], [client, "wgc", 1]] as const) {
      namespace.ip("addr", "add", `10.99.0.${ip}/24`, "dev", device);
      namespace.ip("link", "set", device, "up");
    }
    await sleep(SETTLE_MS);
    return { host: "10.99.0.2", port: IPERF_PORT, processes };
  },
};

async function measure(net: Net, contender: Contender): Promise<Figure[]> {
  const { host, port, processes } = await contender.start(net);
  try {
    const figures: Figure[] = [];
    for (const load of LOADS) {
      const before = processes.map(({ pid }) => cpuSeconds(pid));
      const rate = await iperf(net, host, port, load);
      const cpu = processes.reduce((sum, { pid }, i) => sum + cpuSeconds(pid) - before[i]!, 0);
      const { streams, isDown } = load;
      const name = `${contender.name}, ${streams} stream${streams > 1 ? "s" : ""} ` +
        (isDown ? "down" : "up");
      figures.push({ name, value: rate, unit: "Gbit/s" });
      if (processes.length === 0) continue;
      figures.push({ name: "", value: cpu / (rate * seconds / 8), unit: "CPU s/GB" });
    }
    return figures;
  } finally {
    for (const child of processes) {
      try {
        child.kill("SIGTERM");
      } catch { /* it has ended by itself */ }
    }
    await Promise.all(processes.map((child) => child.status));
  }
}

async function main(): Promise<void> {
  const net = topology();
  const server = spawn(net.server, "iperf3", "-s", "-p", IPERF_PORT);
  await sleep(500);
  const figures: Figure[] = [];
  try {
    for (const contender of [direct, phantom, shadowsocks, wireguard, kcptun]) {
      if (!contender.needs.every((one) => isInstalled(one))) continue;
      if (word("only") !== "" && !contender.name.startsWith(word("only"))) continue;
      try {
        figures.push(...await measure(net, contender));
      } catch (error) {
        console.error(`${contender.name}: ${error instanceof Error ? error.message : error}`);
      }
    }
  } finally {
    server.kill("SIGTERM");
    await server.status;
    for (const namespace of [net.client, net.router, net.server]) namespace[Symbol.dispose]();
    Deno.removeSync(net.folder, { recursive: true });
  }
  printFigures(figures);
}

await main();

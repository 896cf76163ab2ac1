/**
 * What the benchmarks of the tunnel measure in: a client's, a router's and a server's namespace,
 * the programs under test in them, and all of it gone again at the end.
 *
 *     client ns ── wan ─ c ── router ns ── s ─ wan ── server ns
 */

import { compiled } from "../fixtures/compiled.ts";
import { repository } from "../fixtures/libraries.ts";
import { Namespace, run } from "../fixtures/netns.ts";
import { piped, Running } from "../fixtures/process.ts";

export const SERVER_IP = "10.91.2.2";
/** The build that is measured: PHANTOM_EXECUTABLE, or dist/phantom. */
const RELOAD_MS = 300;
export const executable = Deno.env.get("PHANTOM_EXECUTABLE") ?? `${repository}dist/phantom`;
export const TUNNEL_PORT = 54_321;
const HERTZ = 100;
const LISTEN_MS = 10_000;

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What follows `--NAME`, or else nothing. */
export function word(name: string): string {
  const at = Deno.args.indexOf(`--${name}`);
  return at < 0 ? "" : Deno.args[at + 1] ?? "";
}

/** The number that follows `--NAME`. */
export function option(name: string, otherwise: number): number {
  const text = word(name);
  return text === "" ? otherwise : Number(text);
}

export function isInstalled(...programs: string[]): boolean {
  return programs.every((program) =>
    new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" })
      .outputSync().success
  );
}

/** Delay and the rest of a line; see tests/fixtures/line.c. */
export interface LineQuality {
  readonly delayMs: number;
  readonly mbps?: number;
  readonly queueBytes?: number;
  /** Share of frames lost, each way. */
  readonly loss?: number;
  readonly seed?: number;
}

export class BenchNet implements AsyncDisposable {
  readonly client = new Namespace();
  readonly router = new Namespace();
  readonly server = new Namespace();
  readonly folder = Deno.makeTempDirSync({ prefix: "phantom-bench-" });
  readonly psk = crypto.getRandomValues(new Uint8Array(32)).toBase64();
  readonly #running: Running[] = [];
  #line: Running | undefined;
  #files = 0;
  #served: { path: string; settings: Readonly<Record<string, unknown>> } | undefined;

  /** `bridged`: one network, whose frames a line carries; else the router routes between two. */
  constructor(bridged = false) {
    const { client, router, server } = this;
    client.veth("wan", "c", router);
    server.veth("wan", "s", router);
    client.ip("addr", "add", bridged ? "10.91.2.1/24" : "10.91.1.2/24", "dev", "wan");
    server.ip("addr", "add", `${SERVER_IP}/24`, "dev", "wan");
    if (bridged) {
      this.#noOffloads();
      return;
    }
    router.ip("addr", "add", "10.91.1.1/24", "dev", "c");
    router.ip("addr", "add", "10.91.2.1/24", "dev", "s");
    client.ip("route", "add", "default", "via", "10.91.1.1");
    server.ip("route", "add", "default", "via", "10.91.2.1");
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
  }

  /** A line loses and delays single frames, not what the kernel bundles. */
  #noOffloads(): void {
    const names = ["tx", "tso", "gso", "gro", "tx-udp-segmentation"].flatMap((one) => [one, "off"]);
    for (const [where, device] of [[this.client, "wan"], [this.server, "wan"]] as const) {
      where.run("ethtool", "-K", device, ...names);
    }
    for (const device of ["c", "s"]) this.router.run("ethtool", "-K", device, ...names);
    for (const one of [this.client, this.server]) {
      // What a path of this rate and length needs, for plain TCP too.
      one.run("sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 16777216");
      one.run("sysctl", "-qw", "net.ipv4.tcp_wmem=4096 65536 16777216");
      // What an earlier measurement learnt of the path would be this one's start.
      one.run("sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1");
    }
  }

  /** Puts a line between the two, in place of an earlier one. */
  async setLine(quality: LineQuality): Promise<void> {
    const { delayMs, mbps = 0, queueBytes = 0, loss = 0, seed = 1 } = quality;
    await this.endLine();
    const args = [delayMs * 1000, mbps * 1e6, queueBytes, Math.round(loss * 1e6), seed].map(String);
    const command = this.router.command(compiled("line"), ["c", "s", ...args], piped);
    this.#line = new Running(command);
    await this.#line.until("line ready");
  }

  /** Takes the line away; what it counted. */
  async endLine(): Promise<string> {
    if (this.#line === undefined) return "";
    await this.#line.kill("SIGTERM");
    const { stdout, stderr } = this.#line;
    this.#line = undefined;
    if (stderr !== "") throw new Error(`line: ${stderr}`);
    return stdout.split("\n")[1] ?? "";
  }

  /** A program that runs until `stop` or the end; with `until`, once it has said so. */
  async start(where: Namespace, program: string, args: string[], until = ""): Promise<Running> {
    const running = new Running(where.command(program, args, { ...piped, cwd: this.folder }));
    this.#running.push(running);
    if (until !== "") await running.until(until);
    return running;
  }

  /** Runs a program to its end; what it printed. Throws when it fails. */
  async output(where: Namespace, program: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await where.command(program, args, { ...piped }).output();
    const [text, problem] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (code === 0) return text!;
    throw new Error(`${program} ${args.join(" ")} failed (${code}): ${problem} ${text}`);
  }

  async stop(running: Running): Promise<void> {
    await running.kill("SIGTERM");
    this.#running.splice(this.#running.indexOf(running), 1);
  }

  file(settings: Readonly<Record<string, unknown>>): string {
    const path = `${this.folder}/${this.#files++}.yaml`;
    Deno.writeTextFileSync(path, JSON.stringify(settings), { mode: 0o600 });
    return path;
  }

  /** `phantom run`: one worker, no BPF, rates not stated, targets on its own machine. */
  async startServer(given: Readonly<Record<string, unknown>> = {}): Promise<Running> {
    const settings = {
      ...{ listen: `:${TUNNEL_PORT}`, psk: this.psk, workers: 1 },
      ...{ state_dir: `${this.folder}/state`, ebpf: { enabled: false } },
      hysteria2: { enabled: false },
      rules: [{ cidr: ["127.0.0.0/8"], outbound: "direct" }],
      ...given,
    };
    const path = this.file(settings);
    this.#served = { path, settings };
    return await this.start(this.server, executable, ["run", "-c", path], " ready ");
  }

  /** The log of the server that was started last is at this level from now on. */
  async logAt(level: string, server: Running): Promise<void> {
    const { path, settings } = this.#served!;
    const text = JSON.stringify({ ...settings, log_level: level });
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    server.signal("SIGHUP");
    await sleep(RELOAD_MS);
  }

  /** `phantom client` with a TCP forward of each [port here, port at the server]. */
  startClient(
    forwards: readonly (readonly [number, number])[],
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<Running> {
    const path = this.file({
      ...{ server: `${SERVER_IP}:${TUNNEL_PORT}`, psk: this.psk },
      forwards: forwards.map(([from, to]) => ({
        listen: `127.0.0.1:${from}`,
        target: `127.0.0.1:${to}`,
        network: "both",
      })),
      ...settings,
    });
    return this.start(this.client, executable, ["client", "-c", path], " ready ");
  }

  async startShadowsocks(from: number, to: number): Promise<Running[]> {
    const crypt = ["-k", "benchmark", "-m", "chacha20-ietf-poly1305"];
    const host = ["-s", SERVER_IP, "-p", "8388"];
    const server = await this.start(this.server, "ss-server", [...host, ...crypt]);
    const there = ["-l", String(from), "-L", `127.0.0.1:${to}`];
    const client = await this.start(this.client, "ss-tunnel", [...host, ...there, ...crypt]);
    await this.listens(this.client, from);
    return [server, client];
  }

  async startKcptun(from: number, to: number): Promise<Running[]> {
    const tuned = ["-mode", "fast3", "-key", "benchmark", "-sndwnd", "8192", "-rcvwnd", "8192"];
    const server = ["-t", `127.0.0.1:${to}`, "-l", ":29900", ...tuned];
    const client = ["-r", `${SERVER_IP}:29900`, "-l", `:${from}`, ...tuned];
    const both = [
      await this.start(this.server, "kcptun-server", server),
      await this.start(this.client, "kcptun-client", client),
    ];
    await this.listens(this.client, from);
    return both;
  }

  /** Waits until a TCP port is listened on. */
  async listens(where: Namespace, port: number): Promise<void> {
    const hex = port.toString(16).toUpperCase().padStart(4, "0");
    for (let waited = 0; waited < LISTEN_MS; waited += 20) {
      const tables = where.run("cat", "/proc/net/tcp", "/proc/net/tcp6");
      if (new RegExp(`:${hex} 0+:0000 0A`).test(tables)) return;
      await sleep(20);
    }
    throw new Error(`Nobody listens on port ${port}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of [...this.#running]) await one[Symbol.asyncDispose]();
    if (this.#line !== undefined) await this.#line[Symbol.asyncDispose]();
    for (const one of [this.client, this.router, this.server]) one[Symbol.dispose]();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** CPU seconds that a process (and its threads) has used. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / HERTZ;
}

/** Resident bytes of a process. */
export function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1];
  return Number(kib) * 1024;
}

export function openFiles(pid: number): number {
  return Array.from(Deno.readDirSync(`/proc/${pid}/fd`)).length;
}

/** The q-th part of sorted numbers. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

/** Load that others put on the machine: a figure is only as good as this is low. */
export function loadNow(): number {
  return Number(run("cat", "/proc/loadavg").split(" ")[0]);
}

/**
 * The relay by the program itself, in XDP and in user space: a client, two relays and two backends
 * on one network.
 *
 *     client .1 ──┐          ┌── backend a .3
 *     relay  .2 ──┼─ switch ─┼── backend b .4
 *                 └── relay2 .5
 *
 * What a relay sends from XDP has no checksum left to hardware: the backends' kernels check it.
 */

import assert from "node:assert/strict";
import type { Answer, ClientReport } from "../fixtures/relay_ends.ts";
import { freshPinPath, libraries, repository } from "../fixtures/libraries.ts";
import { Namespace } from "../fixtures/netns.ts";
import { outcomeOf, piped, Running } from "../fixtures/process.ts";

libraries();

const PORT = 40_443;
const BACKEND_PORT = 7000;
const HOSTS = ["client", "relay", "a", "b", "relay2"] as const;
type Host = typeof HOSTS[number];

class RelayNet implements AsyncDisposable {
  readonly #switch = new Namespace();
  readonly hosts: Readonly<Record<Host, Namespace>>;
  readonly #running: Running[] = [];
  readonly #pins: string[] = [];
  readonly folder = Deno.makeTempDirSync({ prefix: "phantom-relay-" });
  readonly psk = crypto.getRandomValues(new Uint8Array(32)).toBase64();

  constructor() {
    this.#switch.ip("link", "add", "switch", "type", "bridge");
    this.#switch.ip("link", "set", "switch", "up");
    const hosts = HOSTS.map((name, index) => {
      const host = new Namespace();
      host.veth("wan", name, this.#switch);
      this.#switch.ip("link", "set", "dev", name, "master", "switch");
      // Frames of XDP are taken by NAPI alone, which GRO brings.
      this.#switch.run("ethtool", "-K", name, "gro", "on");
      host.ip("addr", "add", `10.93.0.${index + 1}/24`, "dev", "wan");
      host.ip("-6", "addr", "add", `fd93::${index + 1}/64`, "dev", "wan", "nodad");
      return [name, host] as const;
    });
    this.hosts = Object.fromEntries(hosts) as Record<Host, Namespace>;
  }

  address(host: Host, family: 4 | 6): string {
    const number = HOSTS.indexOf(host) + 1;
    return family === 4 ? `10.93.0.${number}` : `fd93::${number}`;
  }

  /** "10.93.0.3:7000" */
  place(host: Host, family: 4 | 6, port: number): string {
    const ip = this.address(host, family);
    return family === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
  }

  async backend(host: Host, family: 4 | 6): Promise<Running> {
    const args = ["backend", host, this.address(host, family), String(BACKEND_PORT)];
    return await this.#start(host, "ready", "tests/fixtures/relay_ends.ts", ...args);
  }

  /** `phantom run` as a relay. */
  async relay(host: Host, settings: Readonly<Record<string, unknown>>): Promise<Running> {
    const pins = freshPinPath();
    this.#pins.push(pins);
    const path = `${this.folder}/${host}-${this.#pins.length}.yaml`;
    const whole = {
      ...{ listen: ":54321", psk: this.psk, workers: 1 },
      ...{ state_dir: `${this.folder}/${host}`, log_level: "debug" },
      ebpf: { interface: "wan", pin_path: pins },
      ...settings,
    };
    Deno.writeTextFileSync(path, JSON.stringify(whole), { mode: 0o600 });
    return await this.#start(host, " ready ", "main.ts", "run", "-c", path);
  }

  async client(to: string, numbers: ClientNumbers): Promise<ClientReport> {
    const { port = PORT, flows = 1, count = 1, bytes = 32, gapMs = 2 } = numbers;
    const args = ["client", to, ...[port, flows, count, bytes, gapMs].map(String)];
    const program = ["run", "-A", `${repository}tests/fixtures/relay_ends.ts`, ...args];
    const command = this.hosts.client.command(Deno.execPath(), program, piped);
    const { code, stdout, stderr } = await outcomeOf(command);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  }

  /** Datagrams whose checksum was wrong, of both families. */
  wrongSums(host: Host): number {
    const read = (path: string) => this.hosts[host].run("cat", path);
    const [names = [], values = []] = read("/proc/net/snmp").split("\n")
      .filter((line) => line.startsWith("Udp:")).map((line) => line.split(" "));
    const v6 = /^Udp6InCsumErrors\s+(\d+)/m.exec(read("/proc/net/snmp6"))?.[1];
    return Number(values[names.indexOf("InCsumErrors")]) + Number(v6);
  }

  async #start(host: Host, until: string, file: string, ...args: string[]): Promise<Running> {
    const program = ["run", "-A", `${repository}${file}`, ...args];
    const options = { ...piped, cwd: this.folder };
    const running = new Running(this.hosts[host].command(Deno.execPath(), program, options));
    this.#running.push(running);
    await running.until(until);
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#running) await one[Symbol.asyncDispose]();
    for (const host of Object.values(this.hosts)) host[Symbol.dispose]();
    this.#switch[Symbol.dispose]();
    for (const path of [...this.#pins, this.folder]) {
      try {
        Deno.removeSync(path, { recursive: true });
      } catch (error) {
        // A relay without XDP has pinned nothing.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
}

interface ClientNumbers {
  readonly port?: number;
  readonly flows?: number;
  readonly count?: number;
  readonly bytes?: number;
  readonly gapMs?: number;
}

/** Every datagram came back, whole and once. */
function assertWhole({ sent, answers }: ClientReport, bytes: number): void {
  assert.equal(answers.length, sent);
  const once = new Set(answers.map(({ flow, number }) => `${flow} ${number}`));
  assert.equal(once.size, sent);
  assert.ok(answers.every((answer) => answer.bytes === bytes), "a datagram came back changed");
}

function backendsOf(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ backend }) => backend))].toSorted();
}

for (const level of ["XDP", "user space"] as const) {
  const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };
  for (const family of [4, 6] as const) {
    Deno.test(`the relay carries IPv${family} to two backends in ${level}`, async (t) => {
      await using net = new RelayNet();
      await net.backend("a", family);
      await net.backend("b", family);
      const to = (["a", "b"] as const).map((host) => ({
        address: net.place(host, family, BACKEND_PORT),
      }));
      const relay = await net.relay("relay", {
        ...ebpf,
        relays: [{ listen: `${PORT}-${PORT + 1}`, to, affinity: "port" }],
      });
      const log = await relay.until("relay runs");
      assert.ok(log.includes(level === "XDP" ? "native XDP" : "user space"), log);
      const there = net.address("relay", family);
      for (const offload of ["on", "off"]) {
        await t.step(`with the client's checksum offload ${offload}`, async () => {
          net.hosts.client.run("ethtool", "-K", "wan", "tx", offload);
          for (const bytes of [4, 33, 1200]) {
            const report = await net.client(there, { flows: 16, count: 5, bytes, port: PORT + 1 });
            assertWhole(report, bytes);
            assert.deepEqual(backendsOf(report.answers), ["a", "b"]);
            for (const answer of report.answers) {
              assert.ok(answer.seen.startsWith(there), answer.seen);
            }
            for (let flow = 0; flow < 16; flow++) {
              const own = report.answers.filter((one) => one.flow === flow);
              assert.equal(backendsOf(own).length, 1, "a flow changed its backend");
            }
          }
        });
      }
      for (const host of HOSTS) assert.equal(net.wrongSums(host), 0, host);
    });
  }
}

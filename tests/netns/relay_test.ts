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
import { attachXdp, type BpfLink } from "../../ffi/link.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/object.ts";
import type { Answer, ClientReport } from "../fixtures/relay_ends.ts";
import { bpfObject, freshPinPath, libraries, repository } from "../fixtures/libraries.ts";
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
  readonly #passing = new BpfObject(libraries(), "bench", bpfObject("bench")).load();
  readonly #links: BpfLink[] = [];
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
      this.#takeFrames(name);
      host.ip("addr", "add", `10.93.0.${index + 1}/24`, "dev", "wan");
      host.ip("-6", "addr", "add", `fd93::${index + 1}/64`, "dev", "wan", "nodad");
      return [name, host] as const;
    });
    this.hosts = Object.fromEntries(hosts) as Record<Host, Namespace>;
  }

  /**
   * Frames from XDP are taken by NAPI alone. GRO brings it too, but then a veth never tells the
   * other end of what XDP_TX has put there (veth_xdp_flush asks for a program).
   */
  #takeFrames(device: string): void {
    this.#links.push(this.#switch.enter(() => {
      const index = libraries().native.symbols.ph_ifindex(cString(device));
      return attachXdp(libraries(), this.#passing.program("pass"), index, "native");
    }));
  }

  get pins(): string {
    return this.#pins[0]!;
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
    for (const one of [...this.#links, this.#passing]) one.close();
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

/** What each of the backends got, as a share. */
function shareOf(answers: readonly Answer[], name: string): number {
  return answers.filter(({ backend }) => backend === name).length / answers.length;
}

function backendsOf(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ backend }) => backend))].toSorted();
}

/** What went through XDP is told by `phantom status`. */
async function checkStatus(net: RelayNet): Promise<void> {
  const args = ["run", "-A", `${repository}main.ts`, "status", "--json", "--pin-path", net.pins];
  const { stdout } = await outcomeOf(net.hosts.relay.command(Deno.execPath(), args, piped));
  const { relay } = JSON.parse(stdout);
  assert.equal(relay.backends.length, 2);
  for (const { state, flows, packetsOut, packetsIn } of relay.backends) {
    assert.equal(state, "up");
    assert.ok(flows > 10 && packetsOut > 50 && packetsIn > 50, stdout);
  }
  assert.ok(relay.counts.completed > 0, "no client had left its checksums to hardware");
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
      if (level === "XDP") await checkStatus(net);
    });
  }
}

Deno.test("two relays in a row carry datagrams, and name the last one to the backend", async () => {
  for (const levels of [["XDP", "XDP"], ["XDP", "user space"]] as const) {
    await using net = new RelayNet();
    await net.backend("a", 4);
    const hop = (level: string, to: string) => ({
      ...(level === "XDP" ? {} : { ebpf: { enabled: false } }),
      relays: [{ listen: `${PORT}`, to: [{ address: to }] }],
    });
    await net.relay("relay2", hop(levels[1], net.place("a", 4, BACKEND_PORT)));
    await net.relay("relay", hop(levels[0], net.place("relay2", 4, PORT)));
    const report = await net.client(net.address("relay", 4), { flows: 8, count: 10, bytes: 700 });
    assertWhole(report, 700);
    const last = net.address("relay2", 4);
    assert.ok(report.answers.every(({ seen }) => seen.startsWith(`${last} `)), `${levels}`);
  }
});

for (const level of ["XDP", "user space"] as const) {
  const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };

  Deno.test(`a backend that fails loses its clients to the other, in ${level}`, async () => {
    await using net = new RelayNet();
    const a = await net.backend("a", 4);
    await net.backend("b", 4);
    const to = (["a", "b"] as const).map((host) => ({
      address: net.place(host, 4, BACKEND_PORT),
    }));
    const check = { check: "udp", check_interval: "100ms", check_timeout: "800ms" };
    const counts = { check_fall: 2, check_rise: 2 };
    const relay = await net.relay("relay", {
      ...ebpf,
      relays: [{ listen: `${PORT}`, to, affinity: "port", ...check, ...counts }],
    });
    // The same flows go on while the backend fails.
    const going = net.client(net.address("relay", 4), { flows: 12, count: 60, gapMs: 60 });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await a.kill("SIGKILL");
    await relay.until("is down");
    const { answers } = await going;
    for (let flow = 0; flow < 12; flow++) {
      const own = answers.filter((one) => one.flow === flow).toSorted((x, y) =>
        x.number - y.number
      );
      assert.equal(own.at(-1)?.backend, "b", `flow ${flow} did not move`);
      assert.equal(own.at(-1)?.number, 59);
    }
    assert.ok(answers.some(({ backend }) => backend === "a"), "a had no clients");
    await net.backend("a", 4);
    await relay.until("is up again");
    const again = await net.client(net.address("relay", 4), { flows: 24, count: 1 });
    assert.deepEqual(backendsOf(again.answers), ["a", "b"]);
  });

  Deno.test(`clients go by weight, none to a backend that drains, in ${level}`, async () => {
    await using net = new RelayNet();
    await net.backend("a", 4);
    await net.backend("b", 4);
    const [a, b] = (["a", "b"] as const).map((host) => net.place(host, 4, BACKEND_PORT));
    await net.relay("relay", {
      ...ebpf,
      relays: [
        {
          ...{ listen: `${PORT}`, affinity: "port" },
          to: [{ address: a, weight: 3 }, { address: b, weight: 1 }],
        },
        {
          ...{ listen: `${PORT + 10}`, affinity: "port" },
          to: [{ address: a, drain: true }, { address: b }],
        },
        { listen: `${PORT + 20}`, to: [{ address: a }, { address: b }] },
      ],
    });
    const there = net.address("relay", 4);
    const weighted = await net.client(there, { flows: 120, count: 1, gapMs: 20 });
    const share = shareOf(weighted.answers, "a");
    assert.ok(share > 0.6 && share < 0.9, `a has ${share} of the clients`);
    const draining = await net.client(there, { port: PORT + 10, flows: 20, count: 1 });
    assert.deepEqual(backendsOf(draining.answers), ["b"]);
    const bound = await net.client(there, { port: PORT + 20, flows: 20, count: 1 });
    assert.equal(backendsOf(bound.answers).length, 1, "an address has one backend");
  });
}

for (const level of ["XDP", "user space"] as const) {
  Deno.test(`a tunnel goes through a relay that takes only its kind, in ${level}`, async () => {
    await using net = new RelayNet();
    const ebpf = level === "XDP" ? {} : { ebpf: { enabled: false } };
    await net.backend("b", 4);
    await net.relay("a", { ebpf: { enabled: false } });
    await net.relay("relay", {
      ...ebpf,
      relays: [
        { listen: `${PORT}`, only: "phantom", to: [{ address: net.place("a", 4, 54_321) }] },
        {
          listen: `${PORT + 1}`,
          only: "phantom",
          to: [{ address: net.place("b", 4, BACKEND_PORT) }],
        },
      ],
    });
    const server = net.place("relay", 4, PORT);
    const path = `${net.folder}/client.yaml`;
    Deno.writeTextFileSync(path, JSON.stringify({ server, psk: net.psk }), { mode: 0o600 });
    const args = ["run", "-A", `${repository}main.ts`, "ping", "-c", path, "--json", "-n", "5"];
    const command = net.hosts.client.command(Deno.execPath(), args, piped);
    const { code, stdout, stderr } = await outcomeOf(command);
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).answered, 5, stdout);
    // What is none of ours gets nowhere.
    const { answers } = await net.client(net.address("relay", 4), { port: PORT + 1, count: 5 });
    assert.equal(answers.length, 0);
  });
}

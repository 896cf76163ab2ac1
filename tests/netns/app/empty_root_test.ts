/**
 * dist/phantom in an empty root: a folder with the executable, the loader and the C library, and
 * nothing else. No libbpf, libelf or libz, no /etc, no /tmp, no shell. /proc and /sys are mounted;
 * the BPF file system is not, the program does that itself.
 *
 * The steps follow on each other: they tell the life of one installation.
 */

import assert from "node:assert/strict";
import { TYPES_MAP } from "../../../src/kernel/map_store.ts";
import {
  existing,
  icmpReceived,
  type PinnedIds,
  pinnedIds,
  remaining,
  Sender,
} from "../../fixtures/kernel.ts";
import { buildExecutable } from "../../fixtures/executable.ts";
import { libraries, repository } from "../../fixtures/libraries.ts";
import { Namespace, run } from "../../fixtures/netns.ts";
import { type Outcome, outcomeOf, piped, Running } from "../../fixtures/process.ts";
import { egressPinned, OURS, packetsOf, packetsUntil, type Status } from "../../fixtures/server.ts";

/**
 * All that is there to be linked against. libgcc_s is gcc's run-time library: Deno's own runtime
 * names it, for unwinding Rust's panics. It has no configuration and comes with every glibc system.
 */
const ALLOWED = /^(ld-linux-.*|lib(c|m|dl|pthread|rt)\.so\.\d+|libgcc_s\.so\.1)$/;
const SERVER_IP = "198.51.100.1";
const PORT = 54321;

/** The mounted root, and a process that keeps its mount namespace (and so its pins) alive. */
class EmptyRoot implements AsyncDisposable {
  readonly namespace = new Namespace();
  readonly client = new Namespace();
  readonly #folder = Deno.makeTempDirSync({ prefix: "phantom-root-" });
  #holder: Running | undefined;

  constructor() {
    this.connect("va", "vb", "198.51.100");
  }

  connect(name: string, peerName: string, net: string): void {
    this.namespace.veth(name, peerName, this.client);
    this.namespace.ip("addr", "add", `${net}.1/24`, "dev", name);
    this.client.ip("addr", "add", `${net}.2/24`, "dev", peerName);
  }

  /** Copies what the executable names, mounts. */
  async open(): Promise<void> {
    const executable = `${repository}dist/phantom`;
    Deno.copyFileSync(executable, `${this.#folder}/phantom`);
    for (const path of neededBy(executable)) {
      Deno.mkdirSync(this.#folder + path.slice(0, path.lastIndexOf("/")), { recursive: true });
      Deno.copyFileSync(path, this.#folder + path);
    }
    for (const name of ["proc", "sys"]) Deno.mkdirSync(`${this.#folder}/${name}`);
    const mounting = 'mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; ' +
      "echo mounted; exec sleep infinity";
    const shell = ["-m", "bash", "-e", "-c", mounting, "-", this.#folder];
    this.#holder = new Running(this.namespace.command("unshare", shell, piped));
    await this.#holder.until("mounted");
  }

  /** `phantom ARGS` inside, not yet started. */
  command(...args: string[]): Deno.Command {
    const inside = [`--target=${this.#holder!.pid}`, "--mount", "--net"];
    return new Deno.Command("nsenter", {
      ...piped,
      // Nothing of the outside, not even PATH.
      args: [...inside, "env", "-i", "/usr/sbin/chroot", this.#folder, "/phantom", ...args],
    });
  }

  /** To its end. */
  phantom(...args: string[]): Promise<Outcome> {
    return outcomeOf(this.command(...args));
  }

  async status(...args: string[]): Promise<Status> {
    const { stdout, stderr } = await this.phantom("status", "--json", ...args);
    assert.notEqual(stdout, "", stderr);
    return JSON.parse(stdout);
  }

  write(name: string, text: string): void {
    Deno.writeTextFileSync(this.#folder + name, text, { mode: 0o600 });
  }

  /** A path inside, as this process finds it. */
  path(inside: string): string {
    return `/proc/${this.#holder!.pid}/root${this.#folder}${inside}`;
  }

  /** All that is in the root beside the mounts. */
  files(): string[] {
    return run("find", this.#folder, "-type", "f", "-printf", "%P\n").trim().split("\n").sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With it go its mounts, with them the pins, with them what the pins held.
    await this.#holder?.[Symbol.asyncDispose]();
    this.namespace[Symbol.dispose]();
    this.client[Symbol.dispose]();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** The loader and the libraries that the executable's ELF names, by path. */
function neededBy(executable: string): string[] {
  const paths = [...run("ldd", executable).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
  for (const path of paths) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    assert.match(name, ALLOWED, `${executable} needs ${path}`);
  }
  return paths;
}

/** What a server keeps in its state folder. */
const STATE = ["var/lib/phantom/state-default/secret", "var/lib/phantom/state-edge-2/secret"];

function configText(key: string, more: Record<string, unknown> = {}): string {
  const ebpf = { interface: "va", xdp_mode: "native" };
  return JSON.stringify({ listen: `:${PORT}`, psk: key, log_level: "debug", ebpf, ...more });
}

const BAD_CONFIG = `listen: ":99999"
psk: "your-32-byte-psk-here"
switcher:
  check_intervall_ms: 1000
  loss_threshold: 3
`;

// Before the tests: a library stays open, which a test may not leave behind.
libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("empty_root_test.ts: skipped, chroot and namespaces need root");

Deno.test({
  name: "the executable lives in an empty root",
  ignore,
  async fn(t) {
    buildExecutable();
    await using root = new EmptyRoot();
    await root.open();
    const start = async (config = "/good.yaml") => {
      const server = new Running(root.command("run", "-c", config));
      try {
        await server.until(" ready ");
        await egressPinned(root.path("/sys/fs/bpf/phantom"));
        return server;
      } catch (error) {
        await server[Symbol.asyncDispose]();
        throw error;
      }
    };
    const step = async (name: string, act: () => Promise<void> | void) => {
      assert.ok(await t.step(name, act), `${name}: the steps behind it build on it`);
    };
    let sent = 0;
    /** Junk of every size; the program must have counted exactly what was ever sent. */
    const sendJunk = async (sender: Sender, count: number) => {
      const junk = Array.from({ length: count }, (_, i) => new Uint8Array(i * 7 % 1400).fill(i));
      sender.send(SERVER_IP, PORT, junk);
      sent += count;
      assert.equal(await packetsUntil(sent, OURS, () => root.status()), sent);
    };
    const pins = () => pinnedIds(root.path("/sys/fs/bpf/phantom/default"));
    const files = root.files();
    let ids: PinnedIds | undefined;
    let key = "";

    await step("version", async () => {
      const { code, stdout, stderr } = await root.phantom("version");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^phantom \d+\.\d+\.\d+, commit [0-9a-f]{12} of [\d-]{10}.* \(Deno /);
    });

    await step("keygen prints a key", async () => {
      const { code, stdout } = await root.phantom("keygen");
      assert.equal(code, 0);
      key = stdout.trim();
      assert.equal(Uint8Array.fromBase64(key).length, 32);
    });

    await step("doctor finds everything that is required", async () => {
      const { code, stdout, stderr } = await root.phantom("doctor", "--json");
      assert.equal(code, 0, stdout + stderr);
      const report = JSON.parse(stdout);
      assert.equal(report.ok, true);
      const byName = new Map<string, { have: string; required: boolean }>(
        report.findings.map((one: { name: string }) => [one.name, one]),
      );
      const required = [...byName.values()].filter((one) => one.required);
      assert.ok(required.length >= 5);
      assert.deepEqual(new Set(required.map(({ have }) => have)), new Set(["yes"]));
      assert.equal(byName.get("va")?.have, "yes");
      assert.equal(byName.get("BPF file system")?.have, "no");
    });

    await step("check takes a good configuration", async () => {
      root.write("/good.yaml", configText(key));
      const { code, stdout } = await root.phantom("check", "-c", "/good.yaml");
      assert.equal(code, 0, stdout);
      assert.match(stdout, /^\/good\.yaml: good\nxdp_phantom \(embedded\): loads/);
    });

    await step("check lists all problems of a bad one by line and column", async () => {
      root.write("/bad.yaml", BAD_CONFIG);
      const { code, stdout } = await root.phantom("check", "-c", "/bad.yaml");
      assert.equal(code, 3);
      for (
        const problem of [
          /^\/bad\.yaml:1:9: listen: .*99999/m,
          /^\/bad\.yaml:2:6: psk: .*`phantom keygen`/m,
          /^\/bad\.yaml:4:3: switcher\.check_intervall_ms: .*"check_interval_ms"/m,
          /^\/bad\.yaml:5:19: switcher\.loss_threshold: .*1 or less/m,
        ]
      ) assert.match(stdout, problem);
      const json = JSON.parse((await root.phantom("check", "--json", "-c", "/bad.yaml")).stdout);
      assert.equal(json.problems.length, 4);
    });

    using sender = new Sender(root.client);

    await step("run attaches in driver mode and counts exactly what is sent", async () => {
      await using server = await start();
      assert.match(
        await server.until("event=xdp_attached"),
        /interface=va mode=native swapped=false/,
      );
      assert.match(await server.until(" ready "), /listen=:54321 xdp="native XDP on va"/);
      const before = icmpReceived(root.client);
      await sendJunk(sender, 500);
      const status = await root.status();
      assert.equal(packetsOf(status, OURS), 500);
      assert.deepEqual(status.interfaces.map(({ mode }) => mode), ["native"]);
      // Silence: no answer by UDP, none by ICMP; but a port that is not ours still has one.
      assert.equal(sender.received(), 0);
      assert.equal(icmpReceived(root.client), before);
      sender.send(SERVER_IP, PORT + 1, [new Uint8Array(9)]);
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(icmpReceived(root.client), before + 1);
      assert.equal(packetsOf(await root.status(), OURS), 500);
      ids = pins();
      assert.equal(await server.kill("SIGKILL"), 137);
    });

    await step("a second start after kill -9 adopts the pins and swaps the program", async () => {
      await using server = await start();
      const line = await server.until("event=xdp_attached");
      assert.match(line, /swapped=true adopted=\d+/);
      const adopted = await server.until("event=maps_adopted");
      const now = pins();
      assert.deepEqual(now.maps, ids!.maps);
      assert.deepEqual(now.links, ids!.links);
      assert.notDeepEqual(now.programs, ids!.programs);
      const { maps: _, ...old } = ids!;
      assert.deepEqual(await remaining({ ...old, links: [], maps: {} }), []);
      for (const name of Object.keys(now.maps)) {
        assert.ok(name === TYPES_MAP || adopted.includes(name), name);
      }
      assert.equal(packetsOf(await root.status(), OURS), 500);
      await sendJunk(sender, 50);
      assert.equal(packetsOf(await root.status(), OURS), 550);
      ids = now;
    });

    await step("SIGTERM ends it with 0, and the program counts what it lets pass", async () => {
      await using server = await start();
      assert.equal(await server.kill("SIGTERM"), 0);
      assert.match(server.stderr, /stopping signal=SIGTERM /);
      ids = pins();
      await sendJunk(sender, 25);
      assert.equal(packetsOf(await root.status(), OURS), sent);
    });

    await step("an instance runs once; another one beside it", async () => {
      root.connect("wa", "wb", "203.0.113");
      await using _first = await start();
      ids = pins();
      const again = await root.phantom("run", "-c", "/good.yaml");
      assert.equal(again.code, 1);
      assert.match(again.stderr, /another phantom runs this instance: stop it, or give this one/);
      assert.deepEqual(pins(), ids);

      const ebpf = { interface: "wa", xdp_mode: "native" };
      root.write("/other.yaml", configText(key, { instance: "edge-2", listen: ":54322", ebpf }));
      await using second = await start("/other.yaml");
      assert.match(
        await second.until("event=xdp_attached"),
        /interface=wa mode=native swapped=false/,
      );
      using elsewhere = new Sender(root.client);
      elsewhere.send("203.0.113.1", 54322, Array(7).fill(new Uint8Array(30)));
      await sendJunk(sender, 5);
      const status = await root.status("--instance", "edge-2");
      assert.equal(packetsOf(status, OURS), 7);
      assert.equal(packetsOf(await root.status(), OURS), sent);
      assert.equal(elsewhere.received(), 0);
    });

    await step("unload leaves nothing", async () => {
      const other = pinnedIds(root.path("/sys/fs/bpf/phantom/edge-2"));
      const first = await root.phantom("unload");
      assert.equal(first.code, 0, first.stderr);
      assert.match(first.stdout, /unloaded \/sys\/fs\/bpf\/phantom\/default from va/);
      assert.deepEqual(await remaining(ids!), []);
      const count = Object.keys(other.maps).length + other.links.length + other.programs.length;
      assert.ok(count > 6 && existing(other).length === count);
      assert.equal((await root.phantom("unload", "--instance", "edge-2")).code, 0);
      assert.deepEqual(await remaining(other), []);
      // The mount is there still, with what the kernel itself puts into each.
      const left = [...Deno.readDirSync(root.path("/sys/fs/bpf"))].map(({ name }) => name);
      assert.deepEqual(left.filter((name) => !name.endsWith(".debug")), []);
      assert.doesNotMatch(root.namespace.ip("-d", "link"), /xdp/);
      assert.equal(root.namespace.run("tc", "qdisc", "show").includes("clsact"), false);
      const again = await root.phantom("unload");
      assert.deepEqual([again.code, again.stdout.startsWith("nothing is loaded")], [0, true]);
    });

    await step("nothing was written beside the configurations and the state folder", () => {
      const made = root.files().filter((name) => !files.includes(name));
      assert.deepEqual(made, ["bad.yaml", "good.yaml", "other.yaml", ...STATE]);
    });
  },
});

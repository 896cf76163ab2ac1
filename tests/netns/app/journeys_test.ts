/** The first hour of three people, as they type it. */

import assert from "node:assert/strict";
import { queryXdp } from "../../../ffi/bpf/xdp_link.ts";
import { cString } from "../../../ffi/memory.ts";
import { browse, BROWSER } from "../../fixtures/browser.ts";
import { buildExecutable } from "../../fixtures/executable.ts";
import { libraries, repository } from "../../fixtures/libraries.ts";
import { Machine } from "../../fixtures/machine.ts";
import { Running } from "../../fixtures/process.ts";
import { MIXED, shell, sleep } from "../../fixtures/scenario.ts";
import { SERVER, TARGET, Topology } from "../../fixtures/topology.ts";
import { Unit } from "../../fixtures/unit.ts";
import { WEB } from "../../fixtures/web.ts";

const libs = libraries();
const isRoot = Deno.uid() === 0;
const isClone = (() => {
  try {
    return Deno.statSync(`${repository}.git`) !== undefined;
  } catch {
    return false;
  }
})();
if (!isRoot) console.log("journeys_test.ts: skipped, network namespaces need root");
if (!isClone) console.log("journeys_test.ts: a clone is skipped, this is none itself");
if (BROWSER === undefined) console.log("journeys_test.ts: skipped, there is no browser");

/** All C code anew, on a busy machine. */
const BUILD_MS = 240_000;

/** A quarter of a second apart. */
const TRIES = 80;
const UNITS = "/usr/local/lib/systemd/system";

/** Two machines, a web server behind one of them, and names. */
class World implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly topology: Topology;
  readonly server: Machine;
  readonly client: Machine;

  private constructor(
    stack: AsyncDisposableStack,
    topology: Topology,
    server: Machine,
    client: Machine,
  ) {
    this.#stack = stack;
    this.topology = topology;
    this.server = server;
    this.client = client;
  }

  static async make(): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const topology = stack.use(new Topology());
    topology.server.ip("route", "add", "default", "via", "45.2.0.1");
    stack.use(await topology.startTarget());
    stack.use(await topology.startWeb());
    const machine = async (where: Topology["server"], name: string) => {
      const folder = `${topology.folder}/${name}`;
      await Deno.mkdir(folder);
      return stack.use(await Machine.start(where, folder, TARGET.v4));
    };
    const server = await machine(topology.server, "server");
    const client = await machine(topology.client, "client");
    return new World(stack.move(), topology, server, client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function indexOf(name: string): number {
  return libs.native.symbols.ph_ifindex(cString(name));
}

/** Changes a file of a machine as an editor does. */
async function rewrite(
  machine: Machine,
  path: string,
  act: (text: string) => string,
): Promise<void> {
  const text = act(await machine.shell(`cat ${path} 2>/dev/null || true`));
  const encoded = new TextEncoder().encode(text).toBase64();
  await machine.shell(`umask 077; echo ${encoded} | base64 -d >${path}`);
}

/** A key of the file with another value, whatever it has now, and in how many lines. */
function set(text: string, name: string, value: string): string {
  const present = new RegExp(`^${name}:.*\n(?: +.*\n)*`, "m");
  assert.match(text, present);
  return text.replace(present, () => `${name}: ${value}\n`);
}

/** `git clone`, with the tools that `make setup` would fetch anew, which takes the network. */
async function clone({ folder }: Machine): Promise<string> {
  const into = `${folder}/phantom`;
  const text = `git clone -q --no-hardlinks ${repository} ${into}
    ln -s "$(readlink -f ${repository}.toolchain)" ${into}/.toolchain`;
  const { success } = await new Deno.Command("sh", { args: ["-ec", text] }).output();
  assert.ok(success, "git clone");
  return into;
}

Deno.test({
  name: "a newcomer: clone, make run, the link, a client, a browser",
  ignore: !isRoot || !isClone || BROWSER === undefined,
  async fn() {
    await using world = await World.make();
    const { server, client, topology } = world;
    const source = await clone(server);
    // What make starts gets its signals; to end make alone would leave the rest running.
    await using ends = new AsyncDisposableStack();
    const running = new Running(server.command("timeout", ["300", "make", "-C", source, "run"]));
    ends.defer(async () => void await running.kill("SIGTERM"));
    const link = (await running.until("phantom://", BUILD_MS)).trim();
    assert.match(await running.until(" ready "), /xdp="native XDP on sv"/);
    assert.match(link, new RegExp(`@${SERVER.v4}:${SERVER.port}\\?`));

    const phantom = (...args: string[]) =>
      client.command(Deno.execPath(), ["run", "-A", `${source}/main.ts`, ...args]);
    await using its = new Running(phantom("client", "--link", link));
    await its.until(" connected ");
    await running.until("client in");
    await browse(topology, `socks5://${MIXED}`);
    await browse(topology, `http://${MIXED}`);
    const url = `http://${TARGET.name}:${WEB.port}/seen`;
    const seen = await shell(topology.client, `curl -sS -x socks5h://${MIXED} ${url}`);
    assert.match(seen, /"(45\.3\.0\.1|2a00:3::1)"/, "the server's own address");

    await using ping = new Running(phantom("ping", "--link", link));
    assert.equal(await ping.end(30_000), 0, ping.output);
    const status = await server.shell(
      `${Deno.execPath()} run -A ${source}/main.ts status -c ${source}/phantom.yaml`,
    );
    assert.match(status, /native XDP on sv/);
    assert.match(status, /1 client/);
    assert.equal(await its.kill("SIGINT"), 0, its.output);
    await running.until("client gone");
    assert.doesNotMatch(running.output, /WARN|ERROR/);
    assert.doesNotMatch(running.stderr, /target\.test/, "what is visited is nobody's business");
  },
});

/** Whoever runs servers: as packages and systemd do it, with what changes in the life of one. */
Deno.test({
  name: "an operator: install, units, users and rules, an upgrade, uninstall",
  ignore: !isRoot,
  async fn() {
    buildExecutable();
    await using world = await World.make();
    const { server, client, topology } = world;
    for (const machine of [server, client]) await machine.shell(`make -C ${repository} install`);
    const [file, clientFile] = ["/etc/phantom/phantom.yaml", "/etc/phantom/home.yaml"];
    const made = await server.shell(`phantom init --users anna ${file}`);
    assert.match(made, /phantom check/);
    const edit = (act: (text: string) => string) => rewrite(server, file, act);
    const setting = (name: string, value: unknown) =>
      edit((text) => set(text, name, JSON.stringify(value)));
    assert.match(await server.shell(`phantom check ${file}`), /phantom\.yaml: good/);
    await using unit = await Unit.load(server, `${UNITS}/phantom.service`);
    await unit.start();

    // A client of its own, as a unit too.
    const keyOf = async (name: string) => {
      const text = await server.shell(`cat ${file}`);
      return new RegExp(`name"?: ?"?${name}"?,?\\s*"?key"?: ?("[^"]+")`).exec(text)![1];
    };
    const [, psk] = /^psk: (.*)$/m.exec(await server.shell(`cat ${file}`))!;
    const beClient = async (user: string) => {
      const text = `server: "${SERVER.v4}:${SERVER.port}"\npsk: ${psk}\n` +
        `user: ${user}\nkey: ${await keyOf(user)}\n`;
      await rewrite(client, clientFile, () => text);
    };
    await beClient("anna");
    await using home = await Unit.load(client, `${UNITS}/phantom-client@.service`, "home");
    await home.start();
    await home.process!.until(" connected ");
    const fetch = (url: string) =>
      shell(topology.client, `curl -sS -o /dev/null -w '%{http_code}' -x http://${MIXED} ${url}`);
    const becomes = async (code: string) => {
      for (let i = 0; i < TRIES && await fetch(page) !== code; i++) await sleep(250);
      assert.equal(await fetch(page), code);
    };
    const page = `http://${TARGET.name}:${WEB.port}/seen`;
    assert.equal(await fetch(page), "200");

    // A rule comes while it runs; a wrong one is refused, and changes nothing.
    await setting("rules", [{ domain: [TARGET.name], outbound: "reject" }]);
    assert.match(await unit.reload(), /rules/);
    assert.equal(await fetch(page), "403");
    await setting("rules", [{ domain: [TARGET.name], outbound: "nowhere" }]);
    await assert.rejects(unit.reload(), /nowhere/);
    assert.equal(await fetch(page), "403");
    await setting("rules", []);
    await unit.reload();
    assert.equal(await fetch(page), "200");

    // Another user comes, the first one goes.
    const key = (await server.shell("phantom keygen")).trim();
    await setting("users", [{ name: "bert", key }]);
    assert.match(await unit.reload(), /users/);
    await unit.process!.until("client gone");
    await becomes("503");
    await beClient("bert");
    assert.equal(await home.stop(), 0);
    await home.start();
    await home.process!.until(" connected ");
    assert.equal(await fetch(page), "200");

    // An upgrade: the new executable is in place, then the unit restarts. The program in the kernel
    // goes on, and what users have used is kept.
    const program = () => topology.server.enter(() => queryXdp(libs, indexOf("sv")).native);
    const used = async () => {
      const { server: running } = JSON.parse(await server.shell("phantom status --json"));
      return running.users[0].downBytes;
    };
    // The workers' sums come to main once a second.
    for (let i = 0; i < TRIES && await used() === 0; i++) await sleep(250);
    const before = await used();
    assert.ok(before > 0);
    assert.ok(program() > 0);
    await server.shell(`make -C ${repository} install`);
    assert.equal(await unit.stop(true), 0);
    assert.ok(program() > 0, "it goes on meanwhile");
    await unit.start();
    await becomes("200");
    assert.ok(await used() >= before);

    // The end: nothing is left but the configuration.
    assert.equal(await home.stop(), 0);
    assert.equal(await unit.stop(), 0);
    await server.shell(`make -C ${repository} uninstall`);
    assert.equal(program(), 0);
    const left = await server.shell(
      // The two that every bpffs has are the kernel's.
      "find /usr/local /var/lib /etc/phantom /etc/systemd/system /sys/fs/bpf " +
        "-type f ! -name '*.debug'",
    );
    assert.equal(left.trim(), file);
  },
});

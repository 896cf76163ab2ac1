/** The first hour of three people, as they type it. */

import assert from "node:assert/strict";
import { browse, BROWSER } from "../../fixtures/browser.ts";
import { libraries, repository } from "../../fixtures/libraries.ts";
import { Machine } from "../../fixtures/machine.ts";
import { Running } from "../../fixtures/process.ts";
import { MIXED, shell } from "../../fixtures/scenario.ts";
import { SERVER, TARGET, Topology } from "../../fixtures/topology.ts";
import { WEB } from "../../fixtures/web.ts";

libraries();
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

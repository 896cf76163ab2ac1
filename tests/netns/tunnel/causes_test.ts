/**
 * Whatever keeps a tunnel from working, the client's side says what it is, or lists what nobody
 * can tell apart from there: in its log, in what its proxies answer, in `phantom ping`. The table
 * of docs/TROUBLESHOOTING.md.
 */

import assert from "node:assert/strict";
import { freshKey } from "../../../src/cli/keygen.ts";
import { compiled } from "../../fixtures/compiled.ts";
import { libraries, repository } from "../../fixtures/libraries.ts";
import { type Outcome, outcomeOf, piped, Running } from "../../fixtures/process.ts";
import { sleep } from "../../fixtures/scenario.ts";
import { PRIVATE, SERVER, TARGET, Topology } from "../../fixtures/topology.ts";

libraries();
const ignore = Deno.uid() !== 0;

/** Addresses of the server's net that the router treats like a firewall does. */
const DROPPED = "45.2.0.77";
const PROHIBITED = "45.2.0.78";
const UNREACHABLE = "45.2.0.79";
/** A target that is there as far as the server's net can tell, and says nothing. */
const SILENT = "45.3.0.98";
/** One that the client has no route to. */
const NO_WAY = "192.0.2.1";
const ENDS_MS = 60_000;
/** The log's line comes a little behind the proxy's answer. */
const LOGGED_MS = 10_000;

/** How a client is started: settings, and what stands before the command. */
interface Way {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly prefix?: readonly string[];
}

/** What the client's side said. */
interface Told {
  readonly log: string;
  /** What curl says of SOCKS5, and the status and text of HTTP. */
  readonly socks: string;
  readonly http: string;
  readonly ping: string;
}

class Stage implements Disposable {
  readonly topology = new Topology();
  #port = 3000;

  constructor() {
    const { router, client, server } = this.topology;
    // One host plays many, and asks for more errors than one is sent.
    for (const one of [router, server]) {
      one.run("sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0");
    }
    router.ip("route", "add", "blackhole", DROPPED);
    router.ip("route", "add", "prohibit", PROHIBITED);
    router.ip("route", "add", "unreachable", UNREACHABLE);
    client.ip("route", "add", "unreachable", NO_WAY);
  }

  command({ settings = {}, prefix = [] }: Way, command: string, ...more: string[]): Deno.Command {
    const { topology } = this;
    const path = topology.file({
      server: `${SERVER.v4}:${SERVER.port}`,
      psk: topology.key,
      ...settings,
    });
    const main = [Deno.execPath(), "run", "-A", `${repository}main.ts`, command, "-c", path];
    const [program, ...args] = [...prefix, ...main, ...more];
    return topology.client.command(program!, args, { ...piped, cwd: topology.folder });
  }

  /** A client asks for a URL until it has answers and has logged what it should; then it pings. */
  async told({ way, url = `http://${TARGET.v4}/`, log }: Row): Promise<Told> {
    const mixed = `127.0.0.1:${this.#port++}`;
    const settings = { ...way.settings, mixed };
    await using client = new Running(this.command({ ...way, settings }, "client"));
    await client.until(" ready ");
    const ask = (...args: string[]): Promise<Outcome> => {
      const all = ["-sS", "--max-time", "30", ...args, url];
      return outcomeOf(this.topology.client.command("curl", all, piped), ENDS_MS);
    };
    const [socks, http] = await Promise.all([
      ask("-x", `socks5h://${mixed}`),
      ask("-x", `http://${mixed}`, "-w", "%{http_code}"),
    ]);
    const deadline = performance.now() + LOGGED_MS;
    while (!log.test(client.stderr) && performance.now() < deadline) await sleep(50);
    assert.equal(await client.kill("SIGTERM"), 0, client.output);
    // Not beside the client: ICMP is sent at a rate.
    const ping = await outcomeOf(this.command(way, "ping", "-n", "1"), ENDS_MS);
    return {
      log: client.stderr,
      socks: socks.stderr + socks.stdout,
      http: http.stdout,
      ping: ping.stdout + ping.stderr,
    };
  }

  /** With a file of ours in place of this machine's resolver's. */
  resolvedBy(server: string): readonly string[] {
    const mount = `mount --bind ${this.resolvConf(server)} /etc/resolv.conf`;
    return ["unshare", "-m", "sh", "-c", `${mount} && exec "$@"`, "sh"];
  }

  resolvConf(server: string): string {
    const path = `${this.topology.folder}/resolv-${server}`;
    Deno.writeTextFileSync(path, `nameserver ${server}\noptions timeout:1 attempts:1\n`);
    return path;
  }

  /** With a clock that is so many seconds wrong. */
  clockWrong(seconds: number): readonly string[] {
    const path = `${this.topology.folder}/wall-${seconds}`;
    Deno.writeFileSync(path, new Uint8Array(Float64Array.of(seconds).buffer));
    return ["env", `LD_PRELOAD=${compiled("wall", "-shared", "-fPIC")}`, `WALL=${path}`];
  }

  [Symbol.dispose](): void {
    this.topology[Symbol.dispose]();
  }
}

function test(name: string, act: (stage: Stage) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using stage = new Stage();
      await act(stage);
    },
  });
}

/** What the client's side has to say of a cause. */
interface Row {
  readonly cause: string;
  readonly way: Way;
  readonly url?: string;
  readonly log: RegExp;
  readonly socks?: RegExp;
  readonly http?: RegExp;
  readonly ping: RegExp;
}

/** Rows side by side: they mostly wait. */
const AT_ONCE = 3;

async function check(stage: Stage, rows: readonly Row[]): Promise<void> {
  for (let i = 0; i < rows.length; i += AT_ONCE) {
    await Promise.all(
      rows.slice(i, i + AT_ONCE).map(async (row) => {
        const told = await stage.told(row);
        for (const where of ["log", "socks", "http", "ping"] as const) {
          const [expected, text] = [row[where], told[where]];
          if (expected !== undefined) {
            assert.match(text, expected, `${row.cause}: ${where}: ${text}`);
          }
        }
      }),
    );
  }
}

const NO_TUNNEL =
  /^There is no connection to the Phantom server: .*`phantom ping`, lists what it may be\.\n503$/;
const PINGS = /^45\.2\.0\.2:54321: [0-9.]+ ms$/m;

/** Which causes of silence are listed: all, in their order. */
const CAUSES = [
  "the server does not run, or a firewall on the way drops UDP to its port",
  "its address or port is another",
  "its psk, or the user's name or key, is another",
  "a clock is wrong: they may differ by 30 seconds, and this machine's says",
];
const ALL = new RegExp(
  `"${CAUSES.map((cause, i) => `\\(${i + 1}\\) ${cause}`).join("; ")} .*Z" event=no_answer`,
);
const ALL_LINES = new RegExp(
  `no answer\\. .* the likely causes:\n${CAUSES.map((cause) => `  - ${cause}`).join(".*\n")} .*Z`,
);

test("of a silent server the client tells why, or lists what it may be", async (stage) => {
  const { topology } = stage;
  await using _names = await topology.startTarget(topology.client);
  await using server = await topology.startServer({ log_level: "debug" });
  const silent = { log: ALL, http: NO_TUNNEL, socks: /\(1\)/, ping: ALL_LINES };
  const at = (host: string, port: number = SERVER.port) => ({ server: `${host}:${port}` });
  /** One cause, in the log, the proxy's answer and ping. */
  const known = (words: string) => ({
    log: new RegExp(`causes="${words}[^"]*" event=no_answer`),
    socks: /\(1\)/,
    http: new RegExp(`^There is no connection to the Phantom server: ${words}.*\n503$`),
    ping: new RegExp(`: no answer: ${words}`),
  });
  await check(stage, [
    { cause: "wrong key", way: { settings: { psk: freshKey() } }, ...silent },
    { cause: "clock an hour fast", way: { prefix: stage.clockWrong(3600) }, ...silent },
    { cause: "clock an hour slow", way: { prefix: stage.clockWrong(-3600) }, ...silent },
    { cause: "clock a little too fast", way: { prefix: stage.clockWrong(35) }, ...silent },
    { cause: "firewall drops", way: { settings: at(DROPPED) }, ...silent },
    {
      cause: "wrong port, or a server that is down",
      way: { settings: at(SERVER.v4, 5000) },
      ...known("the host answers that nothing listens on that port of 45\\.2\\.0\\.2 \\(ICMP\\)"),
    },
    {
      cause: "the same by IPv6",
      way: { settings: at(`[${SERVER.v6}]`, 5000) },
      ...known("the host answers that nothing listens on that port of 2a00:2::2 \\(ICMP\\)"),
    },
    {
      cause: "firewall rejects",
      way: { settings: at(PROHIBITED) },
      ...known(
        "45\\.1\\.0\\.1 answers that a firewall prohibits packets to 45\\.2\\.0\\.78 \\(ICMP\\)",
      ),
    },
    {
      cause: "host is off",
      way: { settings: at(UNREACHABLE) },
      ...known("45\\.1\\.0\\.1 answers that 45\\.2\\.0\\.79 can't be reached \\(ICMP\\)"),
    },
    {
      cause: "no way there",
      way: { settings: at(NO_WAY) },
      ...known("this machine has no way to 192\\.0\\.2\\.1: its network is not up"),
    },
    {
      cause: "no such name",
      way: { settings: at("nobody.test"), prefix: stage.resolvedBy("127.0.0.1") },
      log: /reason="there is no such name" event=server_name_not_found/,
      http: /^There is no connection to the Phantom server: the server's name is not found/,
      ping: /Cannot find the server nobody\.test as there is no such name/,
    },
    {
      cause: "the resolver is silent",
      way: { settings: at("nobody.test"), prefix: stage.resolvedBy("45.1.0.99") },
      log: /reason="the resolver of this machine does not answer" event=server_name_not_found/,
      http: /^There is no connection to the Phantom server: the server's name is not found/,
      ping: /Cannot find the server nobody\.test as the resolver of this machine does not answer/,
    },
  ]);
  // A key that is right and only its clock wrong is seen, within a window of what is let in.
  assert.match(
    server.stderr,
    /DEBUG .*from=45\.1\.0\.2:\d+ offSeconds=35 admitted=false event=clock_off/,
  );
  // Who can't prove a key leaves no trace: the server's log is nobody's to fill.
  assert.doesNotMatch(server.stderr, /client_in|WARN|ERROR/);
});

test("a user whom the server lets in no more is told why, everywhere", async (stage) => {
  const { topology } = stage;
  await using _target = await topology.startTarget();
  const users = [
    { name: "old", key: freshKey(), expires: "2020-01-01" },
    { name: "off", key: freshKey(), enabled: false },
    { name: "used", key: freshKey(), traffic_max: "1B" },
  ];
  await using server = await topology.startServer({ users });
  const rowOf = (index: number, words: string): Row => ({
    cause: words,
    way: { settings: { user: users[index]!.name, key: users[index]!.key } },
    log: new RegExp(`lets this user in no more .*cause="${words}" event=refused`),
    socks: /\(1\)/,
    http: new RegExp(`^There is no connection to the Phantom server: ${words}\\.\n503$`),
    ping: new RegExp(`the server answers, and lets this user in no more: ${words}`),
  });
  // What is used up ends what there is within a second: until then it is the requests that fail.
  const { http, log, ...used } = rowOf(2, "the traffic is used up");
  const meanwhile = "the user's account at the server has expired, or its traffic is used up";
  await check(stage, [
    rowOf(0, "the account has expired"),
    rowOf(1, "the user is disabled"),
    {
      ...used,
      log: new RegExp(`${log.source}|cause="${meanwhile}"`),
      socks: /\([12]\)/,
      http: new RegExp(`${http!.source}|^T${meanwhile.slice(1)}\\.\n403$`),
    },
  ]);
  assert.match(server.stderr, /user=old .*limit="the account has expired" event=user_limit/);
  assert.match(server.stderr, /user=off .*limit="the user is disabled" event=user_limit/);
  assert.match(server.stderr, /user=used .*limit="the traffic is used up" event=user_limit/);
});

test("a user at their maximum of connections is told so", async (stage) => {
  const { topology } = stage;
  await using _target = await topology.startTarget();
  const user = { name: "one", key: freshKey(), connections_max: 1 };
  await using server = await topology.startServer({ users: [user] });
  const forwards = [{ listen: 2998, target: `${TARGET.v4}:7` }];
  const settings = { user: user.name, key: user.key, mixed: "127.0.0.1:2999", forwards };
  await using client = new Running(stage.command({ settings }, "client"));
  await client.until("event=connected");
  // A connection that echoes one line and stays.
  const hold = "exec 3<>/dev/tcp/127.0.0.1/2998; echo held >&3; head -n1 <&3; exec sleep 60";
  await using held = new Running(topology.client.command("bash", ["-c", hold], piped));
  await held.until("held");
  const words = "there is no room for one more connection: here, at the server, or of this user's";
  const ask = ["-sS", "-x", "http://127.0.0.1:2999", `http://${TARGET.v4}/`, "-w", "%{http_code}"];
  const answer = (await outcomeOf(topology.client.command("curl", ask, piped))).stdout;
  assert.match(answer, /^There is no room for one more connection: .*\n503$/);
  await client.until(`cause="${words}`);
  await server.until('user=one limit="too many connections at a time" event=user_limit');
});

test("of a target the client tells why not, and the server at DEBUG", async (stage) => {
  const { topology } = stage;
  await using _target = await topology.startTarget();
  const rules = [{ domain: "bad.test", outbound: "reject" }];
  topology.server.ip("neigh", "add", SILENT, "lladdr", "02:00:00:00:00:98", "dev", "tg");
  await using server = await topology.startServer({ log_level: "debug", rules });
  const rowOf = (target: string, reply: number, status: number, words: string): Row => ({
    cause: target,
    way: {},
    url: `http://${target}/`,
    log: new RegExp(`target=${target}\\S* cause="${words}" event=request_failed`),
    socks: new RegExp(`\\(${reply}\\)`),
    http: new RegExp(`^${words[0]!.toUpperCase()}${words.slice(1)}\\.\n${status}$`),
    ping: PINGS,
  });
  const isPrivate =
    "the target is private, or the server's own: a rule with its cidr opens it there";
  const refusedPort = "the target refused the connection";
  await check(stage, [
    rowOf("bad.test", 2, 403, "the server's rules do not allow this target"),
    rowOf(PRIVATE.v4, 2, 403, isPrivate),
    rowOf(PRIVATE.name, 2, 403, isPrivate),
    rowOf(`${TARGET.v4}:1`, 5, 502, refusedPort),
    rowOf("nobody.test", 4, 502, "the server finds no address of that name"),
    rowOf("45.3.0.99", 3, 502, "the server can't reach the target"),
    rowOf(SILENT, 6, 504, "the target did not answer in time"),
  ]);
  const lines = server.stderr.split("\n").filter((line) => line.includes("event=target"));
  const told = (target: string) => lines.find((line) => line.includes(` target=${target}:`));
  assert.match(
    told("bad.test")!,
    /DEBUG .*verdict=refused rule=rules\[0\] cause="the server's rules/,
  );
  assert.match(
    told(PRIVATE.name)!,
    /DEBUG .*verdict=refused rule=none cause="the target is private/,
  );
  assert.match(told("nobody.test")!, /DEBUG .*cause="the server finds no address/);
  assert.match(told(TARGET.v4)!, /DEBUG .*verdict=direct .*cause="the target refused/);
  // What is visited is nowhere above DEBUG.
  const above = server.stderr.split("\n").filter((line) => !line.includes(" DEBUG "));
  assert.doesNotMatch(above.join("\n"), /bad\.test|private\.test|nobody\.test/);
  await server.kill("SIGTERM");
  await using second = await topology.startServer({ resolver: ["45.3.0.99"] });
  const silent = "the resolver that the server asks for names does not answer";
  await check(stage, [rowOf("a.test", 1, 504, silent)]);
  assert.doesNotMatch(second.stderr, /a\.test/);
});

test("a client that starts before the network listens, and connects later", async (stage) => {
  const { topology } = stage;
  const { client } = topology;
  await using _target = await topology.startTarget();
  await using _server = await topology.startServer();
  client.ip("link", "set", "cl", "down");
  const names = `${topology.folder}/hosts`;
  Deno.writeTextFileSync(names, "127.0.0.1 localhost\n");
  const prefix = [
    ...["unshare", "-m", "sh", "-c"],
    `mount --bind ${names} /etc/hosts && mount --bind ${stage.resolvConf("45.1.0.1")} ` +
    '/etc/resolv.conf && exec "$@"',
    "sh",
  ];
  const mixed = (port: number) => ({ mixed: `127.0.0.1:${port}` });
  const byName = { server: `phantom.test:${SERVER.port}` };
  await using address = new Running(stage.command({ settings: mixed(2001) }, "client"));
  await using named = new Running(
    stage.command({ settings: { ...mixed(2002), ...byName }, prefix }, "client"),
  );
  // One that is ended meanwhile is gone at once.
  await using ended = new Running(
    stage.command({ settings: { ...mixed(2003), ...byName }, prefix }, "client"),
  );
  await Promise.all([address, named, ended].map((one) => one.until(" ready ")));
  await address.until("this machine has no way to 45.2.0.2: its network is not up");
  await named.until('reason="the resolver of this machine does not answer"');
  await ended.until("event=server_name_not_found");
  const began = performance.now();
  assert.equal(await ended.kill("SIGINT"), 0);
  assert.ok(performance.now() - began < 3000, `${performance.now() - began} ms`);
  client.ip("link", "set", "cl", "up");
  client.ip("route", "add", "default", "via", "45.1.0.1");
  Deno.writeTextFileSync(names, `127.0.0.1 localhost\n${SERVER.v4} phantom.test\n`);
  await address.until("event=connected");
  await named.until("event=server_name_found");
  await named.until("event=connected");
  for (const one of [address, named]) assert.equal(await one.kill("SIGINT"), 0);
});

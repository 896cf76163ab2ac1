/**
 * The whole tunnel: a client and a server from source, and programs that use them, in the
 * namespaces of topology.ts.
 */

import assert from "node:assert/strict";
import {
  curl,
  download,
  MIXED,
  NAME_URL,
  SOCKS,
  tunnelTest as test,
} from "../../fixtures/scenario.ts";
import { repository } from "../../fixtures/libraries.ts";
import { Notified } from "../../fixtures/notified.ts";
import { piped, Running } from "../../fixtures/process.ts";
import { PRIVATE, SERVER, TARGET } from "../../fixtures/topology.ts";
import { patternHash } from "../../fixtures/tunnel_probe.ts";

// The target sees the server, and not the client.
const SERVER_SEEN = {
  [TARGET.v4]: /^hello from (::ffff:)?45\.3\.0\.1\n$/,
  [`[${TARGET.v6}]`]: /^hello from 2a00:3::1\n$/,
  [TARGET.name]: /^hello from (::ffff:45\.3\.0\.1|2a00:3::1)\n$/,
};

test("curl over SOCKS5, by name and by address, IPv4 and IPv6", {}, async ({ topology }) => {
  for (const [host, seen] of Object.entries(SERVER_SEEN)) {
    assert.match(await curl(topology, "-x", SOCKS, `http://${host}/`), seen, host);
  }
  // A program that looks names up itself.
  for (const address of [TARGET.v4, TARGET.v6]) {
    const own = ["--resolve", `${TARGET.name}:80:${address}`, "-x", `socks5://${MIXED}`];
    const seen = SERVER_SEEN[address] ?? SERVER_SEEN[`[${address}]`]!;
    assert.match(await curl(topology, ...own, NAME_URL), seen, address);
  }
});

test("SOCKS5 tells the server's address towards the target, of either family", {}, async ({
  topology,
}) => {
  const ask = (target: string) => topology.probe("socks-bound", "127.0.0.1", "1080", target, "80");
  assert.match(await ask(TARGET.v4), /^45\.3\.0\.1:\d{4,5}$/);
  assert.match(await ask(TARGET.v6), /^\[2a00:3::1\]:\d{4,5}$/);
});

test("curl over HTTP: plain and CONNECT, IPv4 and IPv6", {}, async ({ topology }) => {
  const proxy = `http://${MIXED}`;
  for (const [host, seen] of Object.entries(SERVER_SEEN)) {
    assert.match(await curl(topology, "-x", proxy, `http://${host}/`), seen, host);
    assert.match(await curl(topology, "-p", "-x", proxy, `http://${host}/`), seen, host);
  }
  assert.equal(await download(topology, proxy, 1_000_000), await patternHash(1_000_000));
});

test("a proxy with users lets in only them", {
  client: { mixed: MIXED, inbound_users: [{ name: "u", password: "p" }] },
}, async ({ topology }) => {
  assert.match(await curl(topology, "-x", `socks5h://u:p@${MIXED}`, NAME_URL), /^hello from /);
  assert.match(await curl(topology, "-x", `http://u:p@${MIXED}`, NAME_URL), /^hello from /);
  await assert.rejects(curl(topology, "-x", SOCKS, NAME_URL));
  await assert.rejects(curl(topology, "-f", "-x", `http://u:q@${MIXED}`, NAME_URL));
});

test("port forwards: TCP with its half-close, UDP", {
  client: {
    mixed: MIXED,
    forwards: [
      { listen: 7007, target: `${TARGET.name}:7`, network: "both" },
      { listen: 9009, target: `[${TARGET.v6}]:9` },
    ],
  },
}, async ({ topology }) => {
  const bytes = 5_000_000;
  const hash = await patternHash(bytes);
  assert.equal(await topology.probe("echo", "127.0.0.1", "7007", String(bytes)), hash);
  const counted = await topology.probe("upload", "127.0.0.1", "9009", String(bytes));
  assert.equal(counted, `${bytes} ${hash}`);
  for (const size of ["1", "100", "1000"]) {
    assert.equal(await topology.probe("udp-echo", "127.0.0.1", "7007", "20", size), "20", size);
  }
});

test("datagrams that are larger than a packet get through", {
  client: { forwards: [{ listen: 7007, target: `${TARGET.name}:7`, network: "udp" }] },
}, async ({ topology }) => {
  for (const size of ["1200", "1472", "8000", "60000"]) {
    assert.equal(await topology.probe("udp-echo", "127.0.0.1", "7007", "5", size), "5", size);
  }
});

test("DNS over UDP ASSOCIATE", {}, async ({ topology }) => {
  const ask = (name: string, server: string) =>
    topology.probe("socks-dns", "127.0.0.1", "1080", name, server);
  for (const server of [TARGET.v4, TARGET.v6, TARGET.name]) {
    assert.equal(await ask(TARGET.name, server), TARGET.v4, server);
  }
  assert.equal(await ask("nobody.test", TARGET.v4), "none");
});

test("the server's IPv6 address carries all the same", {
  client: { server: `[${SERVER.v6}]:${SERVER.port}` },
}, async ({ topology }) => {
  assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
  assert.equal(await download(topology, SOCKS, 1_000_000), await patternHash(1_000_000));
});

test("several workers behind the XDP program", {
  server: { workers: 3 },
  xdp: true,
}, async ({ topology, server }) => {
  await server.until("native XDP on sv");
  for (let i = 0; i < 4; i++) {
    const mixed = `127.0.0.1:${2000 + i}`;
    await using _client = await topology.startClient({ mixed });
    const proxy = `socks5h://${mixed}`;
    assert.equal(await download(topology, proxy, 1_000_000), await patternHash(1_000_000));
  }
});

test("of two instances on an interface one has XDP, and the other says so and serves", {
  xdp: true,
}, async ({ topology, server }) => {
  await server.until("native XDP on sv");
  const [port, mixed] = [SERVER.port + 1, "127.0.0.1:2001"];
  const path = topology.file({
    ...{ listen: `:${port}`, instance: "second", psk: topology.key, resolver: [TARGET.v4] },
    ...{ state_dir: `${topology.folder}/state`, ebpf: topology.xdp, workers: 1 },
  });
  await using second = new Running(topology.command(topology.server, "run", "-c", path));
  const line = await second.until("event=xdp_none");
  assert.match(
    line,
    /cause="Cannot attach to sv as another Phantom has XDP there \(instance \w+, id/,
  );
  assert.match(line, /remedy="this one filters on its sockets, which works/);
  await second.until(" ready ");
  await using _client = await topology.startClient({ server: `${SERVER.v4}:${port}`, mixed });
  assert.match(await curl(topology, "-x", `socks5h://${mixed}`, NAME_URL), /^hello from /);
  assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
  assert.equal(await second.kill("SIGTERM"), 0);
});

test("private addresses are out of reach, also by a name that leads there", {
  server: { rules: [{ domain: "nobody.test", outbound: "reject" }] },
}, async ({ topology }) => {
  for (const host of [PRIVATE.v4, PRIVATE.name, "127.0.0.1", "[::1]", "nobody.test"]) {
    await assert.rejects(curl(topology, "-x", SOCKS, `http://${host}/`), host);
  }
  assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
});

test("a rule lets a private address through", {
  server: { rules: [{ cidr: "10.3.0.0/24", outbound: "direct" }] },
}, async ({ topology }) => {
  assert.match(await curl(topology, "-x", SOCKS, `http://${PRIVATE.name}/`), /^hello from /);
});

const ANNA = { name: "anna", key: "2f1e2d3c4b5a6978".repeat(4) };

test("README's rule opens the server's LAN to a user, at some ports", {
  server: {
    users: [ANNA],
    rules: [{ cidr: "10.3.0.0/24", port: ["22", "80"], user: "anna", outbound: "direct" }],
  },
  client: { user: ANNA.name, key: ANNA.key },
}, async ({ topology }) => {
  for (const host of [PRIVATE.v4, PRIVATE.name]) {
    assert.match(await curl(topology, "-x", SOCKS, `http://${host}/`), /^hello from /);
  }
  await assert.rejects(curl(topology, "-x", SOCKS, `http://${PRIVATE.v4}:81/`), /\(2\)/);
  await assert.rejects(curl(topology, "-x", SOCKS, "http://10.4.0.2/"), /\(2\)/);
});

test("a server reads its rules again when it is told to", {}, async ({ topology, server }) => {
  const ask = () => curl(topology, "-x", SOCKS, NAME_URL);
  assert.match(await ask(), /^hello from /);
  const rules = [{ domain: TARGET.name, outbound: "reject" }];
  topology.writeServer({ rules, idle: "10m" });
  server.signal("SIGHUP");
  await server.until("event=config_reloaded");
  assert.match(await server.until("event=config_needs_restart"), /settings=idle event=/);
  await assert.rejects(ask());
  topology.writeServer({ rules: "none" });
  server.signal("SIGHUP");
  await server.until("event=config_rejected");
  assert.match(await server.until("event=config_problem"), /rules: must be a list/);
  await assert.rejects(ask());
});

test("a client reads its file again when it is told to", {}, async ({ topology }) => {
  const base = { server: `${SERVER.v4}:${SERVER.port}`, psk: topology.key, log_level: "debug" };
  const path = topology.file({ ...base, mixed: "127.0.0.1:1090" });
  const write = (settings: Record<string, unknown>) =>
    Deno.writeTextFileSync(path, JSON.stringify({ ...base, ...settings }));
  const address = `${topology.folder}/notify`;
  using manager = new Notified(address);
  const program = [Deno.execPath(), "run", "-A", `${repository}main.ts`, "client", "-c", path];
  await using client = new Running(
    topology.client.command("env", [`NOTIFY_SOCKET=${address}`, ...program], piped),
  );
  const { text } = await manager.until(/^READY=1$/m);
  assert.match(text, /^READY=1\nSTATUS=(looking for the server|connecting|connected)/);
  await client.until(" ready ");
  const first = "socks5h://127.0.0.1:1090";
  assert.match(await curl(topology, "-x", first, NAME_URL), /^hello from /);

  write({
    socks5: "0.0.0.0:1090",
    forwards: [{ listen: 7007, target: `${TARGET.name}:7` }],
    up: "9mbps",
  });
  const { pid } = client;
  const reload = (...args: string[]) =>
    topology.phantom(topology.client, "reload", "--client", `--pid=${pid}`, "-c", path, ...args);
  assert.equal((await reload()).code, 0);
  const { index } = await manager.until(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
  await manager.until(/^READY=1\nSTATUS=connected, round trip \d+ ms$/, index);
  assert.match(
    await client.until("event=config_reloaded"),
    /changed=(?=\S*mixed)(?=\S*socks5)(?=\S*forwards)/,
  );
  assert.match(await client.until("event=config_needs_restart"), /settings=up event=/);
  assert.match(await curl(topology, "-x", first, NAME_URL), /^hello from /);
  const hash = await patternHash(10_000);
  assert.equal(await topology.probe("echo", "127.0.0.1", "7007", "10000"), hash);

  // What can't listen is refused, and so is what is wrong: that without asking the client.
  write({ mixed: "192.0.2.1:1090" });
  assert.equal((await reload("--json")).code, 0);
  assert.match(await client.until("event=config_problem"), /192\.0\.2\.1:1090/);
  write({ mixed: "nowhere" });
  const refused = await reload();
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /mixed/);
  assert.match(await curl(topology, "-x", first, NAME_URL), /^hello from /);
});

const USER_KEYS = ["0f1e2d3c4b5a6978".repeat(4), "1f1e2d3c4b5a6978".repeat(4)];

test("a user comes in with their key, and with no other", {
  server: { users: [{ name: "alice", key: USER_KEYS[0] }] },
  client: { user: "alice", key: USER_KEYS[0] },
}, async ({ topology }) => {
  assert.match(await curl(topology, "-x", SOCKS, NAME_URL), /^hello from /);
  for (const settings of [{}, { user: "alice", key: USER_KEYS[1] }]) {
    const other = { mixed: "127.0.0.1:1081", ...settings };
    await using _client = await topology.startClient(other);
    const proxied = ["--connect-timeout", "3", "-m", "4", "-x", "socks5h://127.0.0.1:1081"];
    await assert.rejects(curl(topology, ...proxied, NAME_URL));
  }
});

test("ping tells at Ctrl-C what there is, and takes leave", {}, async ({ topology, server }) => {
  const path = topology.file({ server: `${SERVER.v4}:${SERVER.port}`, psk: topology.key });
  await using ping = new Running(
    topology.command(topology.client, "ping", "-n", "1000", "-c", path),
  );
  await ping.until(" ms");
  assert.equal(await ping.kill("SIGINT"), 0, ping.output);
  assert.match(ping.stdout, /^(\d+) of \1 answered, min\/mean\/max /m);
  await server.until('why="the client stopped"');
});

test("bench needs nothing but a link; a server may refuse to be measured", {
  // Of all else it lets nobody out.
  server: { rules: [{ domain_suffix: ["test"], outbound: "reject" }], default_outbound: "reject" },
}, async ({ topology, server }) => {
  const listen = `${SERVER.v4}:${SERVER.port}`;
  const path = topology.file({ listen, psk: topology.key });
  const { stdout: link } = await topology.phantom(topology.server, "link", "-c", path);
  const args = ["bench", "--json", "--seconds", "1", "--link", link.trim()];
  const { code, stdout, stderr } = await topology.phantom(topology.client, ...args);
  assert.equal(code, 0, stderr);
  const { downMbps, upMbps, rttMs, lostShare } = JSON.parse(stdout);
  assert.ok(downMbps > 20 && upMbps > 20 && rttMs < 100 && lostShare < 0.5, stdout);
  topology.writeServer({ bench: false });
  server.signal("SIGHUP");
  await server.until("event=config_reloaded");
  const refused = await topology.phantom(topology.client, ...args);
  assert.equal(refused.code, 1, refused.stdout);
  const { error, code: exit } = JSON.parse(refused.stdout);
  assert.match(error, /the server's rules do not allow this target. Has it "bench: false"/);
  assert.equal(exit, 1);
});

test("bench measures both ways, against targets of one's own", {}, async ({ topology }) => {
  const path = topology.file({ server: `${SERVER.v4}:${SERVER.port}`, psk: topology.key });
  const targets = ["--sink", `${TARGET.name}:9`, "--source", `${TARGET.name}:19`];
  const args = ["bench", "--json", "--seconds", "1", "-c", path];
  const { code, stdout, stderr } = await topology.phantom(topology.client, ...args, ...targets);
  assert.equal(code, 0, stderr);
  const { downMbps, upMbps, rttMs, lostShare } = JSON.parse(stdout);
  assert.ok(downMbps > 20 && upMbps > 20 && rttMs < 100 && lostShare < 0.5, stdout);
});

test("ping and a link: what `link` prints is all that a client needs", {}, async ({ topology }) => {
  const path = topology.file({ listen: `${SERVER.v4}:${SERVER.port}`, psk: topology.key });
  const { stdout: link } = await topology.phantom(topology.server, "link", "-c", path);
  const args = ["--link", link.trim()];
  const good = await topology.phantom(topology.client, "ping", "--json", "-n", "2", ...args);
  assert.equal(good.code, 0, good.stderr);
  const { answered, meanMs } = JSON.parse(good.stdout);
  assert.equal(answered, 2);
  assert.ok(meanMs > 0 && meanMs < 100, good.stdout);
  const wrong = link.trim().replace(/\/\/./, (start) => start === "//A" ? "//B" : "//A");
  const bad = await topology.phantom(topology.client, "ping", "-n", "1", "--link", wrong);
  assert.equal(bad.code, 1);
  assert.match(bad.stdout, /no answer/);
});

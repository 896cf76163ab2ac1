/** The server from source, in a network namespace: everything that can be in its way at start. */

import assert from "node:assert/strict";
import { EventKind, layouts } from "../../../ffi/bpf/layout.gen.ts";
import { openPinnedLink } from "../../../ffi/bpf/link.ts";
import { attachXdp, queryXdp } from "../../../ffi/bpf/xdp_link.ts";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import { createMap, openPinnedMap } from "../../../ffi/bpf/map.ts";
import { cString } from "../../../ffi/memory.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { Log } from "../../../src/base/log.ts";
import { freshKey } from "../../../src/cli/keygen.ts";
import type { Problem } from "../../../src/config/mod.ts";
import { PinFolder } from "../../../src/kernel/pins.ts";
import { XdpPlane } from "../../../src/tunnel/kernel/plane.ts";
import { icmpReceived, pinnedIds, remaining, Sender } from "../../fixtures/kernel.ts";
import { bpfObject, libraries, repository } from "../../fixtures/libraries.ts";
import { run } from "../../fixtures/netns.ts";
import { compileEdited } from "../../fixtures/plane.ts";
import { Notified } from "../../fixtures/notified.ts";
import { piped, Running } from "../../fixtures/process.ts";
import {
  OURS,
  packetsOf,
  packetsUntil,
  PORT,
  SERVER_IP,
  ServerBench,
} from "../../fixtures/server.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("server_test.ts: skipped, network namespaces need root");

/** A test with a bench of its own. */
function test(name: string, act: (bench: ServerBench) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using bench = new ServerBench();
      await act(bench);
    },
  });
}

function xdpOf({ server }: ServerBench, name = "va"): ReturnType<typeof queryXdp> {
  return server.enter(() => queryXdp(libs, libs.native.symbols.ph_ifindex(cString(name))));
}

/** Whether five packets to the listen port are seen by the program. */
async function counts(bench: ServerBench): Promise<boolean> {
  const before = packetsOf(await bench.status(), OURS);
  using sender = new Sender(bench.client);
  sender.send(SERVER_IP, PORT, Array(5).fill(new Uint8Array(20)));
  return await packetsUntil(before + 5, OURS, () => bench.status()) === before + 5;
}

test("run leaves another XDP program alone and says whose it is", async (bench) => {
  using object = new BpfObject(libs, "foreign", bpfObject("xdp_phantom_drop")).load();
  const program = object.program(object.programNames[0]!);
  using _link = bench.server.enter(() => {
    const ifindex = libs.native.symbols.ph_ifindex(cString("va"));
    return attachXdp(libs, program, ifindex, "native");
  });
  const foreign = xdpOf(bench).native;
  for (const mode of ["native", "auto", "generic"]) {
    await using server = await bench.start(bench.config({ xdp_mode: mode }));
    const line = await server.until("event=xdp_none");
    // It has our program's name: of whose it is no pin tells.
    assert.match(
      line,
      new RegExp(`another Phantom has XDP there \\(id ${foreign}, xdp_phantom\\)`),
    );
    assert.match(line, /this one filters on its sockets/);
    assert.match(await server.until(" ready "), /xdp="no XDP"/);
    assert.equal(xdpOf(bench).native, foreign);
    assert.equal(await server.kill("SIGTERM"), 0);
  }
  assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
});

test("doctor tells what is attached, and whether it is ours", async (bench) => {
  await (await bench.start(bench.config())).kill("SIGTERM");
  const ours = await bench.phantom("doctor");
  assert.match(ours.stdout, /have {2}va +a program is attached: native, id \d+, xdp_phantom/);
  await bench.phantom("unload", "--pin-path", bench.pinPath);
  using object = new BpfObject(libs, "foreign", bpfObject("testing")).load();
  using _link = bench.server.enter(() => {
    const ifindex = libs.native.symbols.ph_ifindex(cString("va"));
    return attachXdp(libs, object.program("xdp_pass"), ifindex, "generic");
  });
  const { code, stdout } = await bench.phantom("doctor");
  assert.equal(code, 0);
  assert.match(stdout, /lack {2}va +a program is attached: generic, id \d+, xdp_pass\n/);
  assert.match(stdout, /without it: XDP on va: another's program is never replaced/);
});

test("run attaches anew when its interface was made anew", async (bench) => {
  const config = bench.config();
  const first = await bench.start(config);
  assert.equal(await first.kill("SIGKILL"), 137);
  bench.server.ip("link", "del", "va");
  assert.deepEqual((await bench.status()).interfaces.map(({ mode }) => mode), [undefined]);
  bench.connect("va", "vb", "198.51.100");
  await using second = await bench.start(config);
  const line = await second.until("event=xdp_attached");
  assert.match(line, /mode=native swapped=false adopted=\d+/);
  assert.match(await second.until("event=maps_adopted"), /maps=\S*stats/);
  assert.ok(await counts(bench));
});

test("unload works after the interface is gone", async (bench) => {
  const first = await bench.start(bench.config());
  await first.kill("SIGTERM");
  const ids = pinnedIds(bench.pins());
  bench.server.ip("link", "del", "va");
  const { code, stdout } = await bench.phantom("unload", "--pin-path", bench.pinPath);
  assert.equal(code, 0);
  assert.match(stdout, /unloaded .* from va/);
  assert.deepEqual(await remaining(ids), []);
});

test("run attaches in generic mode, and in another mode at the next start", async (bench) => {
  const modes = ["generic", "native", "generic", "auto"];
  const seen = [];
  for (const mode of modes) {
    await using server = await bench.start(bench.config({ xdp_mode: mode }));
    const { native, generic } = xdpOf(bench);
    seen.push(native ? "native" : generic ? "generic" : "none");
    assert.ok(await counts(bench), mode);
    await server.kill("SIGTERM");
  }
  // auto keeps what works.
  assert.deepEqual(seen, ["generic", "native", "generic", "generic"]);
});

test("run takes the program off the interface of an earlier configuration", async (bench) => {
  bench.connect("wa", "wb", "203.0.113");
  const first = await bench.start(bench.config());
  await first.kill("SIGTERM");
  await using second = await bench.start(bench.config({ interface: "wa" }));
  await second.until("XDP is taken off an interface of an earlier run");
  assert.equal(xdpOf(bench, "va").native, 0);
  assert.notEqual(xdpOf(bench, "wa").native, 0);
  assert.deepEqual((await bench.status()).interfaces.map((one) => one.interfaceName), ["wa"]);
});

test("run takes the default route's interface for a missing one", async (bench) => {
  bench.server.ip("route", "add", "default", "via", "198.51.100.2");
  await using server = await bench.start(bench.config({ interface: "eth99" }));
  const line = await server.until("event=interface_missing");
  assert.match(line, /WARN .*missing=eth99 name=va/);
  assert.match(await server.until(" ready "), /xdp="native XDP on va"/);
});

test("run goes on without XDP when there is no interface to find", async (bench) => {
  await using server = await bench.start(bench.config({ interface: "eth99" }));
  assert.match(await server.until("there is no interface"), /WARN .*configured=eth99 remedy=/);
  assert.match(await server.until(" ready "), /xdp="no XDP"/);
});

/** `phantom run` with only these capabilities, or with something mounted before. */
function runLimited(bench: ServerBench, config: string, program: string, args: string[]): Running {
  const phantom = [Deno.execPath(), "run", "-A", `${repository}main.ts`, "run", "-c", config];
  return new Running(bench.server.command(program, [...args, ...phantom], piped));
}

test("run does without pins on a read-only BPF file system", async (bench) => {
  const config = bench.config();
  const readOnly = 'mount -o remount,bind,ro /sys/fs/bpf && exec "$@"';
  {
    await using server = runLimited(bench, config, "unshare", ["-m", "bash", "-c", readOnly, "-"]);
    const line = await server.until("event=pins_unavailable");
    assert.match(line, /WARN .*sessions and counters end with this process/);
    assert.match(line, /cause="Cannot make .*: is the BPF file system mounted read-only\?"/);
    assert.match(await server.until(" ready "), /xdp="native XDP on va"/);
    assert.notEqual(xdpOf(bench).native, 0);
    const { server: said } = JSON.parse(
      (await bench.phantom("status", "--json", "-c", config)).stdout,
    );
    assert.deepEqual([said.level, said.pins], ["native XDP on va", null]);
    assert.equal(await server.kill("SIGTERM"), 0);
  }
  // What is not pinned ends with its process, a little later.
  for (let i = 0; i < 100 && xdpOf(bench).native !== 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(xdpOf(bench).native, 0);
  assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
});

test("run without capabilities works without XDP and names them", async (bench) => {
  for (const left of ["", ",+bpf,+perfmon", ",+net_admin"]) {
    const limits = [`--bounding-set=-all${left}`, "--inh-caps=-all"];
    await using server = runLimited(bench, bench.config(), "setpriv", limits);
    const line = await server.until("event=xdp_none");
    assert.match(line, /WARN .*EPERM/, left);
    assert.match(line, /run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON/, left);
    assert.match(await server.until(" ready "), /xdp="no XDP"/);
    assert.equal(await server.kill("SIGTERM"), 0);
    assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
  }
});

test("the capabilities of the systemd unit are enough, also for a restart", async (bench) => {
  const unit = Deno.readTextFileSync(`${repository}deploy/phantom.service`);
  const names = /^CapabilityBoundingSet=(.*)$/m.exec(unit)![1]!.split(" ");
  const kept = names.map((name) => `+${name.replace("CAP_", "").toLowerCase()}`).join(",");
  const limits = [`--bounding-set=-all,${kept}`, "--inh-caps=-all"];
  for (const [signal, swapped] of [["SIGKILL", false], ["SIGTERM", true]] as const) {
    await using server = runLimited(bench, bench.config(), "setpriv", limits);
    await server.until(`mode=native swapped=${swapped}`);
    await server.until(" ready ");
    assert.ok(await counts(bench));
    await server.kill(signal);
  }
});

test("run touches no BPF with ebpf.enabled false", async (bench) => {
  await using server = await bench.start(bench.config({ enabled: false }));
  await server.until("XDP is off");
  assert.deepEqual(xdpOf(bench), { native: 0, generic: 0, offloaded: 0 });
  assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
  assert.equal(await server.kill("SIGINT"), 0);
});

test("run and check take BPF objects from program_path", async (bench) => {
  const names = ["xdp_phantom", "tc_egress"];
  for (const name of names) {
    Deno.copyFileSync(`${repository}build/bpf/${name}.o`, `${bench.folder}/${name}.o`);
  }
  const config = bench.config({ program_path: bench.folder });
  {
    await using server = await bench.start(config);
    for (const name of names) {
      await server.until(`a BPF program is read from a file path=${bench.folder}/${name}.o`);
    }
    assert.ok(await counts(bench));
  }
  const { code, stdout } = await bench.phantom("check", "-c", config);
  assert.equal(code, 0, stdout);
  for (const name of names) {
    assert.match(stdout, new RegExp(`^${name} \\(${bench.folder}/${name}\\.o\\): loads`, "m"));
  }
  assert.match(stdout, /^steer \(embedded\): loads/m);
});

test("check tells what is unwise by line and column", async (bench) => {
  const path = `${bench.folder}/unwise.yaml`;
  const lines = [
    `psk: "${freshKey()}"`,
    "ebpf: {interface: [va, nowhere0]}",
    "outbounds: [{name: o, type: direct, interface: tun7}]",
    `users: [{name: alice, key: "${freshKey()}", expires: 2020-01-01}]`,
    "rules: [{outbound: reject}, {user: alcie}]",
  ];
  Deno.writeTextFileSync(path, lines.join("\n"), { mode: 0o600 });
  const { code, stdout } = await bench.phantom("check", "--json", "-c", path);
  assert.equal(code, 0, stdout);
  const { kind, problems, warnings } = JSON.parse(stdout);
  assert.deepEqual([kind, problems], ["server", []]);
  const places = (warnings as Problem[]).map(({ path, line, column }) => [path, line, column]);
  assert.deepEqual(places, [
    ["ebpf.interface[1]", 2, 24],
    ["outbounds[0].interface", 3, 48],
    ["users[0].expires", 4, lines[3]!.indexOf("2020") + 1],
    ["rules[0]", 5, 9],
    ["rules[1].user", 5, 36],
  ]);
});

test("run and check refuse a foreign object in program_path", async (bench) => {
  const config = bench.config({ program_path: bench.folder });
  const path = `${bench.folder}/xdp_phantom.o`;
  const good = Deno.readFileSync(`${repository}build/bpf/xdp_phantom.o`);
  const broken = [new TextEncoder().encode("garbage"), new Uint8Array(0), good.slice(0, 900)];
  for (const bytes of broken) {
    Deno.writeFileSync(path, bytes);
    const { code, stdout } = await bench.phantom("check", "-c", config);
    assert.equal(code, 4);
    assert.match(stdout, /Cannot use .*xdp_phantom\.o as it is no BPF object of ours .*remove it/);
  }
  await using server = await bench.start(config);
  const line = await server.until("event=xdp_none");
  assert.match(line, /Cannot use .*xdp_phantom\.o as it is no BPF object of ours/);
  assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
});

test("run and check refuse an object of another layout", async (bench) => {
  const swapped = "__u64 bytes;\n\t__u64 packets;";
  const change = (text: string) => text.replace(/__u64 packets;\s+__u64 bytes;/, swapped);
  compileEdited(bench.folder, change);
  const config = bench.config({ program_path: bench.folder });
  const { code, stdout } = await bench.phantom("check", "-c", config);
  assert.equal(code, 4, stdout);
  assert.match(stdout, /built for another version: .*ph_stat differs.*unset ebpf\.program_path/);
  await using server = await bench.start(config);
  assert.match(await server.until("event=xdp_none"), /ph_stat differs/);
});

test("run makes a pinned map of another size anew, with a warning", async (bench) => {
  const config = bench.config();
  const first = await bench.start(config);
  await first.kill("SIGTERM");
  const before = pinnedIds(bench.pins());
  const path = `${bench.pins()}/xdp_phantom/maps-${layouts.xdp_phantom.hash}/event_gate`;
  Deno.removeSync(path);
  {
    const shape = { name: "event_gate", type: BpfMapType.percpuArray, keySize: 4, valueSize: 16 };
    using other = createMap(libs, { ...shape, maxEntries: 7 });
    other.pin(path);
  }
  await using second = await bench.start(config);
  assert.match(await second.until("event=map_resized"), /WARN .*map=event_gate/);
  const after = pinnedIds(bench.pins());
  using map = openPinnedMap(libs, path)!;
  assert.equal(map.info.maxEntries, EventKind.count);
  assert.notEqual(after.maps["event_gate"], before.maps["event_gate"]);
  assert.equal(after.maps["stats"], before.maps["stats"]);
});

test("run takes over the sessions of another layout, and makes the other maps", async (bench) => {
  const config = bench.config();
  const first = await bench.start(config);
  assert.ok(await counts(bench));
  await first.kill("SIGTERM");
  const { maps, links } = pinnedIds(bench.pins());
  const old = `${bench.pins()}/xdp_phantom/maps-0123456789abcdef`;
  Deno.renameSync(`${bench.pins()}/xdp_phantom/maps-${layouts.xdp_phantom.hash}`, old);
  {
    await using second = await bench.start(config);
    assert.match(await second.until("event=xdp_attached"), /swapped=true adopted=\d+/);
    assert.match(
      await second.until("event=maps_adopted"),
      /maps=(?=\S*sessions)(?=\S*sources)/,
    );
    await second.until("event=maps_removed");
    assert.ok(await counts(bench));
  }
  assert.throws(() => Deno.statSync(old), Deno.errors.NotFound);
  assert.deepEqual(pinnedIds(bench.pins()).links, links);
  const now = Object.values(pinnedIds(bench.pins()).maps);
  const { sessions, sources, stats } = maps;
  assert.ok(now.includes(sessions!) && now.includes(sources!) && !now.includes(stats!));
  const others = Object.entries(maps).filter(([, id]) => !now.includes(id));
  const gone = { maps: Object.fromEntries(others), links: [], programs: [] };
  assert.deepEqual(await remaining(gone), []);
});

test("reload tells what changed, what waits, and why a file is refused", async (bench) => {
  const rules = [{ domain: "nobody.test", outbound: "reject" }];
  const path = bench.config();
  const write = (top: Record<string, unknown>) => Deno.copyFileSync(bench.config({}, top), path);
  const { code, stderr } = await bench.phantom("reload", "-c", path);
  assert.equal(code, 1);
  assert.match(stderr, /^phantom: Cannot reload as no server of instance "default" answers at /);

  await using server = await bench.start(path);
  write({ rules, idle: "10m", log_level: "info" });
  const taken = await bench.phantom("reload", path);
  assert.equal(taken.code, 0, taken.stderr);
  const [first, changed, waiting] = taken.stdout.trim().split("\n");
  assert.equal(first, `${path}: read again`);
  assert.deepEqual(changed!.split(/: |, /).slice(1).toSorted(), ["log_level", "rules"]);
  assert.equal(waiting, "  waits for a restart: idle");
  const json = await bench.phantom("reload", "--json", "-c", path);
  assert.deepEqual(JSON.parse(json.stdout), {
    ...{ path, taken: true, changed: [], waiting: ["idle"], problems: [], isFileWrong: false },
  });
  // The level of the log is among what changes.
  assert.doesNotMatch(server.output.split("event=config_reloaded")[1]!, / DEBUG /);

  write({ rules: "none" });
  for (const args of [["-c", path], ["--json", "-c", path]]) {
    const refused = await bench.phantom("reload", ...args);
    assert.equal(refused.code, 3);
    assert.match(
      refused.stdout + refused.stderr,
      /\.yaml:\d+:\d+: rules: must be a list/,
    );
  }
  // By SIGHUP it is the same, a line a problem in the log.
  server.signal("SIGHUP");
  assert.match(await server.until("event=config_problem"), / ERROR .*rules: must be a list/);

  const other = await bench.phantom("reload", "-c", bench.config());
  assert.equal(other.code, 1);
  assert.match(other.stderr, /as the server runs from .*\.yaml\n$/);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("run takes its key by the environment, its settings by standard input", async (bench) => {
  const run = (args: string[], input: string) => {
    // Exec: what is signalled is the program, and not a shell around it.
    const command = `exec "$0" run -A "$MAIN" ${args.join(" ")} <"$INPUT"`;
    const env = { INPUT: input, MAIN: `${repository}main.ts`, PHANTOM_PSK: bench.key };
    return new Running(bench.server.command("sh", ["-c", command, Deno.execPath()], {
      ...piped,
      env: { ...piped.env, ...env },
      cwd: bench.folder,
    }));
  };
  {
    await using server = run(["run", "-c", "-"], bench.config());
    assert.match(await server.until(" ready "), /listen=:54321/);
    server.signal("SIGHUP");
    await server.until("event=config_problem");
    assert.match(server.output, /it was started without a file: there is nothing to read again/);
    assert.equal(await server.kill("SIGTERM"), 0);
  }
  const wrong = `${bench.folder}/wrong.yaml`;
  Deno.writeTextFileSync(wrong, "listen: nowhere\n");
  await using checked = run(["check", "-"], wrong);
  assert.equal(await checked.end(), 3);
  assert.match(checked.stdout, /^standard input:1:9: listen: /);
});

test("run needs no file where the environment has the key, and says so", async (bench) => {
  // The places of the defaults are everybody's: here they are this process's own.
  const mounts = ["/var/lib", "/sys/fs/bpf", "/etc/phantom"].map((path) =>
    `{ [ ! -d ${path} ] || mount -t tmpfs none ${path}; }`
  );
  const script = `${mounts.join(" && ")} && exec "$@"`;
  const run = (...args: string[]) => {
    const program = [Deno.execPath(), "run", "-A", `${repository}main.ts`, ...args];
    return new Running(
      bench.server.command("unshare", ["-m", "sh", "-c", script, "sh", ...program], {
        ...piped,
        env: { ...piped.env, PHANTOM_PSK: bench.key },
        cwd: bench.folder,
      }),
    );
  };
  await using server = run("run");
  assert.match(await server.until(" ready "), /listen=:54321/);
  assert.match(server.output, /all settings are their defaults key=PHANTOM_PSK/);
  assert.ok(!server.output.includes(bench.key));
  assert.equal(await server.kill("SIGTERM"), 0);
  await using linked = run("link", "--host", "a.example");
  assert.equal(await linked.end(), 0);
  assert.match(linked.stdout, /^phantom:\/\/\S+@a\.example:54321/);
});

test("who looks for a server needs no key, which may be in its environment", async (bench) => {
  const { psk: _, ...rest } = JSON.parse(Deno.readTextFileSync(bench.config()));
  const path = `${bench.folder}/keyless.yaml`;
  Deno.writeTextFileSync(path, JSON.stringify(rest));
  const program = ["run", "-A", `${repository}main.ts`, "run", "-c", path];
  await using server = new Running(bench.server.command(Deno.execPath(), program, {
    ...piped,
    env: { ...piped.env, PHANTOM_PSK: bench.key },
    cwd: bench.folder,
  }));
  await server.until(" ready ");
  for (const command of ["status", "reload"]) {
    const { code, stderr } = await bench.phantom(command, "-c", path);
    assert.equal(code, 0, stderr);
  }
  assert.equal((await bench.phantom("config", "-c", path)).code, 3);
});

test("run tells systemd that it is ready, how it is, that it reloads and stops", async (bench) => {
  const address = `${bench.folder}/notify`;
  using manager = new Notified(address);
  const command = ["run", "-A", `${repository}main.ts`, "run", "-c", bench.config()];
  const env = { ...piped.env, NOTIFY_SOCKET: address };
  const { server: namespace, folder: cwd } = bench;
  await using server = new Running(
    namespace.command(Deno.execPath(), command, { ...piped, env, cwd }),
  );
  const ready = await manager.until(/^READY=1$/m);
  assert.equal(ready.index, 0);
  assert.match(ready.text, /^READY=1\nSTATUS=0 clients, native XDP on va$/);
  await server.until(" ready ");
  server.signal("SIGHUP");
  const reloading = await manager.until(/^RELOADING=1\nMONOTONIC_USEC=\d+$/);
  const again = await manager.until(/^READY=1$/m, reloading.index);
  assert.ok(server.output.includes("event=config_reloaded"));
  server.signal("SIGTERM");
  await manager.until(/^STOPPING=1$/m, again.index);
  assert.equal(await server.end(), 0);
});

test("run refuses a port that is in use", async (bench) => {
  const config = bench.config();
  {
    using _other = new Sender(bench.server, PORT);
    const { code, stderr } = await bench.phantom("run", "-c", config);
    assert.equal(code, 1);
    assert.match(stderr, /bind UDP \[::\]:54321: EADDRINUSE .*`ss -lunp` shows which/);
    assert.doesNotMatch(stderr, /^\s+at /m);
    assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
    assert.equal(xdpOf(bench).native, 0);
  }
  // Another phantom on the port would share its packets.
  await using first = await bench.start(config);
  const another = bench.config({ enabled: false }, { instance: "two" });
  const again = await bench.phantom("run", "-c", another);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /EADDRINUSE/);
  await first.kill("SIGTERM");
});

test("run counts what leaves once it is ready, also at the next start", async (bench) => {
  const path = `${bench.pins()}/hooks/tc_egress/va`;
  const programOf = () => {
    using link = openPinnedLink(libs, path)!;
    return link.info().programId;
  };
  const first = await bench.start(bench.config());
  const before = programOf();
  await first.kill("SIGTERM");
  assert.equal(programOf(), before);
  await using _second = await bench.start(bench.config());
  for (let i = 0; i < 80 && programOf() === before; i++) {
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.notEqual(programOf(), before);
});

test("run refuses an instance that runs already", async (bench) => {
  await using _first = await bench.start(bench.config());
  const ids = pinnedIds(bench.pins());
  for (const listen of [":54321", ":54322"]) {
    const { code, stderr } = await bench.phantom("run", "-c", bench.config({}, { listen }));
    assert.equal(code, 1);
    assert.match(stderr, /another phantom runs this instance: stop it, or give this one its own/);
  }
  const unload = await bench.phantom("unload", "--pin-path", bench.pinPath);
  assert.equal(unload.code, 1);
  assert.match(unload.stderr, /another phantom runs this instance/);
  assert.deepEqual(pinnedIds(bench.pins()), ids);
  assert.ok(await counts(bench));
});

test("run refuses a state folder that another server of its name uses", async (bench) => {
  await using _first = await bench.start(bench.config());
  const listen = ":54322";
  const other = bench.config({ enabled: false }, { listen });
  const { code, stderr } = await bench.phantom("run", "-c", other);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /Cannot use \S+\/state\/state-default as another phantom runs this instance/,
  );
  const named = bench.config({ enabled: false }, { listen, instance: "two" });
  await using second = new Running(bench.command("run", "-c", named));
  await second.until(" ready ");
});

test("run refuses the placeholder key with the way to a real one", async (bench) => {
  const config = bench.config({}, { psk: "your-32-byte-psk-here" });
  const { code, stderr } = await bench.phantom("run", "-c", config);
  assert.equal(code, 3);
  assert.match(stderr, /psk: is still the placeholder.*`phantom keygen`/);
});

test("run --init makes a configuration of 0600 and prints a link with its key", async (bench) => {
  const path = `${bench.folder}/made.yaml`;
  bench.server.ip("route", "add", "default", "via", "198.51.100.2");
  // Its default pin path and state folder may be another's: this one gets some of its own.
  const mounting = 'mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs none /var/lib && exec "$@"';
  const args = ["-m", "bash", "-c", mounting, "-", Deno.execPath(), "run", "-A"];
  const init = [...args, `${repository}main.ts`, "run", "--init", "-c", path];
  const command = bench.server.command("unshare", init, piped);
  await using server = new Running(command);
  // The address of this net is for documentation only: no client elsewhere has a way to it.
  assert.match(await server.until("event=link_doubtful"), /198\.51\.100\.\d, .* --host HOST/);
  const link = (await server.until("phantom://")).trim();
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  const text = Deno.readTextFileSync(path);
  const key = Uint8Array.fromBase64(/^psk: "([^"]+)"/m.exec(text)![1]!);
  assert.equal(key.length, 32);
  const url = new URL(link);
  assert.deepEqual(Uint8Array.fromBase64(url.username, { alphabet: "base64url" }), key);
  assert.equal(`${url.host}${url.search}`, `${SERVER_IP}:${PORT}?v=5`);
  assertNoKey(server.stderr, key);
  assert.match(await server.until(" ready "), /xdp="native XDP on va"/);
  assert.equal(await server.kill("SIGTERM"), 0);
  // A second --init keeps the file.
  await using again = new Running(command);
  assert.equal((await again.until("phantom://")).trim(), link);
  assert.equal(Deno.readTextFileSync(path), text);
});

/** In no spelling, and no half of one. */
function assertNoKey(output: string, key: Uint8Array): void {
  const base64 = key.toBase64();
  const forms = [base64, key.toBase64({ alphabet: "base64url" }), key.toHex(), key.join(",")];
  for (const form of forms.flatMap((one) => [one.slice(0, 20), one.slice(-24, -4)])) {
    assert.ok(!output.toLowerCase().includes(form.toLowerCase()), "the key is in the output");
  }
}

test("no output but the link holds the key", async (bench) => {
  const key = Uint8Array.fromBase64(bench.key);
  for (const log_format of ["text", "json"]) {
    const config = bench.config({}, { log_format });
    await using server = new Running(bench.command("run", "-c", config));
    await server.until("ready");
    using sender = new Sender(bench.client);
    sender.send(SERVER_IP, PORT, [key, new TextEncoder().encode(bench.key)]);
    await server.kill("SIGTERM");
    assertNoKey(server.output, key);
  }
  const config = bench.config({ interfac: bench.key }, { log_level: bench.key });
  for (const command of ["run", "check", "config", "status", "unload", "link"]) {
    const { code, stdout, stderr } = await bench.phantom(command, "-c", config);
    assert.equal(code, 3, command);
    assertNoKey(stdout + stderr, key);
  }
  const printed = await bench.phantom("config", "-c", bench.config());
  assert.equal(printed.code, 0);
  assertNoKey(printed.stdout + printed.stderr, key);
});

test("the server outlives whoever read its log", async (bench) => {
  const script = 'exec 2> >(true); sleep 0.1; exec "$@"';
  const program = [Deno.execPath(), "run", "-A", `${repository}main.ts`, "run", "-c"];
  const command = bench.server.command("bash", ["-c", script, "-", ...program, bench.config()], {
    ...piped,
    stderr: "null",
  });
  const child = command.spawn();
  try {
    for (let i = 0; i < 200 && xdpOf(bench).native === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.ok(await counts(bench));
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0);
  } finally {
    await child.stdout.cancel();
  }
});

test("abandon() takes off what was new, and leaves what was there before", async (bench) => {
  const log = new Log(() => {});
  const open = () => PinFolder.open(libs, bench.pinPath, "default", log)!;
  const start = (pins: PinFolder) =>
    bench.server.enter(() =>
      XdpPlane.start(libs, {
        pins,
        interfaces: ["va"],
        mode: "native",
        code: { name: "xdp_phantom", bytes: bpfObject("xdp_phantom"), origin: "embedded" },
        parts: [],
        ports: [PORT],
        log,
      })
    );
  const unused = open();
  const first = start(unused);
  const ids = pinnedIds(bench.pins());
  first.abandon();
  unused.close();
  assert.deepEqual(await remaining(ids), []);
  assert.throws(() => Deno.statSync(bench.pinPath), Deno.errors.NotFound);
  const pins = open();
  start(pins).close();
  const second = start(pins);
  assert.ok(second.interfaces()[0]?.swapped);
  second.abandon();
  pins.close();
  assert.notEqual(xdpOf(bench).native, 0);
});

test("run counts IPv6 as well, and answers nothing", async (bench) => {
  bench.server.ip("addr", "add", "2001:db8::1/64", "dev", "va", "nodad");
  bench.client.ip("addr", "add", "2001:db8::2/64", "dev", "vb", "nodad");
  await using _server = await bench.start(bench.config());
  using sender = new Sender(bench.client);
  // The first one to a closed port: it makes the neighbours known, and shows that ICMP gets back.
  sender.send("2001:db8::1", PORT + 1, [new Uint8Array(5)]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const before = icmpReceived(bench.client);
  assert.ok(before > 0);
  sender.send("2001:db8::1", PORT, Array.from({ length: 30 }, (_, i) => new Uint8Array(i)));
  assert.equal(await packetsUntil(30, OURS, () => bench.status()), 30);
  assert.equal(icmpReceived(bench.client), before);
  assert.equal(sender.received(), 0);
});

test("status and unload tell people and programs what is there", async (bench) => {
  const at = ["--pin-path", bench.pinPath];
  const none = await bench.phantom("status", ...at);
  assert.equal(none.code, 1);
  assert.match(none.stdout, /^no server runs, or it can't be asked .*\n\nnothing is pinned at /);
  const config = bench.config();
  const server = await bench.start(config);
  assert.ok(await counts(bench));
  await server.kill("SIGTERM");
  const { code, stdout } = await bench.phantom("status", "-c", config);
  assert.equal(code, 1);
  assert.match(stdout, /^no server runs, /);
  assert.match(stdout, /^ {2}va {2}native XDP, program \d+$/m);
  assert.match(stdout, /^ {2}drop short +5 packets, \d+ bytes$/m);
  const unload = await bench.phantom("unload", "--json", "-c", config);
  assert.deepEqual(JSON.parse(unload.stdout), {
    path: bench.pins(),
    wasLoaded: true,
    interfaces: ["va"],
  });
  assert.deepEqual(JSON.parse((await bench.phantom("unload", "--json", ...at)).stdout), {
    path: bench.pins(),
    wasLoaded: false,
    interfaces: [],
  });
});

test("status asks the server that runs, and does without one that does not", async (bench) => {
  const config = bench.config({ interface: ["va", "later0"] }, { workers: 2 });
  const asked = async () =>
    JSON.parse((await bench.phantom("status", "--json", "-c", config)).stdout);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await using server = await bench.start(config);
    using sender = new Sender(bench.client);
    sender.send(SERVER_IP, PORT, Array(5).fill(new Uint8Array(20)));
    const { server: said, maps } = await asked();
    assert.equal(said.pid > 0, true);
    assert.deepEqual([said.level, said.workers], ["native XDP on va", 2]);
    assert.equal(said.pins, bench.pins());
    assert.equal(said.health.attached, 1);
    assert.equal(typeof said.counters.datagrams, "number");
    assert.ok(maps.some(({ name }: { name: string }) => name === "listen_ports"));
    const { stdout } = await bench.phantom("status", "-c", config);
    const [running, carried, level] = stdout.split("\n");
    assert.match(running!, /^running since 2.* UTC \(\d+ s\): version .*, 2 workers, pid \d+$/);
    assert.match(carried!, /^0 clients, 0 connections; \d+.* in, 0 B out$/);
    assert.equal(level, "native XDP on va");
    const all = (await bench.phantom("status", "--all", "-c", config)).stdout;
    assert.match(all, /^ {2}drop short +\d+ packets, \d+ bytes$/m);
    assert.doesNotMatch(all, / 0$/m);
    await server.kill(signal);
    assert.equal((await asked()).server, null);
  }
  assert.throws(() => Deno.lstatSync(`${bench.folder}/state/status-default.sock`));
});

test("a server whose program is taken off has it back within two seconds", async (bench) => {
  const config = bench.config();
  await using server = await bench.start(config);
  run("bpftool", "link", "detach", "pinned", `${bench.pins()}/hooks/xdp/va`);
  const began = performance.now();
  assert.equal(xdpOf(bench).native, 0);
  while (xdpOf(bench).native === 0 && performance.now() - began < 5000) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const ms = performance.now() - began;
  assert.ok(ms < 2000, `${ms} ms`);
  assert.match(await server.until("attaching anew"), /WARN .*interface=va/);
  const { stdout } = await bench.phantom("status", "--all", "-c", config);
  assert.match(stdout, /^ {2}lost +1$/m);
  assert.match(stdout, /^ {2}reattached +1$/m);
  assert.ok(await counts(bench));
});

test("enable_stats false loads a program that counts nothing", async (bench) => {
  await using server = await bench.start(bench.config({ enable_stats: false }));
  await server.until("event=xdp_attached");
  using sender = new Sender(bench.client);
  sender.send(SERVER_IP, PORT, Array(5).fill(new Uint8Array(20)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual((await bench.status()).counters, []);
});

test("doctor speaks to people, and exits by what is required", async (bench) => {
  const { code, stdout } = await bench.phantom("doctor");
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^ {2}have {2}xdp$/m);
  assert.match(stdout, /\nReady: a client, a server and XDP work here/);
  // The same without capabilities: what is to be done is said once.
  const args = ["--bounding-set=-all", "--inh-caps=-all", Deno.execPath(), "run", "-A"];
  const without = (...more: string[]) =>
    new Running(bench.server.command("setpriv", [...args, `${repository}main.ts`, ...more], piped));
  const poor = without("doctor");
  assert.equal(await poor.end(), 4);
  assert.match(poor.stdout, /lack {2}CAP_BPF\n\s+without it: loading BPF programs\n/);
  const untried = "can't be tried without CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: run it as root";
  assert.equal(poor.stdout.split(untried).length, 2, poor.stdout);
  assert.doesNotMatch(poor.stdout, /a newer kernel|run as root/);
  assert.match(poor.stdout, /\nWhat works: a client, and a server without XDP\. .*\n$/);
  // As it says.
  await using server = without("run", "-c", bench.config());
  await server.until(" ready ");
  assert.equal(await server.kill("SIGTERM"), 0, server.output);
});

test("a server keeps only the capabilities that it needs, and no core file", async (bench) => {
  await using server = await bench.start(bench.config());
  const needs = [10, 12, 13, 38, 39].reduce((sum, bit) => sum | 1n << BigInt(bit), 0n);
  for (const { name } of Deno.readDirSync(`/proc/${server.pid}/task`)) {
    const status = Deno.readTextFileSync(`/proc/${server.pid}/task/${name}/status`);
    for (const set of ["CapEff", "CapPrm", "CapBnd"]) {
      const [, hex] = new RegExp(`^${set}:\\s*([0-9a-f]+)$`, "m").exec(status)!;
      assert.equal(BigInt(`0x${hex}`) & ~needs, 0n, `${set} of thread ${name}`);
    }
  }
  const limits = Deno.readTextFileSync(`/proc/${server.pid}/limits`);
  assert.match(limits, /^Max core file size +0 +0 /m);
});

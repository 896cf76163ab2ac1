/**
 * dist/phantom on the kernels that people have: Debian's of 5.10, 6.1 and 6.12, each booted in an
 * emulator (`tools/kernels.sh` fetches them). Verifiers differ from one to the next, and what one
 * refuses would only show as a lower level.
 *
 * guest.sh is all that runs inside; here is judged what it has printed. Not part of `make test`,
 * for it takes two minutes a kernel: `make test-kernels`.
 */

import assert from "node:assert/strict";
import type { Finding } from "../../src/kernel/doctor.ts";
import { repository } from "../fixtures/libraries.ts";
import { run } from "../fixtures/netns.ts";
import { outcomeOf, piped } from "../fixtures/process.ts";
import { packetsOf, type Status } from "../fixtures/server.ts";
import type { RelayReport } from "../../src/relay/relay_state.ts";
import type { ServerStatus } from "../../src/app/status_socket.ts";

const KERNELS = ["5.10", "6.1", "6.12"] as const;
/** Without hardware's help every instruction is translated. */
const BOOT_MS = 1_200_000;
const FOLDER = `${repository}.toolchain/kernels`;
const EXECUTABLE = `${repository}dist/phantom`;

interface Step {
  readonly code: number;
  readonly output: string;
}

/** What is missing for a kernel's test, or undefined. */
function lacking(version: string): string | undefined {
  for (const program of ["qemu-system-x86_64", "busybox", "ip", "ldd"]) {
    const args = ["-c", `command -v ${program}`];
    if (!new Deno.Command("bash", { args, stdout: "null" }).outputSync().success) {
      return `no ${program}: tools/kernels.sh installs it`;
    }
  }
  if (!exists(EXECUTABLE)) return "no dist/phantom: make build";
  if (!exists(`${FOLDER}/${version}/vmlinuz`)) {
    return "no such kernel here: tools/kernels.sh fetches it where the Debian mirror has it";
  }
  return undefined;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** A program as NAME below `root`, and the libraries that it names at their own paths. */
function install(root: string, name: string, program: string): void {
  Deno.copyFileSync(program, `${root}/usr/sbin/${name}`);
  for (const [, path] of run("ldd", program).matchAll(/(\/\S+) \(0x/g)) {
    Deno.mkdirSync(root + path!.slice(0, path!.lastIndexOf("/")), { recursive: true });
    Deno.copyFileSync(path!, root + path!);
  }
}

/** Everything that the kernel finds at its start, as one archive; its path. */
function makeArchive(folder: string, version: string): string {
  const root = `${folder}/root`;
  Deno.mkdirSync(`${root}/bin`, { recursive: true });
  Deno.mkdirSync(`${root}/modules`);
  Deno.mkdirSync(`${root}/usr/sbin`, { recursive: true });
  const pathOf = (name: string) => run("bash", "-c", `readlink -f "$(command -v ${name})"`).trim();
  Deno.copyFileSync(pathOf("busybox"), `${root}/bin/busybox`);
  install(root, "ip", pathOf("ip"));
  install(root, "phantom", EXECUTABLE);
  Deno.copyFileSync(`${repository}build/tests/xdp_pass.o`, `${root}/xdp_pass.o`);
  Deno.copyFileSync(`${repository}tests/kernels/guest.sh`, `${root}/init`);
  for (const { name } of Deno.readDirSync(`${FOLDER}/${version}`)) {
    if (!name.endsWith(".ko")) continue;
    Deno.copyFileSync(`${FOLDER}/${version}/${name}`, `${root}/modules/${name}`);
  }
  const archive = `${folder}/initramfs.cpio`;
  run("bash", "-c", `cd ${root} && find . | busybox cpio -o -H newc >${archive} 2>/dev/null`);
  return archive;
}

/** Boots a kernel, and answers what guest.sh has printed, by step. */
async function boot(version: string): Promise<Map<string, Step>> {
  const folder = Deno.makeTempDirSync({ prefix: "phantom-kernel-" });
  try {
    const copy = Deno.env.get("KERNELS_OUTPUT");
    const command = new Deno.Command("qemu-system-x86_64", {
      ...piped,
      stdin: "null",
      args: [
        // The emulated cmpxchg16b leaves wrong flags behind now and then (qemu 7.2).
        ...["-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-smp", "2", "-m", "3072"],
        ...["-nodefaults", "-display", "none", "-no-reboot", "-serial", "chardev:said"],
        ...["-chardev", `stdio,id=said${copy === undefined ? "" : `,logfile=${copy}/${version}`}`],
        ...["-kernel", `${FOLDER}/${version}/vmlinuz`],
        ...["-initrd", makeArchive(folder, version)],
        ...["-append", "console=ttyS0 loglevel=1 panic=-1"],
      ],
    });
    const { stdout, stderr } = await outcomeOf(command, BOOT_MS);
    const steps = stepsOf(stdout.replaceAll("\r", ""));
    assert.ok(steps.has("done"), `it did not come to its end:\n${stderr}${stdout.slice(-4000)}`);
    return steps;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function stepsOf(text: string): Map<string, Step> {
  const steps = new Map<string, Step>();
  let name = "";
  let lines: string[] = [];
  for (const line of text.split("\n")) {
    const [, code, begun] = /^@@ (?:= (\d+)|(.+))$/.exec(line) ?? [];
    if (code !== undefined) {
      steps.set(name, { code: Number(code), output: lines.join("\n") });
    } else if (begun !== undefined) {
      [name, lines] = [begun, []];
    } else {
      lines.push(line);
    }
  }
  return steps;
}

class Judge {
  readonly #steps: Map<string, Step>;

  constructor(steps: Map<string, Step>) {
    this.#steps = steps;
  }

  /** The output of a step that ended well, or by the exit code that is right. */
  output(name: string, code = 0): string {
    const step = this.#steps.get(name);
    assert.ok(step !== undefined, `step "${name}" was not taken`);
    assert.equal(step.code, code, `${name}: exit code ${step.code}\n${step.output}`);
    return step.output;
  }

  json<T>(name: string, code = 0): T {
    const text = this.output(name, code);
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${name} printed no JSON: ${text}`);
    }
  }

  /** Machine and programs: nothing that is needed lacks, and the verifier takes all of ours. */
  machine(version: string): void {
    assert.ok(this.output("kernel").startsWith(`${version}.`));
    const { findings } = this.json<{ findings: Finding[] }>("doctor");
    assert.deepEqual(findings.filter(({ required, have }) => required && have !== "yes"), []);
    const { bpf } = this.json<{ bpf: { object: string; ok: boolean; error?: string }[] }>("check");
    const objects = ["xdp_phantom", "xdp_sessions", "tc_egress", "steer"];
    assert.deepEqual(
      bpf.map(({ object, ok }) => [object, ok]),
      objects.map((name) => [name, true]),
    );
    this.output("network");
    this.output("backend");
  }

  /** A server's life with XDP in one mode. */
  life(mode: "native" | "generic"): void {
    const level = `${mode} XDP on sa, ${mode} XDP on sb`;
    this.output(`${mode} start`);
    this.pings(`${mode} ping`);
    this.pings(`${mode} relay ping`);
    const { upMbps, downMbps } = this.json<{ upMbps: number; downMbps: number }>(`${mode} bench`);
    assert.ok(upMbps > 0.1 && downMbps > 0.1, `${mode} bench: ${upMbps} up, ${downMbps} down`);

    const status = this.json<Status & { server: ServerStatus }>(`${mode} status`);
    assert.equal(status.server.level, level);
    assert.ok(packetsOf(status, ["session"]) > 0, JSON.stringify(status.counters));
    assert.ok(packetsOf(status, ["junk"]) > 0, JSON.stringify(status.counters));
    // Two clients have come, and gone: what user space marks goes by xdp_sessions.
    assert.ok(packetsOf(status, ["session_new"]) >= 2, JSON.stringify(status.counters));
    assert.ok(status.server.sessions!.marked >= 4, JSON.stringify(status.server.sessions));
    const { xskReceived, xskSent } = status.server.counters;
    assert.equal(xskReceived > 0 && xskSent > 0, mode === "native", `AF_XDP: ${xskReceived}`);
    this.relay(mode);
    const killed = this.json<Status>(`${mode} status when killed`, 1);
    assert.deepEqual(killed.interfaces.map((one) => one.mode), [mode, mode]);

    this.output(`${mode} start again`);
    assert.match(this.output(`${mode} log again`), / maps=\S*sessions\S* event=maps_adopted/);
    this.pings(`${mode} ping again`);
    for (const log of [`${mode} log`, `${mode} log again`]) {
      // What generic XDP can't do for who sits behind a veth, it says.
      const warnings = this.output(log).split("\n").filter((line) =>
        / (WARN|ERROR) /.test(line) && !(mode === "generic" && line.includes("(GSO) are lost"))
      );
      assert.deepEqual(warnings, [], log);
    }
    assert.match(this.output(`${mode} unload`), /unloaded .* from .*sa/);
    assert.equal(this.output(`${mode} left over`), "");
  }

  pings(name: string): void {
    assert.equal(this.json<{ answered: number }>(name).answered, 2, name);
  }

  /** A client came by XDP, and its answers went back so. */
  relay(mode: "native" | "generic"): void {
    const { relay } = this.json<{ relay: RelayReport }>(`${mode} status`);
    const { packetsOut, packetsIn, flows } = relay.backends[0]!;
    const all = JSON.stringify(relay);
    assert.equal(flows, 1, all);
    assert.ok(packetsOut > 0 && packetsIn > 0, all);
  }
}

for (const version of KERNELS) {
  const missing = lacking(version);
  if (missing !== undefined) console.log(`kernels_test.ts: Linux ${version} skipped, ${missing}`);
  Deno.test({
    name: `Linux ${version}: programs load, XDP native and generic, relay, kill, unload`,
    ignore: missing !== undefined,
    async fn() {
      const judge = new Judge(await boot(version));
      judge.machine(version);
      judge.life("native");
      judge.life("generic");
    },
  });
}

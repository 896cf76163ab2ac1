/** `make install` and `make uninstall`, into a folder of the test's own. */

import assert from "node:assert/strict";

const ROOT = new URL("..", import.meta.url).pathname;
const UNITS = ["phantom-client@.service", "phantom.service", "phantom@.service"];

/** Runs make with all its places below `folder`; with DESTDIR, as a package is made. */
function make(target: string, folder: string, ...more: string[]): string {
  const { success, stdout, stderr } = new Deno.Command("make", {
    cwd: ROOT,
    args: [target, `SYSCONFDIR=${folder}/etc`, `LOCALSTATEDIR=${folder}/var`, ...more],
  }).outputSync();
  const text = new TextDecoder().decode(stdout);
  assert.ok(success, text + new TextDecoder().decode(stderr));
  return text;
}

function filesIn(folder: string): string[] {
  const { stdout } = new Deno.Command("find", {
    args: [folder, "-mindepth", "1", "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%P\n"],
  }).outputSync();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "").toSorted();
}

function has(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** What stands in for the executable: it is not run but by `uninstall`, which asks it to unload. */
const STAND_IN = "/bin/true";

Deno.test("uninstall leaves nothing of what install and use have made but configurations", () => {
  const folder = Deno.makeTempDirSync({ prefix: "phantom-install-" });
  try {
    const places = [`PREFIX=${folder}/usr`, `DIST=${STAND_IN}`];
    make("install", folder, ...places);
    const installed = filesIn(folder);
    for (const name of UNITS) assert.ok(installed.includes(`usr/lib/systemd/system/${name}`));
    assert.ok(installed.includes("usr/bin/phantom"));

    // What comes of using it: files of a person, links of systemctl, the server's state.
    Deno.writeTextFileSync(`${folder}/etc/phantom/phantom.yaml`, "psk: x\n");
    const wants = `${folder}/etc/systemd/system/multi-user.target.wants`;
    Deno.mkdirSync(wants, { recursive: true });
    for (const name of ["phantom.service", "phantom@b.service", "phantom-client@c.service"]) {
      Deno.symlinkSync("/nowhere", `${wants}/${name}`);
    }
    Deno.symlinkSync("/nowhere", `${wants}/other.service`);
    Deno.mkdirSync(`${folder}/var/lib/phantom/state-default`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/var/lib/phantom/state-default/secret`, "x");

    const said = make("uninstall", folder, ...places);
    const others = "etc/systemd/system/multi-user.target.wants/other.service";
    assert.deepEqual(filesIn(folder), ["etc/phantom/phantom.yaml", others]);
    assert.match(said, /kept your configuration: \S+\/etc\/phantom\/phantom\.yaml\n/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test({
  name: "systemd finds nothing wrong with the units, wherever they are installed",
  ignore: !has("systemd-analyze"),
  fn() {
    const folder = Deno.makeTempDirSync({ prefix: "phantom-units-" });
    try {
      make("install", folder, `PREFIX=${folder}/usr`, `DIST=${STAND_IN}`);
      const units = `${folder}/usr/lib/systemd/system`;
      const names = ["phantom.service", "phantom@b.service", "phantom-client@c.service"];
      const { code, stderr } = new Deno.Command("systemd-analyze", {
        args: ["verify", "--man=no", ...names.map((name) => `${units}/${name}`)],
      }).outputSync();
      const said = new TextDecoder().decode(stderr).split("\n");
      // Of other units of this machine it speaks as well.
      assert.deepEqual(said.filter((line) => /phantom/.test(line)), [], said.join("\n"));
      assert.equal(code, 0, said.join("\n"));
      const text = Deno.readTextFileSync(`${units}/phantom@.service`);
      assert.match(
        text,
        new RegExp(`^ExecStart=${folder}/usr/bin/phantom run -c .*/%i\\.yaml$`, "m"),
      );
      assert.doesNotMatch(text, /phantom\.yaml/);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});

Deno.test("all units say what they are ready by, and don't start again what can't start", () => {
  for (const name of ["phantom.service", "phantom-client@.service"]) {
    const unit = Deno.readTextFileSync(`${ROOT}deploy/${name}`);
    assert.match(unit, /^Type=notify$/m);
    assert.match(unit, /^RestartPreventExitStatus=2 3 4$/m);
    assert.match(unit, /^ExecReload=\/usr\/local\/bin\/phantom reload /m);
  }
});

/** The fixture that makes namespaces: what a process leaves behind goes with it. */

import assert from "node:assert/strict";
import { repository } from "../fixtures/libraries.ts";
import { Namespace, run } from "../fixtures/netns.ts";
import { piped, Running } from "../fixtures/process.ts";

const WAIT_MS = 10_000;

const PROGRAM = `
import { Namespace } from "${repository}tests/fixtures/netns.ts";
const namespace = new Namespace();
const child = namespace.command("sleep", ["1000"]).spawn();
console.log(namespace.name, child.pid);
// As a benchmark does, which gives the event loop no time.
for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
`;

function exists(pid: number): boolean {
  try {
    // What was killed may wait for a parent that is dead too.
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
  Deno.test(`a process that ends by ${signal} leaves no namespace behind`, async () => {
    using other = new Namespace();
    const path = Deno.makeTempFileSync({ suffix: ".ts" });
    try {
      Deno.writeTextFileSync(path, PROGRAM);
      await using running = new Running(
        new Deno.Command(Deno.execPath(), { ...piped, args: ["run", "-A", "--no-check", path] }),
      );
      const [name = "", pid = ""] = (await running.until("phtest-")).split(" ");
      assert.ok(run("ip", "netns", "list").includes(name) && exists(Number(pid)));
      await running.kill(signal);
      const deadline = performance.now() + WAIT_MS;
      while (run("ip", "netns", "list").includes(name) || exists(Number(pid))) {
        assert.ok(performance.now() < deadline, `${name} or ${pid} is still there`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.ok(run("ip", "netns", "list").includes(other.name), "another's namespace is gone");
    } finally {
      Deno.removeSync(path);
    }
  });
}

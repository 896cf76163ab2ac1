import assert from "node:assert/strict";
import { Notified } from "../tests/fixtures/notified.ts";
import { NotifySocket } from "./notify_socket.ts";

Deno.test("NotifySocket sends to a path and to an abstract name", () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const address of [`${folder}/notify`, `@phantom-test-${Deno.pid}`]) {
      using listener = new Notified(address);
      using socket = new NotifySocket(address);
      assert.ok(socket.send("READY=1\nSTATUS=µ"));
      assert.ok(socket.send("STATUS=2", { mayBeLost: true }));
      assert.deepEqual(listener.take(), ["READY=1\nSTATUS=µ", "STATUS=2"]);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("NotifySocket says when nobody listens, and waits for nobody", () => {
  const address = `@phantom-test-none-${Deno.pid}`;
  using socket = new NotifySocket(address);
  assert.equal(socket.send("READY=1"), false);
  using _listener = new Notified(address);
  let sent = 0;
  while (sent < 100_000 && socket.send("STATUS=1", { mayBeLost: true })) sent++;
  assert.ok(sent > 0 && sent < 100_000, `${sent}`);
});

Deno.test("NotifySocket refuses what is no address", () => {
  assert.throws(() => new NotifySocket("here"), /must be a path or begin with @: it is here/);
  assert.throws(() => new NotifySocket(`/${"x".repeat(108)}`), /must be 108 bytes at most/);
});

Deno.test("NotifySocket knows the clock that systemd goes by", () => {
  using socket = new NotifySocket("@phantom-test");
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
  const seconds = Number(socket.monotonicUs() / 1_000_000n);
  // A machine that has slept counts that in its uptime alone.
  assert.ok(seconds > 0 && seconds <= uptime + 2, `${seconds} of ${uptime}`);
});

import assert from "node:assert/strict";
import { Log } from "../base/log.ts";
import {
  askReload,
  askStatus,
  type ServerStatus,
  statusPath,
  StatusSocket,
} from "./status_socket.ts";

const STATE = { instance: "default", pid: 7, level: "no XDP", pins: null } as ServerStatus;

/** A folder with a path for a socket, and what was logged. */
async function inFolder(
  act: (path: string, log: Log, lines: string[]) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "phantom-status-" });
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  try {
    const log = Log.to({ level: "debug", format: "text", write, now: Date.now });
    await act(statusPath(folder, "default"), log, lines);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("StatusSocket answers whoever asks, also several at once", async () => {
  await inFolder(async (path, log) => {
    assert.equal(await askStatus(path), undefined);
    const socket = await StatusSocket.open(path, () => STATE, log);
    assert.equal(Deno.lstatSync(path).mode! & 0o777, 0o600);
    const answers = await Promise.all(Array.from({ length: 20 }, () => askStatus(path)));
    for (const answer of answers) assert.deepEqual(answer, STATE);
    socket?.close();
    assert.throws(() => Deno.lstatSync(path), Deno.errors.NotFound);
    assert.equal(await askStatus(path), undefined);
  });
});

Deno.test("a socket may take its time to tell what a reload has done", async () => {
  await inFolder(async (path, log) => {
    const outcome = { taken: true, changed: ["rules"] };
    const socket = await StatusSocket.open(path, async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return outcome;
    }, log);
    assert.deepEqual(await askReload(path), outcome);
    socket!.close();
    assert.equal(await askReload(path), undefined);
  });
});

Deno.test("StatusSocket takes the place of a dead server, and of no living one", async () => {
  await inFolder(async (path, log, lines) => {
    const listener = Deno.listen({ transport: "unix", path });
    assert.equal(await StatusSocket.open(path, () => STATE, log), undefined);
    assert.match(lines.join(""), /another server answers there/);
    // What a killed server leaves: a socket that nobody listens on. (Deno removes its own.)
    Deno.renameSync(path, `${path}.kept`);
    listener.close();
    Deno.renameSync(`${path}.kept`, path);
    const socket = await StatusSocket.open(path, () => STATE, log);
    assert.deepEqual(await askStatus(path), STATE);
    socket!.close();
  });
});

Deno.test("StatusSocket removes nothing that is no socket", async () => {
  await inFolder(async (path, log, lines) => {
    Deno.writeTextFileSync(path, "precious");
    assert.equal(await StatusSocket.open(path, () => STATE, log), undefined);
    assert.equal(Deno.readTextFileSync(path), "precious");
    assert.match(lines.join(""), /WARN .*event=status_socket_failed/);
  });
});

Deno.test("StatusSocket goes on after it could not take somebody, and counts that", async () => {
  await inFolder(async (path) => {
    using listener = Deno.listen({ transport: "unix", path });
    let failures = 3;
    const poor = {
      accept: () =>
        failures-- > 0
          ? Promise.reject(new Deno.errors.BadResource("Too many open files (os error 24)"))
          : listener.accept(),
      close: () => listener.close(),
    };
    const begun = performance.now();
    const socket = StatusSocket.on(path, poor, () => STATE);
    assert.deepEqual(await askStatus(path), STATE);
    assert.equal(socket.errors, 3);
    // It did not spin meanwhile.
    assert.ok(performance.now() - begun > 200);
    socket.close();
  });
});

Deno.test("StatusSocket goes on after a state that can't be told", async () => {
  await inFolder(async (path, log) => {
    let faults = 1;
    const socket = await StatusSocket.open(path, () => {
      if (faults-- > 0) throw new Error("no state");
      return STATE;
    }, log);
    assert.equal(await askStatus(path), undefined);
    assert.deepEqual(await askStatus(path), STATE);
    socket!.close();
  });
});

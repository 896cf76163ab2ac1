/**
 * `deno task dev`: runs the server from source, and again after each change; C is rebuilt first.
 * What follows the task's name replaces the server's arguments.
 *
 * @module
 */

const WATCHED = ["main.ts", "deno.json", "src", "ffi", "bpf"];
const DEFAULT_ARGS = ["run", "--init", "-c", "phantom.yaml"];
/** Editors save in several steps, and git touches many files: wait until it is quiet. */
const QUIET_MS = 150;
/** How long a server may take to detach and close before it is killed. */
const STOP_MS_MAX = 5_000;

/** What a change asks for. */
export type Action = "nothing" | "restart" | "rebuild";

/** What a set of changed paths asks for: the strongest of them. */
export function actionFor(paths: Iterable<string>): Action {
  let action: Action = "nothing";
  for (const path of paths) {
    if (/\.(c|h|map)$/.test(path)) return "rebuild";
    if (/\.(ts|json|html|css|js)$/.test(path) && !path.endsWith("_test.ts")) action = "restart";
  }
  return action;
}

function say(text: string): void {
  const time = new Date().toTimeString().slice(0, 8);
  console.error(`[dev ${time}] ${text}`);
}

/** Builds C and BPF, and writes the layout when it is out of date. False when that failed. */
async function build(): Promise<boolean> {
  const { success } = await new Deno.Command("make", {
    args: ["--no-print-directory", "bpf", "lib", "layout"],
    stdin: "null",
  }).spawn().status;
  return success;
}

class Server {
  #child: Deno.ChildProcess | undefined;
  readonly #args: readonly string[];

  constructor(args: readonly string[]) {
    this.#args = args;
  }

  start(): void {
    const args = ["run", "-A", "main.ts", ...this.#args];
    const child = new Deno.Command(Deno.execPath(), { args }).spawn();
    this.#child = child;
    child.status.then(({ code }) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      say(`the server ended with code ${code}: waiting for a change`);
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const kill = (signal: Deno.Signal): void => {
      try {
        child.kill(signal);
      } catch (error) {
        // It ended by itself meanwhile.
        if (!(error instanceof TypeError)) throw error;
      }
    };
    kill("SIGTERM");
    const timer = setTimeout(() => {
      say(`the server did not stop in ${STOP_MS_MAX} ms: killing it`);
      kill("SIGKILL");
    }, STOP_MS_MAX);
    await child.status;
    clearTimeout(timer);
  }
}

/** Batches of changed paths, each after a quiet moment. */
async function* batches(watcher: Deno.FsWatcher): AsyncGenerator<Set<string>> {
  const events = watcher[Symbol.asyncIterator]();
  let next = events.next();
  for (;;) {
    const first = await next;
    if (first.done) return;
    const paths = new Set<string>(first.value.kind === "access" ? [] : first.value.paths);
    next = events.next();
    for (;;) {
      const quiet = Promise.withResolvers<undefined>();
      const timer = setTimeout(() => quiet.resolve(undefined), QUIET_MS);
      const result = await Promise.race([next, quiet.promise]);
      clearTimeout(timer);
      if (result === undefined || result.done) break;
      if (result.value.kind !== "access") result.value.paths.forEach((path) => paths.add(path));
      next = events.next();
    }
    yield paths;
  }
}

async function main(args: readonly string[]): Promise<void> {
  const watcher = Deno.watchFs(WATCHED, { recursive: true });
  const server = new Server(args.length > 0 ? args : DEFAULT_ARGS);
  const end = async (): Promise<void> => {
    await server.stop();
    Deno.exit(0);
  };
  Deno.addSignalListener("SIGINT", end);
  Deno.addSignalListener("SIGTERM", end);

  if (await build()) server.start();
  else say("the build failed: waiting for a change");
  for await (const paths of batches(watcher)) {
    const action = actionFor(paths);
    if (action === "nothing") continue;
    const names = [...paths].map((path) => path.replace(`${Deno.cwd()}/`, ""));
    say(`${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}: ${action}`);
    if (action === "rebuild" && !await build()) {
      say("the build failed: the server keeps running as it was");
      continue;
    }
    await server.stop();
    server.start();
  }
}

if (import.meta.main) await main(Deno.args);

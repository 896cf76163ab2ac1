/**
 * How fast the executable starts: `deno run -A tests/bench/start_bench.ts [--json]`, as root, after
 * `make build`. Medians of 10, each a process of its own in a namespace of its own. 10 seconds.
 */

import { Namespace } from "../fixtures/netns.ts";
import { executable } from "./bench_net.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const RUNS = Number(Deno.env.get("PHANTOM_RUNS") ?? 10);
const READY_TIMEOUT_MS = 10_000;

async function versionMs(): Promise<number> {
  const start = performance.now();
  await new Deno.Command(executable, { args: ["--version"], stdout: "null" }).output();
  return performance.now() - start;
}

/** From the start of the process to its log line "ready", XDP attached and sockets open. */
async function readyMs(namespace: Namespace, config: string): Promise<number> {
  const start = performance.now();
  const child = namespace.command(executable, ["run", "-c", config], {
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), READY_TIMEOUT_MS);
  let text = "";
  let ms = NaN;
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (!Number.isNaN(ms) || !text.includes(" ready ")) continue;
    ms = performance.now() - start;
    child.kill("SIGTERM");
  }
  clearTimeout(timer);
  await child.status;
  if (Number.isNaN(ms) || !text.includes("native XDP on va")) {
    throw new Error(`the server did not get ready:\n${text}`);
  }
  return ms;
}

async function figures(): Promise<Figure[]> {
  using namespace = new Namespace();
  namespace.veth("va", "vb");
  const folder = Deno.makeTempDirSync({ prefix: "phantom-bench-" });
  const config = `${folder}/phantom.yaml`;
  const instance = `bench-${Deno.pid}`;
  const key = crypto.getRandomValues(new Uint8Array(32)).toBase64();
  const text = `psk: ${key}\ninstance: ${instance}\nstate_dir: ${folder}\nebpf: {interface: va}\n`;
  Deno.writeTextFileSync(config, text, { mode: 0o600 });
  const version: number[] = [];
  const cold: number[] = [];
  const warm: number[] = [];
  const unload = () => namespace.run(executable, "unload", "-c", config);
  try {
    await versionMs();
    for (let run = 0; run < RUNS; run++) {
      version.push(await versionMs());
      cold.push(await readyMs(namespace, config));
      warm.push(await readyMs(namespace, config));
      unload();
    }
  } finally {
    unload();
    Deno.removeSync(folder, { recursive: true });
  }
  const megabytes = Deno.statSync(executable).size / 1e6;
  return [
    { name: "phantom --version", unit: "ms", value: median(version), aim: "< 60" },
    { name: "phantom run, start to ready", unit: "ms", value: median(cold), aim: "< 150" },
    {
      name: "... adopting the pins of an earlier run",
      unit: "ms",
      value: median(warm),
      aim: "< 150",
    },
    { name: "size of dist/phantom", unit: "MB", value: megabytes },
  ];
}

printFigures(await figures());

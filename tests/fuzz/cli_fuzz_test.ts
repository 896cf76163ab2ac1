// Random command lines: a message and an exit code for each, never a stack trace.

import assert from "node:assert/strict";
import { main } from "../../src/cli/mod.ts";
import { Rng } from "./rng.ts";

const ROOT = new URL("../../", import.meta.url);
const IN_PROCESS = 3000;
const PROCESSES = 25;
const CODES = [0, 1, 2, 3, 4];

/** Those that would act on this machine never get through their arguments here. */
const ACTING = ["run", "server", "client", "ping", "bench", "unload", "doctor", "status", "check"];
const HARMLESS = ["keygen", "link", "config", "version", "help", "--help", "-h", "--version", "-V"];
const SPOILER = "--no-such-option";
const WORDS = [
  ...["-c", "--config", "--config=", "-o", "--out", "--json", "--init", "--host", "--host=::1"],
  ...["--instance", "--pin-path", "--interface", "--example", "--reference", "-v", "-h", "--help"],
  ...["", "-", "--", "---", "=", "--=", "-c=", "__proto__", "constructor", "--__proto__", "help"],
  ...["/", ".", "..", "/proc/self/mem", "/dev/null", "none.yaml", "\0", "a\0b", "\n", "\x1b[2J"],
  ...["\ud800", "\u202e", "%s%n", "$(reboot)", "-1", "1e999", "é".repeat(300), "a".repeat(70_000)],
];

function randomWord(rng: Rng): string {
  if (rng.chance(0.8)) return rng.pick(WORDS);
  const word = rng.chance(0.5) ? "--" : "";
  return word + String.fromCharCode(...Array.from({ length: rng.int(0, 12) }, () => rng.u32()));
}

function randomLine(rng: Rng): string[] {
  const rest = Array.from({ length: rng.int(0, 5) }, () => randomWord(rng));
  const first = rng.pick([...ACTING, ...HARMLESS, randomWord(rng)]);
  if (ACTING.includes(first)) return [first, ...rest, SPOILER, SPOILER];
  // It would write there.
  const words = first === "keygen" ? rest.filter((word) => !word.includes("/")) : rest;
  return [first, ...words];
}

/** In an empty folder, so that no configuration is found and nothing is littered. */
async function inEmptyFolder(act: () => Promise<void>): Promise<void> {
  const [home, folder] = [Deno.cwd(), Deno.makeTempDirSync()];
  Deno.chdir(folder);
  try {
    await act();
  } finally {
    Deno.chdir(home);
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("main() answers every command line with a message and a known code", async () => {
  const { log, error } = console;
  await inEmptyFolder(async () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    const rng = new Rng(seed);
    let said = "";
    console.log = console.error = (text: string) => said += `${text}\n`;
    try {
      for (let i = 0; i < IN_PROCESS; i++) {
        const line = randomLine(rng);
        said = "";
        const place = `seed ${seed}: ${JSON.stringify(line).slice(0, 500)}`;
        const code = await main(line, ROOT).catch((cause) => {
          throw new Error(place, { cause });
        });
        assert.ok(CODES.includes(code), place);
        assert.notEqual(said, "", place);
        assert.doesNotMatch(said, /^\s+at /m, place);
      }
    } finally {
      Object.assign(console, { log, error });
    }
  });
});

Deno.test("the process answers with a message and a known code", async () => {
  await inEmptyFolder(async () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    const rng = new Rng(seed);
    for (let i = 0; i < PROCESSES; i++) {
      // An argument of a process holds no NUL, and no half of a character.
      const line = randomLine(rng).map((word) => word.replaceAll("\0", "").toWellFormed());
      const args = ["run", "-A", new URL("main.ts", ROOT).pathname, ...line];
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args,
        env: { NO_COLOR: "1" },
      }).output();
      const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      const place = `seed ${seed}: ${JSON.stringify(line).slice(0, 500)}: ${said}`;
      assert.ok(CODES.includes(code), place);
      assert.doesNotMatch(said, /^\s+at |Uncaught/m, place);
    }
  });
});

/**
 * Makes, or checks, the TypeScript view of C layouts:
 *
 *     tools/layout.ts [--check] [--named a,b] [--header FILE]... OBJECT... -o ffi/bpf/layout.gen.ts
 *     tools/layout.ts [--check] [--named a,b] --c FILE [--names a,b] -o ffi/bpf/libbpf.gen.ts
 *
 * The first form reads our compiled BPF programs and wants every struct and enum of the headers
 * (those of bpf/contract/ if none is given) to be in one of them at least. The second compiles a C
 * file of anchors and takes the types it anchors. `--named` are the enums whose values are shown
 * to people, by a function. `--check` writes nothing and fails when the file is not what would be
 * written.
 *
 * @module
 */

import { parseArgs } from "node:util";

import { BtfError, readBtf } from "../ffi/bpf/btf.ts";
import { compileBpf, CompileError } from "./compile_bpf.ts";
import {
  anchoredNamesOf,
  contractNamesOf,
  generateContract,
  generateForeign,
  LayoutError,
  type Source,
} from "./layout_gen.ts";
import { messageOf } from "../src/base/errors.ts";

const CONTRACT = "bpf/contract";

/** The arguments do not make sense, or a tool failed; the message says all there is to say. */
class UsageError extends Error {}

const EXPECTED = [UsageError, LayoutError, BtfError, CompileError, Deno.errors.NotFound];

interface Arguments {
  readonly check: boolean;
  readonly output: string;
  readonly headers: readonly string[];
  readonly objects: readonly string[];
  readonly anchors: string | undefined;
  readonly names: readonly string[];
  readonly named: readonly string[];
}

/** parseArgs as it is, but with an error that is ours. */
function parseWords(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        check: { type: "boolean", default: false },
        output: { type: "string", short: "o" },
        header: { type: "string", multiple: true },
        c: { type: "string" },
        names: { type: "string" },
        named: { type: "string" },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

function readArguments(args: string[]): Arguments {
  const { values, positionals } = parseWords(args);
  if (values.output === undefined) throw new UsageError("Cannot write: name the file with -o");
  if ((values.c === undefined) === (positionals.length === 0)) {
    throw new UsageError("Cannot choose: name either compiled objects or one C file with --c");
  }
  return {
    check: values.check,
    output: values.output,
    headers: values.header ?? contractHeaders(),
    objects: positionals,
    anchors: values.c,
    names: values.names?.split(",") ?? [],
    named: values.named?.split(",") ?? [],
  };
}

/** What all systems share comes first. */
function contractHeaders(): string[] {
  const names = [...Deno.readDirSync(CONTRACT)].map(({ name }) => name).toSorted();
  const others = names.filter((name) => name !== "common.h");
  return ["common.h", ...others].map((name) => `${CONTRACT}/${name}`);
}

/** The arguments as they are typed, without --check: what to run when the file is stale. */
function commandOf(args: readonly string[]): string {
  const words = args.filter((arg) => arg !== "--check");
  return ["deno run -A tools/layout.ts", ...words].join(" ");
}

async function generate(options: Arguments, command: string): Promise<string> {
  const { anchors, headers, objects, named } = options;
  if (anchors !== undefined) {
    const btf = readBtf(await compileBpf(anchors));
    const anchored = anchoredNamesOf(Deno.readTextFileSync(anchors));
    const names = options.names.length > 0 ? options.names : anchored;
    return generateForeign(btf, names, { origin: anchors, command, named });
  }
  const names = headers.flatMap((header) => contractNamesOf(Deno.readTextFileSync(header)));
  const sources = objects.map((name): Source => ({ name, btf: readBtf(Deno.readFileSync(name)) }));
  return generateContract(sources, names, { origin: headers.join(", "), command, named });
}

/** Runs the text through `deno fmt` with this project's settings, whatever the current folder. */
async function format(text: string): Promise<string> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--config", config, "--ext", "ts", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new UsageError(`Cannot format:\n${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

function readIfPresent(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** The exit code. */
async function main(args: string[]): Promise<number> {
  try {
    const options = readArguments(args);
    const command = commandOf(args);
    const text = await format(await generate(options, command));
    if (!options.check) {
      Deno.writeTextFileSync(options.output, text);
    } else if (readIfPresent(options.output) !== text) {
      console.error(`${options.output} is stale; make it again with:\n  ${command}`);
      return 1;
    }
    return 0;
  } catch (error) {
    // Whatever else is thrown is our own mistake, and wants its stack trace.
    if (!EXPECTED.some((type) => error instanceof type)) throw error;
    console.error((error as Error).message);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));

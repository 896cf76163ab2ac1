/**
 * What rides in the executable: libraries, BPF objects, worker code. `root` is where main.ts lies,
 * in a checkout or inside the executable; everything else is found from there.
 */

import type { LibraryName } from "../../ffi/libraries.ts";

export type ObjectName = "xdp_phantom" | "xdp_sessions" | "tc_egress" | "steer";
export type WorkerName = "tunnel/server" | "tunnel/client" | "relay";

export interface BpfCode {
  readonly name: ObjectName;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it came from: "embedded" or a path. */
  readonly origin: string;
}

/** Of tools/commit.sh. */
export interface Commit {
  /** All 40 digits. */
  readonly commit: string;
  /** When it was made, in UTC: `2026-01-02T03:04:05Z`. */
  readonly date: string;
  /** Files differ from it. */
  readonly modified: boolean;
}

export class Resources {
  readonly #root: URL;

  constructor(root: URL) {
    this.#root = root;
  }

  library(name: LibraryName): Uint8Array<ArrayBuffer> {
    return this.#read(`build/lib/${name}`);
  }

  /** A BPF object; from `folder` when it is given and holds one, else the embedded one. */
  bpf(name: ObjectName, folder = ""): BpfCode {
    if (folder !== "") {
      const path = `${folder}/${name}.o`;
      const bytes = readIfPresent(path);
      if (bytes !== undefined) return { name, bytes, origin: path };
    }
    return { name, bytes: this.#read(`build/bpf/${name}.o`), origin: "embedded" };
  }

  /**
   * The entry of a worker: every worker.ts below src/ is one (the Makefile finds them by that
   * name). Inside the executable they are bundled to JavaScript, beside main.js.
   */
  worker(name: WorkerName): { readonly code: URL; readonly name: string } {
    const extension = Deno.build.standalone ? "js" : "ts";
    const code = new URL(`src/${name}/worker.${extension}`, this.#root);
    return { code, name: name.slice(name.lastIndexOf("/") + 1) };
  }

  /** What this was built of; from a checkout, what git says of it. */
  commit(): Commit | undefined {
    const text = readIfPresent(new URL("commit.json", this.#root)) ?? askGit(this.#root);
    if (text === undefined) return undefined;
    const { commit, date, modified } = JSON.parse(new TextDecoder().decode(text));
    return commit === undefined ? undefined : { commit, date, modified };
  }

  #read(path: string): Uint8Array<ArrayBuffer> {
    try {
      return Deno.readFileSync(new URL(path, this.#root));
    } catch (cause) {
      const remedy = path.startsWith("build/lib/") ? "make lib" : "make bpf";
      throw new Error(`Cannot read ${path}: run \`${remedy}\` first`, { cause });
    }
  }
}

/** Nothing where there is no git, or no repository. */
function askGit(root: URL): Uint8Array<ArrayBuffer> | undefined {
  if (Deno.build.standalone) return undefined;
  try {
    const { success, stdout } = new Deno.Command(new URL("tools/commit.sh", root).pathname, {
      stderr: "null",
    }).outputSync();
    return success ? stdout : undefined;
  } catch {
    return undefined;
  }
}

function readIfPresent(path: string | URL): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Compiles C for the `bpf` target, for the generator and for tests.
 *
 * @module
 */

/** The architectures that we build for, as Deno calls them, with what libc's headers ask for. */
const ARCHITECTURES: Readonly<Record<string, { define: string; triplet: string }>> = {
  x86_64: { define: "__x86_64__", triplet: "x86_64-linux-gnu" },
  aarch64: { define: "__aarch64__", triplet: "aarch64-linux-gnu" },
};

/** The compiler refused; the message is its own. */
export class CompileError extends Error {
  override name = "CompileError";
}

export interface CompileOptions {
  /** Further folders for `#include`. */
  readonly include?: readonly string[];
  /** The compiler. @default {"clang"} */
  readonly clang?: string;
}

/** Compiles a C file into an object with BTF and returns the object's bytes. */
export async function compileBpf(path: string, options: CompileOptions = {}): Promise<Uint8Array> {
  const { include = [], clang = "clang" } = options;
  const architecture = ARCHITECTURES[Deno.build.arch];
  if (architecture === undefined) {
    throw new CompileError(`Cannot compile BPF on ${Deno.build.arch}`);
  }
  const folders = [...include, `/usr/include/${architecture.triplet}`];
  const { success, stdout, stderr } = await new Deno.Command(clang, {
    args: [
      ...["-target", "bpf", `-D${architecture.define}`, "-g", "-O2", "-Wall", "-c", path],
      ...folders.flatMap((folder) => ["-I", folder]),
      ...["-o", "-"],
    ],
  }).output();
  const messages = new TextDecoder().decode(stderr);
  if (!success) throw new CompileError(`Cannot compile ${path}:\n${messages}`);
  return stdout;
}

/**
 * The folder in the BPF file system where one instance keeps what outlives it:
 *
 *     <pin_path>/<instance>/              locked by the process that runs the instance
 *         maps-<layout hash>/<map>        adopted only by a program of the very same layout
 *         links/<interface>               the attachment itself; a dot of its name is a colon here
 *         egress/<interface>              that of the program which counts what leaves
 */

import { SysError } from "../../ffi/errors.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { cString } from "../../ffi/memory.ts";

const EWOULDBLOCK = "EAGAIN";
const MAPS_PREFIX = "maps-";

/** Another process runs this instance. */
export class InstanceBusyError extends Error {
  override readonly name = "InstanceBusyError";
}

export class PinFolder {
  readonly path: string;
  readonly #libs: Libraries;
  #lock = -1;

  constructor(libs: Libraries, pinPath: string, instance: string) {
    this.#libs = libs;
    this.path = `${pinPath}/${instance}`;
  }

  get exists(): boolean {
    return isFolder(this.path);
  }

  /** Makes the folder, mounting the BPF file system where it is missing, and takes its lock. */
  create(): void {
    makeOnBpffs(this.#libs, this.path);
    this.lock();
  }

  /** Held until `unlock` or the end of the process, however that comes. */
  lock(): void {
    const result = this.#libs.native.symbols.ph_lock_folder(cString(this.path));
    if (result >= 0) {
      this.#lock = result;
      return;
    }
    const error = new SysError(`lock ${this.path}`, -result);
    if (error.code !== EWOULDBLOCK) throw error;
    throw new InstanceBusyError(
      `Cannot use ${this.path} as another phantom runs this instance: stop it, or give this one ` +
        "its own `instance` in the configuration",
    );
  }

  /** Throws an InstanceBusyError when another process runs this instance. */
  assertFree(): void {
    if (!this.exists) return;
    this.lock();
    this.unlock();
  }

  unlock(): void {
    if (this.#lock >= 0) this.#libs.native.symbols.ph_close(this.#lock);
    this.#lock = -1;
  }

  /** Where the maps of a layout are pinned; the folder is made when `create`. */
  maps(layoutHash: string, create = false): string {
    const path = `${this.path}/${MAPS_PREFIX}${layoutHash}`;
    if (create) Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Hashes of the layouts of which maps are pinned. */
  layouts(): string[] {
    return entries(this.path)
      .filter((name) => name.startsWith(MAPS_PREFIX))
      .map((name) => name.slice(MAPS_PREFIX.length));
  }

  /** What is pinned of a layout. */
  mapNames(layoutHash: string): string[] {
    return entries(this.maps(layoutHash));
  }

  /** Where the link of an interface is pinned; the folder is made when `create`. */
  link(interfaceName: string, create = false): string {
    return this.#hook("links", interfaceName, create);
  }

  /** As `link`, for the link at the way out. */
  egress(interfaceName: string, create = false): string {
    return this.#hook("egress", interfaceName, create);
  }

  #hook(kind: string, interfaceName: string, create: boolean): string {
    const folder = `${this.path}/${kind}`;
    if (create) Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    // The BPF file system wants no dots in names, and interfaces no colons.
    return `${folder}/${interfaceName.replaceAll(".", ":")}`;
  }

  hasLink(interfaceName: string): boolean {
    try {
      Deno.lstatSync(this.link(interfaceName));
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** Interfaces with a pinned link. */
  links(): string[] {
    return this.#interfaces("links");
  }

  /** Interfaces with a pinned link at the way out. */
  egresses(): string[] {
    return this.#interfaces("egress");
  }

  #interfaces(kind: string): string[] {
    return entries(`${this.path}/${kind}`).map((name) => name.replaceAll(":", "."));
  }

  removeMaps(layoutHash: string): void {
    removeFolder(this.maps(layoutHash));
  }

  /**
   * Unpins everything and removes the folder; the pin path itself too when nothing else is there.
   * Removes nothing that is not ours, and nothing outside a BPF file system.
   */
  remove(): void {
    if (this.#libs.native.symbols.ph_is_bpffs(cString(this.path)) !== 1) {
      throw new Error(`Cannot clear ${this.path} as it is in no BPF file system`);
    }
    for (const layout of this.layouts()) this.removeMaps(layout);
    for (const kind of ["links", "egress"]) removeFolder(`${this.path}/${kind}`);
    try {
      Deno.removeSync(this.path);
    } catch (cause) {
      const names = entries(this.path).join(", ");
      throw new Error(`Cannot remove ${this.path} as it holds more than ours: ${names}`, { cause });
    }
    removeIfEmpty(this.path.slice(0, this.path.lastIndexOf("/")));
  }
}

function makeOnBpffs(libs: Libraries, path: string): void {
  // bpffs is wanted at the deepest folder that exists already, or at its usual mount point.
  let base = path;
  while (!isFolder(base)) base = base.slice(0, base.lastIndexOf("/")) || "/";
  const { symbols } = libs.native;
  if (symbols.ph_is_bpffs(cString(base)) !== 1) {
    const remedy = `mount it: \`mount -t bpf bpf ${base}\`, or set ebpf.pin_path into a bpffs`;
    if (base !== "/sys/fs/bpf") {
      throw new Error(`Cannot pin in ${path} as ${base} is no BPF file system: ${remedy}`);
    }
    const result = symbols.ph_mount_bpffs(cString(base));
    if (result < 0) throw new SysError(`mount the BPF file system at ${base}`, -result, remedy);
  }
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new Error(`Cannot make ${path}: is the BPF file system mounted read-only?`, { cause });
  }
}

function entries(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function removeFolder(path: string): void {
  for (const name of entries(path)) Deno.removeSync(`${path}/${name}`);
  if (isFolder(path)) Deno.removeSync(path);
}

function removeIfEmpty(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch {
    // Another instance is there, or it is the mount point.
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    const isDenied = cause instanceof Deno.errors.PermissionDenied;
    const remedy = isDenied ? " as this user may not: run as root" : "";
    throw new Error(`Cannot look for ${path}${remedy}`, { cause });
  }
}

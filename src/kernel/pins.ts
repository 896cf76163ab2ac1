/**
 * The folder in the BPF file system where one instance keeps what outlives it:
 *
 *     <pin_path>/<instance>/                  locked by the process that runs the instance
 *         <object>/maps-<layout hash>/<map>   adopted only by a program of the very same layout
 *         hooks/<hook>/<interface>            the attachment itself; a dot of its name is a colon
 */

import { SysError } from "../../ffi/errors.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { cString } from "../../ffi/memory.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

const EWOULDBLOCK = "EAGAIN";
const MAPS_PREFIX = "maps-";
const HOOKS = "hooks";
/** Where earlier versions pinned what hooks hold, and which hook that is now. */
const HOOKS_BEFORE = [["links", "xdp"], ["egress", "tc_egress"]] as const;
/** The object whose maps earlier versions pinned in the instance's own folder. */
const OBJECT_BEFORE = "xdp_phantom";

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

  /**
   * The folder made and locked, until `close`; nothing where no pins are possible. Throws an
   * InstanceBusyError when another process runs this instance.
   */
  static open(
    libs: Libraries,
    pinPath: string,
    instance: string,
    log: Log,
  ): PinFolder | undefined {
    const pins = new PinFolder(libs, pinPath, instance);
    try {
      pins.create();
      return pins;
    } catch (error) {
      if (error instanceof InstanceBusyError) throw error;
      const cause = messageOf(error);
      const text = "nothing can be pinned: XDP, sessions and counters end with this process";
      log.warn("pins_unavailable", text, { cause });
      return undefined;
    }
  }

  get exists(): boolean {
    return isFolder(this.path);
  }

  /**
   * Makes the folder, mounting the BPF file system where it is missing, and takes its lock; what
   * an earlier version pinned is moved to where this one looks for it.
   */
  create(): void {
    makeOnBpffs(this.#libs, this.path);
    this.lock();
    this.adopt();
  }

  /** Lets go; the folder goes when nothing is in it. */
  close(): void {
    removeIfEmpty(`${this.path}/${HOOKS}`);
    if (removeIfEmpty(this.path)) removeIfEmpty(parentOf(this.path));
    this.unlock();
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

  /** Moves what an earlier version pinned. To be locked. */
  adopt(): void {
    for (const [before, name] of HOOKS_BEFORE) {
      const folder = `${this.path}/${before}`;
      for (const file of entries(folder)) movePin(folder, file, this.hook(name).folder);
      removeFolder(folder);
    }
    for (const name of entries(this.path)) {
      if (!name.startsWith(MAPS_PREFIX)) continue;
      movePin(this.path, name, this.object(OBJECT_BEFORE).folder);
      removeFolder(`${this.path}/${name}`);
    }
  }

  /** Where the maps of an object are pinned. */
  object(name: string): ObjectPins {
    return new ObjectPins(`${this.path}/${name}`);
  }

  /** Where what a hook holds is pinned. */
  hook(name: string): HookPins {
    return new HookPins(`${this.path}/${HOOKS}/${name}`);
  }

  /** Names of hooks that hold something. */
  hooks(): string[] {
    return entries(`${this.path}/${HOOKS}`);
  }

  /**
   * Unpins everything and removes the folder; the pin path itself too when nothing else is there.
   * Removes nothing that is not ours, and nothing outside a BPF file system.
   */
  remove(): void {
    if (this.#libs.native.symbols.ph_is_bpffs(cString(this.path)) !== 1) {
      throw new Error(`Cannot clear ${this.path} as it is in no BPF file system`);
    }
    for (const name of this.hooks()) this.hook(name).remove();
    removeFolder(`${this.path}/${HOOKS}`);
    for (const name of entries(this.path)) this.object(name).remove();
    try {
      Deno.removeSync(this.path);
    } catch (cause) {
      const names = entries(this.path).join(", ");
      throw new Error(`Cannot remove ${this.path} as it holds more than ours: ${names}`, { cause });
    }
    removeIfEmpty(parentOf(this.path));
  }
}

/** The maps of an object, by the hash of its layout. */
export class ObjectPins {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Where the maps of a layout are pinned; the folder is made when `create`. */
  maps(layoutHash: string, create = false): string {
    const path = `${this.folder}/${MAPS_PREFIX}${layoutHash}`;
    if (create) Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Hashes of the layouts of which maps are pinned. */
  layouts(): string[] {
    return entries(this.folder)
      .filter((name) => name.startsWith(MAPS_PREFIX))
      .map((name) => name.slice(MAPS_PREFIX.length));
  }

  /** What is pinned of a layout. */
  mapNames(layoutHash: string): string[] {
    return entries(this.maps(layoutHash));
  }

  removeMaps(layoutHash: string): void {
    removeFolder(this.maps(layoutHash));
  }

  /** Unpins all of them. */
  remove(): void {
    for (const layout of this.layouts()) this.removeMaps(layout);
    removeIfEmpty(this.folder);
  }
}

/** What a hook holds, by interface. */
export class HookPins {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(interfaceName: string): string {
    // The BPF file system wants no dots in names, and interfaces no colons.
    return `${this.folder}/${interfaceName.replaceAll(".", ":")}`;
  }

  /** As `path`, with the folder made. */
  make(interfaceName: string): string {
    Deno.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    return this.path(interfaceName);
  }

  has(interfaceName: string): boolean {
    return exists(this.path(interfaceName));
  }

  /** The instance beside this one that has this hook of an interface, where one has. */
  rival(interfaceName: string): string | undefined {
    const [, root = "", own = "", rest = ""] =
      /^(.*)\/([^/]+)\/(hooks\/[^/]+)$/.exec(this.folder) ?? [];
    const name = interfaceName.replaceAll(".", ":");
    return entries(root).find((one) => one !== own && exists(`${root}/${one}/${rest}/${name}`));
  }

  /** Those where something is pinned. */
  interfaces(): string[] {
    return entries(this.folder).map((name) => name.replaceAll(":", "."));
  }

  /** Unpins all of it. */
  remove(): void {
    removeFolder(this.folder);
  }
}

/** Removes a pin, if it is there. */
export function removePin(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A pin, or a folder of them; unless one of its name is there, which is younger and in use. */
function movePin(from: string, name: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true, mode: 0o700 });
  if (!exists(`${to}/${name}`)) Deno.renameSync(`${from}/${name}`, `${to}/${name}`);
}

function makeOnBpffs(libs: Libraries, path: string): void {
  // bpffs is wanted at the deepest folder that exists already, or at its usual mount point.
  let base = path;
  while (!isFolder(base)) base = parentOf(base) || "/";
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

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function entries(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
  } catch (error) {
    const { NotFound, NotADirectory } = Deno.errors;
    if (error instanceof NotFound || error instanceof NotADirectory) return [];
    throw error;
  }
}

function removeFolder(path: string): void {
  for (const name of entries(path)) Deno.removeSync(`${path}/${name}`);
  if (isFolder(path)) Deno.removeSync(path);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    const { NotFound, NotADirectory } = Deno.errors;
    if (error instanceof NotFound || error instanceof NotADirectory) return false;
    throw error;
  }
}

/** Whether it is gone. */
function removeIfEmpty(folder: string): boolean {
  try {
    if (isFolder(folder)) Deno.removeSync(folder);
    return true;
  } catch {
    // Another instance is there, or it is the mount point.
    return false;
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

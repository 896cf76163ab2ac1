/**
 * What outlives a server's process, on disk: a folder of its own for each instance, locked by the
 * process that runs the instance.
 *
 *     <state_dir>/state-<instance>/secret, traffic, replay
 */

import { SysError } from "../../../ffi/errors.ts";
import type { Libraries } from "../../../ffi/libraries.ts";
import { cString } from "../../../ffi/memory.ts";
import { InstanceBusyError } from "../../kernel/pins.ts";

/** Files that earlier versions had in `state_dir` itself, one set for all instances. */
const BEFORE = ["secret", "traffic", "replay"];
const DRAFT = ".draft";
const LOCKED_BY_ANOTHER = "EAGAIN";

export class StateFolder {
  readonly path: string;
  readonly #parent: string;
  readonly #libs: Libraries;
  #lock = -1;

  private constructor(libs: Libraries, stateDir: string, instance: string) {
    this.#libs = libs;
    this.#parent = stateDir;
    this.path = `${stateDir}/state-${instance}`;
  }

  /**
   * The folder made and locked, until `close`. Where it can't be made, `write` says why. Throws an
   * InstanceBusyError when another process has it.
   */
  static open(libs: Libraries, stateDir: string, instance: string): StateFolder {
    const folder = new StateFolder(libs, stateDir, instance);
    try {
      folder.#hold();
    } catch (error) {
      if (error instanceof InstanceBusyError) throw error;
    }
    return folder;
  }

  /** Where a file is, for people. */
  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Undefined when there is no such file. */
  read(name: string): Uint8Array<ArrayBuffer> | undefined {
    try {
      return Deno.readFileSync(this.pathOf(name));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** Writes a file, for its owner alone: whole and on the disk when this returns, or not at all. */
  write(name: string, bytes: Uint8Array): void {
    this.#hold();
    const draft = this.pathOf(name) + DRAFT;
    try {
      using file = Deno.openSync(draft, { write: true, create: true, truncate: true, mode: 0o600 });
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      file.syncSync();
      Deno.renameSync(draft, this.pathOf(name));
    } catch (error) {
      // On a full disk even an empty file is one too many.
      removeIfPresent(draft);
      throw error;
    }
    using folder = Deno.openSync(this.path);
    folder.syncSync();
  }

  remove(name: string): void {
    removeIfPresent(this.pathOf(name));
  }

  close(): void {
    if (this.#lock >= 0) this.#libs.native.symbols.ph_close(this.#lock);
    this.#lock = -1;
  }

  #hold(): void {
    if (this.#lock >= 0) return;
    Deno.mkdirSync(this.path, { recursive: true, mode: 0o700 });
    const result = this.#libs.native.symbols.ph_lock_folder(cString(this.path));
    if (result < 0) throw this.#whyNot(new SysError(`lock ${this.path}`, -result));
    this.#lock = result;
    this.#takeOver();
  }

  #whyNot(error: SysError): Error {
    if (error.code !== LOCKED_BY_ANOTHER) return error;
    return new InstanceBusyError(
      `Cannot use ${this.path} as another phantom runs this instance: stop it, or give this one ` +
        "its own `instance` in the configuration",
    );
  }

  /** Clears away what a crash left, and moves in what an earlier version kept. */
  #takeOver(): void {
    for (const { name } of [...Deno.readDirSync(this.path)]) {
      if (name.endsWith(DRAFT)) this.remove(name);
    }
    for (const name of BEFORE) {
      if (isFile(`${this.#parent}/${name}`) && !isFile(this.pathOf(name))) {
        Deno.renameSync(`${this.#parent}/${name}`, this.pathOf(name));
      }
    }
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch {
    return false;
  }
}

function removeIfPresent(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * tc_egress on the interfaces that have the XDP program: what leaves is counted in the sessions
 * that it answers. Not pinned: when this process is gone, nothing leaves.
 */

import { SysError } from "../../ffi/errors.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { attachTc, type BpfLink, type ClsactFilter } from "../../ffi/link.ts";
import type { BpfMap } from "../../ffi/map.ts";
import { BpfObject } from "../../ffi/object.ts";
import type { Log } from "../base/log.ts";
import type { BpfCode } from "./resources.ts";

/** Where there is no tcx: one filter of ours, which the next start replaces. */
const FILTER = { handle: 0x7068, priority: 0x7068 };

const MAPS = ["listen_ports", "sessions"] as const;

interface Attachment {
  readonly link: BpfLink | ClsactFilter | undefined;
}

export class EgressCounter {
  readonly #libs: Libraries;
  readonly #log: Log;
  readonly #object: BpfObject;
  /** By the interface's index; one that could not be had is not tried again. */
  readonly #attached = new Map<number, Attachment>();

  constructor(libs: Libraries, code: BpfCode, plane: (name: string) => BpfMap, log: Log) {
    this.#libs = libs;
    this.#log = log;
    this.#object = new BpfObject(libs, code.name, code.bytes);
    try {
      this.#object.omitAllBut(MAPS);
      for (const name of MAPS) this.#object.reuse(name, plane(name));
      this.#object.load();
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  /** Has exactly these interfaces counted. */
  keep(indices: readonly number[]): void {
    for (const [index, { link }] of this.#attached) {
      if (indices.includes(index)) continue;
      link?.close();
      this.#attached.delete(index);
    }
    for (const index of indices) {
      if (!this.#attached.has(index)) this.#attached.set(index, { link: this.#attach(index) });
    }
  }

  close(): void {
    this.keep([]);
    this.#object.close();
  }

  #attach(index: number): BpfLink | ClsactFilter | undefined {
    try {
      const program = this.#object.program("tc_egress");
      return attachTc(this.#libs, program, index, "egress", FILTER);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#log.warn("what leaves is not counted in the kernel's sessions", {
        cause: error.message,
      });
      return undefined;
    }
  }
}

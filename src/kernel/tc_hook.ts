/**
 * The program that counts what leaves an interface: by a pinned tcx link, which the next run
 * adopts; on kernels before 6.6 by a filter of fixed identity, which it replaces. It only counts:
 * where it can't be, nothing else suffers.
 */

import { SysError } from "../../ffi/errors.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import {
  attachTcx,
  type BpfLink,
  ClsactFilter,
  type FilterIdentity,
  openPinnedLink,
  removeFilter,
} from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import type { PinFolder } from "./pins.ts";

/** Ours among the filters of a clsact qdisc: "PH". */
const IDENTITY: FilterIdentity = { handle: 0x5048, priority: 0x5048 };

interface EgressOptions {
  readonly libs: Libraries;
  readonly pins: PinFolder | undefined;
  readonly program: BpfProgram;
}

export class EgressAttachment {
  readonly #options: EgressOptions;
  readonly #ifindex: number;
  #hold: BpfLink | ClsactFilter;

  /** Throws a SysError where it can't be. */
  constructor(options: EgressOptions, name: string, ifindex: number) {
    this.#options = options;
    this.#ifindex = ifindex;
    this.#hold = adopted(options, name, ifindex) ?? attached(options, name, ifindex);
  }

  /** Whether it is still there. */
  get isAttached(): boolean {
    if (this.#hold instanceof ClsactFilter) {
      try {
        return this.#hold.programId() === this.#options.program.info().id;
      } catch (error) {
        if (error instanceof SysError) return false;
        throw error;
      }
    }
    return this.#hold.info().ifindex === this.#ifindex;
  }

  /** Under another name of the interface. Whoever was pinned there before is gone. */
  pinAs(name: string): void {
    const { pins } = this.#options;
    if (pins === undefined || this.#hold instanceof ClsactFilter) return;
    removePin(pins.egress(name));
    this.#hold.pin(pins.egress(name, true));
  }

  unpin(name: string): void {
    const { pins } = this.#options;
    if (pins !== undefined) removePin(pins.egress(name));
  }

  detach(): void {
    try {
      if (!(this.#hold instanceof ClsactFilter)) this.#hold.detach();
    } catch (error) {
      // The interface is gone already.
      if (!(error instanceof SysError)) throw error;
    }
    this.#hold.close();
  }

  /** Lets go: a pinned link goes on, a filter ends. */
  close(): void {
    this.#hold.close();
  }
}

/** Takes off what an earlier run left on an interface. */
export function takeOffEgress(
  libs: Libraries,
  pins: PinFolder,
  name: string,
  ifindex: number,
): void {
  const path = pins.egress(name);
  const link = openPinnedLink(libs, path);
  if (link !== undefined) {
    link.detach();
    link.close();
    removePin(path);
  } else if (ifindex > 0) removeFilter(libs, ifindex, "egress", IDENTITY);
}

function adopted(
  { libs, pins, program }: EgressOptions,
  name: string,
  ifindex: number,
): BpfLink | undefined {
  const path = pins?.egress(name);
  const link = path === undefined ? undefined : openPinnedLink(libs, path);
  if (link === undefined) return undefined;
  if (link.info().ifindex === ifindex) {
    link.update(program);
    return link;
  }
  link.close();
  removePin(path!);
  return undefined;
}

function attached(
  { libs, pins, program }: EgressOptions,
  name: string,
  ifindex: number,
): BpfLink | ClsactFilter {
  let link: BpfLink;
  try {
    link = attachTcx(libs, program, ifindex, "egress");
  } catch (error) {
    // A kernel without tcx does not know the attach type.
    if (!(error instanceof SysError) || error.code !== "EINVAL") throw error;
    return new ClsactFilter(libs, program, ifindex, "egress", IDENTITY);
  }
  try {
    if (pins !== undefined) link.pin(pins.egress(name, true));
    return link;
  } catch (error) {
    link.close();
    throw error;
  }
}

function removePin(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

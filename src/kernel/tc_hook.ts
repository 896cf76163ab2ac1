/**
 * TC, on the way in or out: by a pinned BPF link (tcx), which the next run adopts; on kernels
 * before 6.6 by a filter of fixed identity, which the next run replaces. Beside other programs, and
 * beside XDP.
 */

import { type BpfLink, isPinnedLink, openPinnedLink } from "../../ffi/bpf/link.ts";
import {
  attachTcx,
  ClsactFilter,
  type FilterIdentity,
  removeFilter,
  type TcDirection,
} from "../../ffi/bpf/tc_link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { SysError } from "../../ffi/errors.ts";
import { type Interface, interfaceOf } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { cString } from "../../ffi/memory.ts";
import {
  AttachmentPin,
  detachLink,
  type FailedLevel,
  type Held,
  type HeldState,
  type Hook,
  swapIn,
  takeOffLink,
} from "./hook.ts";
import { type HookPins, removePin } from "./pins.ts";

/** What tells a hook of TC from others, also to `phantom unload`. */
export interface TcPlace {
  /** Its folder among the pins. */
  readonly name: string;
  readonly direction: TcDirection;
  /** Among the filters of a clsact qdisc; programs run by priority, the least first. */
  readonly identity: FilterIdentity;
}

export interface TcHookOptions {
  readonly libs: Libraries;
  readonly pins: HookPins | undefined;
  readonly program: BpfProgram;
  readonly place: TcPlace;
  readonly title: string;
  readonly follows?: string;
  /** @default {"auto"} tcx where the kernel has it */
  readonly level?: "auto" | TcLevel;
}

export type TcLevel = "tcx" | "clsact";

type Hold = BpfLink | ClsactFilter;

export class TcHook implements Hook {
  readonly name: string;
  readonly title: string;
  readonly pins: HookPins | undefined;
  readonly follows?: string;
  readonly #options: TcHookOptions;

  constructor(options: TcHookOptions) {
    this.#options = options;
    this.name = options.place.name;
    this.title = options.title;
    this.pins = options.pins;
    if (options.follows !== undefined) this.follows = options.follows;
  }

  attach(device: Interface): TcHeld | readonly FailedLevel[] {
    const { level = "auto" } = this.#options;
    try {
      const adopted = adopt(this.#options, device);
      const hold = adopted ?? attached(this.#options, device.ifindex);
      return new TcHeld(this.#options, device, hold, adopted !== undefined);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const remedy = error.code === "EPERM" || error.code === "EACCES"
        ? "run as root, or with CAP_NET_ADMIN (deploy/phantom.service does)"
        : "a kernel with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, or Linux 6.6";
      return [{ level: level === "tcx" ? "tcx" : "clsact", cause: error.message, remedy }];
    }
  }

  takeOff(interfaceName: string): void {
    const { libs, place } = this.#options;
    if (this.pins !== undefined) takeOffTc(libs, this.pins, place, interfaceName);
  }
}

class TcHeld implements Held {
  readonly level: TcLevel;
  readonly programId: number;
  readonly swapped: boolean;
  readonly failed: readonly FailedLevel[] = [];
  readonly #options: TcHookOptions;
  readonly #ifindex: number;
  readonly #hold: Hold;
  readonly #pin: AttachmentPin;

  constructor(
    options: TcHookOptions,
    { name, ifindex }: Interface,
    hold: Hold,
    swapped: boolean,
  ) {
    this.#options = options;
    this.#ifindex = ifindex;
    this.#hold = hold;
    this.level = hold instanceof ClsactFilter ? "clsact" : "tcx";
    this.programId = options.program.info().id;
    this.swapped = swapped;
    // A filter can't be pinned: its program says that it is there, and on which interface.
    const pinned = hold instanceof ClsactFilter ? options.program : hold;
    this.#pin = new AttachmentPin(options.pins, pinned, name);
  }

  get pinFault(): string {
    return this.#pin.fault;
  }

  state(): HeldState {
    const programId = this.#attachedId();
    if (programId === this.programId) return "attached";
    if (programId !== 0) return "replaced";
    return interfaceOf(this.#options.libs, this.#ifindex) ? "lost" : "gone";
  }

  restore(): void {
    this.#hold.update(this.#options.program);
  }

  keepPin(): boolean {
    return this.#pin.keep();
  }

  unpin(): void {
    this.#pin.remove();
  }

  rename(name: string): void {
    this.#pin.rename(name);
  }

  detach(): void {
    if (!(this.#hold instanceof ClsactFilter)) detachLink(this.#hold);
    this.forget();
  }

  forget(): void {
    this.#hold.close();
    this.#pin.remove();
  }

  close(): void {
    if (this.#hold instanceof ClsactFilter && this.#pin.isThere) this.#hold.leave();
    else this.#hold.close();
  }

  /** 0: nothing is. */
  #attachedId(): number {
    if (!(this.#hold instanceof ClsactFilter)) {
      const { ifindex, programId } = this.#hold.info();
      return ifindex === this.#ifindex ? programId : 0;
    }
    try {
      return this.#hold.programId();
    } catch (error) {
      if (error instanceof SysError) return 0;
      throw error;
    }
  }
}

/** Takes off what an earlier run left on an interface: a BPF link, or a filter. */
export function takeOffTc(
  libs: Libraries,
  pins: HookPins,
  { direction, identity }: TcPlace,
  interfaceName: string,
): void {
  const path = pins.path(interfaceName);
  if (takeOffLink(libs, path)) return;
  const ifindex = libs.native.symbols.ph_ifindex(cString(interfaceName));
  if (ifindex > 0) removeFilter(libs, ifindex, direction, identity);
  removePin(path);
}

/** The BPF link that an earlier run left, with our program in it; nothing when it won't do. */
function adopt(
  { libs, pins, program, level = "auto" }: TcHookOptions,
  { name, ifindex }: Interface,
): BpfLink | undefined {
  if (pins === undefined || !pins.has(name)) return undefined;
  const path = pins.path(name);
  if (isPinnedLink(libs, path) && level !== "clsact") {
    const link = openPinnedLink(libs, path)!;
    if (link.info().ifindex === ifindex) return swapIn(link, program);
    link.close();
  }
  // The interface was made anew, or this is an earlier filter's program: the new one replaces it.
  if (!takeOffLink(libs, path)) removePin(path);
  return undefined;
}

function attached(
  { libs, program, place, level = "auto" }: TcHookOptions,
  ifindex: number,
): Hold {
  const { direction, identity } = place;
  if (level !== "clsact") {
    try {
      return attachTcx(libs, program, ifindex, direction);
    } catch (error) {
      // A kernel without tcx does not know the attach type.
      const isOld = error instanceof SysError && error.code === "EINVAL";
      if (!isOld || level === "tcx") throw error;
    }
  }
  return new ClsactFilter(libs, program, ifindex, direction, identity);
}

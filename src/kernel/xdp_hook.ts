/**
 * XDP: attached at the best level that works, adopted from an earlier run, looked after, taken off.
 * Levels are tried and not guessed; each that fails is told with its cause and what to do about it.
 */

import { type BpfLink, openPinnedLink } from "../../ffi/bpf/link.ts";
import { attachXdp, type XdpMode } from "../../ffi/bpf/xdp_link.ts";
import type { BpfMap } from "../../ffi/bpf/map.ts";
import { type BpfProgram, openProgramById } from "../../ffi/bpf/program.ts";
import { SysError } from "../../ffi/errors.ts";
import { type Interface, interfaceOf } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
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
import type { HookState } from "./hooked_interfaces.ts";
import type { HookPins } from "./pins.ts";

const ONE_PHANTOM =
  "this one filters on its sockets, which works as well, if slower; one instance " +
  "alone can have XDP on an interface: set ebpf.interface or ebpf.enabled: false here, or have " +
  "`phantom unload` take off what a server that is gone has left";

/** Its folder among the pins. */
export const XDP_HOOK = "xdp";

/** An interface that is wanted, as XDP fares there. */
export interface InterfaceState extends Omit<HookState, "level"> {
  /** Nothing: no XDP here. */
  readonly mode: XdpMode | undefined;
}

/** A program on XDP, as systems see it that are a part of it. */
export interface XdpView {
  /** Good until the program is let go of. */
  map(name: string): BpfMap;
  /** The interfaces as they are now, those without XDP too. */
  interfaces(): InterfaceState[];
  /** What packets meet first: "native XDP on eth0, generic XDP on eth1", or "no XDP". */
  readonly level: string;
}

export interface XdpHookOptions {
  readonly libs: Libraries;
  readonly pins: HookPins | undefined;
  readonly program: BpfProgram;
  readonly mode: "auto" | XdpMode;
  /** Packets that the program has counted; nothing when it counts none. */
  readonly counted?: () => number | undefined;
}

interface Attached {
  readonly link: BpfLink;
  readonly level: XdpMode;
  readonly swapped: boolean;
  readonly failed: readonly FailedLevel[];
}

export class XdpHook implements Hook {
  readonly name = XDP_HOOK;
  readonly title = "XDP";
  readonly pins: HookPins | undefined;
  readonly #options: XdpHookOptions;

  constructor(options: XdpHookOptions) {
    this.#options = options;
    this.pins = options.pins;
  }

  attach(device: Interface): XdpHeld | readonly FailedLevel[] {
    const options = this.#options;
    const failed: FailedLevel[] = [];
    const adopted = tryAdopt(options, device, failed);
    if (adopted !== undefined) {
      return new XdpHeld(options, device, { ...adopted, swapped: true, failed: [] });
    }
    const levels: XdpMode[] = options.mode === "auto" ? ["native", "generic"] : [options.mode];
    for (const level of levels) {
      try {
        const link = attachXdp(options.libs, options.program, device.ifindex, level);
        return new XdpHeld(options, device, { link, level, swapped: false, failed });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        failed.push(failureOf(options, device, level, error));
        // The kernel runs native and generic programs of one interface never side by side.
        if (isTaken(error)) break;
      }
    }
    return failed;
  }

  takeOff(interfaceName: string): void {
    if (this.pins !== undefined) takeOffLink(this.#options.libs, this.pins.path(interfaceName));
  }

  counted(): number | undefined {
    return this.#options.counted?.();
  }
}

class XdpHeld implements Held {
  readonly level: XdpMode;
  readonly programId: number;
  readonly swapped: boolean;
  readonly failed: readonly FailedLevel[];
  readonly #options: XdpHookOptions;
  readonly #ifindex: number;
  readonly #link: BpfLink;
  readonly #pin: AttachmentPin;

  constructor(options: XdpHookOptions, { name, ifindex }: Interface, attached: Attached) {
    this.#options = options;
    this.#ifindex = ifindex;
    this.#link = attached.link;
    this.level = attached.level;
    this.swapped = attached.swapped;
    this.failed = attached.failed;
    this.programId = options.program.info().id;
    this.#pin = new AttachmentPin(options.pins, this.#link, name);
  }

  get pinFault(): string {
    return this.#pin.fault;
  }

  state(): HeldState {
    const { ifindex, programId } = this.#link.info();
    if (ifindex === 0) return interfaceOf(this.#options.libs, this.#ifindex) ? "lost" : "gone";
    return programId === this.programId ? "attached" : "replaced";
  }

  restore(): void {
    this.#link.update(this.#options.program);
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
    detachLink(this.#link);
    this.forget();
  }

  forget(): void {
    this.#link.close();
    this.#pin.remove();
  }

  close(): void {
    this.#link.close();
  }
}

/** How a program is attached to an interface; nothing when it is not. */
export function modeOf(libs: Libraries, ifindex: number, programId: number): XdpMode | undefined {
  const xdp = ifindex === 0 ? undefined : interfaceOf(libs, ifindex)?.xdp;
  if (xdp === undefined || programId === 0) return undefined;
  if (xdp.native === programId) return "native";
  return xdp.generic === programId ? "generic" : undefined;
}

/** What is on an interface that is not ours: "id 7, lb_main". */
export function describeProgram(libs: Libraries, id: number): string {
  try {
    using program = openProgramById(libs, id);
    const name = program?.info().name ?? "";
    return name === "" ? `id ${id}` : `id ${id}, ${name}`;
  } catch (error) {
    // To look at others' programs takes CAP_SYS_ADMIN, which a service does without.
    if (error instanceof SysError) return `id ${id}`;
    throw error;
  }
}

/** As `adopt`; what does not swap is taken off, and its cause told. */
function tryAdopt(
  options: XdpHookOptions,
  to: Interface,
  failed: FailedLevel[],
): { link: BpfLink; level: XdpMode } | undefined {
  try {
    return adopt(options, to);
  } catch (error) {
    if (!(error instanceof SysError) || options.pins === undefined) throw error;
    const level = options.mode === "auto" ? "native" : options.mode;
    failed.push(failureOf(options, to, level, error));
    takeOffLink(options.libs, options.pins.path(to.name));
    return undefined;
  }
}

/** The attachment that an earlier run left, with our program in it; nothing when it won't do. */
function adopt(
  { libs, pins, program, mode }: XdpHookOptions,
  { name, ifindex }: Interface,
): { link: BpfLink; level: XdpMode } | undefined {
  if (pins === undefined) return undefined;
  const path = pins.path(name);
  const link = openPinnedLink(libs, path);
  if (link === undefined) return undefined;
  const earlier = link.info();
  const running = earlier.ifindex === ifindex
    ? modeOf(libs, ifindex, earlier.programId)
    : undefined;
  if (running !== undefined && (mode === "auto" || mode === running)) {
    return { link: swapIn(link, program), level: running };
  }
  // The interface was made anew, the program was taken off, or another mode is wanted now.
  link.close();
  takeOffLink(libs, path);
  return undefined;
}

function isTaken({ code }: SysError): boolean {
  return code === "EBUSY" || code === "EEXIST";
}

function failureOf(
  { libs, pins, program }: XdpHookOptions,
  { name, ifindex }: Interface,
  level: XdpMode,
  error: SysError,
): FailedLevel {
  const xdp = interfaceOf(libs, ifindex)?.xdp;
  const id = xdp === undefined ? 0 : xdp.native || xdp.generic || xdp.offloaded;
  if (!isTaken(error) || id === 0) {
    return { level, cause: error.message, remedy: remedyOf(level, error.code) };
  }
  const what = describeProgram(libs, id);
  const rival = pins?.rival(name);
  if (rival !== undefined || what.endsWith(`, ${program.info().name}`)) {
    const whose = rival === undefined ? what : `instance ${rival}, ${what}`;
    return {
      level,
      cause: `Cannot attach to ${name} as another Phantom has XDP there (${whose})`,
      remedy: ONE_PHANTOM,
    };
  }
  return {
    level,
    cause: `Cannot attach to ${name} as another XDP program is there (${what})`,
    remedy: `\`bpftool prog show id ${id}\` tells whose it is; take it off, or set ebpf.interface`,
  };
}

function remedyOf(level: XdpMode, code: string): string {
  if (code === "EPERM" || code === "EACCES") {
    return "run as root, or with CAP_NET_ADMIN (deploy/phantom.service does)";
  }
  if (code === "ENODEV") return "the interface is gone: `ip link` lists what there is";
  if (level === "generic") return "a newer kernel; until then packets go through sockets alone";
  if (code === "EOPNOTSUPP") return "a driver with XDP (`ethtool -i` names the one in use)";
  return "a smaller MTU (3498 does everywhere), GRO_HW and LRO off, as many queues as CPUs";
}

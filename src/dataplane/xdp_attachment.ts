/**
 * A program of ours on one interface: attached at the best level that works, adopted from an
 * earlier run, looked after, taken off. Levels are tried and not guessed; each that fails is told
 * with its cause and what to do about it.
 */

import { SysError } from "../../ffi/errors.ts";
import { type Interface, interfaceOf } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { attachXdp, type BpfLink, openPinnedLink, type XdpMode } from "../../ffi/link.ts";
import { type BpfProgram, openProgramById } from "../../ffi/program.ts";
import type { PinFolder } from "./pins.ts";

/** A level that did not work. */
export interface FailedLevel {
  readonly level: XdpMode;
  readonly cause: string;
  readonly remedy: string;
}

export interface AttachOptions {
  readonly libs: Libraries;
  /** Where the attachment is pinned; nowhere: it ends with this process. */
  readonly pins: PinFolder | undefined;
  readonly program: BpfProgram;
  readonly mode: "auto" | XdpMode;
}

/** "replaced": somebody changed the program of our link; "gone": with its interface. */
export type AttachmentState = "attached" | "replaced" | "lost" | "gone";

export class Attachment {
  readonly ifindex: number;
  readonly mode: XdpMode;
  /** Whether the attachment of an earlier run went on, with its program swapped. */
  readonly swapped: boolean;
  /** Levels above that did not work. */
  readonly failed: readonly FailedLevel[];
  readonly #options: AttachOptions;
  readonly #link: BpfLink;
  readonly #programId: number;
  #name: string;

  private constructor(
    options: AttachOptions,
    { name, ifindex }: Pick<Interface, "name" | "ifindex">,
    attached: { link: BpfLink; mode: XdpMode; swapped: boolean; failed: readonly FailedLevel[] },
  ) {
    this.#options = options;
    this.#name = name;
    this.ifindex = ifindex;
    this.#link = attached.link;
    this.mode = attached.mode;
    this.swapped = attached.swapped;
    this.failed = attached.failed;
    this.#programId = options.program.info().id;
  }

  /** Attaches at the best level that works; where none does, why. */
  static attach(options: AttachOptions, to: Interface): Attachment | readonly FailedLevel[] {
    const adopted = adopt(options, to);
    if (adopted !== undefined) {
      return new Attachment(options, to, { ...adopted, swapped: true, failed: [] });
    }
    const failed: FailedLevel[] = [];
    const levels: XdpMode[] = options.mode === "auto" ? ["native", "generic"] : [options.mode];
    for (const mode of levels) {
      try {
        const link = attachPinned(options, to, mode);
        return new Attachment(options, to, { link, mode, swapped: false, failed });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        failed.push(failureOf(options.libs, to, mode, error));
        // The kernel runs native and generic programs of one interface never side by side.
        if (isTaken(error)) break;
      }
    }
    return failed;
  }

  /** The interface's name, as we know it. */
  get name(): string {
    return this.#name;
  }

  get programId(): number {
    return this.#programId;
  }

  state(): AttachmentState {
    const { ifindex, programId } = this.#link.info();
    if (ifindex === 0) return interfaceOf(this.#options.libs, this.ifindex) ? "lost" : "gone";
    return programId === this.#programId ? "attached" : "replaced";
  }

  /** Puts our program back behind our link, whatever it has now. */
  restore(): void {
    this.#link.update(this.#options.program);
  }

  /** The interface has another name now. To be unpinned before. */
  rename(name: string): void {
    this.#name = name;
    this.keepPin();
  }

  unpin(): void {
    const { pins } = this.#options;
    if (pins !== undefined) removePin(pins.link(this.#name));
  }

  /** Whether it is pinned as it should be; if not, that is put right. */
  keepPin(): boolean {
    const { pins } = this.#options;
    if (pins === undefined || pins.hasLink(this.#name)) return true;
    this.#link.pin(pins.link(this.#name, true));
    return false;
  }

  /** Takes the program off; what another process holds of the link is dead from now on. */
  detach(): void {
    try {
      this.#link.detach();
    } catch (error) {
      // The interface is gone already.
      if (!(error instanceof SysError)) throw error;
    }
    this.forget();
  }

  /** Unpins what attaches nothing any more. */
  forget(): void {
    this.#link.close();
    this.unpin();
  }

  /** Lets go. The pinned attachment goes on. */
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

/** Takes off and unpins. Detached and not only unpinned: another process may hold a descriptor. */
export function takeOff(libs: Libraries, path: string): void {
  const link = openPinnedLink(libs, path);
  if (link === undefined) return;
  link.detach();
  link.close();
  removePin(path);
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

/** The attachment that an earlier run left, with our program in it; nothing when it won't do. */
function adopt(
  { libs, pins, program, mode }: AttachOptions,
  { name, ifindex }: Interface,
): { link: BpfLink; mode: XdpMode } | undefined {
  if (pins === undefined) return undefined;
  const path = pins.link(name);
  const link = openPinnedLink(libs, path);
  if (link === undefined) return undefined;
  const earlier = link.info();
  const running = earlier.ifindex === ifindex
    ? modeOf(libs, ifindex, earlier.programId)
    : undefined;
  if (running !== undefined && (mode === "auto" || mode === running)) {
    link.update(program);
    return { link, mode: running };
  }
  // The interface was made anew, the program was taken off, or another mode is wanted now.
  link.close();
  takeOff(libs, path);
  return undefined;
}

function attachPinned(
  { libs, pins, program }: AttachOptions,
  { name, ifindex }: Interface,
  mode: XdpMode,
): BpfLink {
  const link = attachXdp(libs, program, ifindex, mode);
  try {
    if (pins !== undefined) link.pin(pins.link(name, true));
    return link;
  } catch (error) {
    link.close();
    throw error;
  }
}

function isTaken({ code }: SysError): boolean {
  return code === "EBUSY" || code === "EEXIST";
}

function failureOf(
  libs: Libraries,
  { name, ifindex }: Interface,
  level: XdpMode,
  error: SysError,
): FailedLevel {
  const xdp = interfaceOf(libs, ifindex)?.xdp;
  const id = xdp === undefined ? 0 : xdp.native || xdp.generic || xdp.offloaded;
  if (!isTaken(error) || id === 0) {
    return { level, cause: error.message, remedy: remedyOf(level, error.code) };
  }
  return {
    level,
    cause: `Cannot attach to ${name} as another XDP program is there (${
      describeProgram(libs, id)
    })`,
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

function removePin(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

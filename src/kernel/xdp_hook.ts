/**
 * A program of ours on one interface: attached at the best level that works, adopted from an
 * earlier run, looked after, taken off. Levels are tried and not guessed; each that fails is told
 * with its cause and what to do about it.
 */

import { SysError } from "../../ffi/errors.ts";
import { type Interface, interfaceOf } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { attachXdp, type BpfLink, openPinnedLink, type XdpMode } from "../../ffi/bpf/link.ts";
import { type BpfProgram, openProgramById } from "../../ffi/bpf/program.ts";
import { messageOf } from "../base/errors.ts";
import { EgressAttachment } from "./tc_hook.ts";
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
  /** Counts what leaves; nothing where none is wanted or none loads, or none is there yet. */
  readonly egress: () => BpfProgram | undefined;
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
  #pinFault = "";
  #egress: EgressAttachment | undefined;
  /** Why what leaves is not counted; "" when it is, or is not wanted. */
  #egressFault = "";

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
    this.keepPin();
    this.keepEgress();
  }

  /** Attaches at the best level that works; where none does, why. */
  static attach(options: AttachOptions, to: Interface): Attachment | readonly FailedLevel[] {
    const failed: FailedLevel[] = [];
    const adopted = tryAdopt(options, to, failed);
    if (adopted !== undefined) {
      return new Attachment(options, to, { ...adopted, swapped: true, failed: [] });
    }
    const levels: XdpMode[] = options.mode === "auto" ? ["native", "generic"] : [options.mode];
    for (const mode of levels) {
      try {
        const link = attachXdp(options.libs, options.program, to.ifindex, mode);
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

  /** Why what leaves is not counted; "" when it is, or is not wanted. */
  get egressFault(): string {
    return this.#egressFault;
  }

  /** Attaches the program at the way out, where it should be and is not: whether all is well. */
  keepEgress(): boolean {
    const { libs, pins } = this.#options;
    const egress = this.#options.egress();
    if (egress === undefined || this.#egress?.isAttached) return true;
    const isLost = this.#egress !== undefined;
    try {
      if (this.#egress !== undefined) {
        this.#egress.close();
        this.#egress.unpin(this.#name);
        this.#egress = undefined;
      }
      this.#egress = new EgressAttachment(
        { libs, pins, program: egress },
        this.#name,
        this.ifindex,
      );
      this.#egressFault = "";
      return !isLost;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      const isNew = this.#egressFault !== error.message;
      this.#egressFault = error.message;
      return !isNew;
    }
  }

  /** The interface has another name now. To be unpinned before. */
  rename(name: string): void {
    this.#name = name;
    this.keepPin();
    this.#egress?.pinAs(name);
  }

  unpin(): void {
    const { pins } = this.#options;
    if (pins !== undefined) removePin(pins.link(this.#name));
    this.#egress?.unpin(this.#name);
  }

  /** Why it is not pinned, and so ends with this process; "" when it is, or can't be. */
  get pinFault(): string {
    return this.#pinFault;
  }

  /** Pins it where it should be and is not: whether nothing had to be done, or could be. */
  keepPin(): boolean {
    const { pins } = this.#options;
    if (pins === undefined || pins.hasLink(this.#name)) return true;
    const before = this.#pinFault;
    this.#pinFault = "";
    try {
      this.#link.pin(pins.link(this.#name, true));
    } catch (error) {
      this.#pinFault = messageOf(error);
    }
    return this.#pinFault !== "" && this.#pinFault === before;
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
    this.#egress?.detach();
    this.unpin();
  }

  /** Lets go. The pinned attachment goes on. */
  close(): void {
    this.#link.close();
    this.#egress?.close();
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

/** As `adopt`; what does not swap is taken off, and its cause told. */
function tryAdopt(
  options: AttachOptions,
  to: Interface,
  failed: FailedLevel[],
): { link: BpfLink; mode: XdpMode } | undefined {
  try {
    return adopt(options, to);
  } catch (error) {
    if (!(error instanceof SysError) || options.pins === undefined) throw error;
    const level = options.mode === "auto" ? "native" : options.mode;
    failed.push(failureOf(options.libs, to, level, error));
    takeOff(options.libs, options.pins.link(to.name));
    return undefined;
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
    try {
      link.update(program);
    } catch (error) {
      link.close();
      throw error;
    }
    return { link, mode: running };
  }
  // The interface was made anew, the program was taken off, or another mode is wanted now.
  link.close();
  takeOff(libs, path);
  return undefined;
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

/**
 * A hook is a place at interfaces where a program of ours is attached: XDP, TC on the way in or
 * out. What it holds on one interface is pinned, so that it goes on without this process and the
 * next one adopts it.
 */

import { type BpfLink, isPinnedLink, openPinnedLink } from "../../ffi/bpf/link.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { SysError } from "../../ffi/errors.ts";
import type { Interface } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { messageOf } from "../base/errors.ts";
import { type HookPins, removePin } from "./pins.ts";

/** A level that did not work. */
export interface FailedLevel {
  readonly level: string;
  readonly cause: string;
  readonly remedy: string;
}

/** "replaced": somebody changed the program of our BPF link; "gone": with its interface. */
export type HeldState = "attached" | "replaced" | "lost" | "gone";

export interface Hook {
  /** Its folder among the pins, and the first word of its events: "xdp". */
  readonly name: string;
  /** For log lines: "XDP". */
  readonly title: string;
  /** Where what it holds is pinned; nowhere: it ends with this process. */
  readonly pins: HookPins | undefined;
  /** Only where the hook of this name, which stands before it, is attached. */
  readonly follows?: string;
  /** At the best level that works; where none does, why. */
  attach(device: Interface): Held | readonly FailedLevel[];
  /** Takes off what an earlier run left on an interface. */
  takeOff(interfaceName: string): void;
  /** Packets that its program has counted; nothing when it counts none. */
  counted?(): number | undefined;
}

/** A program of ours on one interface. */
export interface Held {
  /** How it is attached: "native". */
  readonly level: string;
  readonly programId: number;
  /** Whether the attachment of an earlier run went on, with its program swapped. */
  readonly swapped: boolean;
  /** Levels above that did not work. */
  readonly failed: readonly FailedLevel[];
  /** Why it is not pinned, and so ends with this process; "" when it is, or can't be. */
  readonly pinFault: string;
  state(): HeldState;
  /** Puts our program back where it was replaced. */
  restore(): void;
  /** Pins it where it should be and is not: whether nothing had to be done, or could be. */
  keepPin(): boolean;
  unpin(): void;
  /** The interface has another name now. To be unpinned before. */
  rename(name: string): void;
  /** Takes the program off; what another process holds of it is dead from now on. */
  detach(): void;
  /** Unpins what attaches nothing any more. */
  forget(): void;
  /** Lets go. What is pinned goes on. */
  close(): void;
}

/** Whether `attach` came to something. */
export function isHeld(result: Held | readonly FailedLevel[]): result is Held {
  return !Array.isArray(result);
}

/** The pin of one attachment: follows its interface's name, and is made anew when it is removed. */
export class AttachmentPin {
  readonly #pins: HookPins | undefined;
  readonly #pinned: Pick<BpfLink | BpfProgram, "pin">;
  #name: string;
  #fault = "";

  /** Pins at once. */
  constructor(
    pins: HookPins | undefined,
    pinned: Pick<BpfLink | BpfProgram, "pin">,
    name: string,
  ) {
    this.#pins = pins;
    this.#pinned = pinned;
    this.#name = name;
    this.keep();
  }

  /** Why it is not there; "" when it is, or can't be. */
  get fault(): string {
    return this.#fault;
  }

  /** Whether it outlives this process. */
  get isThere(): boolean {
    return this.#pins !== undefined && this.#fault === "";
  }

  /** Whether nothing had to be done, or could be. */
  keep(): boolean {
    if (this.#pins === undefined || this.#pins.has(this.#name)) return true;
    const before = this.#fault;
    this.#fault = "";
    try {
      this.#pinned.pin(this.#pins.make(this.#name));
    } catch (error) {
      this.#fault = messageOf(error);
    }
    return this.#fault !== "" && this.#fault === before;
  }

  /** To be removed before. */
  rename(name: string): void {
    this.#name = name;
    this.keep();
  }

  remove(): void {
    if (this.#pins !== undefined) removePin(this.#pins.path(this.#name));
  }
}

/**
 * Takes a pinned BPF link off and unpins it. Detached and not only unpinned: another process may
 * hold a descriptor. False where none is pinned.
 */
export function takeOffLink(libs: Libraries, path: string): boolean {
  if (!isPinnedLink(libs, path)) return false;
  const link = openPinnedLink(libs, path)!;
  link.detach();
  link.close();
  removePin(path);
  return true;
}

/** The BPF link with another program in it; closed when that fails. */
export function swapIn(link: BpfLink, program: BpfProgram): BpfLink {
  try {
    link.update(program);
    return link;
  } catch (error) {
    link.close();
    throw error;
  }
}

/** Detaches a BPF link, whose interface may be gone. */
export function detachLink(link: BpfLink): void {
  try {
    link.detach();
  } catch (error) {
    // The interface is gone already.
    if (!(error instanceof SysError)) throw error;
  }
}

/** Puts the pins of an earlier run under the names that their interfaces have now. */
export function settlePins(libs: Libraries, pins: HookPins, present: readonly Interface[]): void {
  const misplaced = [];
  for (const name of pins.interfaces()) {
    const path = pins.path(name);
    if (!isPinnedLink(libs, path)) continue;
    const link = openPinnedLink(libs, path)!;
    const { ifindex } = link.info();
    const now = present.find((device) => device.ifindex === ifindex)?.name;
    if (ifindex === 0 || now === undefined || now === name) {
      link.close();
      continue;
    }
    misplaced.push({ link, path: pins.path(now) });
    Deno.removeSync(path);
  }
  for (const { link, path } of misplaced) {
    link.pin(path);
    link.close();
  }
}

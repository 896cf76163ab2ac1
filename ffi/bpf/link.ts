/**
 * Attachment: XDP by link or by netlink, TC by tcx link or by clsact filter.
 *
 * A link is a handle of the kernel's that detaches when its last fd closes, unless it is pinned;
 * it can swap its program atomically. Kernels too old for one (XDP below 5.9, TC below 6.6) get
 * the older attachment, which stays until it is taken off.
 */

import { checked, SysError } from "../errors.ts";
import { Handle } from "../handle.ts";
import {
  BpfAttachType,
  BpfLinkCreateOpts,
  BpfLinkInfo,
  BpfLinkInfoTcx,
  BpfLinkType,
  BpfLinkUpdateOpts,
  BpfTcAttachPoint,
  BpfTcHook,
  BpfTcOpts,
  BpfXdpAttachOpts,
  BpfXdpQueryOpts,
} from "./libbpf.gen.ts";
import type { Libraries } from "../libraries.ts";
import { cString, optionsOf } from "../memory.ts";
import type { BpfProgram } from "./program.ts";

export type XdpMode = "native" | "generic";
export type TcDirection = "ingress" | "egress";

const ENOENT = 2;
const EINVAL = 22;
const EEXIST = 17;

const XDP_FLAGS = {
  onlyIfNone: 1 << 0,
  generic: 1 << 1,
  native: 1 << 2,
  replace: 1 << 4,
} as const;
const xdpModeFlag = { native: XDP_FLAGS.native, generic: XDP_FLAGS.generic } as const;
const BPF_F_REPLACE = 1 << 2;
// Younger than Debian 12's headers.
const tcxAttachType = { ingress: 46, egress: 47 } as const;
const LINK_TYPE_TCX = 11;
const BPF_TC_F_REPLACE = 1;

export interface LinkInfo {
  readonly id: number;
  readonly type: number;
  readonly programId: number;
  /** 0: the interface is gone, the link attaches to nothing any more. */
  readonly ifindex: number;
}

export class BpfLink extends Handle {
  readonly #libs: Libraries;
  readonly #fd: number;

  /** Takes over `fd`. */
  constructor(libs: Libraries, fd: number, label: string) {
    super(label);
    this.#libs = libs;
    this.#fd = fd;
  }

  /**
   * Swaps the program in one step: no packet meets neither of them. With `expected` only if that
   * is the program attached, so that somebody else's is never thrown out.
   */
  update(program: BpfProgram, expected?: BpfProgram): void {
    this.assertOpen();
    const opts = expected === undefined ? null : optionsOf(BpfLinkUpdateOpts, {
      flags: BPF_F_REPLACE,
      oldProgFd: expected.fd,
    });
    const result = this.#libs.libbpf.bpf_link_update(this.#fd, program.fd, opts);
    checked(result, () => `update ${this.label}`);
  }

  info(): LinkInfo {
    this.assertOpen();
    const bytes = new Uint8Array(BpfLinkInfo.size);
    const length = new Uint32Array([bytes.length]);
    const result = this.#libs.libbpf.bpf_obj_get_info_by_fd(this.#fd, bytes, length);
    checked(result, () => `bpf_obj_get_info_by_fd ${this.label}`);
    const info = BpfLinkInfoTcx.read(new DataView(bytes.buffer));
    // xdp.ifindex and tcx.ifindex both stand first in the kernel's union.
    const hasIfindex = info.type === BpfLinkType.xdp || info.type === LINK_TYPE_TCX;
    return {
      type: info.type,
      id: info.id,
      programId: info.progId,
      ifindex: hasIfindex ? info.tcxIfindex : 0,
    };
  }

  /** Keeps the attachment when this process ends. */
  pin(path: string): void {
    this.assertOpen();
    const result = this.#libs.libbpf.bpf_obj_pin(this.#fd, cString(path));
    checked(result, () => `pin ${this.label} at ${path}`);
  }

  /** Detaches at once, pinned or not. */
  detach(): void {
    this.assertOpen();
    checked(this.#libs.libbpf.bpf_link_detach(this.#fd), () => `detach ${this.label}`);
  }

  /** Lets go; the attachment ends here too when nothing else holds or pins the link. */
  protected release(): void {
    this.#libs.native.symbols.ph_close(this.#fd);
  }
}

/** The link pinned at `path`, or undefined when nothing is. */
export function openPinnedLink(libs: Libraries, path: string): BpfLink | undefined {
  const fd = libs.libbpf.bpf_obj_get(cString(path));
  if (fd === -ENOENT) return undefined;
  return new BpfLink(libs, checked(fd, () => `open link ${path}`), `link ${path}`);
}

/** Attaches by link. EBUSY: another program is there; EOPNOTSUPP: the driver has no native XDP. */
export function attachXdp(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  mode: XdpMode,
): BpfLink {
  const opts = optionsOf(BpfLinkCreateOpts, { flags: xdpModeFlag[mode] });
  const fd = libs.libbpf.bpf_link_create(program.fd, ifindex, BpfAttachType.xdp, opts);
  const label = `${mode} XDP on interface ${ifindex}`;
  return new BpfLink(libs, checked(fd, () => `attach ${label}`), label);
}

export interface XdpState {
  /** Ids of what is attached; 0 for none. */
  readonly native: number;
  readonly generic: number;
  readonly offloaded: number;
}

export function queryXdp(libs: Libraries, ifindex: number): XdpState {
  const opts = optionsOf(BpfXdpQueryOpts);
  const result = libs.libbpf.bpf_xdp_query(ifindex, 0, opts);
  checked(result, () => `query XDP of interface ${ifindex}`);
  const state = BpfXdpQueryOpts.read(new DataView(opts.buffer));
  return { native: state.drvProgId, generic: state.skbProgId, offloaded: state.hwProgId };
}

/**
 * The older way, without a link: attaches `program` (null: takes off), only if `expected` (null:
 * nothing) is what is there now.
 */
export function setXdp(
  libs: Libraries,
  ifindex: number,
  mode: XdpMode,
  program: BpfProgram | null,
  expected: BpfProgram | null,
): void {
  const condition = expected === null ? XDP_FLAGS.onlyIfNone : XDP_FLAGS.replace;
  const flags = xdpModeFlag[mode] | condition;
  const opts = expected === null ? null : optionsOf(BpfXdpAttachOpts, { oldProgFd: expected.fd });
  const result = libs.libbpf.bpf_xdp_attach(ifindex, program?.fd ?? -1, flags, opts);
  checked(result, () => `attach ${mode} XDP on interface ${ifindex}`);
}

/** Attaches by tcx link (Linux 6.6 and newer). */
export function attachTcx(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  direction: TcDirection,
): BpfLink {
  const type = tcxAttachType[direction];
  const label = `tcx ${direction} on interface ${ifindex}`;
  const fd = libs.libbpf.bpf_link_create(program.fd, ifindex, type, null);
  return new BpfLink(libs, checked(fd, () => `attach ${label}`), label);
}

/** By which a filter is found again, also by another process. */
export interface FilterIdentity {
  readonly handle: number;
  readonly priority: number;
}

/** Takes a filter off, if it is there; its qdisc stays. */
export function removeFilter(
  libs: Libraries,
  ifindex: number,
  direction: TcDirection,
  { handle, priority }: FilterIdentity,
): void {
  const hook = optionsOf(BpfTcHook, { ifindex, attachPoint: BpfTcAttachPoint[direction] });
  // Nothing there, or no qdisc to look in: so be it.
  libs.libbpf.bpf_tc_detach(hook, optionsOf(BpfTcOpts, { handle, priority }));
}

/** A filter on a clsact qdisc. Ours to take off: the kernel keeps it when the process ends. */
export class ClsactFilter extends Handle {
  readonly #libs: Libraries;
  readonly #ifindex: number;
  readonly #direction: TcDirection;
  readonly #filter: { readonly handle: number; readonly priority: number };
  /** Whether we made the qdisc; if so it goes with the filter. */
  readonly #ownsQdisc: boolean;

  /** With an identity it takes the place of the one that has it, in one step. */
  constructor(
    libs: Libraries,
    program: BpfProgram,
    ifindex: number,
    direction: TcDirection,
    identity?: FilterIdentity,
  ) {
    super(`clsact ${direction} filter on interface ${ifindex}`);
    this.#libs = libs;
    this.#ifindex = ifindex;
    this.#direction = direction;
    const hook = this.#hook();
    const created = libs.libbpf.bpf_tc_hook_create(hook);
    if (created !== -EEXIST) checked(created, () => `create clsact on interface ${ifindex}`);
    this.#ownsQdisc = created !== -EEXIST;
    const own = identity === undefined ? {} : { ...identity, flags: BPF_TC_F_REPLACE };
    const opts = optionsOf(BpfTcOpts, { progFd: program.fd, ...own });
    const result = libs.libbpf.bpf_tc_attach(hook, opts);
    this.#filter = BpfTcOpts.read(new DataView(opts.buffer));
    if (result < 0) {
      this.#dropQdisc();
      throw new SysError(`attach ${this.label}`, -result);
    }
  }

  /** Swaps the program in one step. */
  update(program: BpfProgram): void {
    this.assertOpen();
    const opts = this.#opts({ progFd: program.fd, flags: BPF_TC_F_REPLACE });
    const result = this.#libs.libbpf.bpf_tc_attach(this.#hook(), opts);
    checked(result, () => `update ${this.label}`);
  }

  /** The id of the program that is attached. */
  programId(): number {
    this.assertOpen();
    const opts = this.#opts();
    const result = this.#libs.libbpf.bpf_tc_query(this.#hook(), opts);
    checked(result, () => `query ${this.label}`);
    return BpfTcOpts.read(new DataView(opts.buffer)).progId;
  }

  protected release(): void {
    this.#libs.libbpf.bpf_tc_detach(this.#hook(), this.#opts());
    this.#dropQdisc();
  }

  #dropQdisc(): void {
    if (!this.#ownsQdisc) return;
    // Both directions named: libbpf then removes the qdisc, and not only our half of it.
    this.#libs.libbpf.bpf_tc_hook_destroy(
      this.#hook(BpfTcAttachPoint.ingress | BpfTcAttachPoint.egress),
    );
  }

  #hook(attachPoint: number = BpfTcAttachPoint[this.#direction]): Uint8Array<ArrayBuffer> {
    return optionsOf(BpfTcHook, { ifindex: this.#ifindex, attachPoint });
  }

  #opts(fields: Partial<BpfTcOpts> = {}): Uint8Array<ArrayBuffer> {
    const { handle, priority } = this.#filter;
    return optionsOf(BpfTcOpts, { handle, priority, ...fields });
  }
}

/** By tcx where the kernel has it, else by clsact. Closing takes it off, unless it is pinned. */
export function attachTc(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  direction: TcDirection,
): BpfLink | ClsactFilter {
  try {
    return attachTcx(libs, program, ifindex, direction);
  } catch (error) {
    // A kernel without tcx does not know the attach type.
    if (!(error instanceof SysError) || error.errno !== EINVAL) throw error;
    return new ClsactFilter(libs, program, ifindex, direction);
  }
}

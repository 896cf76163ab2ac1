/**
 * A link: a handle of the kernel's on an attachment. It detaches when its last fd closes, unless it
 * is pinned, and swaps its program in one step. What attaches is in <kind>_link.ts.
 */

import { checked } from "../errors.ts";
import { Handle } from "../handle.ts";
import type { Libraries } from "../libraries.ts";
import { cString, optionsOf } from "../memory.ts";
import { BpfLinkInfo, BpfLinkInfoTcx, BpfLinkType, BpfLinkUpdateOpts } from "./libbpf.gen.ts";
import type { BpfProgram } from "./program.ts";

const ENOENT = 2;
const EINVAL = 22;
const BPF_F_REPLACE = 1 << 2;
// Younger than Debian 12's headers.
const LINK_TYPE_TCX = 11;

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

  get fd(): number {
    this.assertOpen();
    return this.#fd;
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

/** Whether what is pinned at `path` is a link. */
export function isPinnedLink(libs: Libraries, path: string): boolean {
  const fd = libs.libbpf.bpf_obj_get(cString(path));
  if (fd === -ENOENT) return false;
  checked(fd, () => `open ${path}`);
  // The kernel looks at the link first (EINVAL: it is none), and then misses the program.
  const result = libs.libbpf.bpf_link_update(fd, -1, null);
  libs.native.symbols.ph_close(fd);
  return result !== -EINVAL;
}

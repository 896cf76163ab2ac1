/**
 * Attachment of TC programs: by BPF link (tcx), at a place among the others; on kernels before 6.6
 * by a filter on a clsact qdisc, which stays until it is taken off.
 */

import { checked, SysError } from "../errors.ts";
import { Handle } from "../handle.ts";
import type { Libraries } from "../libraries.ts";
import { optionsOf } from "../memory.ts";
import { BpfLinkCreateOpts, BpfTcAttachPoint, BpfTcHook, BpfTcOpts } from "./libbpf.gen.ts";
import { BpfLink } from "./link.ts";
import type { BpfProgram } from "./program.ts";

export type TcDirection = "ingress" | "egress";

const EEXIST = 17;
// Younger than Debian 12's headers.
const tcxAttachType = { ingress: 46, egress: 47 } as const;
const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_LINK = 1 << 13;
const BPF_TC_F_REPLACE = 1;

/**
 * Where a program stands among those of its interface and direction, which run one after another:
 * before or after another's link or program, or before or after all. Of two that both want to be
 * first the later one is.
 */
export type TcAnchor =
  | { readonly before: BpfLink | BpfProgram | "all" }
  | { readonly after: BpfLink | BpfProgram | "all" };

/** Attaches by BPF link, tcx (Linux 6.6 and newer). @default behind all that are there */
export function attachTcx(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  direction: TcDirection,
  anchor?: TcAnchor,
): BpfLink {
  const label = `tcx ${direction} on interface ${ifindex}`;
  const opts = anchor === undefined ? null : optionsOf(BpfLinkCreateOpts, optionsOfAnchor(anchor));
  const fd = libs.libbpf.bpf_link_create(program.fd, ifindex, tcxAttachType[direction], opts);
  return new BpfLink(libs, checked(fd, () => `attach ${label}`), label);
}

function optionsOfAnchor(anchor: TcAnchor): { flags: number; targetBtfId: number } {
  const [side, other] = "before" in anchor
    ? [BPF_F_BEFORE, anchor.before]
    : [BPF_F_AFTER, anchor.after];
  if (other === "all") return { flags: side, targetBtfId: 0 };
  // To the kernel tcx.relative_fd is the same word; libbpf before 1.3 has no name for it.
  const targetBtfId = other.fd;
  return { flags: other instanceof BpfLink ? side | BPF_F_LINK : side, targetBtfId };
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
  #isLeft = false;

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

  /** Closes without taking it off: it goes on without this process, until it is removed. */
  leave(): void {
    this.#isLeft = true;
    this.close();
  }

  protected release(): void {
    if (this.#isLeft) return;
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

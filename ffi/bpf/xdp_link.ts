/** Attachment of XDP programs, by link. */

import { checked } from "../errors.ts";
import type { Libraries } from "../libraries.ts";
import { optionsOf } from "../memory.ts";
import { BpfAttachType, BpfLinkCreateOpts, BpfXdpQueryOpts } from "./libbpf.gen.ts";
import { BpfLink } from "./link.ts";
import type { BpfProgram } from "./program.ts";

export type XdpMode = "native" | "generic";

const XDP_FLAGS = { generic: 1 << 1, native: 1 << 2 } as const;

/** Attaches by link. EBUSY: another program is there; EOPNOTSUPP: the driver has no native XDP. */
export function attachXdp(
  libs: Libraries,
  program: BpfProgram,
  ifindex: number,
  mode: XdpMode,
): BpfLink {
  const opts = optionsOf(BpfLinkCreateOpts, { flags: XDP_FLAGS[mode] });
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

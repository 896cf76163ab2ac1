/** Attachment of programs to a control group: to what all of its processes do with the network. */

import { checked } from "../errors.ts";
import type { Libraries } from "../libraries.ts";
import { cString } from "../memory.ts";
import { BpfAttachType } from "./libbpf.gen.ts";
import { BpfLink } from "./link.ts";
import type { BpfProgram } from "./program.ts";

/** At what: packets in and out, the life of TCP connections. */
const cgroupAttachTypes = {
  ingress: BpfAttachType.cgroupInetIngress,
  egress: BpfAttachType.cgroupInetEgress,
  sockOps: BpfAttachType.cgroupSockOps,
} as const;

export type CgroupPlace = keyof typeof cgroupAttachTypes;

/**
 * Attaches by link (Linux 5.7) to a folder of the cgroup2 file system, beside other programs. For
 * tests, as long as no program of ours does.
 */
export function attachToCgroup(
  libs: Libraries,
  program: BpfProgram,
  folder: string,
  place: CgroupPlace,
): BpfLink {
  const { ph_open_folder, ph_close } = libs.native.symbols;
  const cgroup = checked(ph_open_folder(cString(folder)), () => `open ${folder}`);
  const label = `${place} of cgroup ${folder}`;
  const type = cgroupAttachTypes[place];
  const fd = libs.libbpf.bpf_link_create(program.fd, cgroup, type, null);
  ph_close(cgroup);
  return new BpfLink(libs, checked(fd, () => `attach to ${label}`), label);
}

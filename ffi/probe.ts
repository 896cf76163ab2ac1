/**
 * What this kernel can do, found by trying: versions lie (distributions backport, containers take
 * away). `undefined` is neither yes nor no: the attempt failed for another reason.
 */

import { checked, SysError } from "./errors.ts";
import type { Libraries } from "./libraries.ts";
import { BpfProgLoadOpts, BpfProgType } from "./libbpf.gen.ts";
import { attachTcx, attachXdp, ClsactFilter, queryXdp, type XdpMode } from "./link.ts";
import { cString, optionsOf } from "./memory.ts";
import { BpfProgram } from "./program.ts";

/** Younger than Debian 12's headers, or not in their enums' BTF. */
export const BpfHelper = {
  ktimeGetNs: 5,
  tailCall: 12,
  redirect: 23,
  perfEventOutput: 25,
  csumDiff: 28,
  xdpAdjustHead: 44,
  skbAdjustRoom: 50,
  redirectMap: 51,
  xdpAdjustTail: 65,
  fibLookup: 69,
  skRedirectHash: 72,
  skSelectReuseport: 82,
  skAssign: 124,
  ringbufReserve: 131,
  checkMtu: 163,
  timerInit: 169,
  loop: 181,
} as const;

const EPERM = 1;
const EBUSY = 16;
const EEXIST = 17;

/** What came of an attempt. */
export interface Attempt {
  readonly have: boolean | undefined;
  /** Why not. */
  readonly cause?: string;
}

export function probeProgramType(libs: Libraries, type: number): Attempt {
  return answer(libs.libbpf.libbpf_probe_bpf_prog_type(type, null));
}

export function probeMapType(libs: Libraries, type: number): Attempt {
  return answer(libs.libbpf.libbpf_probe_bpf_map_type(type, null));
}

export function probeHelper(libs: Libraries, programType: number, helper: number): Attempt {
  return answer(libs.libbpf.libbpf_probe_bpf_helper(programType, helper, null));
}

/** Attaches a program that passes everything, for a moment. Leaves alone what is attached. */
export function tryXdp(libs: Libraries, ifindex: number, mode: XdpMode): Attempt {
  return attempt(() => {
    const { native, generic, offloaded } = queryXdp(libs, ifindex);
    if (native || generic || offloaded) return { have: mode === "native" && native !== 0 };
    using program = loadPassing(libs, BpfProgType.xdp, XDP_PASS);
    attachXdp(libs, program, ifindex, mode).close();
    return { have: true };
  });
}

export function tryTcx(libs: Libraries, ifindex: number): Attempt {
  return attempt(() => {
    using program = loadPassing(libs, BpfProgType.schedCls, TCX_NEXT);
    attachTcx(libs, program, ifindex, "ingress").close();
    return { have: true };
  });
}

export function tryClsact(libs: Libraries, ifindex: number): Attempt {
  return attempt(() => {
    using program = loadPassing(libs, BpfProgType.schedCls, TC_ACT_UNSPEC);
    new ClsactFilter(libs, program, ifindex, "ingress").close();
    return { have: true };
  });
}

const XDP_PASS = 2;
const TCX_NEXT = -1;
const TC_ACT_UNSPEC = -1;

/** `r0 = value; exit` */
function loadPassing(libs: Libraries, type: number, value: number): BpfProgram {
  const code = new Uint8Array(16);
  const view = new DataView(code.buffer);
  view.setUint8(0, 0xb7);
  view.setInt32(4, value, true);
  view.setUint8(8, 0x95);
  const opts = optionsOf(BpfProgLoadOpts);
  const name = "ph_probe";
  const license = cString("GPL");
  const fd = libs.libbpf.bpf_prog_load(type, cString(name), license, code, 2n, opts);
  return new BpfProgram(
    libs,
    checked(fd, () => `load a probe program of type ${type}`),
    name,
    true,
  );
}

function answer(result: number): Attempt {
  if (result >= 0) return { have: result === 1 };
  const error = new SysError("probe", -result);
  return { have: undefined, cause: error.code };
}

function attempt(act: () => Attempt): Attempt {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const isUnsure = [EPERM, EBUSY, EEXIST].includes(error.errno);
    return { have: isUnsure ? undefined : false, cause: error.message };
  }
}

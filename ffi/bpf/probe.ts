/**
 * What this kernel can do, found by trying: versions lie (distributions backport, containers take
 * away). `undefined` is neither yes nor no: the attempt failed for another reason.
 */

import { checked, errnoCode, SysError } from "../errors.ts";
import type { Libraries } from "../libraries.ts";
import { BpfAttachType, BpfMapType, BpfProgLoadOpts, BpfProgType } from "./libbpf.gen.ts";
import { attachTcx, ClsactFilter } from "./tc_link.ts";
import { attachXdp, queryXdp, type XdpMode } from "./xdp_link.ts";
import { addressOf, cString, holding, optionsOf, textOf } from "../memory.ts";
import { createMap, possibleCpus } from "./map.ts";
import { BpfProgram } from "./program.ts";
import { EventRing } from "./ring.ts";

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

const AF_INET = 2;
const AF_XDP = 44;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const INSTRUCTION_BYTES = 8;
const LOG_BYTES = 16 << 10;
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

/**
 * Whether programs of a type may call a helper. Not libbpf's own probe: Debian 12's knows only how
 * older verifiers put their refusal, and takes every helper for present on a newer kernel.
 */
export function probeHelper(libs: Libraries, programType: number, helper: number): Attempt {
  const log = new Uint8Array(LOG_BYTES);
  // call helper; r0 = 0; exit
  const code = instructions([0x85, helper], [0xb7, 0], [0x95, 0]);
  const opts = optionsOf(BpfProgLoadOpts, {
    logBuf: addressOf(log),
    logSize: log.length,
    logLevel: 1,
  });
  const result = holding([log], () => loadCode(libs, programType, code, opts));
  if (result >= 0) {
    libs.native.symbols.ph_close(result);
    return { have: true };
  }
  const text = textOf(log);
  // Without a word from the verifier it never came to look at the call.
  if (text === "") return { have: undefined, cause: errnoCode(-result) };
  const isRefused = /(invalid|unknown) func|cannot use helper/.test(text);
  // Refused for its arguments, which are none: then the helper itself is there.
  return { have: !isRefused };
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

const SK_PASS = 1;
const XDP_PASS = 2;
const TCX_NEXT = -1;
const TC_ACT_UNSPEC = -1;

/** Whether a stream's bytes can be steered inside the kernel: a verdict program on a sockhash. */
export function trySockhash(libs: Libraries): Attempt {
  return attempt(() => {
    const shape = { name: "ph_probe", keySize: 4, valueSize: 8, maxEntries: 1 };
    using map = createMap(libs, { ...shape, type: BpfMapType.sockhash });
    using program = loadPassing(libs, BpfProgType.skSkb, SK_PASS);
    const { skSkbStreamVerdict } = BpfAttachType;
    checked(
      libs.libbpf.bpf_prog_attach(program.fd, map.fd, skSkbStreamVerdict, 0),
      "attach a verdict program to a sockhash",
    );
    return { have: true };
  });
}

/** Whether events can come by perf buffer, as kernels before 5.8 need. */
export function tryPerfBuffer(libs: Libraries): Attempt {
  return attempt(() => {
    const shape = { name: "ph_probe", keySize: 4, valueSize: 4, maxEntries: possibleCpus(libs) };
    using map = createMap(libs, { ...shape, type: BpfMapType.perfEventArray });
    EventRing.ofPerfBuffer(libs, map, 1).close();
    return { have: true };
  });
}

/** AF_XDP: frames past the network stack. raw: IP packets made by hand. */
export function trySocket(libs: Libraries, kind: "xdp" | "raw"): Attempt {
  const [family, protocol] = kind === "xdp" ? [AF_XDP, 0] : [AF_INET, IPPROTO_RAW];
  const result = libs.native.symbols.ph_try_socket(family, SOCK_RAW, protocol);
  if (result >= 0) return { have: true };
  return { have: result === -EPERM ? undefined : false, cause: errnoCode(-result) };
}

/** `r0 = value; exit` */
function loadPassing(libs: Libraries, type: number, value: number): BpfProgram {
  const code = instructions([0xb7, value], [0x95, 0]);
  const fd = loadCode(libs, type, code, optionsOf(BpfProgLoadOpts));
  checked(fd, () => `load a probe program of type ${type}`);
  return new BpfProgram(libs, fd, "ph_probe", true);
}

/** Operation and immediate of each; registers and offsets are 0. */
function instructions(...all: readonly (readonly [number, number])[]): Uint8Array<ArrayBuffer> {
  const code = new Uint8Array(INSTRUCTION_BYTES * all.length);
  const view = new DataView(code.buffer);
  for (const [i, [operation, immediate]] of all.entries()) {
    view.setUint8(INSTRUCTION_BYTES * i, operation);
    view.setInt32(INSTRUCTION_BYTES * i + 4, immediate, true);
  }
  return code;
}

function loadCode(
  libs: Libraries,
  type: number,
  code: Uint8Array<ArrayBuffer>,
  opts: Uint8Array<ArrayBuffer>,
): number {
  const count = BigInt(code.length / INSTRUCTION_BYTES);
  return libs.libbpf.bpf_prog_load(type, cString("ph_probe"), cString("GPL"), code, count, opts);
}

function answer(result: number): Attempt {
  if (result >= 0) return { have: result === 1 };
  return { have: undefined, cause: errnoCode(-result) };
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

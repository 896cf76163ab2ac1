/** What this machine has and lacks for every part of Phantom: the checks behind `doctor`. */

import { BpfMapType, BpfProgType } from "../../ffi/bpf/libbpf.gen.ts";
import { type Interface, listInterfaces, vethPeer } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";
import { cString } from "../../ffi/memory.ts";
import {
  type Attempt,
  BpfHelper,
  probeHelper,
  probeMapType,
  probeProgramType,
  tryClsact,
  tryPerfBuffer,
  trySocket,
  trySockhash,
  tryTcx,
  tryXdp,
} from "../../ffi/bpf/probe.ts";
import { UdpSocket } from "../../ffi/udp.ts";
import { endpoint } from "../../ffi/endpoint.ts";
import { describeProgram } from "./xdp_hook.ts";

export interface Finding {
  readonly group: string;
  readonly name: string;
  /** unknown: it could not be tried; the detail says why. */
  readonly have: "yes" | "no" | "unknown";
  /** Without it Phantom's main work can't be done at all. */
  readonly required: boolean;
  readonly detail: string;
  /** What does not work without it. "" when it is there. */
  readonly lost: string;
  readonly remedy: string;
}

interface Need {
  readonly required?: boolean;
  readonly lost: string;
  readonly remedy: string;
}

/** What our program is called. */
const OWN_PROGRAM = "xdp_phantom";
const KERNEL_MIN = [5, 10] as const;
const NEWER_KERNEL = "a newer kernel (Debian 12's 6.1 has it)";
const AS_ROOT = "run as root, or give the capability (deploy/phantom.service does)";

/** All that needs the right to try it. */
export const UNTRIED = "BPF, XDP, TC";

/** Bits of /proc/self/status CapEff; any one of each row is enough. */
const CAPABILITIES = [
  { name: "CAP_BPF", bits: [39, 21], lost: "loading BPF programs", required: true },
  { name: "CAP_NET_ADMIN", bits: [12], lost: "attaching to interfaces", required: true },
  { name: "CAP_PERFMON", bits: [38, 21], lost: "pointer arithmetic in programs", required: true },
  { name: "CAP_NET_RAW", bits: [13], lost: "faketcp's raw sockets and AF_XDP", required: false },
  {
    name: "CAP_NET_BIND_SERVICE",
    bits: [10],
    lost: "listening on ports below 1024",
    required: false,
  },
] as const;

const PROGRAM_TYPES: readonly (readonly [string, number, string])[] = [
  ["xdp", BpfProgType.xdp, "the ebpf carrier: filter, relay, AF_XDP"],
  ["sched_cls", BpfProgType.schedCls, "the policy firewall, faketcp, the monitor"],
  ["sk_reuseport", BpfProgType.skReuseport, "packets reaching the worker that owns their session"],
  ["sk_skb", BpfProgType.skSkb, "the SNI gate's connections joined inside the kernel"],
  ["sock_ops", BpfProgType.sockOps, "the monitor's view of TCP connections"],
  ["socket_filter", BpfProgType.socketFilter, "the monitor's view of DNS, HTTP and TLS"],
];

const MAP_TYPES: readonly (readonly [string, number, string])[] = [
  ["array", BpfMapType.array, "everything in the kernel"],
  ["hash", BpfMapType.hash, "everything in the kernel"],
  ["percpu_array", BpfMapType.percpuArray, "counters"],
  ["lru_hash", BpfMapType.lruHash, "the session table"],
  ["lpm_trie", BpfMapType.lpmTrie, "rules by address range"],
  ["ringbuf", BpfMapType.ringbuf, "events by ring buffer (perf buffers are used instead)"],
  ["perf_event_array", BpfMapType.perfEventArray, "events by perf buffer"],
  ["xskmap", BpfMapType.xskmap, "delivery by AF_XDP (sockets are used instead)"],
  ["devmap_hash", BpfMapType.devmapHash, "the relay between interfaces"],
  ["sockhash", BpfMapType.sockhash, "the SNI gate's connections joined inside the kernel"],
  ["reuseport_sockarray", BpfMapType.reuseportSockarray, "steering to workers"],
  ["array_of_maps", BpfMapType.arrayOfMaps, "swapping rule sets in one step"],
];

const HELPERS: readonly (readonly [string, number, number, string])[] = [
  ["xdp redirect_map", BpfProgType.xdp, BpfHelper.redirectMap, "AF_XDP and the relay"],
  ["xdp fib_lookup", BpfProgType.xdp, BpfHelper.fibLookup, "the relay"],
  ["xdp check_mtu", BpfProgType.xdp, BpfHelper.checkMtu, "the relay's MTU check"],
  ["xdp adjust_head", BpfProgType.xdp, BpfHelper.xdpAdjustHead, "faketcp"],
  ["xdp csum_diff", BpfProgType.xdp, BpfHelper.csumDiff, "rewriting addresses"],
  ["xdp ringbuf_reserve", BpfProgType.xdp, BpfHelper.ringbufReserve, "events by ring buffer"],
  ["tc skb_adjust_room", BpfProgType.schedCls, BpfHelper.skbAdjustRoom, "faketcp"],
  ["tc sk_assign", BpfProgType.schedCls, BpfHelper.skAssign, "the SNI gate without NAT"],
  [
    "sk_skb redirect_hash",
    BpfProgType.skSkb,
    BpfHelper.skRedirectHash,
    "the SNI gate's connections joined inside the kernel",
  ],
  [
    "sk_reuseport select",
    BpfProgType.skReuseport,
    BpfHelper.skSelectReuseport,
    "steering to workers",
  ],
];

/**
 * Runs every check. `tryInterface` also tries a physical interface, which may pause it. Without the
 * right to try, what the kernel has is not known: that is one finding, and no remedy for each.
 */
export function diagnose(libs: Libraries, tryInterface?: string): Finding[] {
  const capabilities = effectiveCapabilities();
  const missing = CAPABILITIES.filter((one) => one.required && !isGiven(one, capabilities));
  const always = [
    ...systemFindings(libs),
    ...capabilityFindings(capabilities, missing.length === 0),
    ...socketFindings(libs),
  ];
  if (missing.length > 0) return [...always, untried(missing.map(({ name }) => name))];
  return [
    ...always,
    ...privilegedSocketFindings(libs),
    ...typeFindings(libs),
    ...attachFindings(libs),
    ...interfaceFindings(libs, tryInterface),
    ...vethFindings(libs),
  ];
}

function systemFindings(libs: Libraries): Finding[] {
  const { symbols } = libs.native;
  const version = Deno.osRelease();
  const [major = 0, minor = 0] = version.split(".").map((part) => parseInt(part, 10));
  const isNew = major > KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor >= KERNEL_MIN[1]);
  const jit = readText("/proc/sys/net/core/bpf_jit_enable")?.trim();
  const bpffs = symbols.ph_is_bpffs(cString("/sys/fs/bpf"));
  const memlock = memlockLimit();
  const chargesMemlock = major < 5 || (major === 5 && minor < 11);
  return [
    finding("system", "kernel 5.10 or newer", isNew, version, {
      required: true,
      lost: "nothing below it is tested; parts will fail to load",
      remedy: NEWER_KERNEL,
    }),
    finding("system", "kernel BTF", exists("/sys/kernel/btf/vmlinux"), "/sys/kernel/btf/vmlinux", {
      lost: "the monitor's programs that read kernel structures",
      remedy: "a kernel with CONFIG_DEBUG_INFO_BTF (Debian's have it)",
    }),
    finding("system", "BPF JIT", jit === undefined ? undefined : jit !== "0", jit ?? "not shown", {
      lost: "speed: programs are interpreted, about ten times slower",
      remedy: "sysctl net.core.bpf_jit_enable=1",
    }),
    finding("system", "BPF file system", bpffs < 0 ? undefined : bpffs === 1, "/sys/fs/bpf", {
      lost: "nothing: it is mounted at start where that is allowed",
      remedy: "mount -t bpf bpf /sys/fs/bpf",
    }),
    finding("system", "memlock", !chargesMemlock || memlock === "unlimited", memlock, {
      lost: "large maps (this kernel charges them to RLIMIT_MEMLOCK)",
      remedy: "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
    }),
  ];
}

function effectiveCapabilities(): bigint {
  const status = readText("/proc/self/status") ?? "";
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
}

function isGiven({ bits }: typeof CAPABILITIES[number], effective: bigint): boolean {
  return bits.some((bit) => ((effective >> BigInt(bit)) & 1n) !== 0n);
}

/** `isRemedied`: what is missing here is not said below for all. */
function capabilityFindings(effective: bigint, isRemedied: boolean): Finding[] {
  return CAPABILITIES.map((one) => {
    const { name, lost, required } = one;
    const remedy = isRemedied ? AS_ROOT : "";
    return finding("capability", name, isGiven(one, effective), "", { lost, required, remedy });
  });
}

function untried(names: readonly string[]): Finding {
  const detail = `can't be tried without ${names.join(", ")}: run it as root`;
  return finding("kernel", UNTRIED, undefined, detail, { required: true, lost: "", remedy: "" });
}

function typeFindings(libs: Libraries): Finding[] {
  const need = (lost: string, required = false): Need => ({ lost, required, remedy: NEWER_KERNEL });
  return [
    ...PROGRAM_TYPES.map(([name, type, lost]) =>
      attempted("program type", name, probeProgramType(libs, type), need(lost, name === "xdp"))
    ),
    ...MAP_TYPES.map(([name, type, lost]) =>
      attempted(
        "map type",
        name,
        probeMapType(libs, type),
        need(lost, lost.startsWith("everything")),
      )
    ),
    ...HELPERS.map(([name, program, helper, lost]) =>
      attempted("helper", name, probeHelper(libs, program, helper), need(lost))
    ),
  ];
}

/** On the loopback interface, which has no driver to disturb. */
function attachFindings(libs: Libraries): Finding[] {
  const lo = libs.native.symbols.ph_ifindex(cString("lo"));
  if (lo <= 0) return [];
  return [
    attempted("attach mode", "generic XDP", tryXdp(libs, lo, "generic"), {
      lost: "XDP where the driver has none",
      remedy: NEWER_KERNEL,
    }),
    attempted("attach mode", "TC by BPF link (tcx)", tryTcx(libs, lo), {
      lost: "nothing: clsact is used instead",
      remedy: "Linux 6.6 or newer",
    }),
    attempted("attach mode", "verdict program on a sockhash", trySockhash(libs), {
      lost: "connections joined inside the kernel (the SNI gate joins them in user space)",
      remedy: NEWER_KERNEL,
    }),
    attempted("attach mode", "TC by clsact", tryClsact(libs, lo), {
      lost: "the policy firewall and faketcp on kernels without tcx",
      remedy: "a kernel with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
    }),
  ];
}

function socketFindings(libs: Libraries): Finding[] {
  using socket = new UdpSocket(libs.native, { local: endpoint(new Uint8Array(16), 0) });
  const need: Need = {
    lost: "speed: a system call a datagram instead of one a batch",
    remedy: NEWER_KERNEL,
  };
  return [
    finding("socket", "UDP GRO", socket.has("gro"), "", need),
    finding("socket", "UDP GSO", socket.has("gso"), "", need),
    finding("socket", "packet info", socket.has("pktinfo"), "", {
      lost: "answering from the address that a packet came to",
      remedy: NEWER_KERNEL,
    }),
  ];
}

function privilegedSocketFindings(libs: Libraries): Finding[] {
  return [
    attempted("socket", "AF_XDP", trySocket(libs, "xdp"), {
      lost: "delivery past the network stack (sockets are used instead)",
      remedy: "CAP_NET_RAW, and a kernel with CONFIG_XDP_SOCKETS",
    }),
    attempted("socket", "raw IP", trySocket(libs, "raw"), {
      lost: "the faketcp carrier",
      remedy: "CAP_NET_RAW",
    }),
    attempted("socket", "perf buffer", tryPerfBuffer(libs), {
      lost: "events on kernels without ring buffers",
      remedy: "CAP_PERFMON, or sysctl kernel.perf_event_paranoid=2",
    }),
  ];
}

function interfaceFindings(libs: Libraries, tryInterface: string | undefined): Finding[] {
  const devices = listInterfaces(libs);
  if (tryInterface !== undefined && !devices.some(({ name }) => name === tryInterface)) {
    const names = devices.map(({ name }) => name).join(", ");
    throw new Error(`Cannot try interface ${tryInterface} as there is none: there are ${names}`);
  }
  return devices.filter(({ name }) => name !== "lo").map((device) => {
    const { name, ifindex, xdp } = device;
    const need: Need = {
      lost: `speed on ${name}: XDP runs behind the driver (generic)`,
      remedy: "a driver with XDP; for virtio, as many queues as CPUs; an MTU below 3500",
    };
    const id = xdp.native || xdp.generic || xdp.offloaded;
    if (id !== 0) return attachedFinding(libs, device, id);
    if (exists(`/sys/class/net/${name}/device`) && name !== tryInterface) {
      const detail = `not tried: it may pause the interface; \`doctor --interface ${name}\` does`;
      return finding("native XDP", name, undefined, detail, need);
    }
    return attempted("native XDP", name, tryXdp(libs, ifindex, "native"), need);
  });
}

/** Only of veths with native XDP, or where it could be. */
function vethFindings(libs: Libraries): Finding[] {
  return listInterfaces(libs).flatMap(({ name, ifindex, xdp }) => {
    const peer = vethPeer(libs, ifindex);
    if (peer === undefined || xdp.generic !== 0) return [];
    return finding("veth", `XDP at the other end of ${name}`, peer.xdp.native !== 0, peer.name, {
      lost: `what the relay sends by ${name} from native XDP`,
      remedy: "ebpf.xdp_mode: generic, or a program that passes all on the other end",
    });
  });
}

/** An interface with a program on it, ours or not: nothing is tried there. */
function attachedFinding(libs: Libraries, { name, xdp }: Interface, id: number): Finding {
  const hook = xdp.native !== 0 ? "native" : xdp.generic !== 0 ? "generic" : "offloaded";
  const detail = `a program is attached: ${hook}, ${describeProgram(libs, id)}`;
  if (detail.endsWith(`, ${OWN_PROGRAM}`)) {
    return finding("native XDP", name, hook === "native", detail, {
      lost: `speed on ${name}: XDP runs behind the driver (generic)`,
      remedy: "xdp_mode native tells why the driver refuses",
    });
  }
  return finding("native XDP", name, false, detail, {
    lost: `XDP on ${name}: another's program is never replaced, packets go through sockets alone`,
    remedy: `\`bpftool prog show id ${id}\` tells whose it is; take it off, or set ebpf.interface`,
  });
}

function attempted(group: string, name: string, { have, cause }: Attempt, need: Need): Finding {
  // No kernel is too old for what it forbids: a container, or a security module.
  const isForbidden = have !== true && /EPERM|EACCES/.test(cause ?? "");
  const remedy = isForbidden ? AS_ROOT : need.remedy;
  return finding(group, name, isForbidden ? undefined : have, have === true ? "" : cause ?? "", {
    ...need,
    remedy,
  });
}

function finding(
  group: string,
  name: string,
  have: boolean | undefined,
  detail: string,
  need: Need,
): Finding {
  return {
    group,
    name,
    have: have === undefined ? "unknown" : have ? "yes" : "no",
    required: need.required ?? false,
    detail,
    lost: have === true ? "" : need.lost,
    remedy: have === true ? "" : need.remedy,
  };
}

function memlockLimit(): string {
  const limits = readText("/proc/self/limits") ?? "";
  return /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? "unknown";
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

// Every setting of Phantom, once: name, kind, default, range and reason.

import type { Secret } from "../base/secret.ts";
import {
  absolutePath,
  address,
  autoOr,
  decimal,
  filePath,
  flag,
  integer,
  interfaceName,
  listOf,
  measured,
  oneOf,
  secretText,
  shortName,
} from "./leaves.ts";
import { type Infer, section } from "./schema.ts";

/** What the example file holds in place of a key. It is refused as one. */
export const PLACEHOLDER = "your-32-byte-psk-here";

/** Every carrier, best first. */
export const TRANSPORTS = ["ebpf", "faketcp", "udp", "tcp", "websocket"] as const;

const SWITCHER = section("Measures the transports and moves to a better one", {
  enabled: flag({ default: true, doc: "Off pins the first transport that works." }),
  check_interval_ms: measured({
    unit: "ms",
    default: 1000,
    min: 100,
    max: 60_000,
    doc: "How often the transport in use is judged; shorter reacts faster and probes more.",
  }),
  rtt_threshold_ms: measured({
    unit: "ms",
    default: 300,
    min: 1,
    max: 60_000,
    doc: "A round trip longer than this counts as a failed check.",
  }),
  loss_threshold: decimal({
    default: 0.3,
    min: 0,
    max: 1,
    doc: "A share of lost packets above this counts as a failed check.",
  }),
  fail_threshold: integer({
    unit: "checks",
    default: 3,
    min: 1,
    max: 100,
    doc: "Failed checks in a row before switching; more avoids flapping.",
  }),
  priority: listOf(TRANSPORTS, {
    default: TRANSPORTS,
    doc: "Transports that may be used, most wanted first.",
  }),
});

const EBPF = section("The data plane inside the kernel", {
  enabled: flag({ default: true, doc: "Off keeps every packet in user space." }),
  interface: interfaceName({
    default: "",
    doc: "Interface the programs attach to; empty takes the one of the default route.",
  }),
  xdp_mode: oneOf(["auto", "native", "generic"], {
    default: "auto",
    doc: "Where XDP runs; auto tries the driver (native) first and the generic hook next.",
  }),
  program_path: absolutePath({
    default: "",
    optional: true,
    doc: "Folder of BPF objects that replace the embedded ones when it exists.",
  }),
  map_size: integer({
    unit: "sessions",
    default: 65_536,
    min: 1024,
    max: 16_777_216,
    doc: "Sessions the kernel's table holds; the least recently used goes first.",
  }),
  enable_stats: flag({ default: true, doc: "Counts packets and drops in the kernel." }),
  pin_path: absolutePath({
    default: "/sys/fs/bpf/phantom",
    doc: "Folder of the bpffs where maps and links outlive a restart.",
  }),
});

const ARQ = section("Repeats lost packets", {
  enabled: flag({ default: true, doc: "Off leaves lost packets to the carried protocol." }),
  window_size: integer({
    unit: "packets",
    default: 256,
    min: 16,
    max: 65_536,
    doc: "Packets in flight at least; the window grows from here with rate and round trip.",
  }),
  max_retries: integer({
    unit: "times",
    default: 10,
    min: 1,
    max: 100,
    doc: "How often one packet is sent again before the path counts as dead.",
  }),
  enable_sack: flag({
    default: true,
    doc: "Acknowledges ranges, so that one loss does not hold up the rest.",
  }),
});

const HYSTERIA2 = section("Sends at a stated rate where congestion control would back off", {
  enabled: flag({ default: true, doc: "Off always uses the adaptive congestion control." }),
  up_mbps: measured({
    unit: "mbps",
    default: 100,
    min: 0,
    max: 1_000_000,
    doc: "What the line really sends; 0 is not stated, which adapts instead.",
  }),
  down_mbps: measured({
    unit: "mbps",
    default: 100,
    min: 0,
    max: 1_000_000,
    doc: "What the line really receives; 0 is not stated, which adapts instead.",
  }),
});

/** The schema of the configuration file. */
export const SETTINGS = section("Phantom", {
  listen: address({
    default: { host: "", port: 54_321 },
    doc: "Where packets arrive; without a host, on all addresses.",
  }),
  psk: secretText({
    range: "32 bytes as base64 or 64 hex digits",
    placeholder: PLACEHOLDER,
    doc: "The shared key of server and clients; `phantom keygen` makes one.",
  }),
  psk_file: filePath({
    default: "",
    doc: "File that holds the key instead, for its own permissions; empty for none.",
  }),
  log_level: oneOf(["error", "warn", "info", "debug"], {
    default: "info",
    doc: "How much is logged.",
  }),
  log_format: oneOf(["text", "json"], {
    default: "text",
    doc: "text is for people, json for collectors.",
  }),
  mode: oneOf(["auto", ...TRANSPORTS], {
    default: "auto",
    doc: "The transport to use; auto lets the switcher choose.",
  }),
  workers: autoOr({ min: 1, max: 64, doc: "Data-plane threads; auto is one a core." }),
  state_dir: absolutePath({
    default: "/var/lib/phantom",
    doc: "Folder for what has to survive a restart.",
  }),
  instance: shortName({
    default: "default",
    doc: "Tells several instances on one machine apart, in names and metrics.",
  }),
  switcher: SWITCHER,
  ebpf: EBPF,
  arq: ARQ,
  hysteria2: HYSTERIA2,
});

/** The settings as the file states them: the key still a text. */
export type Settings = Infer<typeof SETTINGS>;

/** The configuration of a process: every field present, typed, readonly. */
export interface Config extends Omit<Settings, "psk"> {
  readonly psk: Secret;
}

/** A carrier's name. */
export type Transport = typeof TRANSPORTS[number];

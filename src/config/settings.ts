// Every setting of Phantom, once: name, kind, default, range and reason.

import type { Secret } from "../base/secret.ts";
import {
  absolutePath,
  address,
  autoOr,
  decimal,
  duration,
  filePath,
  flag,
  integer,
  interfaceName,
  listOf,
  measured,
  oneOf,
  rate,
  secretText,
  shortName,
  size,
} from "./leaves.ts";
import {
  freeText,
  interfaceNames,
  moment,
  nameServers,
  optionalHost,
  optionalHostPort,
  optionalIp,
  texts,
} from "./list_leaves.ts";
import { RELAY, RELAY_ITEM, RELAYS_MAX } from "./relay_settings.ts";
import { type Fault, type Infer, notYet, section, sections } from "./schema.ts";

/** What the example file holds in place of a key. It is refused as one. */
export const PLACEHOLDER = "your-32-byte-psk-here";

/** Every carrier, best first. */
export const CARRIERS = ["ebpf", "faketcp", "udp", "tcp", "websocket"] as const;

const SWITCHER = section("Measures the carriers and moves to a better one", {
  enabled: notYet(flag({ default: true, doc: "Off pins the first carrier that works." })),
  check_interval_ms: notYet(measured({
    unit: "ms",
    default: 1000,
    min: 100,
    max: 60_000,
    doc: "How often the carrier in use is judged; shorter reacts faster and probes more.",
  })),
  rtt_threshold_ms: notYet(measured({
    unit: "ms",
    default: 300,
    min: 1,
    max: 60_000,
    doc: "A round trip longer than this counts as a failed check.",
  })),
  loss_threshold: notYet(decimal({
    default: 0.3,
    min: 0,
    max: 1,
    doc: "A share of lost packets above this counts as a failed check.",
  })),
  fail_threshold: notYet(integer({
    unit: "checks",
    default: 3,
    min: 1,
    max: 100,
    doc: "Failed checks in a row before switching; more avoids flapping.",
  })),
  priority: notYet(listOf(CARRIERS, {
    default: CARRIERS,
    doc: "Carriers that may be used, most wanted first.",
  })),
});

const INTERFACES_MAX = 64;

const EBPF_DOC =
  "The data plane inside the kernel; it lets go of its ports at a stop, and 25 s after a kill";

const EBPF = section(EBPF_DOC, {
  enabled: flag({ default: true, doc: "Off keeps every packet in user space." }),
  interface: interfaceNames({
    max: INTERFACES_MAX,
    doc: "Interfaces for XDP, later ones too; auto, or if none is there: the default route's.",
  }),
  xdp_mode: oneOf(["auto", "native", "generic"], {
    default: "auto",
    alias: { driver: "native", drv: "native", skb: "generic" },
    doc: "Where XDP runs; auto tries the driver (native) first and the generic hook next.",
  }),
  delivery: oneOf(["auto", "socket", "af_xdp"], {
    default: "auto",
    alias: { xsk: "af_xdp", xdp: "af_xdp", udp: "socket", kernel: "socket" },
    doc: "How packets reach the program: af_xdp goes past the network stack, socket through it.",
  }),
  program_path: absolutePath({
    default: "",
    optional: true,
    doc:
      "Folder whose xdp_phantom.o, xdp_sessions.o, tc_egress.o, steer.o replace the embedded ones.",
  }),
  map_size: integer({
    unit: "sessions",
    default: 65_536,
    min: 1024,
    max: 16_777_216,
    doc: "Sessions the kernel's table holds; the least recently used goes first.",
  }),
  session_timeout: duration({
    default: 300_000,
    min: 10_000,
    max: 86_400_000,
    doc: "An established session that is silent for so long leaves the kernel's table.",
  }),
  hello_rate: integer({
    unit: "a second",
    default: 200,
    min: 0,
    max: 1_000_000,
    doc: "HELLOs of one source (IPv6: a /64) that the kernel lets through; 0 is no limit.",
  }),
  hello_rate_total: integer({
    unit: "a second",
    default: 20_000,
    min: 0,
    max: 10_000_000,
    doc:
      "HELLOs of all sources that the kernel lets through, without repeated ones; 0 is no limit.",
  }),
  session_rate: integer({
    unit: "a second",
    default: 1000,
    min: 0,
    max: 1_000_000,
    doc: "New sessions of one source that get an entry in the kernel's table; 0 is no limit.",
  }),
  enable_stats: flag({ default: true, doc: "Counts packets and drops in the kernel." }),
  pin_path: absolutePath({
    default: "/sys/fs/bpf/phantom",
    doc: "Folder of the bpffs where maps and links outlive a restart; `phantom unload` clears it.",
  }),
});

/** Shared by server and client. */
export const ARQ = section("Repeats lost packets", {
  enabled: notYet(flag({ default: true, doc: "Off leaves lost packets to the carried protocol." })),
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
  enable_sack: notYet(flag({
    default: true,
    doc: "Acknowledges ranges, so that one loss does not hold up the rest.",
  })),
});

const HYSTERIA2 = section("Sends at a stated rate where congestion control would back off", {
  enabled: flag({ default: true, doc: "Off always uses the adaptive congestion control." }),
  up_mbps: measured({
    unit: "mbps",
    default: 100,
    min: 0,
    max: 1_000_000,
    doc: "What its line really sends; of this and a client's `down` the lower counts, 0 adapts.",
  }),
  down_mbps: measured({
    unit: "mbps",
    default: 100,
    min: 0,
    max: 1_000_000,
    doc: "What its line really receives; of this and a client's `up` the lower counts, 0 adapts.",
  }),
});

const RATE_MAX = 1e12;
const TRAFFIC_MAX = 2 ** 50;
export const USERS_MAX = 65_536;
export const USER_NAME_BYTES_MAX = 64;
const USER_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._@+-]*$/u;

/** What a user may be called. */
export function userNameFault(name: string): Fault | undefined {
  if (USER_NAME.test(name)) return undefined;
  return {
    rule: "must be letters, digits and . _ @ + -, with a letter or digit first",
    remedy: 'Write a name such as "alice" or "phone-2".',
  };
}

export const KEY_RANGE = "32 bytes as base64 or 64 hex digits";

const USER = section("A user", {
  name: freeText({
    bytesMax: USER_NAME_BYTES_MAX,
    required: "alice",
    check: userNameFault,
    doc: "What rules and counters call the user.",
  }),
  key: secretText({
    range: KEY_RANGE,
    placeholder: PLACEHOLDER,
    doc: "The user's own key; the psk is needed beside it.",
  }),
  key_file: filePath({ default: "", doc: "File that holds the key instead." }),
  up: rate({ default: 0, min: 0, max: RATE_MAX, doc: "From the user at most; 0bps is no limit." }),
  down: rate({ default: 0, min: 0, max: RATE_MAX, doc: "To the user at most; 0bps is no limit." }),
  sessions_max: integer({
    unit: "sessions",
    default: 0,
    min: 0,
    max: 65_536,
    doc: "Sessions at a time, one a device; 0 is no limit.",
  }),
  connections_max: integer({
    unit: "connections",
    default: 0,
    min: 0,
    max: 1_000_000,
    doc: "Connections, also those still being made, and UDP associations; 0 is no limit.",
  }),
  traffic_max: size({
    default: 0,
    min: 0,
    max: TRAFFIC_MAX,
    doc: "To and from the user in all, then the user is cut off; 0B is no limit.",
  }),
  expires: moment({ doc: "When the user is let in no more; empty is never." }),
  enabled: flag({ default: true, doc: "Off lets the user in no more." }),
});

const CONDITIONS_MAX = 10_000;
const RULES_MAX = 2000;

const RULE = section("A rule", {
  domain: texts({
    max: CONDITIONS_MAX,
    range: "whole names",
    doc: "Names that match as they are.",
  }),
  domain_suffix: texts({
    max: CONDITIONS_MAX,
    range: "ends of names",
    doc: "Names that match with everything below them.",
  }),
  domain_keyword: texts({
    max: CONDITIONS_MAX,
    range: "parts of names",
    doc: "Parts of names that match anywhere in one.",
  }),
  cidr: texts({
    max: CONDITIONS_MAX,
    range: "addresses or CIDR",
    doc:
      "Addresses that match; only these open private ones, and this machine's public ones singly.",
  }),
  list: texts({
    max: 100,
    range: "paths",
    doc: "Files of names (also full:, keyword:) and CIDR, one a line, that match.",
  }),
  port: texts({ max: 1000, range: "443 or 8000-8999", doc: "Ports that match." }),
  network: oneOf(["any", "tcp", "udp"], {
    default: "any",
    alias: { both: "any", all: "any", "tcp,udp": "any", "tcp+udp": "any", "*": "any" },
    doc: "The kind of traffic.",
  }),
  user: texts({ max: CONDITIONS_MAX, range: "names of users", doc: "Whose traffic matches." }),
  outbound: shortName({
    default: "direct",
    doc: "What becomes of what matches: direct, reject, or the name of an outbound.",
  }),
});

const OUTBOUNDS_MAX = 100;
const OUTBOUND_NAME = /^[a-z0-9-]{1,32}$/;
const OUTBOUND_NAME_BYTES_MAX = 32;
/** What SOCKS5 can carry. */
export const CREDENTIAL_BYTES_MAX = 255;

const OUTBOUND = section("An outbound", {
  name: freeText({
    bytesMax: OUTBOUND_NAME_BYTES_MAX,
    required: "office",
    check: outboundNameFault,
    doc: "What rules call it.",
  }),
  type: oneOf(["socks5", "http", "direct"], {
    default: "socks5",
    alias: { socks: "socks5", socks5h: "socks5", https: "http", freedom: "direct" },
    doc: "A proxy of this kind, or another way out of this machine.",
  }),
  address: optionalHostPort({ doc: "The proxy; none for direct." }),
  user: freeText({ bytesMax: CREDENTIAL_BYTES_MAX, doc: "The name that the proxy asks for." }),
  password: secretText({
    range: `at most ${CREDENTIAL_BYTES_MAX} bytes`,
    placeholder: "",
    doc: "The password that the proxy asks for.",
  }),
  interface: interfaceName({ default: "", doc: "The only interface to go by; empty for any." }),
  source: optionalIp({ doc: "The address to come from; empty for any." }),
  pass_names: flag({
    default: false,
    doc: "The proxy gets names as they are; then no rule sees what addresses they lead to.",
  }),
});

function outboundNameFault(name: string): Fault | undefined {
  if (OUTBOUND_NAME.test(name)) return undefined;
  return {
    rule: "must be 1 to 32 lower-case letters, digits or dashes",
    remedy: 'Write a name such as "office".',
  };
}

/** Server and client have it. */
export const LOW_LATENCY = flag({
  default: false,
  doc: "Keeps the CPU's cores from sleeping while there is traffic: faster answers, more power.",
});

/** Server and client have it. */
export const LOG_LEVEL = oneOf(["error", "warn", "info", "debug"], {
  default: "info",
  doc: "How much is logged.",
  alias: {
    warning: "warn",
    fatal: "error",
    none: "error",
    silent: "error",
    quiet: "error",
    notice: "info",
    trace: "debug",
    verbose: "debug",
  },
});

/** Server and client have it. */
export const LOG_FORMAT = oneOf(["text", "json"], {
  default: "text",
  doc: "text is for people, json for collectors.",
  alias: { plain: "text", console: "text", pretty: "text" },
});

/** Server and client have it. */
export const CIPHER = oneOf(["auto", "chacha20-poly1305", "aes-256-gcm"], {
  default: "auto",
  alias: {
    chacha20: "chacha20-poly1305",
    "chacha20-ietf-poly1305": "chacha20-poly1305",
    aes: "aes-256-gcm",
    "aes-256": "aes-256-gcm",
    aes256gcm: "aes-256-gcm",
    aesgcm: "aes-256-gcm",
    gcm: "aes-256-gcm",
  },
  doc:
    "What seals a session; auto is what is faster on both machines. Ends must have one in common.",
});

/** The schema of the configuration file. */
export const SETTINGS = section("Phantom", {
  listen: address({
    default: { host: "", port: 54_321 },
    doc: "Where packets arrive; without a host, at all addresses of this machine.",
  }),
  public_host: optionalHost({
    doc: "Name or address that links give to clients; empty is this machine's own address.",
  }),
  psk: secretText({
    range: KEY_RANGE,
    placeholder: PLACEHOLDER,
    doc: "The shared key of server and clients; `phantom keygen` makes one.",
  }),
  psk_file: filePath({
    default: "",
    doc: "File that holds the key instead, for its own permissions; empty for none.",
  }),
  log_level: LOG_LEVEL,
  log_format: LOG_FORMAT,
  mode: notYet(
    oneOf(["auto", ...CARRIERS], {
      default: "auto",
      alias: { xdp: "ebpf", quic: "udp", ws: "websocket", wss: "websocket" },
      doc: "The carrier to use; today all are UDP, with XDP where that runs.",
    }),
    ["auto", "ebpf", "udp"],
  ),
  workers: autoOr({ min: 1, max: 64, doc: "Data-plane threads; auto is one a core." }),
  cipher: CIPHER,
  low_latency: LOW_LATENCY,
  state_dir: absolutePath({
    default: "/var/lib/phantom",
    doc:
      "Folder for what survives a restart: secret, traffic, replay are in state-INSTANCE/ of it.",
  }),
  instance: shortName({
    default: "default",
    doc: "Tells several instances on one machine apart, in names and metrics.",
  }),
  users: sections({
    max: USERS_MAX,
    item: USER,
    doc: "Who may come in, each with a key of their own; without any, whoever has the psk.",
  }),
  rules: sections({
    max: RULES_MAX,
    item: RULE,
    doc: "Where traffic goes: the first rule that matches decides, else default_outbound.",
  }),
  outbounds: sections({
    max: OUTBOUNDS_MAX,
    item: OUTBOUND,
    doc: "Ways to targets that rules can name, beside direct and reject.",
  }),
  default_outbound: shortName({
    default: "direct",
    doc: "Where traffic goes that no rule matches; datagrams can't go by a proxy.",
  }),
  ip_preference: oneOf(["auto", "ipv4", "ipv6", "ipv4-only", "ipv6-only"], {
    default: "auto",
    alias: {
      v4: "ipv4",
      v6: "ipv6",
      "prefer-ipv4": "ipv4",
      "prefer-ipv6": "ipv6",
      "v4-only": "ipv4-only",
      "v6-only": "ipv6-only",
      any: "auto",
    },
    doc: "Which addresses of a name are tried first, or at all.",
  }),
  bench: flag({
    default: true,
    doc: "Whoever is let in may measure the line to this server with `phantom bench`.",
  }),
  idle: duration({
    default: 300_000,
    min: 10_000,
    max: 86_400_000,
    doc: "A session without packets for so long ends.",
  }),
  sessions_max: integer({
    unit: "sessions",
    default: 65_536,
    min: 1,
    max: 1_000_000,
    doc: "Sessions at a time in all; more are refused, and those there are go on.",
  }),
  resolver: nameServers({
    max: 8,
    doc: "Who is asked for the addresses of names: this machine's resolver, or these servers.",
  }),
  relays: sections({
    max: RELAYS_MAX,
    item: RELAY_ITEM,
    doc: "UDP ports that lead to other servers, in XDP where that runs: the middle hop.",
  }),
  relay: RELAY,
  switcher: SWITCHER,
  ebpf: EBPF,
  arq: ARQ,
  hysteria2: HYSTERIA2,
});

/** The settings as the file states them: the key still a text. */
export type Settings = Infer<typeof SETTINGS>;

/** A user with their key. */
export interface UserConfig extends Omit<Settings["users"][number], "key"> {
  readonly key: Secret;
}

/** A list file: its lines, and how to call it. */
export interface ListConfig {
  readonly name: string;
  readonly text: string;
}

/** A rule with its lists. */
export interface RuleConfig extends Omit<Settings["rules"][number], "list"> {
  readonly lists: readonly ListConfig[];
}

export type OutboundConfig = Settings["outbounds"][number];

/** Where traffic goes. */
export type RoutingConfig = Pick<Config, "rules" | "outbounds" | "defaultOutbound">;

/** The configuration of a process: every field present, typed, readonly. */
export interface Config extends Omit<Settings, "psk" | "users" | "rules"> {
  readonly psk: Secret;
  readonly rules: readonly RuleConfig[];
  readonly users: readonly UserConfig[];
}

/** A carrier's name. */
export type CarrierKind = typeof CARRIERS[number];

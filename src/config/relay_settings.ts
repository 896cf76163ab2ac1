// The settings of the relay: what is forwarded to whom, and how backends are judged.

import { parseIp } from "../base/ip.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { duration, flag, integer, oneOf } from "./leaves.ts";
import { freeText } from "./list_leaves.ts";
import type { Report } from "./problem.ts";
import { type Infer, type Leaf, type Parsed, scalar, section, sections } from "./schema.ts";

export const RELAYS_MAX = 64;
const BACKENDS_MAX = 32;
/** As of a user's name. */
const CHECK_USER_BYTES_MAX = 64;
/** Of one relay; each takes a socket in user space. */
const RANGE_PORTS_MAX = 1024;
const PORT_MAX = 65_535;

/** Ports from first to last, on one address of the machine or (empty) on all. */
export interface PortRange {
  readonly host: string;
  readonly first: number;
  readonly last: number;
}

const RANGE_FORMS = 'Write ":443", "192.0.2.1:443" or "[2001:db8::1]:10000-10099".';

/** One port or several in a row, with or without an address. */
export function parsePortRange(text: string, portsMax = PORT_MAX): Parsed<PortRange> {
  const dash = /^(.*?)(\d+)-(\d+)$/.exec(text);
  const first = parseAddress(dash === null ? text : `${dash[1]}${dash[2]}`);
  if (!("value" in first)) return { rule: first.rule, remedy: RANGE_FORMS };
  const { host, port } = first.value;
  const last = dash === null ? port : Number(dash[3]);
  if (last < port || last > PORT_MAX) {
    return { rule: "must go from a lower to a higher port", remedy: RANGE_FORMS };
  }
  if (last - port >= portsMax) {
    return { rule: `has more than ${portsMax} ports`, remedy: "Write several, each smaller." };
  }
  return { value: Object.freeze({ host, first: port, last }) };
}

function formatPortRange({ host, first, last }: PortRange): string {
  const start = host === "" ? `${first}` : formatAddress({ host, port: first });
  return last === first ? start : `${start}-${last}`;
}

function portRange(
  spec: { readonly doc: string; readonly range: string; readonly text: string } & {
    readonly required: boolean;
    /** An address may stand before the ports. */
    readonly isHere: boolean;
    readonly portsMax?: number;
  },
): Leaf<PortRange> {
  const { doc, range, text, required, isHere, portsMax } = spec;
  const parsed = parsePortRange(text);
  if (!("value" in parsed)) throw new TypeError(`Cannot use ${text} as a range of ports`);
  return scalar<PortRange, "">({
    doc,
    type: "port or range of ports",
    range,
    suffix: "",
    fallback: required ? Object.freeze({ host: "", first: 0, last: 0 }) : parsed.value,
    fallbackText: JSON.stringify(text),
    required,
    format: formatPortRange,
    parse: (node) => {
      const found = parsePortRange(node.text, portsMax);
      if (isHere || ("value" in found && found.value.host === "")) return found;
      return {
        rule: "must be ports alone",
        remedy: `Write a range such as ${JSON.stringify(text)}.`,
      };
    },
  });
}

/** An IP address and a port; a name would have to be asked for again and again. */
function ipPort(
  spec: { readonly doc: string; readonly example: string },
): Leaf<{ readonly host: string; readonly port: number }> {
  return scalar<{ readonly host: string; readonly port: number }, "">({
    doc: spec.doc,
    type: "IP address and port",
    range: "192.0.2.1:port or [2001:db8::1]:port",
    suffix: "",
    fallback: Object.freeze({ host: "", port: 0 }),
    fallbackText: JSON.stringify(spec.example),
    required: true,
    format: formatAddress,
    parse({ text }) {
      const parsed = parseAddress(text);
      if ("value" in parsed && parseIp(parsed.value.host) !== undefined) {
        return parsed;
      }
      const remedy = 'Write such as "192.0.2.7:443" or "[2001:db8::7]:443".';
      return { rule: "must be an IP address and a port", remedy };
    },
  });
}

const BACKEND = section("A backend", {
  address: ipPort({ example: "192.0.2.7:443", doc: "Where it is; a relay's may be a relay too." }),
  weight: integer({
    unit: "shares",
    default: 1,
    min: 0,
    max: 1000,
    doc: "Its share of new clients, beside the others'.",
  }),
  drain: flag({ default: false, doc: "On keeps its clients and gives it no new ones." }),
});

/** One entry of `relays`. */
export const RELAY_ITEM = section("A relay", {
  listen: portRange({
    doc: "UDP ports of this machine.",
    range: `443, 10000-10099, host:port or [v6]:port; at most ${RANGE_PORTS_MAX} ports`,
    text: ":443",
    required: true,
    isHere: true,
    portsMax: RANGE_PORTS_MAX,
  }),
  to: sections({ max: BACKENDS_MAX, item: BACKEND, doc: "Where packets go, of the same family." }),
  only: oneOf(["any", "phantom"], {
    default: "any",
    alias: { all: "any", none: "any", ours: "phantom" },
    doc: "phantom drops what does not look like this protocol under the psk.",
  }),
  affinity: oneOf(["address", "port"], {
    default: "address",
    alias: { ip: "address", source: "address", "source-ip": "address", tuple: "port" },
    doc: "What keeps a client at its backend: its address, or address and port.",
  }),
  check: oneOf(["none", "tcp", "udp", "icmp", "phantom"], {
    default: "none",
    alias: { off: "none", no: "none", false: "none", ping: "icmp", http: "tcp", hello: "phantom" },
    doc: "By a TCP connection, an answered datagram, an echo and no refused port, or a HELLO.",
  }),
  check_user: freeText({
    bytesMax: CHECK_USER_BYTES_MAX,
    doc: "The one of users, also at the backend, who says HELLO; empty where a psk is enough.",
  }),
  check_port: integer({
    unit: "port",
    default: 0,
    min: 0,
    max: PORT_MAX,
    doc: "Another port of the backend to check; 0 is its own.",
  }),
  check_interval: duration({
    default: 2000,
    min: 100,
    max: 3_600_000,
    doc: "From one check to the next.",
  }),
  check_timeout: duration({ default: 1000, min: 10, max: 60_000, doc: "Later is no answer." }),
  check_fall: integer({
    unit: "checks",
    default: 3,
    min: 1,
    max: 100,
    doc: "Failed checks in a row until it is down and its clients move.",
  }),
  check_rise: integer({
    unit: "checks",
    default: 2,
    min: 1,
    max: 100,
    doc: "Good checks in a row until it is up again.",
  }),
});

/** What all relays share. */
export const RELAY = section("What all relays share", {
  ports: portRange({
    doc: "Ports that packets go on to backends from; no other program should use them.",
    range: "a range, such as 20000-32767",
    text: "20000-32767",
    required: false,
    isHere: false,
  }),
  idle: duration({
    default: 120_000,
    min: 10_000,
    max: 86_400_000,
    doc: "A client without packets for so long is forgotten.",
  }),
  flows_max: integer({
    unit: "flows",
    default: 65_536,
    min: 64,
    max: 4_194_304,
    doc: "Clients at a time; the least recently heard of goes first.",
  }),
});

export type RelayConfig = Infer<typeof RELAY_ITEM>;
export type RelaySharedConfig = Infer<typeof RELAY>;

interface Relayed {
  readonly settings: {
    readonly listen: { readonly port: number };
    readonly relay: RelaySharedConfig;
    readonly relays: readonly RelayConfig[];
    readonly users: readonly { readonly name: string }[];
  };
  readonly offsets: ReadonlyMap<string, number>;
}

/** What contradicts itself or other settings. */
export function checkRelays({ settings, offsets }: Relayed, report: Report): void {
  const { relays, relay, listen, users } = settings;
  for (const [i, { listen: range, to, check, checkUser }] of relays.entries()) {
    const path = `relays[${i}]`;
    const fail = (key: string, rule: string, remedy: string): void => {
      const name = `${path}.${key}`;
      const at = offsets.get(name) ?? offsets.get(path) ?? 0;
      if (!report.hasProblem(name)) report.fail(at, name, rule, remedy);
    };
    if (checkUser !== "" && check !== "phantom") {
      fail("check_user", "is of no use without check: phantom", "Remove one, or write the other.");
    } else if (checkUser !== "" && !users.some(({ name }) => name === checkUser)) {
      fail("check_user", "is none of users", "Write the name of one.");
    }
    if (range.first === 0) continue;
    if (to.length === 0) fail("to", "has no backend", 'Write such as - address: "192.0.2.7:443".');
    if (meets(range, listen.port, listen.port)) {
      fail("listen", `has port ${listen.port}, which is listen's`, "Write another port.");
    }
    if (meets(range, relay.ports.first, relay.ports.last)) {
      const rule = "has ports that are in relay.ports too";
      fail("listen", rule, "Write other ports, or another range there.");
    }
    const other = relays.slice(0, i).findIndex((one) => isSame(one.listen, range));
    if (other >= 0) fail("listen", `has ports of relays[${other}]`, "Write other ports.");
    const families = new Set(
      [range.host, ...to.map(({ address }) => address.host)]
        .filter((host) => host !== "").map((host) => host.includes(":")),
    );
    if (families.size > 1) {
      fail("to", "mixes IPv4 and IPv6", "Write one relay for each family.");
    }
  }
}

function meets({ first, last }: PortRange, from: number, to: number): boolean {
  return first <= to && from <= last;
}

function isSame(one: PortRange, other: PortRange): boolean {
  const isApart = one.host !== other.host && one.host !== "" && other.host !== "";
  return !isApart && one.host === other.host && meets(one, other.first, other.last);
}

// Where to listen: `:54321`, `192.0.2.1:54321`, `[2001:db8::1]:54321`, `localhost:54321`, `54321`;
// and where to connect: the same with a host, which may be a name.

import { isIpv4, isIpv6 } from "../base/ip.ts";
import type { Parsed } from "./schema.ts";

/** `host` is an IP literal, or empty for all addresses of the machine. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65535;
const PORT = /^[1-9]\d{0,4}$/;

/** What `localhost` is: one address, as whatever listens has one. */
export const LOOPBACK = "127.0.0.1";

const FORMS = 'Write ":54321", "192.0.2.1:54321" or "[2001:db8::1]:54321".';

export function parseAddress(text: string): Parsed<Address> {
  if (text.startsWith("[")) return parseBracketed(text);
  const colon = text.lastIndexOf(":");
  if (colon === -1) {
    if (/^\d+$/.test(text)) return withPort("", text);
    return { rule: "has no port", remedy: FORMS };
  }
  const host = text.slice(0, colon);
  if (isIpv6(text) || host.includes(":")) {
    return { rule: "an IPv6 address needs brackets", remedy: 'Write "[2001:db8::1]:54321".' };
  }
  const isLocal = host.toLowerCase() === "localhost";
  if (host !== "" && !isLocal && !isIpv4(host)) return hostFault();
  return withPort(isLocal ? LOOPBACK : host, text.slice(colon + 1));
}

/** A name (in its one form: lower case, no dot at the end) or an IP literal, and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const NAME_LENGTH_MAX = 253;
const LABEL = /^[a-z0-9_-]{1,63}$/;
const HOST_FORMS = 'Write "server.example.org:54321", "192.0.2.1:54321" or "[2001:db8::1]:54321".';

/** Reads a host, a colon and a port. */
export function parseHostPort(text: string): Parsed<HostPort> {
  const colon = text.lastIndexOf(":");
  const close = text.lastIndexOf("]");
  if (colon === -1 || colon < close) return { rule: "has no port", remedy: HOST_FORMS };
  const host = parseHost(text.slice(0, colon));
  if (host === undefined) {
    return { rule: "the host must be a name or an IP address", remedy: HOST_FORMS };
  }
  return withPort(host, text.slice(colon + 1), HOST_FORMS);
}

/** A host in its one form: of an IPv6 address without its brackets; undefined when it is none. */
export function parseHost(text: string): string | undefined {
  if (text.startsWith("[")) {
    const inside = text.slice(1, -1);
    return text.endsWith("]") && isIpv6(inside) ? inside.toLowerCase() : undefined;
  }
  if (isIpv4(text)) return text;
  const name = text.toLowerCase().replace(/\.$/, "");
  if (name === "" || name.length > NAME_LENGTH_MAX) return undefined;
  const labels = name.split(".");
  // A last label that is a number makes a (part of an) IPv4 address of it.
  const isNumber = /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "");
  return isNumber || !labels.every((label) => LABEL.test(label)) ? undefined : name;
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseBracketed(text: string): Parsed<Address> {
  const close = text.indexOf("]");
  if (close === -1 || text[close + 1] !== ":") return { rule: "has no port", remedy: FORMS };
  const host = text.slice(1, close);
  return isIpv6(host) ? withPort(host.toLowerCase(), text.slice(close + 2)) : hostFault();
}

function withPort(host: string, port: string, remedy = FORMS): Parsed<Address> {
  if (!PORT.test(port) || Number(port) > PORT_MAX) {
    return { rule: `the port must be between 1 and ${PORT_MAX}`, remedy };
  }
  return { value: Object.freeze({ host, port: Number(port) }) };
}

function hostFault(): Parsed<Address> {
  return {
    rule: "the host must be an IP address or localhost",
    remedy: 'Write an IP address, or no host, as in ":54321".',
  };
}

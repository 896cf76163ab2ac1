// Every setting of the client, once: name, kind, default, range and reason.

import type { Secret } from "../base/secret.ts";
import { filePath, oneOf, rate, secretText } from "./leaves.ts";
import { freeText, hostPort, localAddress, localAddresses } from "./list_leaves.ts";
import { type Infer, section, sections } from "./schema.ts";
import {
  ARQ,
  CIPHER,
  KEY_RANGE,
  LOG_FORMAT,
  LOG_LEVEL,
  LOW_LATENCY,
  PLACEHOLDER,
  USER_NAME_BYTES_MAX,
  userNameFault,
} from "./settings.ts";

const LISTENERS_MAX = 64;
const FORWARDS_MAX = 1024;
const INBOUND_USERS_MAX = 1024;
const RATE_MAX = 1e12;
/** RFC 1929: a length of one byte. */
const CREDENTIAL_BYTES_MAX = 255;

const INBOUND_USER = section("A user of the inbounds", {
  name: freeText({
    bytesMax: CREDENTIAL_BYTES_MAX,
    required: "alice",
    doc: "The name programs give; HTTP takes none with a colon.",
    check(text) {
      if (!text.includes(":")) return undefined;
      return { rule: "must not hold a colon", remedy: "Write a name that HTTP can carry." };
    },
  }),
  password: secretText({
    range: `1 to ${CREDENTIAL_BYTES_MAX} bytes`,
    placeholder: "",
    doc: "The password programs give.",
  }),
});

const FORWARD = section("A port forward", {
  listen: localAddress({
    example: "127.0.0.1:2222",
    doc: "Where it listens on this machine.",
  }),
  target: hostPort({
    example: "git.example.org:22",
    doc: "Where it leads to, as the server sees it.",
  }),
  network: oneOf(["tcp", "udp", "both"], {
    default: "tcp",
    alias: { any: "both", all: "both", "tcp,udp": "both", "tcp+udp": "both", "*": "both" },
    doc: "The kind of traffic.",
  }),
});

/** The schema of the client's file. */
export const CLIENT_SETTINGS = section("The client", {
  server: hostPort({
    example: "server.example.org:54321",
    doc: "Name or address of the server, and its port.",
  }),
  psk: secretText({
    range: KEY_RANGE,
    placeholder: PLACEHOLDER,
    doc: "The key that the server has as its psk.",
  }),
  psk_file: filePath({
    default: "",
    doc: "File that holds the key instead, for its own permissions; empty for none.",
  }),
  user: freeText({
    bytesMax: USER_NAME_BYTES_MAX,
    check: (text) => text === "" ? undefined : userNameFault(text),
    doc: "Who this is, where the server has users; else empty.",
  }),
  key: secretText({
    range: `${KEY_RANGE}, or empty`,
    placeholder: "",
    doc: "The user's own key.",
  }),
  key_file: filePath({
    default: "",
    doc: "File that holds the user's key instead; empty for none.",
  }),
  mixed: localAddresses({
    max: LISTENERS_MAX,
    doc: "SOCKS5 and HTTP proxy on one port; 127.0.0.1:1080 when nothing listens at all.",
  }),
  socks5: localAddresses({ max: LISTENERS_MAX, doc: "SOCKS5 proxies, with UDP." }),
  http: localAddresses({ max: LISTENERS_MAX, doc: "HTTP proxies, with CONNECT." }),
  inbound_users: sections({
    max: INBOUND_USERS_MAX,
    item: INBOUND_USER,
    doc: "Who may use the proxies; without any, whoever reaches them.",
  }),
  forwards: sections({
    max: FORWARDS_MAX,
    item: FORWARD,
    doc: "Ports of this machine that lead to one target each.",
  }),
  up: rate({
    default: 0,
    min: 0,
    max: RATE_MAX,
    doc: "What the line really sends, up to the server's hysteria2 rate; 0bps adapts instead.",
  }),
  down: rate({
    default: 0,
    min: 0,
    max: RATE_MAX,
    doc: "What the line really receives, up to the server's hysteria2 rate; 0bps adapts instead.",
  }),
  cipher: CIPHER,
  low_latency: LOW_LATENCY,
  log_level: LOG_LEVEL,
  log_format: LOG_FORMAT,
  arq: ARQ,
});

/** The settings as the file states them: the keys still texts. */
export type ClientSettings = Infer<typeof CLIENT_SETTINGS>;
export type ForwardConfig = ClientSettings["forwards"][number];

/** The configuration of a client: every field present, typed, readonly. */
export interface ClientConfig extends Omit<ClientSettings, "psk" | "key"> {
  readonly psk: Secret;
  /** The user's; only with `user`. */
  readonly key: Secret | undefined;
}

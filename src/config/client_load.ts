// The client's file, or a link → ClientConfig, or every problem at once. Pure like load.ts.

import type { Address } from "./address.ts";
import { CLIENT_SETTINGS, type ClientConfig, type ClientSettings } from "./client_settings.ts";
import { type ConfigSources, findPsk, KeyFinder, type Loaded, openText } from "./keys.ts";
import type { Link } from "./link.ts";
import { Report } from "./problem.ts";
import { KEY_MISSING } from "./psk.ts";
import { read, type Reading } from "./schema.ts";
import { parseTree } from "./tree.ts";

export type LoadedClient = Loaded<ClientConfig>;

const DEFAULT_MIXED: Address = Object.freeze({ host: "127.0.0.1", port: 1080 });
const PASSWORD_BYTES_MAX = 255;

/** Reads a client's configuration. Throws a ConfigError that lists every problem by position. */
export function loadClientConfig(text: string, sources: ConfigSources): LoadedClient {
  const { report, tree, variable } = openText(text, sources);
  const reading = read(CLIENT_SETTINGS, tree.root, report, tree.broken);
  const { settings, offsets } = reading;
  const finder = new KeyFinder(sources, report, offsets);
  const psk = findPsk(finder, variable, settings, tree.broken, PSK_OF_SERVER);
  const { user } = settings;
  const place = { path: "key", text: settings.key, file: settings.keyFile, remedy: KEY_OF_SERVER };
  const isKeyNeeded = user !== "" && !tree.broken;
  const key = finder.find(isKeyNeeded ? { ...place, missing: KEY_OF_USER } : place);
  if (user === "" && key !== undefined && !report.hasProblem("user")) {
    const at = offsets.get("key") ?? offsets.get("key_file") ?? 0;
    report.fail(at, "key", "is a key without a user", "Write the user's name as user.");
  }
  checkInboundUsers(reading, report);
  checkListeners(reading, report);
  if (report.failed || psk === undefined) {
    psk?.wipe();
    key?.wipe();
    throw report.error();
  }
  const config = Object.freeze({ ...withInbound(settings), psk, key });
  warnOfOpenInbounds(config, reading, report);
  return { config, warnings: report.warnings() };
}

/** What a link says, with the defaults for the rest; `mixed`: where to listen instead of there. */
export function clientOfLink(link: Link, mixed: readonly Address[] = []): ClientConfig {
  const report = new Report("link", "");
  const { root } = parseTree("", report)!;
  const { settings } = read(CLIENT_SETTINGS, root, report, true);
  return Object.freeze({
    ...withInbound({ ...settings, mixed }),
    server: Object.freeze({ host: link.host, port: link.port }),
    psk: link.psk,
    user: link.user,
    key: link.userKey,
    upBps: link.upBps,
    downBps: link.downBps,
  });
}

/** A key that the client makes up itself opens nothing. */
const PSK_OF_SERVER = {
  missing: {
    rule: KEY_MISSING.rule,
    remedy: "Write the server's psk as psk, name a file that holds it in psk_file, or set " +
      "PHANTOM_PSK. `phantom client --link` needs none of them.",
  },
  remedy: "Write the key that the server has as its psk.",
};

const KEY_OF_SERVER = "Write the key that the server has for the user.";

const KEY_OF_USER = {
  rule: KEY_MISSING.rule,
  remedy: "Write the user's key as key, or name a file that holds it in key_file.",
};

/** A client without any inbound would be of no use. */
function withInbound(settings: ClientSettings): ClientSettings {
  const { mixed, socks5, http, forwards } = settings;
  if (mixed.length + socks5.length + http.length + forwards.length > 0) return settings;
  return { ...settings, mixed: Object.freeze([DEFAULT_MIXED]) };
}

function checkInboundUsers(
  { settings, offsets }: Reading<typeof CLIENT_SETTINGS>,
  report: Report,
): void {
  const names = new Set<string>();
  for (const [i, { name, password }] of settings.inboundUsers.entries()) {
    const path = `inbound_users[${i}]`;
    const nameOffset = offsets.get(`${path}.name`) ?? offsets.get(path) ?? 0;
    const at = offsets.get(`${path}.password`) ?? nameOffset;
    const bytes = new TextEncoder().encode(password).length;
    if ((bytes < 1 || bytes > PASSWORD_BYTES_MAX) && !report.hasProblem(`${path}.password`)) {
      const rule = bytes < 1 ? "is missing" : `is longer than ${PASSWORD_BYTES_MAX} bytes`;
      const remedy = `Write a password of 1 to ${PASSWORD_BYTES_MAX} bytes.`;
      report.fail(at, `${path}.password`, rule, remedy);
    }
    if (names.has(name) && name !== "") {
      report.fail(nameOffset, `${path}.name`, "is there twice", "Write another name.");
    }
    names.add(name);
  }
}

/** Two listeners on one port: the second could not start. */
function checkListeners(
  { settings, offsets }: Reading<typeof CLIENT_SETTINGS>,
  report: Report,
): void {
  const taken = new Map<string, string>();
  const take = (network: string, { host, port }: Address, path: string): void => {
    if (port === 0) return;
    const key = `${network} ${host} ${port}`;
    const earlier = taken.get(key);
    if (earlier === undefined) taken.set(key, path);
    else {
      const at = offsets.get(path) ?? offsets.get(path.replace(/[[.].*$/, "")) ?? 0;
      report.fail(at, path, `listens where ${earlier} does`, "Write another port.");
    }
  };
  for (const name of ["mixed", "socks5", "http"] as const) {
    settings[name].forEach((address) => take("tcp", address, name));
  }
  for (const [i, { listen, network }] of settings.forwards.entries()) {
    for (const one of network === "both" ? ["tcp", "udp"] : [network]) {
      take(one, listen, `forwards[${i}].listen`);
    }
  }
}

function warnOfOpenInbounds(
  { mixed, socks5, http, inboundUsers }: ClientConfig,
  { offsets }: Reading<typeof CLIENT_SETTINGS>,
  report: Report,
): void {
  if (inboundUsers.length > 0) return;
  for (const [name, addresses] of Object.entries({ mixed, socks5, http })) {
    const open = addresses.findIndex(({ host }) => !isLoopback(host));
    if (open === -1) continue;
    const rule = "listens for other machines, and whoever reaches it may use it";
    const remedy = "Set inbound_users, or listen on 127.0.0.1.";
    const item = `${name}[${open}]`;
    const path = offsets.has(item) ? item : name;
    report.warn(offsets.get(path) ?? 0, path, rule, remedy);
  }
}

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1";
}

/** Where a client's configuration comes from: a file, a link, the environment. */

import {
  type Address,
  type ClientConfig,
  clientOfLink,
  isLoopback,
  loadClientConfig,
  type LoadedClient,
  parseLink,
  parseLocalAddress,
} from "../config/mod.ts";
import { type Given, type Option, UsageError } from "./args.ts";
import { warn } from "./complain.ts";
import {
  absolutePath,
  asKind,
  isFile,
  printWarnings,
  readNamed,
  sourcesOf,
} from "./config_file.ts";

/** A link on a command line can be seen by every user of the machine; here it can't. */
const LINK_VARIABLE = "PHANTOM_LINK";
const CANDIDATES = ["client.yaml", "/etc/phantom/client.yaml"];

export const CLIENT_OPTIONS: readonly Option[] = [
  {
    name: "config",
    short: "c",
    value: "FILE",
    help: `the client's file (default: ./${CANDIDATES[0]}, else ${CANDIDATES[1]})`,
  },
  {
    name: "link",
    value: "URI",
    help:
      `a phantom:// link instead; in ${LINK_VARIABLE} no other user of this machine sees its keys`,
  },
];

/** The file that is read, as whoever works in another folder finds it; null: none is. */
export function clientConfigPath(given: Given): string | null {
  const path = given.value("config");
  if (given.has("link") || (path === undefined && Deno.env.get(LINK_VARIABLE))) return null;
  const found = path ?? usualClientConfig();
  return found === undefined ? null : absolutePath(found);
}

/** Reads what the arguments name; warnings go to standard error. */
export function clientConfig(given: Given): ClientConfig {
  const file = given.value("config");
  const link = given.value("link");
  if (file !== undefined && link !== undefined) {
    throw new UsageError("--config and --link can't be given together");
  }
  const mixed = addressesOf(given.value("mixed"));
  const fromEnvironment = file === undefined ? Deno.env.get(LINK_VARIABLE) ?? "" : "";
  const text = link ?? fromEnvironment;
  const config = text !== ""
    ? ofLink(text, link === undefined ? LINK_VARIABLE : "--link", mixed)
    : ofFile(file, mixed);
  if (config.inboundUsers.length === 0 && mixed.some(({ host }) => !isLoopback(host))) {
    warn(
      "warning: --mixed: listens for other machines, and whoever reaches it may use it. " +
        "Set inbound_users in a file, or listen on 127.0.0.1.",
    );
  }
  return config;
}

function ofLink(text: string, source: string, mixed: readonly Address[]): ClientConfig {
  const parsed = parseLink(text);
  if ("value" in parsed) {
    const { unknown = [] } = parsed.value;
    if (unknown.length > 0) {
      const names = unknown.map((one) => one.slice(0, one.indexOf("="))).join(", ");
      warn(
        `warning: ${source}: this version does not know what the link says of ${names}`,
      );
    }
    return clientOfLink(parsed.value, mixed);
  }
  throw new UsageError(`${source}: the link ${parsed.rule}. ${parsed.remedy}`);
}

function ofFile(given: string | undefined, mixed: readonly Address[]): ClientConfig {
  const path = given ?? usualClientConfig();
  if (path === undefined) throw new UsageError("wants --config FILE or --link URI");
  const { config, warnings } = parseClientConfig(path, readClientText(path));
  printWarnings(warnings);
  return mixed.length === 0 ? config : Object.freeze({ ...config, mixed });
}

/** The client's file that is found without being named. */
export function usualClientConfig(): string | undefined {
  return CANDIDATES.find(isFile);
}

/** The client's configuration that a text is. */
export function parseClientConfig(path: string, text: string): LoadedClient {
  return asKind("client", path, text, () => loadClientConfig(text, sourcesOf(path)));
}

/** `ADDR[,ADDR...]` */
function addressesOf(text: string | undefined): Address[] {
  return text === undefined ? [] : text.split(",").map((one) => {
    const parsed = parseLocalAddress(one.trim());
    if ("value" in parsed) return parsed.value;
    throw new UsageError(`--mixed: ${parsed.rule}. ${parsed.remedy}`);
  });
}

/** The text of a client's file. */
export function readClientText(path: string): string {
  return readNamed(path, "`phantom config --client --example` prints one to fill in");
}

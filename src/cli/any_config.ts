/** A file for commands that take the server's as well as a client's. */

import { type FileKind, fileKind } from "../config/mod.ts";
import type { Given, Option } from "./args.ts";
import { readClientText, usualClientConfig } from "./client_config.ts";
import { configPath, readConfigText, usualConfig } from "./config_file.ts";

export const ANY_CONFIG_OPTIONS: readonly Option[] = [
  {
    name: "config",
    short: "c",
    value: "FILE",
    help: "the server's file or a client's (default: that which `run` or else `client` takes)",
  },
  { name: "client", help: "take it for a client's, whatever it looks like" },
];

export interface AnyConfig {
  readonly path: string;
  readonly text: string;
  readonly kind: FileKind;
}

/** What the arguments name, else what is found. */
export function anyConfig(given: Given): AnyConfig {
  if (given.has("client")) {
    const path = given.value("config") ?? usualClientConfig() ?? "client.yaml";
    return { path, text: readClientText(path), kind: "client" };
  }
  const path = given.value("config") ?? usualConfig() ?? usualClientConfig() ?? configPath(given);
  const text = readConfigText(path);
  return { path, text, kind: fileKind(text) ?? "server" };
}

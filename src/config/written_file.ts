// A configuration as the file that it would be read from, without its secrets.

import { CLIENT_SETTINGS, type ClientConfig } from "./client_settings.ts";
import { UNTOLD } from "./leaves.ts";
import { write, type Written, type WrittenSection } from "./schema.ts";
import { type Config, SETTINGS } from "./settings.ts";

/** Where the key came from, when it was not the file. */
export interface WrittenOptions {
  /** The environment has the key, so that the file needs none. */
  readonly isKeyOutside: boolean;
}

/** The server's file. */
export function writtenConfig(config: Config, { isKeyOutside }: WrittenOptions): WrittenSection {
  return write(SETTINGS, {
    ...config,
    psk: isKeyOutside ? "" : keyText(config.pskFile),
    users: config.users.map((user) => ({ ...user, key: keyText(user.keyFile) })),
    rules: config.rules.map(({ lists, ...rule }) => {
      return { ...rule, list: lists.map(({ name }) => name) };
    }),
    outbounds: config.outbounds.map((one) => ({ ...one, password: passwordText(one.password) })),
  });
}

/** A client's file. */
export function writtenClient(
  config: ClientConfig,
  { isKeyOutside }: WrittenOptions,
): WrittenSection {
  return write(CLIENT_SETTINGS, {
    ...config,
    psk: isKeyOutside ? "" : keyText(config.pskFile),
    key: config.key === undefined ? "" : keyText(config.keyFile),
    inboundUsers: config.inboundUsers.map((one) => {
      return { ...one, password: passwordText(one.password) };
    }),
  });
}

/** A key that has a file of its own is read from there again. */
function keyText(file: string): string {
  return file === "" ? UNTOLD : "";
}

function passwordText(password: string): string {
  return password === "" ? "" : UNTOLD;
}

/** The text of a file. */
export function yamlText(section: WrittenSection): string {
  return linesOf(section, "").join("\n") + "\n";
}

function linesOf(section: WrittenSection, indent: string): string[] {
  return Object.entries(section).flatMap(([name, value]) => {
    if (isSection(value)) return [`${indent}${name}:`, ...linesOf(value, `${indent}  `)];
    if (!Array.isArray(value) || !value.some(isSection)) {
      return [`${indent}${name}: ${flowText(value)}`];
    }
    const items = value.filter(isSection).flatMap((item) => {
      const lines = linesOf(item, `${indent}    `);
      // The first line's indent becomes the item's mark.
      return lines.map((line, i) => i === 0 ? `${indent}  - ${line.trimStart()}` : line);
    });
    return [`${indent}${name}:`, ...items];
  });
}

function isSection(value: Written): value is WrittenSection {
  return typeof value === "object" && !Array.isArray(value);
}

/** JSON is YAML. */
function flowText(value: Written): string {
  return Array.isArray(value) ? `[${value.map(flowText).join(", ")}]` : JSON.stringify(value);
}

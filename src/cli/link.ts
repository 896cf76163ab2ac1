/** `phantom link` */

import { parseRate } from "../base/units.ts";
import { type Config, isLinkName, parseHost, rateAdvice, type UserConfig } from "../config/mod.ts";
import { chooseInterface } from "../kernel/interfaces.ts";
import { type Command, type Given, UsageError } from "./args.ts";
import { warn } from "./complain.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { hostDoubt, reachableHost, shareLink } from "./share_link.ts";

const NAMES_SHOWN_MAX = 10;

export const command: Command = {
  name: "link",
  summary: "print the link for a client, and its QR code (they hold the key)",
  options: [
    CONFIG_OPTION,
    { name: "host", value: "HOST", help: "the name or address that clients reach this machine by" },
    { name: "name", value: "NAME", help: "what the client calls it (default: the instance)" },
    { name: "user", value: "NAME", help: "whose link, where the configuration has users" },
    { name: "up", value: "RATE", help: "what the client's line really sends, such as 20mbps" },
    { name: "down", value: "RATE", help: "what the client's line really receives" },
    { name: "json", help: "print JSON" },
    { name: "qr", help: "print the QR code also when this is no terminal" },
  ],
  async run(given) {
    const rates = { upBps: rateOf(given, "up"), downBps: rateOf(given, "down") };
    const chosen = hostOf(given);
    const name = nameOf(given);
    const path = configPath(given);
    const { config } = readConfig(path);
    const user = userOf(config, given.value("user"));
    const host = chosen ?? reachableHost(config, chooseInterface(config.ebpf.interface));
    const doubt = chosen === undefined ? hostDoubt(config, host, path) : undefined;
    if (user?.enabled === false) {
      warn(`warning: ${user.name} is not enabled: the server lets nobody in by this link`);
    }
    if (doubt !== undefined) warn(`warning: ${doubt.rule}. ${doubt.remedy}`);
    const link = shareLink(config, host, { user, name, ...rates });
    if (given.has("json")) {
      console.log(JSON.stringify({ link, user: user?.name ?? null }));
      return Exit.ok;
    }
    console.log(link);
    if (given.has("qr") || Deno.stdout.isTerminal()) await printQr(link);
    return Exit.ok;
  },
};

async function printQr(link: string): Promise<void> {
  // Only here: whoever prints no code need not wait for its library.
  const { renderQr } = await import("./qr.ts");
  const isTerminal = Deno.stdout.isTerminal();
  const picture = renderQr(link, isTerminal);
  if (picture === undefined) {
    console.error("The link is too long for a QR code.");
    return;
  }
  const { columns } = isTerminal ? Deno.consoleSize() : picture;
  // Some terminals don't say how wide they are.
  if (columns === 0 || columns >= picture.columns) console.log(`\n${picture.text}`);
  else {
    console.error(
      `The QR code is ${picture.columns} columns wide, and this terminal ${columns}: ` +
        "make it wider and print the link again.",
    );
  }
}

function nameOf(given: Given): string | undefined {
  const name = given.value("name");
  if (name === undefined || isLinkName(name)) return name;
  throw new UsageError("--name wants a text of one line, of at most 128 bytes");
}

function hostOf(given: Given): string | undefined {
  const text = given.value("host");
  if (text === undefined) return undefined;
  // An IPv6 address may be given without brackets, as there is no port.
  const host = parseHost(text) ?? parseHost(`[${text}]`);
  if (host === undefined) throw new UsageError("--host wants a name or an IP address");
  return host;
}

function rateOf(given: Given, name: string): number {
  const text = given.value(name);
  const bps = text === undefined ? 0 : parseRate(text);
  if (bps === undefined || (text !== undefined && (bps < 1 || bps > 1e12))) {
    const advice = rateAdvice(text!);
    const hint = advice === undefined ? "" : `. ${advice}`;
    throw new UsageError(`--${name} wants a rate such as 100mbps${hint}`);
  }
  return bps;
}

/** The named user, or the only one there is. */
function userOf({ users }: Config, name: string | undefined): UserConfig | undefined {
  if (name === undefined && users.length <= 1) return users[0];
  const user = users.find((one) => one.name === name);
  if (user !== undefined) return user;
  if (users.length === 0) throw new UsageError("--user: the configuration has no users");
  const names = users.slice(0, NAMES_SHOWN_MAX).map((one) => one.name);
  const more = users.length > names.length ? ", ..." : "";
  throw new UsageError(`--user wants one of: ${names.join(", ")}${more}`);
}

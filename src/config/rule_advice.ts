// What was probably meant by a condition or an outbound of a rule that is none. Much of it comes
// from the files of other programs.

import { formatIp, isIpv4, parseIp } from "../base/ip.ts";
import { nearest } from "../base/nearest.ts";

const REJECT_WORDS = /^(?:block(?:ed)?|deny|denied|drop|blackhole|refuse|adblock|ban|forbid)$/i;
const DIRECT_WORDS = /^(?:allow|accept|pass|freedom|permit|default|internet|out)$/i;
const DOMAIN = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i;
const KEYWORD = /^[a-z0-9_.-]{1,63}$/i;
const KINDS: ReadonlyMap<string, string> = new Map([
  ["full", "domain"],
  ["domain", "domain_suffix"],
  ["suffix", "domain_suffix"],
  ["keyword", "domain_keyword"],
  ["ip", "cidr"],
  ["cidr", "cidr"],
]);
const PORT_NAMES: ReadonlyMap<string, number> = new Map([
  ["http", 80],
  ["https", 443],
  ["ssh", 22],
  ["dns", 53],
  ["smtp", 25],
]);

/** `key` is as the file has it; undefined where nobody could know. */
export function ruleAdvice(
  key: string,
  text: string,
  outbounds: readonly string[],
): string | undefined {
  switch (key) {
    case "outbound":
    case "default_outbound":
      return outboundAdvice(text, outbounds);
    case "domain":
    case "domain_suffix":
    case "domain_keyword":
      return prefixAdvice(text) ?? nameAdvice(key, text);
    case "cidr":
      return prefixAdvice(text) ?? cidrAdvice(text);
    case "port":
      return portAdvice(text);
    default:
      return undefined;
  }
}

/** What was probably meant by a list that can't be read. */
export function listAdvice(path: string): string | undefined {
  if (path.startsWith("~")) return "Write the path of that home folder out.";
  if (/^[a-z]+:\/\//i.test(path)) return "Lists are files of this machine: download it first.";
  return prefixAdvice(path);
}

function outboundAdvice(text: string, outbounds: readonly string[]): string {
  if (REJECT_WORDS.test(text)) return 'Did you mean "reject"?';
  if (DIRECT_WORDS.test(text)) return 'Did you mean "direct"?';
  const near = nearest(text, ["direct", "reject", ...outbounds]);
  if (near !== undefined) return `Did you mean "${near}"?`;
  return "Write direct, reject, or the name of one of outbounds.";
}

/** `geosite:cn`, `full:example.org`: what other programs write in front. */
function prefixAdvice(text: string): string | undefined {
  const match = /^([a-z]+):(.+)$/.exec(text);
  if (match === null) return undefined;
  const [, word = "", rest = ""] = match;
  if (word === "geosite" || word === "geoip" || word === "ext") {
    return "Only files are lists: name one, with a name or CIDR a line, in list.";
  }
  if (word === "regexp" || word === "regex") {
    return "Patterns don't match here: use domain_suffix or domain_keyword.";
  }
  const key = KINDS.get(word);
  return key === undefined ? undefined : `Did you mean ${key}: "${rest}"?`;
}

function nameAdvice(key: string, text: string): string | undefined {
  const below = /^\*?\.(.+)$/.exec(text)?.[1];
  if (below !== undefined && DOMAIN.test(below)) {
    return `Did you mean domain_suffix: "${below}"? It matches the name and all below it.`;
  }
  const word = text.replace(/^\*+|\*+$/g, "");
  if (word !== text && KEYWORD.test(word)) {
    return `Did you mean domain_keyword: "${word}"? It matches anywhere in a name.`;
  }
  if (text.includes("*")) {
    return "A * stands only in front of a domain_suffix, as in *.example.org.";
  }
  if (parseIp(text.replace(/\/\d+$/, "")) !== undefined) return `Did you mean cidr: "${text}"?`;
  const host = /^(?:https?:\/\/)?([^/:\s]+)(?::(\d+))?(?:\/.*)?$/i.exec(text)?.[1] ?? text;
  if (host !== text && parseIp(host) !== undefined) return `Did you mean cidr: "${host}"?`;
  if (host !== text && DOMAIN.test(host)) return `Did you mean "${host}"? Ports go to port.`;
  const ascii = asciiName(text);
  return ascii === undefined || key === "domain_keyword" ? undefined : `Did you mean "${ascii}"?`;
}

/** An internationalized name as the network has it. */
function asciiName(text: string): string | undefined {
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text) || /[\s/?#@:]/.test(text)) return undefined;
  const url = URL.parse(`http://${text}`);
  return url !== null && DOMAIN.test(url.hostname) ? url.hostname : undefined;
}

function cidrAdvice(text: string): string | undefined {
  const [address = "", bits] = text.split("/");
  const ip = parseIp(address);
  if (ip === undefined) {
    const isRange = /^[\d.]+\s*-\s*[\d.]+$/.test(text);
    if (isRange) return "Write a range as CIDR, or as several.";
    const name = text.replace(/^\*?\./, "");
    const isName = DOMAIN.test(name) && /\.(?=.*[a-z])/i.test(name);
    return isName ? `Did you mean domain_suffix: "${name}"?` : undefined;
  }
  if (bits === undefined || !/^\d{1,3}$/.test(bits)) return undefined;
  const most = isIpv4(address) ? 32 : 128;
  if (Number(bits) > most) return `Write a prefix of 0 to ${most}.`;
  clearBelow(ip, Number(bits) + 128 - most);
  return `Did you mean "${formatIp(ip)}/${Number(bits)}"?`;
}

function clearBelow(ip: Uint8Array, bits: number): void {
  for (let i = 0; i < ip.length; i++) {
    const kept = Math.min(8, Math.max(0, bits - 8 * i));
    ip[i] = (ip[i] ?? 0) & (0xff00 >> kept);
  }
}

function portAdvice(text: string): string | undefined {
  if (/^(?:any|all|\*|0)$/i.test(text)) return "Remove the line: without it every port matches.";
  const port = PORT_NAMES.get(text.toLowerCase());
  if (port !== undefined) return `Did you mean "${port}"?`;
  if (/^\d+(?:\s*,\s*[\d-]+)+$/.test(text)) return `Did you mean [${text}], a list?`;
  const range = /^(\d{1,5})\s*(?:-|:|\.\.|–|to)\s*(\d{1,5})$/.exec(text);
  if (range === null) return undefined;
  const [first, last] = [Number(range[1]), Number(range[2])].sort((a, b) => a - b);
  return last! > 0xffff ? undefined : `Did you mean "${first}-${last}"?`;
}

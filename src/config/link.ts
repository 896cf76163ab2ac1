// The link that tells a client everything it needs:
//
//     phantom://<key>@<host>:<port>?[user=<name>&ukey=<key>&][up=<rate>&down=<rate>&]v=5#<name>
//
// The version is written last, so that a link which a shell has cut off at a "&" has none.
// What a later version adds is kept and told of, and refused only where its name begins with "!":
// so a link can gain carriers, and still say what nobody may leave out.
//
// Keys are 32 bytes as base64url without padding, names are percent-encoded UTF-8, rates are as in
// the configuration. No message repeats a link or a part of it: it holds the keys.

import { Secret } from "../base/secret.ts";
import { formatRate, parseRate } from "../base/units.ts";
import { formatAddress, parseHostPort } from "./address.ts";
import { keyProblem, parseKey } from "./psk.ts";
import type { Fault, Parsed } from "./schema.ts";
import { USER_NAME_BYTES_MAX, userNameFault } from "./settings.ts";

export interface Link {
  /** A name, or an IP literal without brackets. */
  readonly host: string;
  readonly port: number;
  readonly psk: Secret;
  /** Empty: the psk alone; then there is no userKey. */
  readonly user: string;
  readonly userKey: Secret | undefined;
  /** The client's line, bits a second; 0: not stated. */
  readonly upBps: number;
  readonly downBps: number;
  /** What people call it. */
  readonly name: string;
  /** `name=value` of parameters that this version does not know. */
  readonly unknown?: readonly string[];
}

const SCHEME = "phantom://";
/** Phones begin a line with a capital. */
const SCHEME_FORM = /^phantom:\/\//i;
const VERSION = 5;
const CRITICAL = "!";
const LENGTH_MAX = 2048;
const NAME_LENGTH_MAX = 128;
const RATE_MAX = 1e12;
// What a URI may hold at all: a blank or a quote is a slip of copying.
const ALLOWED = /^[A-Za-z0-9._~:/?#@!$&'()*+,;=%[\]-]*$/;
const BASE64_URL = /^[A-Za-z0-9_-]{43}$/;
const CONTROL = /\p{C}/u;
const PARAMETERS = ["v", "user", "ukey", "up", "down"];

const COPY = "Copy the whole link that `phantom link` prints on the server.";
const QUOTE = `${COPY} In a shell, put it in single quotes.`;

export function formatLink(link: Link): string {
  const { host, port, psk, user, userKey, upBps, downBps, name, unknown = [] } = link;
  const parameters: string[] = [];
  if (user !== "" && userKey !== undefined) {
    parameters.push(`user=${encodeURIComponent(user)}`, `ukey=${keyText(userKey)}`);
  }
  if (upBps > 0) parameters.push(`up=${formatRate(upBps)}`);
  if (downBps > 0) parameters.push(`down=${formatRate(downBps)}`);
  parameters.push(...unknown, `v=${VERSION}`);
  const fragment = name === "" ? "" : `#${encodeURIComponent(name)}`;
  const place = formatAddress({ host, port });
  return `${SCHEME}${keyText(psk)}@${place}?${parameters.join("&")}${fragment}`;
}

/** Whether a link can carry what people call it. */
export function isLinkName(text: string): boolean {
  return !CONTROL.test(text) && new TextEncoder().encode(text).length <= NAME_LENGTH_MAX;
}

/** Reads a link, or says what is wrong with it. */
export function parseLink(text: string): Parsed<Link> {
  const trimmed = text.trim();
  const form = formFault(trimmed);
  if (form !== undefined) return form;
  const [rest, fragment] = splitAt(trimmed.slice(SCHEME.length), "#");
  const [authority, query] = splitAt(rest, "?");
  const [keyPart, place] = splitAt(authority, "@");
  if (place === undefined) return { rule: "has no key", remedy: COPY };
  const address = parseHostPort(place.replace(/\/$/, ""));
  if (!("value" in address)) {
    return { rule: `has no usable server address (${address.rule})`, remedy: COPY };
  }
  const parameters = parseQuery(query ?? "");
  if (!(parameters instanceof Map)) return parameters;
  const name = decodeName(fragment ?? "", NAME_LENGTH_MAX);
  if (name === undefined) return { rule: "has a name that is no text", remedy: COPY };
  const optional = parseParameters(parameters);
  if ("rule" in optional) return optional;
  const psk = parseSecret(keyPart, "a key");
  if ("rule" in psk) {
    optional.userKey?.wipe();
    return psk;
  }
  const unknown = [...parameters].filter(([key]) => !PARAMETERS.includes(key))
    .map(([key, value]) => `${key}=${value}`);
  const more = unknown.length > 0 ? { unknown } : {};
  return { value: Object.freeze({ ...address.value, ...optional, psk: psk.value, name, ...more }) };
}

function formFault(text: string): Fault | undefined {
  if (text === "") return { rule: "is empty", remedy: COPY };
  if (/^["'`<(\[]/.test(text)) {
    return { rule: "begins with a quote or a bracket", remedy: "Leave out what stands around it." };
  }
  if (!SCHEME_FORM.test(text)) {
    const isOther = /^(?!phantom:)[a-z][a-z0-9+.-]*:\/\//i.test(text);
    const rule = isOther ? "is of another program" : "does not begin as a link";
    return { rule: `${rule}: it must start with ${SCHEME}`, remedy: COPY };
  }
  if (text.length > LENGTH_MAX) {
    return { rule: `is longer than ${LENGTH_MAX} characters`, remedy: COPY };
  }
  if (ALLOWED.test(text)) return undefined;
  const rule = /\s/.test(text)
    ? "is broken by a blank or a line end"
    : "holds a sign that none has";
  return { rule, remedy: COPY };
}

function parseQuery(query: string): Map<string, string> | Fault {
  const parameters = new Map<string, string>();
  for (const part of query === "" ? [] : query.split("&")) {
    const [name, value] = splitAt(part, "=");
    if (value === undefined) return { rule: "has a parameter without a value", remedy: QUOTE };
    if (parameters.has(name)) return { rule: "has a parameter twice", remedy: COPY };
    if (name.startsWith(CRITICAL)) {
      const rule = "says what this version does not know and may not leave out";
      return { rule, remedy: "Update this program." };
    }
    parameters.set(name, value);
  }
  return versionFault(parameters.get("v")) ?? parameters;
}

function versionFault(text: string | undefined): Fault | undefined {
  if (text === undefined) {
    return { rule: "breaks off: its end, with the version, is missing", remedy: QUOTE };
  }
  const version = /^[0-9]{1,4}$/.test(text) ? Number(text) : undefined;
  if (version === VERSION) return undefined;
  if (version === undefined) return { rule: "has a version that is no number", remedy: COPY };
  const rule = `is of version ${version} of the protocol, and this program speaks ${VERSION}`;
  const remedy = version > VERSION
    ? "Update this program."
    : "Update the server, and use the link that `phantom link` prints there then.";
  return { rule, remedy };
}

type Optional = Pick<Link, "user" | "userKey" | "upBps" | "downBps">;

function parseParameters(parameters: ReadonlyMap<string, string>): Optional | Fault {
  const upBps = parseLinkRate(parameters.get("up"));
  const downBps = parseLinkRate(parameters.get("down"));
  if (upBps === undefined || downBps === undefined) {
    return { rule: "has a rate that is none", remedy: 'Write rates as in "up=100mbps", or none.' };
  }
  const userText = parameters.get("user");
  const keyPart = parameters.get("ukey");
  if (userText === undefined && keyPart === undefined) {
    return { user: "", userKey: undefined, upBps, downBps };
  }
  if (userText === undefined || keyPart === undefined) {
    return { rule: "has a user without a key, or a key without a user", remedy: QUOTE };
  }
  const user = decodeName(userText, USER_NAME_BYTES_MAX);
  if (user === undefined || userNameFault(user) !== undefined) {
    return { rule: "has a user's name that is none", remedy: COPY };
  }
  const key = parseSecret(keyPart, "a user's key");
  return "rule" in key ? key : { user, userKey: key.value, upBps, downBps };
}

function parseLinkRate(text: string | undefined): number | undefined {
  if (text === undefined) return 0;
  const bps = parseRate(text);
  return bps !== undefined && bps >= 1 && bps <= RATE_MAX ? bps : undefined;
}

function parseSecret(text: string, what: string): { readonly value: Secret } | Fault {
  const bytes = BASE64_URL.test(text) ? parseKey(text) : undefined;
  if (bytes === undefined) {
    const isWeak = keyProblem(text)?.rule.includes("weak") ?? false;
    const fault = isWeak ? "is weak" : "is not 32 bytes as base64url";
    return { rule: `has ${what} that ${fault}`, remedy: COPY };
  }
  const value = new Secret(bytes);
  bytes.fill(0);
  return { value };
}

/** A percent-encoded text; undefined when it is not UTF-8, too long or not printable. */
function decodeName(text: string, bytesMax: number): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    const isLong = new TextEncoder().encode(decoded).length > bytesMax;
    return isLong || CONTROL.test(decoded) ? undefined : decoded;
  } catch {
    return undefined;
  }
}

function keyText(secret: Secret): string {
  const bytes = new Uint8Array(secret.expose());
  const text = bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  bytes.fill(0);
  return text;
}

function splitAt(text: string, mark: string): [string, string | undefined] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

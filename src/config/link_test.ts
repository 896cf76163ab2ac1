import assert from "node:assert/strict";
import { Secret } from "../base/secret.ts";
import { formatLink, isLinkName, type Link, parseLink } from "./link.ts";

/** Bytes whose base64 has both characters that URLs don't take. */
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i % 2 === 0 ? 0xfb : 0xff);
const USER_KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const KEY_TEXT = KEY.toBase64({ alphabet: "base64url", omitPadding: true });
const USER_TEXT = USER_KEY.toBase64({ alphabet: "base64url", omitPadding: true });

function linkOf(over: Partial<Link> = {}): Link {
  return {
    host: "server.example.org",
    port: 54_321,
    psk: new Secret(KEY),
    user: "",
    userKey: undefined,
    upBps: 0,
    downBps: 0,
    name: "",
    ...over,
  };
}

function plain(link: Link): unknown {
  const { psk, userKey, ...rest } = link;
  return { ...rest, psk: [...psk.expose()], userKey: userKey && [...userKey.expose()] };
}

function faultOf(text: string): string {
  const parsed = parseLink(text);
  assert.ok("rule" in parsed, text);
  const message = `${parsed.rule} ${parsed.remedy}`;
  assert.ok(!message.includes(KEY_TEXT) && !message.includes(USER_TEXT), message);
  return parsed.rule;
}

Deno.test("formatLink() writes what parseLink() reads", () => {
  const userKey = new Secret(USER_KEY);
  const cases: [Partial<Link>, string][] = [
    [{}, `phantom://${KEY_TEXT}@server.example.org:54321?v=5`],
    [
      { host: "2001:db8::1", name: "edge 2/é" },
      `phantom://${KEY_TEXT}@[2001:db8::1]:54321?v=5#edge%202%2F%C3%A9`,
    ],
    [
      { host: "192.0.2.1", user: "Bob @home+é", userKey, upBps: 2e7, downBps: 1.5e6 },
      `phantom://${KEY_TEXT}@192.0.2.1:54321?user=Bob%20%40home%2B%C3%A9&ukey=${USER_TEXT}` +
      "&up=20mbps&down=1500kbps&v=5",
    ],
  ];
  for (const [over, text] of cases) {
    const link = linkOf(over);
    assert.equal(formatLink(link), text);
    const parsed = parseLink(` ${text}\n`);
    assert.ok("value" in parsed, JSON.stringify(parsed));
    assert.deepEqual(plain(parsed.value), plain(link));
    assert.equal(new URL(text).protocol, "phantom:");
  }
});

Deno.test("parseLink() says what is wrong, and never shows a key", () => {
  const good = `phantom://${KEY_TEXT}@a:1?v=5`;
  const cases: [string, RegExp][] = [
    ["", /^is empty/],
    [" \n", /^is empty/],
    ["https://a", /^is of another program: it must start with phantom:\/\//],
    [good.replace("phantom", "vless"), /^is of another program: it must start with/],
    [good.replace("phantom", "hantom"), /^is of another program/],
    [good.replace("//", ""), /^does not begin as a link: it must start with/],
    [good.slice("phantom://".length), /^does not begin as a link/],
    [`"${good}"`, /^begins with a quote or a bracket/],
    [`<${good}>`, /^begins with a quote/],
    ["phantom://a:1?v=5", /^has no key/],
    [`phantom://${KEY_TEXT}x@a:1?v=5`, /^has a key that is not 32 bytes/],
    [`phantom://${KEY_TEXT.slice(1)}@a:1?v=5`, /^has a key that is not 32 bytes/],
    [`phantom://${KEY.toBase64()}@a:1?v=5`, /^has a key that is not 32 bytes/],
    [`phantom://${"A".repeat(43)}@a:1?v=5`, /^has a key that is weak/],
    [`phantom://${KEY_TEXT}@?v=5`, /^has no usable server address \(has no port\)/],
    [`phantom://${KEY_TEXT}@a?v=5`, /^has no usable server address \(has no port\)/],
    [`phantom://${KEY_TEXT}@a:99999?v=5`, /^has no usable server address \(the port must be/],
    [`phantom://${KEY_TEXT}@a/b:1?v=5`, /^has no usable server address \(the host/],
    [`phantom://${KEY_TEXT}@a:1`, /^breaks off: its end, with the version, is missing/],
    [`phantom://${KEY_TEXT}@a:1?v=4`, /^is of version 4 of the protocol, and this .* speaks 5/],
    [`phantom://${KEY_TEXT}@a:1?v=x`, /^has a version that is no number/],
    [`${good}&v=5`, /^has a parameter twice/],
    [`${good}&!mode=tcp`, /^says what this version does not know/],
    [`${good}&up`, /^has a parameter without/],
    [`${good}&up=fast`, /^has a rate/],
    [`${good}&down=0bps`, /^has a rate/],
    [`${good}&down=9999tbps`, /^has a rate/],
    [`${good}&user=a`, /^has a user without a key/],
    [`${good}&ukey=${USER_TEXT}`, /^has a user without a key/],
    [`${good}&user=%FF&ukey=${USER_TEXT}`, /^has a user's name that is none/],
    [`${good}&user=%0A&ukey=${USER_TEXT}`, /^has a user's name that is none/],
    [`${good}&user=a&ukey=b`, /^has a user's key that is not/],
    [`${good}#%`, /^has a name that is no text/],
    [`${good}#%1B%5B2J`, /^has a name that is no text/],
    [`${good}#a b`, /^is broken by a blank or a line end/],
    [good.replace("@", "\n@"), /^is broken by a blank/],
    [`${good}#é`, /^holds a sign/],
    [`${good}#${"a".repeat(3000)}`, /^is longer than/],
  ];
  for (const [text, rule] of cases) assert.match(faultOf(text), rule, text);
});

Deno.test("a link that a shell cut off at a & is refused, with the remedy", () => {
  const user = { user: "bob", userKey: new Secret(USER_KEY) };
  for (const link of [linkOf(user), linkOf({ ...user, upBps: 1e6, downBps: 1e6, name: "n" })]) {
    const parts = formatLink(link).split("&");
    for (let count = 1; count < parts.length; count++) {
      const parsed = parseLink(parts.slice(0, count).join("&"));
      assert.ok("rule" in parsed && /^breaks off/.test(parsed.rule), String(count));
      assert.match(parsed.remedy, /In a shell, put it in single quotes\.$/);
    }
  }
});

Deno.test("a link's scheme may be capital, as phones write it", () => {
  for (const scheme of ["Phantom", "PHANTOM"]) {
    const parsed = parseLink(formatLink(linkOf()).replace("phantom", scheme));
    assert.ok("value" in parsed && parsed.value.host === "server.example.org");
  }
});

Deno.test("isLinkName() takes what a link carries", () => {
  for (const name of ["", "Bob's phone / é", "x".repeat(128)]) {
    assert.ok(isLinkName(name));
    const parsed = parseLink(formatLink(linkOf({ name })));
    assert.ok("value" in parsed && parsed.value.name === name);
  }
  for (const name of ["a\nb", "x".repeat(129), "\u{1b}[2J", "é".repeat(65), "\ud800"]) {
    assert.ok(!isLinkName(name));
  }
});

Deno.test("a link of another version is answered with what to do", () => {
  const remedyOf = (version: number) => {
    const parsed = parseLink(`phantom://${KEY_TEXT}@a:1?v=${version}`);
    return "remedy" in parsed ? parsed.remedy : "";
  };
  assert.match(remedyOf(4), /^Update the server/);
  assert.match(remedyOf(6), /^Update this program/);
});

Deno.test("what a later version adds to a link is kept, and not taken for a fault", () => {
  const text = `phantom://${KEY_TEXT}@a:1?up=2mbps&carriers=tcp,ws&x=%20&v=5#n`;
  const parsed = parseLink(text);
  assert.ok("value" in parsed);
  assert.deepEqual(parsed.value.unknown, ["carriers=tcp,ws", "x=%20"]);
  assert.equal(formatLink(parsed.value), text);
});

Deno.test("parseLink() of random texts gives a fault or a link that is written alike", () => {
  const good = formatLink(
    linkOf({ user: "u", userKey: new Secret(USER_KEY), upBps: 1e6, name: "n" }),
  );
  let state = 12_345;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const alphabet = "phantom:/?#[]@&=%._-+ v4AZaz09é\0\n";
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = good;
    for (let edits = random(4); edits >= 0; edits--) {
      const at = random(text.length + 1);
      const piece = alphabet[random(alphabet.length)]!.repeat(random(3));
      text = text.slice(0, at) + piece + text.slice(at + random(3));
    }
    const parsed = parseLink(text);
    if (!("value" in parsed)) {
      assert.ok(parsed.rule.length > 0 && parsed.remedy.endsWith("."));
      continue;
    }
    taken++;
    const again = parseLink(formatLink(parsed.value));
    assert.ok("value" in again, text);
    assert.deepEqual(plain(again.value), plain(parsed.value));
  }
  assert.ok(taken > 100);
});

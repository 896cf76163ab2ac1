import assert from "node:assert/strict";
import { ipBytes, parseIp } from "../base/ip.ts";
import { OwnAddresses, ownBlock } from "./own_addresses.ts";
import type { Network, RuleSpec } from "./rule_form.ts";
import { PROBLEMS_MAX, RULES_MAX } from "./rule_form.ts";
import { CheckedTarget, compileRules, DIRECT, REJECT, type Rules, Verdict } from "./rules.ts";
import { Target } from "./target.ts";

const UPSTREAMS = [{ name: "local" }, { name: "far", resolvesNames: true }];
const LOCAL = 2;
const FAR = 3;

function compile(rules: readonly RuleSpec[], fallback = "direct"): Rules {
  const compiled = compileRules({ rules, outbounds: UPSTREAMS, fallback });
  assert.ok("rules" in compiled, JSON.stringify(compiled));
  return compiled.rules;
}

function ip(text: string): Uint8Array {
  const bytes = parseIp(text);
  assert.ok(bytes, text);
  return bytes;
}

interface Asked {
  readonly user?: string;
  readonly network?: Network;
}

function ask(rules: Rules, text: string, { user = "u", network = "tcp" }: Asked = {}) {
  const target = new Target();
  assert.ok(target.setText(text, 443), text);
  return rules.decideBeforeResolution(user, network, target);
}

/** The outbound or verdict for one address of a name. */
function decide(rules: Rules, text: string, address: string, asked: Asked = {}): number {
  const pending = ask(rules, text, asked);
  if (pending.step !== "resolve") return pending.outbound;
  return pending.check(ip(address), 0, new CheckedTarget());
}

function datagram(rules: Rules, address: string, port = 53, user = "u"): number {
  return rules.checkDatagram(user, ip(address), 0, port, new CheckedTarget());
}

Deno.test("the first rule that matches decides", () => {
  const rules = compile([
    { domain: ["a.example"], outbound: "local" },
    { domainSuffix: ["example"], outbound: "reject" },
    { cidr: ["1.1.1.0/24"], outbound: "far" },
    { domainKeyword: ["key"], cidr: ["2.2.2.2"], outbound: "local" },
  ]);
  assert.equal(decide(rules, "a.example", "8.8.8.8"), LOCAL);
  assert.equal(decide(rules, "A.Example.", "1.1.1.1"), LOCAL);
  assert.equal(ask(rules, "b.example").step, "reject");
  assert.equal(decide(rules, "x.y", "1.1.1.1"), FAR);
  assert.equal(decide(rules, "akeyb.y", "1.1.1.1"), FAR);
  assert.equal(decide(rules, "akeyb.y", "8.8.8.8"), LOCAL);
  assert.equal(decide(rules, "x.y", "2.2.2.2"), LOCAL);
  assert.equal(decide(rules, "x.y", "8.8.8.8"), DIRECT);
  assert.equal(decide(compile([], "reject"), "x.y", "8.8.8.8"), REJECT);
  assert.deepEqual(rules.outbounds.map(({ name }) => name), ["direct", "reject", "local", "far"]);
});

Deno.test("port, network and user are conditions beside the destination", () => {
  const rules = compile([
    { port: ["25", "8000-8009"], network: "tcp", outbound: "reject" },
    { user: ["alice"], domainSuffix: ["a.b"], outbound: "local" },
    { network: "udp", cidr: ["9.9.9.9"], outbound: "reject" },
  ]);
  assert.equal(ask(rules, "x.y:25").step, "reject");
  assert.equal(ask(rules, "x.y:8009").step, "reject");
  assert.equal(ask(rules, "x.y:8010").step, "resolve");
  assert.equal(ask(rules, "x.y:25", { network: "udp" }).step, "resolve");
  assert.equal(decide(rules, "a.b", "8.8.8.8", { user: "alice" }), LOCAL);
  assert.equal(decide(rules, "a.b", "8.8.8.8", { user: "bob" }), DIRECT);
  assert.equal(datagram(rules, "9.9.9.9"), Verdict.REJECTED);
  assert.equal(decide(rules, "9.9.9.9:443", "9.9.9.9"), DIRECT);
});

Deno.test("a name goes to an upstream unresolved only if the upstream resolves names", () => {
  const rules = compile([
    { domain: ["far.example"], outbound: "far" },
    { domain: ["local.example"], outbound: "local" },
  ]);
  assert.deepEqual([ask(rules, "far.example").step, ask(rules, "far.example").outbound], [
    "hand-over",
    FAR,
  ]);
  assert.equal(ask(rules, "local.example").step, "resolve");
  assert.equal(decide(rules, "local.example", "127.0.0.1"), Verdict.REFUSED_ADDRESS);
  // An earlier CIDR rule may still change it, so it has to be resolved.
  const earlier = compile([
    { cidr: ["6.6.6.6"], outbound: "reject" },
    { domain: ["far.example"], outbound: "far" },
    { domain: ["no.example"], outbound: "reject" },
  ]);
  assert.equal(decide(earlier, "far.example", "6.6.6.6"), Verdict.REJECTED);
  assert.equal(decide(earlier, "far.example", "8.8.8.8"), FAR);
  assert.equal(ask(earlier, "no.example").step, "resolve");
  assert.equal(decide(earlier, "no.example", "8.8.8.8"), Verdict.REJECTED);
});

Deno.test("addresses that are not public are refused, by whatever way they come", () => {
  const rules = compile([{ domainSuffix: ["internal"], outbound: "direct" }]);
  const refused = [
    ...["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::", "::1", "fe80::1", "fd00::1"],
    ...["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:a00:1::", "100.64.0.1", "255.255.255.255"],
  ];
  for (const address of refused) {
    assert.equal(datagram(rules, address), Verdict.REFUSED_ADDRESS, address);
    assert.equal(decide(rules, "x.y", address), Verdict.REFUSED_ADDRESS, address);
    // A rule for the name says nothing about where it leads.
    assert.equal(decide(rules, "db.internal", address), Verdict.REFUSED_ADDRESS, address);
  }
  assert.equal(datagram(rules, "8.8.8.8"), DIRECT);
});

Deno.test("a rule lifts the refusal only for what its own CIDR names", () => {
  const rules = compile([
    { user: ["carol"], outbound: "direct" },
    { cidr: ["10.0.0.0/8"], port: ["5432"], outbound: "direct" },
    { cidr: ["169.254.0.0/16", "192.168.1.1"], outbound: "direct" },
    { cidr: ["0.0.0.0/0", "::/0"], outbound: "local" },
  ]);
  assert.equal(datagram(rules, "10.1.2.3", 5432), DIRECT);
  assert.equal(datagram(rules, "10.1.2.3", 5433), Verdict.REFUSED_ADDRESS);
  assert.equal(datagram(rules, "10.1.2.3", 5432, "carol"), Verdict.REFUSED_ADDRESS);
  assert.equal(datagram(rules, "192.168.1.1"), DIRECT);
  assert.equal(datagram(rules, "192.168.1.2"), Verdict.REFUSED_ADDRESS);
  assert.equal(datagram(rules, "169.254.1.1"), DIRECT);
  assert.equal(datagram(rules, "169.254.169.254"), Verdict.REFUSED_ADDRESS);
  assert.equal(datagram(rules, "8.8.8.8"), LOCAL);
  assert.equal(datagram(rules, "64:ff9b::10.1.2.3", 5432), Verdict.REFUSED_ADDRESS);
  const metadata = compile([{ cidr: ["169.254.169.254"], outbound: "direct" }]);
  assert.equal(datagram(metadata, "169.254.169.254"), DIRECT);
});

Deno.test("an embedded IPv4 address can't get round a rule", () => {
  const rules = compile([{ cidr: ["8.8.8.0/24"], outbound: "reject" }]);
  for (const address of ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]) {
    assert.equal(datagram(rules, address), Verdict.REJECTED, address);
  }
  assert.equal(datagram(rules, "64:ff9b::9.9.9.9"), DIRECT);
});

Deno.test("what was checked is what is dialled, and can't be changed afterwards", () => {
  const rules = compile([]);
  const pending = ask(rules, "rebind.example:80");
  const addresses = [ip("127.0.0.1"), ip("8.8.8.8"), ip("2606:4700::1111"), ip("10.0.0.1")];
  const { allowed, rejected, refusedAddresses } = pending.decideAfterResolution(addresses);
  assert.deepEqual([allowed.length, rejected, refusedAddresses], [2, 0, 2]);
  // The resolver's buffer is used again, for something else.
  for (const address of addresses) address.set(ip("127.0.0.1"));
  const out = new Uint8Array(20);
  allowed[0]?.copyIp(out, 4);
  assert.deepEqual(out.subarray(4), ip("8.8.8.8"));
  assert.deepEqual(allowed.map(({ port, isIpv4, outbound }) => [port, isIpv4, outbound]), [
    [80, true, DIRECT],
    [80, false, DIRECT],
  ]);
});

Deno.test("a refusal empties the target it was to fill", () => {
  const rules = compile([{ cidr: ["9.9.9.9"], outbound: "reject" }]);
  const out = new CheckedTarget();
  assert.throws(() => out.copyIp(new Uint8Array(16), 0), TypeError);
  for (const address of ["127.0.0.1", "9.9.9.9"]) {
    assert.equal(rules.checkDatagram("u", ip("8.8.8.8"), 0, 53, out), DIRECT);
    assert.equal(out.port, 53);
    assert.ok(rules.checkDatagram("u", ip(address), 0, 53, out) < 0);
    assert.throws(() => out.copyIp(new Uint8Array(16), 0), TypeError);
  }
  assert.equal(rules.checkDatagram("u", ip("8.8.8.8"), 0, 0, out), Verdict.REJECTED);
});

Deno.test("a rule may lift a name's refusal when it names both", () => {
  const rules = compile([{ domain: ["db.lan"], cidr: ["10.0.0.5"], outbound: "direct" }]);
  assert.equal(decide(rules, "db.lan", "10.0.0.5"), DIRECT);
  assert.equal(decide(rules, "db.lan", "10.0.0.6"), Verdict.REFUSED_ADDRESS);
  assert.equal(decide(rules, "10.0.0.5", "10.0.0.5"), DIRECT);
});

Deno.test("an empty list matches nothing, an absent one everything", () => {
  const rules = compile([{ domain: [], outbound: "reject" }, { outbound: "local" }]);
  assert.equal(decide(rules, "x.y", "8.8.8.8"), LOCAL);
  const empty = { name: "empty", text: "# nothing\n" };
  assert.equal(decide(compile([{ lists: [empty], outbound: "reject" }]), "x.y", "8.8.8.8"), DIRECT);
});

Deno.test("all that is wrong is reported, with its place", () => {
  const compiled = compileRules({
    rules: [
      { domain: ["ok.example", "a b"], port: ["0"], outbound: "nowhere" },
      { lists: [{ name: "l", text: "a.b\n\n1.2.3.4/33\n" }], cidr: ["x"], outbound: "direct" },
    ],
    outbounds: [{ name: "direct" }],
    fallback: "gone",
  });
  assert.ok("problems" in compiled);
  assert.deepEqual(compiled.problems.map(({ rule, place }) => `${rule} ${place}`), [
    "-1 outbounds",
    "-1 fallback",
    "0 outbound",
    "0 domain[1]",
    "0 port[0]",
    "1 cidr[0]",
    "1 lists[0]:3",
  ]);
  const many = compileRules({
    rules: [{ domain: Array(PROBLEMS_MAX + 7).fill("a b"), outbound: "direct" }],
  });
  assert.ok("problems" in many && many.problems.length === PROBLEMS_MAX && many.omitted === 7);
});

Deno.test("rules are taken up to their greatest number", () => {
  const rules = (count: number) =>
    compileRules({ rules: Array(count).fill({ user: ["x"], outbound: "reject" }) });
  assert.ok("rules" in rules(RULES_MAX));
  assert.ok("problems" in rules(RULES_MAX + 1));
});

Deno.test("100,000 names and 100,000 blocks are compiled soon and looked up at once", () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `host-${i}.zone${i % 997}.example`);
  const blocks = Array.from(
    { length: 100_000 },
    (_, i) => `${11 + (i % 89)}.${(i >> 8) & 0xff}.${i & 0xff}.${(i * 8) & 0xf8}/29`,
  );
  const start = performance.now();
  const rules = compile([
    { lists: [{ name: "names", text: names.join("\n") }], outbound: "reject" },
    { lists: [{ name: "blocks", text: blocks.join("\n") }], outbound: "local" },
  ]);
  const compiled = performance.now();
  const out = new CheckedTarget();
  const address = ip("11.0.0.1");
  let hits = 0;
  const looks = 200_000;
  for (let i = 0; i < looks; i++) {
    address[12] = 11 + (i % 89);
    address[13] = (i >> 8) & 0xff;
    address[14] = i & 0xff;
    if (rules.checkDatagram("u", address, 0, 53, out) >= 0) hits += 1;
  }
  const looked = performance.now();
  assert.equal(hits, looks);
  for (let i = 0; i < 20_000; i++) assert.equal(ask(rules, `a.${names[i]}`).outbound, REJECT);
  const named = performance.now();
  const text = `compile ${Math.round(compiled - start)} ms, datagram ` +
    `${Math.round((looked - compiled) / looks * 1e6)} ns, name ` +
    `${Math.round((named - looked) / 20_000 * 1e6)} ns`;
  assert.ok(compiled - start < 10_000 && looked - compiled < 2000 && named - looked < 2000, text);
  if (Deno.env.get("PHANTOM_SHOW_TIMES") !== undefined) console.log(text);
});

Deno.test("addresses of this machine are refused, unless a rule names the very address", () => {
  const own = new OwnAddresses();
  own.set(["45.2.0.2", "2a00:2::2", "10.0.0.7"].map((ip) => ownBlock(ipBytes(ip), 128)));
  const verdicts = (rules: RuleSpec[], ips: string[]) => {
    const compiled = compileRules({ rules, own });
    assert.ok("rules" in compiled);
    const target = new CheckedTarget();
    return ips.map((ip) => compiled.rules.checkDatagram("", ipBytes(ip), 0, 53, target));
  };
  const refused = Verdict.REFUSED_ADDRESS;
  const forms = [
    "45.2.0.2",
    "2a00:2::2",
    // NAT64, 6to4, Teredo (its client is kept inverted), ISATAP.
    "64:ff9b::2d02:2",
    "2002:2d02:2::1",
    "2001:0:2d03:1::d2fd:fffd",
    "2a00:9::5efe:2d02:2",
  ];
  assert.deepEqual(verdicts([], forms), forms.map(() => refused));
  assert.deepEqual(verdicts([], ["45.2.0.3", "2a00:2::3", "64:ff9b::2d02:3"]), [0, 0, 0]);
  // A net that happens to hold it does not name it.
  const wide = [{ cidr: ["45.2.0.0/24", "2a00::/16", "0.0.0.0/0", "::/0"], outbound: "direct" }];
  assert.deepEqual(verdicts(wide, forms), forms.map(() => refused));
  const named = [{ cidr: ["45.2.0.2", "2a00:2::2"], outbound: "direct" }];
  assert.deepEqual(verdicts(named, forms.slice(0, 2)), [0, 0]);
  assert.equal(verdicts(named, ["64:ff9b::2d02:2"])[0], refused);
  // What is not public is lifted by its net, whoever has it.
  assert.deepEqual(verdicts([{ cidr: ["10.0.0.0/8"], outbound: "direct" }], ["10.0.0.7"]), [0]);
  assert.deepEqual(verdicts([], ["10.0.0.7"]), [refused]);
});

Deno.test("names that lead to this machine are refused, also when it gets an address later", () => {
  const own = new OwnAddresses();
  const compiled = compileRules({ rules: [], own });
  assert.ok("rules" in compiled);
  const target = new Target();
  assert.ok(target.setText("self.example:443"));
  const pending = compiled.rules.decideBeforeResolution("", "tcp", target);
  const addresses = [ipBytes("45.2.0.2"), ipBytes("45.2.0.3")];
  assert.equal(pending.decideAfterResolution(addresses).allowed.length, 2);
  own.set([ownBlock(ipBytes("45.2.0.2"), 128)]);
  const { allowed, refusedAddresses } = pending.decideAfterResolution(addresses);
  assert.deepEqual([allowed.length, refusedAddresses], [1, 1]);
});

/** Finding 11: a recorded HELLO from sources that nobody has keeps no honest one out. */

import assert from "node:assert/strict";
import { compiled } from "../fixtures/compiled.ts";
import { SERVER, Topology } from "../fixtures/topology.ts";
import type { Answered } from "./hellos.ts";
import { delay, either, Program, securityTest } from "./stage.ts";

const PPS = 100_000;
const MS = either(2500, 10_000);
const NOBODY_LISTENS = 9;

function flip(hello: string, at: number): string {
  const bytes = Uint8Array.fromHex(hello);
  bytes[at]! ^= 1;
  return bytes.toHex();
}

/** What makes many of one recorded HELLO. */
const FLOODS: Readonly<Record<string, (hello: string) => string>> = {
  "as it was": (hello) => hello,
  "with a bit of its ciphertext flipped": (hello) => flip(hello, 60),
};

for (const [name, change] of Object.entries(FLOODS)) {
  securityTest(`HELLO flood: one recorded HELLO, ${name}`, async () => {
    using topology = new Topology();
    const { client, router, server } = topology;
    for (const where of [client, router, server]) {
      where.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0");
    }
    const program = compiled("spoof");
    await using _server = await topology.startServer({ workers: 2, ebpf: topology.xdp });
    const psk = Uint8Array.fromBase64(topology.key).toHex();
    const inside = ["nsenter", `--net=/run/netns/${client.name}`];
    const args = [SERVER.v4, String(SERVER.port), psk];
    await using honest = new Program("hellos.ts", args, inside);
    await honest.say("capture");
    const hello = change(await honest.line());
    const count = async (port: number): Promise<Answered> => {
      const flood = client.command(
        program,
        [SERVER.v4, port, PPS, MS / 1000 + 1, hello].map(String),
      ).output();
      await delay(500);
      await honest.say(`count ${MS}`);
      const answered = JSON.parse(await honest.line(MS + 20_000));
      const { stdout } = await flood;
      const sent = Number(new TextDecoder().decode(stdout));
      console.log(`  ${sent} to port ${port}: ${JSON.stringify(answered)}`);
      return answered;
    };
    const elsewhere = await count(NOBODY_LISTENS);
    const here = await count(SERVER.port);
    assert.ok(elsewhere.answered >= elsewhere.said / 2, "the line itself is full: no test");
    const [a, b] = [here, elsewhere].map(({ said, answered }) => answered / said);
    assert.ok(a! >= 0.8 * b!, JSON.stringify({ here, elsewhere }));
  }, { needsRoot: true });
}

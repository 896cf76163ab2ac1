/**
 * What a flood of junk costs a session: `deno run -A tests/bench/flood_bench.ts [--json] [--pps N]
 * [--seconds N] [--mbps N] [ebpf] [sockets] [udp]`, as root, after `make build`. It comes from a
 * namespace of its own by a cable of its own, so that nobody but the server has to carry it.
 *
 * Making junk takes a third of one of two cores, which a session at full speed lacks whatever the
 * server does. So each round measures three times: in peace, beside junk that ends at an
 * XDP_DROP in a namespace of its own, and beside junk at the server.
 */

import type { BpfLink } from "../../ffi/bpf/link.ts";
import { attachXdp } from "../../ffi/bpf/xdp_link.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { bpfObject, freshPinPath, libraries } from "../fixtures/libraries.ts";
import { Namespace } from "../fixtures/netns.ts";
import { BenchNet, cpuSeconds, option, sleep, TUNNEL_PORT } from "./bench_net.ts";
import { type Figure, median, printFigures } from "./figures.ts";

const IPERF_PORT = 5201;
const TUNNEL = 17_000;
const ROUNDS = 2;
const PPS = option("pps", 1_000_000);
const SECONDS = option("seconds", 2);
const MBPS = option("mbps", 0);
const GENERATOR = new URL("junk_generator.ts", import.meta.url).pathname;
const JUNK_IP = "10.91.3.2";

/** Who meets junk first: XDP, the program on the server's sockets, or the server's own code. */
const KINDS = {
  ebpf: (pins: string) => ({
    ebpf: { enabled: true, interface: ["wan", "junk"], xdp_mode: "native", pin_path: pins },
  }),
  sockets: (pins: string) => ({ ebpf: { enabled: true, interface: ["none0"], pin_path: pins } }),
  udp: () => ({ ebpf: { enabled: false } }),
} as const;
type Kind = keyof typeof KINDS;

/** A namespace that floods the one behind its cable, `junk`. */
class Flooder implements Disposable {
  readonly #namespace = new Namespace();
  readonly #headers: string;

  constructor(victim: Namespace, address: string, to: string) {
    victim.veth("junk", "out", this.#namespace);
    victim.ip("addr", "add", `${address}/24`, "dev", "junk");
    // What is redirected into a veth needs a peer that polls.
    victim.run("ethtool", "-K", "junk", "gro", "on");
    // Where the address check would ask: the way back is this cable.
    victim.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.junk.rp_filter=0");
    this.#headers = junkHeaders(macOf(victim, "junk"), macOf(this.#namespace, "out"), to);
  }

  /** Floods for so long; how many a second came. */
  async flood(seconds: number): Promise<number> {
    const args = [GENERATOR, "out", this.#headers, String(PPS), String(seconds)];
    // A flood from outside does not wait for its turn.
    const program = ["-n", "-19", Deno.execPath(), "run", "-A", ...args];
    const { code, stdout, stderr } = await this.#namespace.command("nice", program).output();
    if (code === 0) return Number(new TextDecoder().decode(stdout));
    throw new Error(`the junk generator failed: ${new TextDecoder().decode(stderr)}`);
  }

  [Symbol.dispose](): void {
    this.#namespace[Symbol.dispose]();
  }
}

function macOf(where: Namespace, device: string): number[] {
  const text = where.ip("link", "show", device).match(/link\/ether (\S+)/)![1]!;
  return text.split(":").map((part) => parseInt(part, 16));
}

/** Ethernet, IPv4 and UDP of a frame with 32 bytes of payload, in hex. */
function junkHeaders(to: number[], from: number[], address: string): string {
  const bytes = new Uint8Array(42);
  const view = new DataView(bytes.buffer);
  bytes.set([...to, ...from, 0x08, 0x00], 0);
  bytes.set([0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 17], 14);
  bytes.set([...JUNK_IP.split("."), ...address.split(".")].map(Number), 26);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(24, ~sum & 0xffff);
  view.setUint16(34, 4711);
  view.setUint16(36, TUNNEL_PORT);
  view.setUint16(38, 40);
  return bytes.toHex();
}

/** Mbit/s of an iperf3 through the tunnel, and what `beside` gave meanwhile. */
async function rateBeside<T>(
  net: BenchNet,
  beside: () => Promise<T>,
): Promise<readonly [number, T]> {
  const args = ["-c", "127.0.0.1", "-p", String(TUNNEL), "-J", "-O", "1", "-b", `${MBPS}M`];
  const running = net.output(net.client, "iperf3", ...args, "-t", String(SECONDS));
  const result = await beside();
  const report = JSON.parse(await running) as {
    end: { sum_received: { bits_per_second: number } };
  };
  return [report.end.sum_received.bits_per_second / 1e6, result];
}

/** A namespace that takes junk and drops it as early as can be. */
class Void implements Disposable {
  readonly #namespace = new Namespace();
  readonly #object = new BpfObject(libraries(), "bench", bpfObject("bench")).load();
  readonly flooder = new Flooder(this.#namespace, "10.91.3.1", "10.91.3.1");
  readonly #link: BpfLink;

  constructor() {
    const { native } = libraries();
    this.#link = this.#namespace.enter(() =>
      attachXdp(
        libraries(),
        this.#object.program("drop"),
        native.symbols.ph_ifindex(cString("junk")),
        "native",
      )
    );
  }

  [Symbol.dispose](): void {
    this.#link.close();
    this.flooder[Symbol.dispose]();
    this.#object.close();
    this.#namespace[Symbol.dispose]();
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function measure(kind: Kind): Promise<Figure[]> {
  await using net = new BenchNet();
  using elsewhere = new Void();
  using flooder = new Flooder(net.server, "10.91.3.1", "10.91.3.1");
  const pins = freshPinPath();
  using _pins = { [Symbol.dispose]: () => removeIfThere(pins) };
  await net.start(net.server, "iperf3", ["-s", "-p", String(IPERF_PORT)]);
  await net.listens(net.server, IPERF_PORT);
  const server = await net.startServer(KINDS[kind](pins));
  await net.startClient([[TUNNEL, IPERF_PORT]]);
  const cpu = cpuSeconds(server.pid);
  const alone = await flooder.flood(SECONDS);
  const used = (cpuSeconds(server.pid) - cpu) / SECONDS;
  const rates: Record<"peace" | "elsewhere" | "here", number[]> = {
    ...{ peace: [], elsewhere: [], here: [] },
  };
  const came: Record<"elsewhere" | "here", number[]> = { elsewhere: [], here: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.peace.push((await rateBeside(net, () => sleep(1)))[0]);
    for (const [where, by] of [["elsewhere", elsewhere.flooder], ["here", flooder]] as const) {
      const [rate, pps] = await rateBeside(net, () => by.flood(SECONDS + 2));
      rates[where].push(rate);
      came[where].push(pps);
    }
  }
  const name = kind === "ebpf" ? "ebpf (XDP)" : kind;
  const part = (what: number[]) => 100 * median(rates.here) / median(what);
  return [
    { name: `${name}: junk alone`, value: alone / 1000, unit: "kpps" },
    { name: "... CPU of the server's process", value: 1e9 * used / alone, unit: "ns a packet" },
    { name: "... a session in peace", value: median(rates.peace), unit: "Mbit/s" },
    { name: "... beside junk elsewhere", value: median(rates.elsewhere), unit: "Mbit/s" },
    { name: "... ... of", value: median(came.elsewhere) / 1000, unit: "kpps" },
    { name: "... beside junk here", value: median(rates.here), unit: "Mbit/s" },
    { name: "... ... of", value: median(came.here) / 1000, unit: "kpps" },
    { name: "... of a session in peace", value: part(rates.peace), unit: "%", aim: "≥ 90" },
    {
      name: "... of a session beside junk elsewhere",
      value: part(rates.elsewhere),
      unit: "%",
      aim: "≥ 90",
    },
  ];
}

const wanted = (Object.keys(KINDS) as Kind[]).filter((kind) => Deno.args.includes(kind));
const figures: Figure[] = [];
for (const kind of wanted.length > 0 ? wanted : Object.keys(KINDS) as Kind[]) {
  figures.push(...await measure(kind));
}
printFigures(figures);

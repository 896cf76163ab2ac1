/**
 * What the relay's benchmark measures in: a sender's, a relay's and a receiver's namespace in a
 * row, and frames that the kernel makes (live frames).
 *
 *     sender ns: out ── in : relay ns : out ── in : receiver ns
 */

import type { BpfLink } from "../../ffi/bpf/link.ts";
import { attachXdp } from "../../ffi/bpf/xdp_link.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { type Bytes, ethernet, frame, ipv4, ipv6, payload, udp } from "../bpf/packets.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { Namespace, run } from "../fixtures/netns.ts";

export const LISTEN = 40_443;
export const BACKEND = 7000;
export const FRAME_BYTES = 64;
const BUCKET_NS = 256;
const PORT = 20_000;

/** Addresses of one family, in the order in which a frame meets them. */
export interface Addresses {
  readonly sender: string;
  readonly relayIn: string;
  readonly relayOut: string;
  readonly receiver: string;
}

export const V4: Addresses = {
  sender: "10.92.1.1",
  relayIn: "10.92.1.2",
  relayOut: "10.92.2.1",
  receiver: "10.92.2.2",
};

export const V6: Addresses = {
  sender: "fd92:1::1",
  relayIn: "fd92:1::2",
  relayOut: "fd92:2::1",
  receiver: "fd92:2::2",
};

export interface Delays {
  readonly p50: number;
  readonly p99: number;
  readonly count: number;
}

export class RelayNet implements Disposable {
  readonly sender = new Namespace();
  readonly relay = new Namespace();
  readonly receiver = new Namespace();
  readonly #links: BpfLink[] = [];
  readonly #objects: BpfObject[] = [];
  /** Kernel threads that take frames, by number. */
  readonly #threads: string[] = allThreads();

  constructor() {
    const { sender, relay, receiver } = this;
    sender.veth("out", "in", relay);
    relay.veth("out", "in", receiver);
    const ends = [
      [sender, "out", V4.sender, V6.sender],
      [relay, "in", V4.relayIn, V6.relayIn],
      [relay, "out", V4.relayOut, V6.relayOut],
      [receiver, "in", V4.receiver, V6.receiver],
    ] as const;
    for (const [where, device, v4, v6] of ends) {
      where.ip("addr", "add", `${v4}/24`, "dev", device);
      where.ip("-6", "addr", "add", `${v6}/64`, "dev", device, "nodad");
    }
    for (const [from, to] of [[0, 1], [1, 0], [2, 3], [3, 2]] as const) {
      const [where, device] = ends[from]!;
      const mac = macOf(ends[to]![0], ends[to]![1]);
      for (const ip of ends[to]!.slice(2) as string[]) {
        where.ip("neigh", "replace", ip, "lladdr", mac, "dev", device, "nud", "permanent");
      }
    }
    relay.run("sysctl", "-qw", "net.ipv4.conf.lo.forwarding=1");
    relay.run("sysctl", "-qw", "net.ipv6.conf.lo.forwarding=1");
  }

  index(where: Namespace, device: string): number {
    return where.enter(() => libraries().native.symbols.ph_ifindex(cString(device)));
  }

  /** Lets a thread on one core take what comes to an interface, instead of whoever sent it. */
  takeOnCore(where: Namespace, device: string, core: number): void {
    run("ip", "netns", "exec", where.name, "sh", "-c", `echo 1 >/sys/class/net/${device}/threaded`);
    const before = new Set(this.#threads);
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name) || before.has(name)) continue;
      if (!nameOf(name).startsWith(`napi/${device}-`)) continue;
      if (!this.#threads.includes(name)) this.#threads.push(name);
      run("taskset", "-p", "-c", String(core), name);
    }
  }

  /** An object, loaded, that is closed with this. */
  load(name: string, prepare: (object: BpfObject) => void = () => {}): BpfObject {
    const object = new BpfObject(libraries(), name, bpfObject(name));
    this.#objects.push(object);
    prepare(object);
    return object.load();
  }

  attach(object: BpfObject, program: string, where: Namespace, device: string): BpfLink {
    const link = where.enter(() => {
      const index = libraries().native.symbols.ph_ifindex(cString(device));
      return attachXdp(libraries(), object.program(program), index, "native");
    });
    this.#links.push(link);
    return link;
  }

  /** Counts at the receiver what comes to the backend's port. */
  receive(family: 4 | 6, stamped: boolean): Counting {
    const object = this.#receiving(family, stamped);
    return new Counting(object, this.attach(object, "receive", this.receiver, "in"));
  }

  /** A driver that transmits by counting and dropping: the program for the relay's way out. */
  standIn(family: 4 | 6): { readonly fd: number; readonly counting: Counting } {
    const object = this.#receiving(family, false);
    // Without this the interface would take no frames at all.
    this.receiver.run("ethtool", "-K", "in", "gro", "on");
    return { fd: object.program("transmit").fd, counting: new Counting(object) };
  }

  #receiving(family: 4 | 6, stamped: boolean): BpfObject {
    const udpAt = family === 4 ? 34 : 54;
    return this.load("relay_bench", (one) => {
      // The destination port and the length behind it.
      const bytes = new DataView(new ArrayBuffer(4));
      bytes.setUint16(0, BACKEND);
      bytes.setUint16(2, FRAME_BYTES - udpAt);
      one.setConstant("want_offset", udpAt + 2);
      one.setConstant("want", bytes.getUint32(0, true));
      one.setConstant("stamp_offset", stamped ? udpAt + 8 : 0);
    });
  }

  /** Sends frames to the relay, from `flows` ports; `into`: straight into that program. */
  generate(family: 4 | 6, options: GenerateOptions): Generator {
    const { flows, stamped = false, into, pace } = options;
    const object = this.load("relay_bench", (one) => {
      const out = into === undefined ? this.index(this.sender, "out") : 0;
      one.setConstant("out_ifindex", out);
      one.setConstant("frame_bytes", FRAME_BYTES);
      one.setConstant("port_offset", family === 4 ? 34 : 54);
      one.setConstant("flows", flows);
      one.setConstant("stamps", stamped ? 1 : 0);
      if (pace === undefined) return;
      one.setConstant("burst", pace.burst);
      one.setConstant("burst_gap_ns", Math.round(pace.burst * 1e3 / pace.mpps));
    });
    const template = new Uint8Array(128);
    template.set(this.frame(family));
    object.map("template").set(new Uint8Array(4), template);
    if (into !== undefined) {
      const fd = new Uint8Array(Uint32Array.of(into.program("xdp_phantom").fd).buffer);
      object.map("under_test").set(new Uint8Array(4), fd);
    }
    const where = into === undefined ? this.sender : this.relay;
    const context = new Uint8Array(24);
    const view = new DataView(context.buffer);
    view.setUint32(4, FRAME_BYTES, true);
    view.setUint32(12, this.index(where, into === undefined ? "out" : "in"), true);
    return new Generator(object, where, context);
  }

  /** A frame of 64 bytes to the relay, from the lowest port. */
  frame(family: 4 | 6): Bytes {
    const { sender, relayIn } = family === 4 ? V4 : V6;
    const addresses = { from: sender, to: relayIn };
    const ip = family === 4 ? ipv4(addresses) : ipv6(addresses);
    const room = FRAME_BYTES - (family === 4 ? 42 : 62);
    const macs = { from: macBytes(this.sender, "out"), to: macBytes(this.relay, "in") };
    // Its last bytes are where a time is written: they start as 0.
    return frame(ethernet(macs), ip, udp({ from: PORT, to: LISTEN }), new Uint8Array(room));
  }

  [Symbol.dispose](): void {
    for (const one of [...this.#links, ...this.#objects]) one.close();
    for (const one of [this.sender, this.relay, this.receiver]) one[Symbol.dispose]();
  }
}

export interface GenerateOptions {
  /** A power of two. */
  readonly flows: number;
  readonly stamped?: boolean;
  readonly into?: BpfObject;
  /** So many frames a time, so often; else as many as go. */
  readonly pace?: { readonly burst: number; readonly mpps: number };
}

/** Frames on their way, as many as asked for. */
export class Generator {
  readonly #object: BpfObject;
  readonly #where: Namespace;
  readonly #context: Uint8Array<ArrayBuffer>;

  constructor(object: BpfObject, where: Namespace, context: Uint8Array<ArrayBuffer>) {
    this.#object = object;
    this.#where = where;
    this.#context = context;
  }

  send(count: number, batch = 256): void {
    const data = new Uint8Array(FRAME_BYTES);
    this.#where.enter(() =>
      this.#object.program("generate").run({
        data,
        context: this.#context,
        live: true,
        repeat: count,
        batch,
      })
    );
  }
}

/** What arrives. */
export class Counting {
  readonly #object: BpfObject;
  readonly #link: BpfLink | undefined;

  constructor(object: BpfObject, link?: BpfLink) {
    this.#object = object;
    this.#link = link;
  }

  get arrived(): number {
    return this.#object.map("arrived").sums()[0]!;
  }

  get others(): number {
    return this.#object.map("arrived").sums()[1]!;
  }

  /** In microseconds; exact to a quarter of one. */
  delays(): Delays {
    const buckets = this.#object.map("delays").sums();
    const count = buckets.reduce((sum, one) => sum + one, 0);
    const at = (share: number): number => {
      let seen = 0;
      const index = buckets.findIndex((one) => (seen += one) >= share * count);
      return (index + 1) * BUCKET_NS / 1000;
    };
    return { p50: at(0.5), p99: at(0.99), count };
  }

  close(): void {
    this.#link?.close();
  }
}

function nameOf(pid: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`);
  } catch {
    return "";
  }
}

/** Those there are already, of others. */
function allThreads(): string[] {
  const all = [...Deno.readDirSync("/proc")].map(({ name }) => name);
  return all.filter((name) => /^\d+$/.test(name) && nameOf(name).startsWith("napi/"));
}

export function macOf(where: Namespace, device: string): string {
  const [link] = JSON.parse(where.ip("-j", "link", "show", "dev", device));
  return link.address;
}

function macBytes(where: Namespace, device: string): number[] {
  return macOf(where, device).split(":").map((one) => parseInt(one, 16));
}

export { ipBytes, payload };

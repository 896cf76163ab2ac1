/**
 * steer by real sockets, as SK_REUSEPORT programs have no test run: datagrams with any session id
 * must reach the worker that the lowest bits name, and all others the one that the kernel's hash
 * says. PHANTOM_FUZZ_CASES=80000 is five million datagrams, in about five minutes.
 */

import assert from "node:assert/strict";
import { endpoint, type Route, routeTo } from "../../ffi/endpoint.ts";
import { TunnelLimit } from "../../ffi/bpf/layout.gen.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { Steering } from "../../src/tunnel/kernel/steering.ts";
import { isData } from "../../src/wire/packet.ts";
import { masked, testKey, testKeys, WINDOW } from "../bpf/tunnel/keyed_packets.ts";
import { type Bytes, hex } from "../bpf/packets.ts";
import { showHeader } from "../bpf/tunnel/header_model.ts";
import { XdpHarness } from "../bpf/tunnel/xdp_harness.ts";
import { ownerIn } from "../bpf/tunnel/xdp_model.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { fuzz, type Rng } from "./rng.ts";

// Loaded before a test counts what it opens: a library stays.
const libs = libraries();

const isRoot = Deno.uid() === 0;
const CASES = 300;
const DATAGRAMS_A_CASE = 64;
/** The kernel's clock goes on: keys are given anew every so many cases. */
const CASES_A_ROUND = 100;
const SLOT_BYTES = 512;
const SENDERS = 12;
const WORKERS = 5;
/** Names 8 workers, of which there are 5. */
const OWNER_MASK = 7;
const WINDOWS = [WINDOW, WINDOW - 1, WINDOW + 1];

interface Sender {
  readonly socket: UdpSocket;
  readonly route: Route;
  /** Whom the kernel's hash chooses. */
  usual: number;
}

class SteerFuzz implements Disposable {
  readonly #harness = new XdpHarness([]);
  readonly #workers: UdpSocket[] = [];
  readonly #senders: Sender[];
  readonly #steering: Steering;
  readonly #inbox = new UdpInbox({ slots: DATAGRAMS_A_CASE, slotBytes: SLOT_BYTES });
  readonly #outbox = new UdpOutbox(new Uint8Array(DATAGRAMS_A_CASE * SLOT_BYTES));
  /** A worker that is not there any more. */
  readonly #gone: number;
  #cases = 0;
  steered = 0;
  datagrams = 0;

  constructor(gone = -1) {
    this.#gone = gone;
    let port = 0;
    for (let i = 0; i < WORKERS; i++) {
      const local = endpoint(ipBytes("::"), port);
      const socket = new UdpSocket(libs.native, { local, reusePort: true, gro: false });
      this.#workers.push(socket);
      port = socket.local.port;
    }
    this.#harness.configure({
      present: WINDOW & (TunnelLimit.maskKeys - 1),
      workers: WORKERS,
      ownerMask: OWNER_MASK,
    });
    this.#steering = Steering.start({
      libs,
      code: { name: "steer", bytes: bpfObject("steer"), origin: "embedded" },
      sockets: this.#workers.map(({ fd }) => fd),
      shared: (name) => this.#harness.map(name),
      steers: true,
      filters: false,
    });
    // It leaves the group and the map.
    if (gone >= 0) this.#workers[gone]!.close();
    this.#senders = Array.from({ length: SENDERS }, (_, i) => {
      const ip = ipBytes(i % 2 === 0 ? "::1" : "::ffff:127.0.0.1");
      const socket = new UdpSocket(libs.native, { local: endpoint(ip, 0), gso: false });
      return { socket, route: routeTo(endpoint(ip, port)), usual: -1 };
    });
    for (const sender of this.#senders) {
      this.#send(sender, [new Uint8Array(1)]);
      sender.usual = this.#workers.findIndex((_, i) => this.#received(i).length > 0);
      assert.ok(sender.usual >= 0, "a datagram without an owner is lost");
    }
  }

  one(rng: Rng): void {
    if (this.#cases++ % CASES_A_ROUND === 0) {
      this.#harness.setKeys(testKeys(...WINDOWS, WINDOW + 2), WINDOW);
    }
    const sender = rng.pick(this.#senders);
    const sent = Array.from({ length: DATAGRAMS_A_CASE }, () => randomDatagram(rng));
    const expected: string[][] = this.#workers.map(() => []);
    for (const bytes of sent) {
      const owner = this.#ownerOf(bytes);
      if (owner >= 0) this.steered++;
      expected[owner < 0 ? sender.usual : owner]!.push(hex(bytes));
    }
    this.#send(sender, sent);
    for (const [worker, own] of expected.entries()) {
      assert.deepEqual(this.#received(worker), own, `worker ${worker}`);
    }
    this.datagrams += sent.length;
  }

  /** The worker that a datagram's session id names; -1: none. */
  #ownerOf(bytes: Bytes): number {
    const shown = showHeader(bytes, WINDOWS.map(testKey));
    if (shown === undefined || !isData(shown.kind)) return -1;
    const owner = ownerIn(shown.session, OWNER_MASK);
    return owner < WORKERS && owner !== this.#gone ? owner : -1;
  }

  #send({ socket, route }: Sender, datagrams: readonly Bytes[]): void {
    this.#outbox.clear();
    for (const [i, bytes] of datagrams.entries()) {
      this.#outbox.arena.set(bytes, i * SLOT_BYTES);
      this.#outbox.add(route, i * SLOT_BYTES, bytes.length);
    }
    assert.equal(socket.send(this.#outbox), datagrams.length);
  }

  /** What has come to a worker, in its order: on loopback it is there when `send` returns. */
  #received(worker: number): string[] {
    if (worker === this.#gone) return [];
    const found: string[] = [];
    while (this.#workers[worker]!.receive(this.#inbox) > 0) {
      for (let i = 0; i < this.#inbox.count; i++) found.push(hex(this.#inbox.bytes(i)));
    }
    return found;
  }

  [Symbol.dispose](): void {
    for (const { socket } of this.#senders) socket.close();
    for (const [i, socket] of this.#workers.entries()) if (i !== this.#gone) socket.close();
    this.#steering.close();
    this.#harness[Symbol.dispose]();
  }
}

function randomDatagram(rng: Rng): Bytes {
  if (rng.chance(0.05)) return rng.bytes(rng.int(1, 200));
  const packet = masked({
    kind: rng.chance(0.6) ? rng.pick([3, 5]) : rng.int(0, 255) % rng.pick([6, 256]),
    session: rng.u32() * 0x1_0000 + rng.int(0, 0xffff),
    number: rng.int(0, 1 << 30),
    window: WINDOW + rng.pick([0, 0, 0, -1, 1, -2, 2]),
    bytes: rng.int(32, 200),
    from: rng.chance(0.03) ? 1 : 0,
  });
  if (rng.chance(0.8)) return packet;
  const changed = rng.mutate(packet, rng.int(1, 2));
  return changed.length > 0 ? changed : packet;
}

for (const gone of [-1, 3]) {
  const what = gone < 0 ? "its owner" : "its owner, or by the hash where that is gone";
  Deno.test({
    name: `each datagram reaches ${what}${isRoot ? "" : " (needs root)"}`,
    ignore: !isRoot,
    fn() {
      using steering = new SteerFuzz(gone);
      fuzz({ cases: CASES }, (rng) => steering.one(rng));
      assert.ok(steering.steered > steering.datagrams / 10, `${steering.steered} had an owner`);
    },
  });
}

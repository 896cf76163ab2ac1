/**
 * A thread of delivery_bench.ts: sends back every datagram, by the loop of a data-plane worker,
 * with the UDP socket alone or with AF_XDP beside it.
 */

import { endpoint, routeWords } from "../../ffi/endpoint.ts";
import { SysError } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { openNative } from "../../ffi/native.ts";
import { type DatagramInbox, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { xskBatchMax, XskPort } from "../../ffi/xsk.ts";
import { Loop, type Watcher } from "../../src/loop/loop.ts";
import { inNamespace } from "../fixtures/netns.ts";
import { nativePath } from "../native.ts";
import { pinThread } from "../fixtures/affinity.ts";

/** all: af_xdp, and GSO for nothing. */
export type Delivery = "socket" | "af_xdp" | "all";

export interface EchoStart {
  readonly delivery: Delivery;
  readonly namespace: string;
  readonly interfaceName: string;
  readonly port: number;
  readonly mapFd: number;
  readonly cpu: number;
  /** Words of EchoWord. */
  readonly shared: SharedArrayBuffer;
}

export const EchoWord = { stop: 0, ready: 1, count: 2 };

const BUFFER_BYTES = 8 << 20;
const WAIT_MS = 20;

declare const self: {
  onmessage: ((event: MessageEvent<EchoStart>) => void) | null;
  close(): void;
};

export class Echo {
  echoed = 0;
  readonly #words: Int32Array;
  readonly #loop: Loop;
  readonly #socket: UdpSocket;
  readonly #inbox = new UdpInbox();
  readonly #replies = new UdpOutbox(this.#inbox.arena);
  readonly #route = new Uint32Array(routeWords);
  readonly #xsk: XskPort | undefined;
  readonly #xskReplies: UdpOutbox | undefined;

  constructor(start: EchoStart) {
    const native = openNative(nativePath());
    this.#words = new Int32Array(start.shared);
    this.#loop = new Loop(native);
    const { delivery, interfaceName, port, mapFd } = start;
    this.#socket = new UdpSocket(native, {
      local: endpoint(new Uint8Array(16), port),
      dontFragment: true,
      receiveBufferBytes: BUFFER_BYTES,
      sendBufferBytes: BUFFER_BYTES,
    });
    this.#watch(this.#socket.fd, () => this.#echoSocket());
    if (delivery === "socket") return;
    const options = { interfaceName, queues: [0], port };
    this.#xsk = openPort(() => new XskPort(native, { ...options, longRuns: delivery === "all" }));
    this.#xsk.enter(0, mapFd, 0);
    this.#xskReplies = new UdpOutbox(this.#xsk.inbox.arena);
    this.#watch(this.#xsk.fd(0), () => this.#echoXsk(this.#xsk!, this.#xskReplies!));
  }

  #watch(fd: number, ready: () => void): void {
    const watcher: Watcher = { ready };
    this.#loop.watch(fd, EpollEvent.in, watcher);
  }

  run(): void {
    Atomics.store(this.#words, EchoWord.ready, 1);
    while (Atomics.load(this.#words, EchoWord.stop) === 0) this.#loop.round(WAIT_MS);
    this.close();
    Atomics.store(this.#words, EchoWord.ready, 0);
  }

  close(): void {
    this.#xsk?.close();
    this.#socket.close();
    this.#loop.close();
  }

  /** Echoes what is there, without waiting; how many. */
  poll(): number {
    const before = this.echoed;
    this.#echoSocket();
    if (this.#xsk !== undefined) this.#echoXsk(this.#xsk, this.#xskReplies!);
    return this.echoed - before;
  }

  #echoSocket(): void {
    const count = this.#socket.receive(this.#inbox);
    this.#reply(this.#inbox, this.#replies, count, true);
  }

  #echoXsk(xsk: XskPort, replies: UdpOutbox): void {
    for (let i = 0; i < 4; i++) {
      const count = xsk.receive(0);
      if (count === 0) return;
      for (let k = 0, message = -1; k < count; k++) {
        if (xsk.inbox.message(k) === message || xsk.inbox.length(k) === 0) continue;
        message = xsk.inbox.message(k);
        xsk.learn(message);
      }
      this.#reply(xsk.inbox, replies, count, false);
      if (count < xskBatchMax) return;
    }
  }

  /** Sends back what there is: by GSO, what lies in a row. */
  #reply(inbox: DatagramInbox, replies: UdpOutbox, count: number, joins: boolean): void {
    replies.clear();
    for (let i = 0; i < count;) {
      const [message, offset, segment] = [inbox.message(i), inbox.offset(i), inbox.length(i)];
      if (replies.isFull) this.#flush(replies);
      inbox.copyRoute(i, this.#route);
      let length = segment;
      for (i++; joins && i < count && inbox.message(i) === message; i++) length += inbox.length(i);
      replies.add(this.#route, offset, length, segment);
    }
    this.#flush(replies);
    this.echoed += count;
  }

  #flush(replies: UdpOutbox): void {
    this.#xsk?.send(replies);
    if (replies.count > 0) this.#socket.send(replies);
    replies.clear();
  }
}

/** Waits for the kernel to let go of the queue of an earlier one. */
function openPort(open: () => XskPort): XskPort {
  for (let attempt = 0;; attempt++) {
    try {
      return open();
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== "EBUSY" || attempt > 100) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

self.onmessage = ({ data }) => {
  pinThread(data.cpu);
  inNamespace(data.namespace, () => new Echo(data).run());
  self.close();
};

/**
 * AF_XDP for a worker's packets: opens it, hands the UDP carrier what comes, watches that it
 * lives, and opens it again when it can. While there is none the UDP socket delivers everything,
 * for the XDP program passes what no AF_XDP socket is there for.
 */

import { SysError } from "../../ffi/errors.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { xskBatchMax, type XskCounts, XskPort } from "../../ffi/xsk.ts";
import type { Log } from "../base/log.ts";
import { type Loop, NOT_ARMED, type Timer, type Watcher } from "../loop/loop.ts";
import type { UdpCarrier } from "./udp.ts";
import type { XskSpec } from "./xsk_spec.ts";

/** As for the socket: a flood must not hold off timers and sending. */
const RECEIVES_A_ROUND = 4;
const CHECK_MS = 1000;
/** The kernel lets go of queues a moment after their sockets were closed. */
const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 10_000;
/** So often in silence: who had the queues before us may be about to go. */
const QUIET_RETRIES = 4;

export class XskDelivery implements Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  readonly #loop: Loop;
  readonly #udp: UdpCarrier;
  readonly #log: Log;
  #spec: XskSpec | undefined;
  #port: XskPort | undefined;
  #watched: { readonly fd: number; readonly tag: number }[] = [];
  #retries = 0;
  #told = "";
  // Of ports that were closed.
  #received = 0;
  #sent = 0;

  constructor(loop: Loop, udp: UdpCarrier, log: Log) {
    this.#loop = loop;
    this.#udp = udp;
    this.#log = log;
  }

  get isOpen(): boolean {
    return this.#port !== undefined;
  }

  /** Datagrams that came, since the beginning. */
  get received(): number {
    return this.#received + (this.#port?.counts().received ?? 0);
  }

  /** Datagrams that went. */
  get sent(): number {
    return this.#sent + (this.#port?.counts().sent ?? 0);
  }

  /** Of the port that is open. */
  counts(): XskCounts | undefined {
    return this.#port?.counts();
  }

  /** Delivers by AF_XDP from now on; without a spec by the socket alone. */
  set(spec: XskSpec | undefined): void {
    this.close();
    this.#spec = spec;
    this.#retries = 0;
    if (spec !== undefined) this.fire(this.#loop.now);
  }

  close(): void {
    this.#loop.disarm(this);
    this.#spec = undefined;
    this.#closePort();
  }

  /** Opens what is not open; looks after what is. */
  fire(now: number): void {
    const spec = this.#spec;
    if (spec === undefined) return;
    if (this.#port === undefined) return this.#open(spec, now);
    const result = this.#port.check();
    if (result === 0) return this.#loop.arm(this, now + CHECK_MS);
    this.#closePort();
    this.#retries = 0;
    const error = new SysError(`AF_XDP on ${spec.interfaceName}`, -result);
    this.#log.warn("af_xdp_lost", "AF_XDP is lost: sockets deliver until it is back", {
      interface: spec.interfaceName,
      cause: error.message,
    });
    this.#loop.arm(this, now + RETRY_FIRST_MS);
  }

  #open(spec: XskSpec, now: number): void {
    let port: XskPort | undefined;
    try {
      port = new XskPort(this.#loop.native, { ...spec, port: this.#udp.local.port });
      spec.queues.forEach((queue, index) => port!.enter(index, spec.mapFd, queue));
      spec.queues.forEach((_, index) => this.#watch(port!, index));
    } catch (error) {
      if (port !== undefined) this.#unwatch(port);
      return this.#failed(spec, error, now);
    }
    this.#port = port;
    this.#udp.setPort(port);
    this.#told = "";
    this.#log.info("af_xdp_open", "AF_XDP delivers packets", {
      interface: spec.interfaceName,
      queues: spec.queues.join(","),
      zeroCopy: port.isZeroCopy,
    });
    this.#loop.arm(this, now + CHECK_MS);
  }

  #failed(spec: XskSpec, error: unknown, now: number): void {
    if (!(error instanceof SysError)) throw error;
    const delay = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this.#retries);
    this.#retries++;
    const mayPass = error.code === "EBUSY" && this.#retries <= QUIET_RETRIES;
    if (!mayPass && error.message !== this.#told) {
      this.#told = error.message;
      this.#log.warn("af_xdp_failed", "AF_XDP can't be opened: sockets deliver meanwhile", {
        interface: spec.interfaceName,
        cause: error.message,
      });
    }
    this.#loop.arm(this, now + delay);
  }

  #watch(port: XskPort, index: number): void {
    const watcher: Watcher = { ready: () => this.#receive(index) };
    const fd = port.fd(index);
    this.#watched.push({ fd, tag: this.#loop.watch(fd, EpollEvent.in, watcher) });
  }

  #receive(index: number): void {
    for (let i = 0; i < RECEIVES_A_ROUND; i++) {
      const port = this.#port;
      if (port === undefined || !this.#udp.isOpen) return;
      const count = port.receive(index);
      if (count > 0) this.#udp.takePort(count);
      if (count < xskBatchMax) return;
    }
  }

  #closePort(): void {
    const port = this.#port;
    if (port === undefined) return;
    this.#port = undefined;
    this.#udp.setPort(undefined);
    const { received, sent } = port.counts();
    this.#received += received;
    this.#sent += sent;
    this.#unwatch(port);
  }

  #unwatch(port: XskPort): void {
    for (const { fd, tag } of this.#watched) this.#loop.unwatch(tag, fd);
    this.#watched = [];
    port.close();
  }
}

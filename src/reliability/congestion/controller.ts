// What loss recovery asks of a congestion controller, and what it tells it.

import { WINDOW_PACKETS_MAX } from "../params.ts";

/** What one ACK, or one timer, did to one path. Filled anew each time (see Path). */
export class AckSample {
  ackedBytes = 0;
  ackedPackets = 0;
  lostBytes = 0;
  lostPackets = 0;
  /** When the latest of the lost packets was sent. */
  lostSentTime = -Infinity;
  /** When the latest of the acknowledged packets was sent. */
  ackedSentTime = -Infinity;
  /** Round trip of this ACK in ms, or -1. */
  rtt = -1;
  smoothedRtt = 0;
  /** Bytes in flight before, and after. */
  priorInFlight = 0;
  inFlight = 0;
  /** Bytes delivered on the path in all, and when the newest acknowledged packet was sent. */
  delivered = 0;
  priorDelivered = -1;
  /** Delivery rate in bytes a second, 0 when this ACK tells none. */
  rate = 0;
  /** The rate was bounded by what there was to send, so it is a lower bound of the path's. */
  appLimited = false;

  reset(inFlight: number): void {
    this.ackedBytes = 0;
    this.ackedPackets = 0;
    this.lostBytes = 0;
    this.lostPackets = 0;
    this.lostSentTime = -Infinity;
    this.ackedSentTime = -Infinity;
    this.rtt = -1;
    this.priorInFlight = inFlight;
    this.inFlight = inFlight;
    this.priorDelivered = -1;
    this.rate = 0;
    this.appLimited = false;
  }
}

/** Sizes are bytes on the wire, times ms, rates bytes a second. Path MTU probes do not count. */
export interface CongestionController {
  readonly name: "brutal" | "bbr" | "cubic" | "carrier";
  /** Before a packet is counted; `inFlight` is without it. */
  onSent(now: number, bytes: number, inFlight: number): void;
  /** An event with at least one loss; called before onAck of the same event. */
  onLost(now: number, sample: AckSample): void;
  /** An event with at least one acknowledged packet. */
  onAck(now: number, sample: AckSample): void;
  /** A packet that was declared lost arrived after all. */
  onSpuriousLoss(now: number, sentTime: number, bytes: number): void;
  onPersistentCongestion(now: number): void;
  /** The size of full packets on this path changed. */
  setPacketBytes(bytes: number): void;
  /** Bytes that may be in flight. This and the rate are asked for with every packet. */
  window(): number;
  pacingRate(): number;
}

/** Floor and cap of a window, in packets of the path's size. */
export class WindowBounds {
  packetBytes: number;
  readonly #floorPackets: number;

  constructor(floorPackets: number, packetBytes: number) {
    this.#floorPackets = floorPackets;
    this.packetBytes = packetBytes;
  }

  get floor(): number {
    return this.#floorPackets * this.packetBytes;
  }

  clamp(bytes: number): number {
    return this.cap(Math.max(bytes, this.floor));
  }

  /** In whole bytes: a fraction that a call returns is an object. */
  cap(bytes: number): number {
    return Math.min(Math.ceil(bytes), WINDOW_PACKETS_MAX * this.packetBytes) | 0;
  }
}

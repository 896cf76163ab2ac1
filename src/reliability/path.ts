// What recovery knows of one path: its clock, its window, its packets in flight.

import { AckSample, type CongestionController } from "./congestion/controller.ts";
import { Pacer } from "./pacer.ts";
import {
  PACKET_THRESHOLD,
  PACKET_THRESHOLD_MAX,
  PATHS_MAX,
  PERSISTENT_CONGESTION_PTOS,
  PTO_BACKOFF_MS_MAX,
  PTO_COUNT_SMALL_PACKETS,
} from "./params.ts";
import { PathMtu } from "./pmtu.ts";
import { RttEstimator } from "./rtt.ts";
import { Flag, NONE, type SentPackets } from "./sent.ts";

/**
 * Of the ACK or timer that is being dealt with, by path index: whatever session it is of, no other
 * one's is needed at the same time.
 */
const samples: readonly AckSample[] = Array.from({ length: PATHS_MAX }, () => new AckSample());

/** Of the packet that is being noted: see SentPackets.describe. */
const delivery = new Float64Array(3);

/** Counters of a path, for metrics and for the switcher. */
export class PathCounters {
  sentPackets = 0;
  sentBytes = 0;
  ackedPackets = 0;
  ackedBytes = 0;
  lostPackets = 0;
  lostBytes = 0;
  spuriousLosses = 0;
  timeouts = 0;
  persistentCongestions = 0;
}

/** Recovery's state of one path. A session reads it, asks canSend() and leaves the rest alone. */
export class Path {
  readonly index: number;
  readonly controller: CongestionController;
  readonly pmtu: PathMtu;
  readonly rtt: RttEstimator = new RttEstimator();
  readonly counters: PathCounters = new PathCounters();
  /** Valid while an ACK or a timer is dealt with. */
  readonly sample: AckSample;
  /** Bytes and packets in flight. */
  inFlight = 0;
  packetsInFlight = 0;
  /** Probe packets to send now whatever the window says. */
  probes = 0;
  /** Probe timeouts in a row. */
  ptoCount = 0;
  /** Too many of them: nothing is timed or probed here any more. */
  dead = false;
  lossTime = Infinity;
  largestAcked = -1;
  /** Oldest and newest packet in flight, by number. */
  oldest = NONE;
  newest = NONE;
  readonly #pacer = new Pacer();
  #nextSequence = 0;
  #timerStart = 0;
  #packetThreshold = PACKET_THRESHOLD;
  #lossRunStart = 0;
  #lossRunLast = -2;
  #delivered = 0;
  #deliveredTime = 0;
  #firstSent = 0;
  /** Delivered bytes up to which samples are app-limited; 0: they are not. */
  #appLimitedUntil = 0;

  constructor(index: number, controller: CongestionController, pmtu: PathMtu) {
    this.index = index;
    this.controller = controller;
    this.pmtu = pmtu;
    this.sample = samples[index]!;
    controller.setPacketBytes(pmtu.size);
  }

  /** Bytes on the wire a packet may have now. */
  get packetBytes(): number {
    return this.ptoCount >= PTO_COUNT_SMALL_PACKETS ? this.pmtu.base : this.pmtu.size;
  }

  /** Whether the window has room, without regard to pacing. */
  get windowOpen(): boolean {
    return this.probes > 0 || this.inFlight === 0 || this.inFlight < this.controller.window();
  }

  /** Whether a packet that asks for an ACK may be sent now. */
  canSend(now: number): boolean {
    // The first packet waits for nothing: no controller has to be asked, nor made.
    if (this.#nextSequence === 0) return !this.dead;
    if (this.dead) return false;
    if (this.probes > 0) return true;
    if (this.inFlight >= this.controller.window()) {
      this.rest();
      return false;
    }
    return this.#pacer.ready(now, this.controller.pacingRate(), this.pmtu.size);
  }

  /** When canSend() turns true by itself; Infinity: only an ACK or a timeout can make it so. */
  nextSend(now: number): number {
    if (this.dead || !this.windowOpen) return Infinity;
    if (this.#nextSequence === 0) return now;
    if (this.probes > 0) return now;
    return this.#pacer.next(now, this.controller.pacingRate(), this.pmtu.size);
  }

  /** Nothing waits to be sent: the time until something does is not made up for. */
  rest(): void {
    this.#pacer.rest();
  }

  /** There was nothing to send while the window was open: rates from here on show too little. */
  onAppLimited(): void {
    this.rest();
    if (this.windowOpen) this.#appLimitedUntil = Math.max(1, this.#delivered + this.inFlight);
  }

  /** Counts a packet that was just pushed to `sent`, and links it. */
  onSent(now: number, sent: SentPackets, number: number, bytes: number): void {
    if (this.inFlight === 0) {
      this.#firstSent = now;
      this.#deliveredTime = now;
    }
    this.controller.onSent(now, bytes, this.inFlight);
    const limited = this.#appLimitedUntil > 0;
    if (limited) sent.addFlag(number, Flag.appLimited);
    delivery[0] = this.#delivered;
    delivery[1] = this.#deliveredTime;
    delivery[2] = this.#firstSent;
    sent.describe(number, now, bytes, this.#nextSequence++, delivery);
    sent.setOlder(number, this.newest);
    if (this.newest === NONE) this.oldest = number;
    else sent.setNewer(this.newest, number);
    this.newest = number;
    this.inFlight += bytes;
    this.packetsInFlight += 1;
    this.#timerStart = now;
    if (this.probes > 0) this.probes -= 1;
    this.#pacer.onSent(now, this.controller.pacingRate(), bytes, this.pmtu.size);
  }

  /** Takes a packet out of flight. */
  unlink(sent: SentPackets, number: number): void {
    const older = sent.older(number);
    const newer = sent.newer(number);
    if (older === NONE) this.oldest = newer;
    else sent.setNewer(older, newer);
    if (newer === NONE) this.newest = older;
    else sent.setOlder(newer, older);
    this.inFlight -= sent.bytes(number);
    this.packetsInFlight -= 1;
  }

  /** Counts a packet as delivered; the newest one of an ACK gives the rate. */
  onDelivered(now: number, sent: SentPackets, number: number): void {
    const bytes = sent.bytes(number);
    const sample = this.sample;
    this.counters.ackedPackets += 1;
    this.counters.ackedBytes += bytes;
    sample.ackedBytes += bytes;
    sample.ackedPackets += 1;
    sample.ackedSentTime = Math.max(sample.ackedSentTime, sent.time(number));
    this.#delivered += bytes;
    this.#deliveredTime = now;
    const before = sent.delivered(number);
    // Numbers come from the largest down, so of equals the first is the newest.
    if (before <= sample.priorDelivered) return;
    sample.priorDelivered = before;
    sample.appLimited = (sent.flags(number) & Flag.appLimited) !== 0;
    const sending = sent.time(number) - sent.firstSent(number);
    const arriving = now - sent.deliveredTime(number);
    // The rate is made at the end; until then this is the time it took.
    sample.rate = Math.max(sending, arriving);
    this.#firstSent = Math.max(this.#firstSent, sent.time(number));
  }

  /** Ends an event: hands the sample to the controller. */
  finishSample(now: number): void {
    const sample = this.sample;
    sample.smoothedRtt = this.rtt.smoothed;
    sample.inFlight = this.inFlight;
    sample.delivered = this.#delivered;
    if (this.#appLimitedUntil > 0 && this.#delivered > this.#appLimitedUntil) {
      this.#appLimitedUntil = 0;
    }
    const interval = sample.rate;
    sample.rate = 0;
    // Shorter than a round trip is a burst of ACKs and no rate.
    if (sample.priorDelivered >= 0 && interval > 0 && interval >= this.rtt.min * 0.99) {
      sample.rate = (this.#delivered - sample.priorDelivered) / interval * 1000;
    }
    if (sample.lostPackets > 0) this.controller.onLost(now, sample);
    if (sample.ackedPackets > 0) this.controller.onAck(now, sample);
  }

  /** Counts a packet as lost. */
  onLost(now: number, sent: SentPackets, number: number): void {
    const bytes = sent.bytes(number);
    const sequence = sent.sequence(number);
    const isProbe = (sent.flags(number) & Flag.mtuProbe) !== 0;
    const isCut = (sent.flags(number) & Flag.fragmented) !== 0;
    if (!isCut) this.pmtu.onLost(now, bytes, isProbe, sequence);
    if (sequence !== this.#lossRunLast + 1) this.#lossRunStart = sent.time(number);
    this.#lossRunLast = sequence;
    if (isProbe) return;
    this.counters.lostPackets += 1;
    this.counters.lostBytes += bytes;
    this.sample.lostBytes += bytes;
    this.sample.lostPackets += 1;
    this.sample.lostSentTime = Math.max(this.sample.lostSentTime, sent.time(number));
    const span = sent.time(number) - this.#lossRunStart;
    if (this.rtt.sampled && span > PERSISTENT_CONGESTION_PTOS * this.rtt.pto()) {
      this.#lossRunStart = sent.time(number);
      this.counters.persistentCongestions += 1;
      this.controller.onPersistentCongestion(now);
    }
  }

  /** A lost packet arrived after all: from now on reordering that far is no loss. */
  onSpuriousLoss(now: number, sent: SentPackets, number: number): void {
    if ((sent.flags(number) & Flag.mtuProbe) !== 0) return;
    this.counters.spuriousLosses += 1;
    const distance = this.largestAcked - sent.sequence(number);
    this.#packetThreshold = Math.min(
      PACKET_THRESHOLD_MAX,
      Math.max(this.#packetThreshold, distance + 1),
    );
    this.controller.onSpuriousLoss(now, sent.time(number), sent.bytes(number));
  }

  /**
   * Whether the packet, the oldest in flight, is lost: by the packet threshold or by time. When it
   * may yet become so, lossTime says when.
   */
  isLost(now: number, sent: SentPackets, number: number): boolean {
    const behind = this.largestAcked - sent.sequence(number);
    if (behind <= 0) return false;
    if (behind >= this.#packetThreshold) return true;
    const at = sent.time(number) + this.rtt.lossDelay();
    if (at <= now) return true;
    this.lossTime = at;
    return false;
  }

  /** When the loss timer or the probe timer ends. */
  nextTimeout(): number {
    if (this.dead || this.packetsInFlight === 0) return Infinity;
    return Math.min(this.lossTime, this.#probeTime());
  }

  /** Whether the probe timer has ended; then it is started again, with backoff. */
  takeProbeTimeout(now: number): boolean {
    if (this.packetsInFlight === 0 || this.#probeTime() > now) return false;
    this.#timerStart = now;
    this.ptoCount += 1;
    this.counters.timeouts += 1;
    return true;
  }

  #probeTime(): number {
    const base = this.rtt.pto();
    const most = Math.max(base, PTO_BACKOFF_MS_MAX);
    return this.#timerStart + Math.min(base * (1 << Math.min(this.ptoCount, 20)), most);
  }
}

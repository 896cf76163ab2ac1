// Model-based congestion control (after BBR v1, with bounds from v2): it measures what the path
// delivers and how long it takes, and sends that much, whatever is lost within a tolerance.

import { NO_NUMBER } from "../../base/number_field.ts";
import {
  BBR_BANDWIDTH_ROUNDS,
  BBR_BETA,
  BBR_CYCLE_GAINS,
  BBR_FULL_GROWTH,
  BBR_FULL_ROUNDS,
  BBR_LOSS_PACKETS_MIN,
  BBR_LOSS_TOLERANCE,
  BBR_LOSSY_ROUNDS,
  BBR_MIN_RTT_WINDOW_MS,
  BBR_NOISE_MAX,
  BBR_NOISE_PACKETS_MIN,
  BBR_PROBE_ROUNDS_MAX,
  BBR_PROBE_RTT_GAIN,
  BBR_PROBE_RTT_MS,
  BBR_STARTUP_GAIN,
  BBR_WINDOW_GAIN,
  INITIAL_WINDOW_PACKETS,
  PACING_BURST_PACKETS,
  PACING_INITIAL_RTT_MS,
  WINDOW_PACKETS_MIN,
} from "../params.ts";
import { type AckSample, type CongestionController, WindowBounds } from "./controller.ts";
import { MaxFilter } from "./max_filter.ts";

/**
 *     startup --pipe full--> drain --queue empty--> probeBandwidth <--10 s--> probeRtt
 */
type Mode = "startup" | "drain" | "probeBandwidth" | "probeRtt";

const CYCLE = Float64Array.from(BBR_CYCLE_GAINS);
/** In the cycle: probing for more, and draining what that queued. */
const PROBE_PHASE = 0;
const DRAIN_PHASE = 1;

/**
 * A round trip's worth of packets: it ends when one that was sent after its beginning is
 * acknowledged.
 */
class Round {
  /** Rounds before it. */
  count = 0;
  /** The last ACK ended one, whose sums are still here. */
  isOver = false;
  began = 0;
  acked = 0;
  lost = 0;
  lostPackets = 0;
  packets = 0;
  inFlight = 0;
  /** Delivered bytes at its beginning. */
  #beganAt = 0;

  onAck(sample: AckSample): void {
    this.acked += sample.ackedBytes;
    this.packets += sample.ackedPackets;
    this.inFlight = Math.max(this.inFlight, sample.priorInFlight);
    this.isOver = sample.priorDelivered >= this.#beganAt;
  }

  onLost({ lostBytes, lostPackets }: AckSample): void {
    this.lost += lostBytes;
    this.lostPackets += lostPackets;
    this.packets += lostPackets;
  }

  onSpuriousLoss(bytes: number): void {
    this.lost = Math.max(0, this.lost - bytes);
    this.lostPackets = Math.max(0, this.lostPackets - 1);
  }

  /** The next one begins. */
  next(now: number, delivered: number): void {
    this.count += 1;
    this.#beganAt = delivered;
    this.began = now;
    this.acked =
      this.lost =
      this.lostPackets =
      this.packets =
      this.inFlight =
        0;
  }
}

export class Bbr implements CongestionController {
  readonly name = "bbr";
  readonly #bounds: WindowBounds;
  readonly #random: () => number;
  readonly #bandwidth = new MaxFilter(BBR_BANDWIDTH_ROUNDS);
  #mode: Mode = "startup";
  #pacingGain = BBR_STARTUP_GAIN;
  #rate: number = NO_NUMBER;
  /** As the last ACK left it: it is asked for with every packet. */
  #window: number;

  #minRtt = Infinity;
  #minRttAt = 0;
  #probeRttEnd = 0;
  #idleRestart = false;

  readonly #round = new Round();
  /** The best share of packets that arrived in any of the last rounds. */
  readonly #arrival = new MaxFilter(BBR_BANDWIDTH_ROUNDS);
  #lossyRounds = 0;
  /** No more than this in flight, after rounds of too much loss. */
  #inFlightMax = Infinity;

  #pipeFull = false;
  #fullRate = 0;
  #fullRounds = 0;

  #phase = 0;
  #phaseBegan = 0;
  #phaseLost = false;

  /** `random` gives numbers from 0 up to 1, so that flows do not probe all at once. */
  constructor(floorPackets: number, packetBytes: number, random: () => number) {
    this.#bounds = new WindowBounds(floorPackets, packetBytes);
    this.#random = random;
    this.#rate = this.#initialRate(PACING_INITIAL_RTT_MS);
    this.#arrival.reset(0, 1);
    this.#window = this.#chooseWindow();
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** Estimated bottleneck rate in bytes a second, 0 before it is known. */
  get bandwidth(): number {
    return this.#bandwidth.max;
  }

  /** Smallest round trip of the last 10 s in ms. */
  get minRtt(): number {
    return this.#minRtt;
  }

  onSent(_now: number, _bytes: number, inFlight: number): void {
    if (inFlight > 0 || this.#mode !== "probeBandwidth") return;
    // Back from idling: at the known rate, without a probe on top. And the queue was empty, so
    // the next round trip is as good as one that was probed for.
    this.#rate = this.#bandwidth.max;
    this.#idleRestart = true;
  }

  onLost(_now: number, sample: AckSample): void {
    this.#round.onLost(sample);
    this.#phaseLost = true;
  }

  onAck(now: number, sample: AckSample): void {
    this.#updateRound(now, sample);
    if (sample.rate > 0 && (!sample.appLimited || sample.rate >= this.#bandwidth.max)) {
      this.#bandwidth.update(this.#round.count, sample.rate);
    }
    this.#checkPipe(sample);
    if (this.#mode === "drain" && sample.inFlight <= this.#target(1)) {
      this.#enterProbeBandwidth(now);
    }
    if (this.#mode === "probeBandwidth") this.#cycle(now, sample);
    this.#updateMinRtt(now, sample);
    this.#setRate(sample);
    this.#window = this.#chooseWindow();
  }

  onSpuriousLoss(_now: number, _sentTime: number, bytes: number): void {
    this.#round.onSpuriousLoss(bytes);
  }

  /** The path is another one now: look for its rate again, from half of what it was. */
  onPersistentCongestion(_now: number): void {
    this.#bandwidth.reset(this.#round.count, this.#bandwidth.max / 2);
    this.#minRtt = Infinity;
    this.#pipeFull = false;
    this.#fullRate = 0;
    this.#fullRounds = 0;
    this.#inFlightMax = Infinity;
    this.#mode = "startup";
    this.#pacingGain = BBR_STARTUP_GAIN;
    this.#window = this.#chooseWindow();
  }

  setPacketBytes(bytes: number): void {
    if (this.#bounds.packetBytes === bytes) return;
    this.#bounds.packetBytes = bytes;
    this.#window = this.#chooseWindow();
  }

  window(): number {
    return this.#window;
  }

  /** The floor does not hold while the round trip is probed: that has to empty the queue. */
  #chooseWindow(): number {
    if (this.#mode === "probeRtt") return this.#bounds.cap(this.#probeRttWindow());
    if (this.#bandwidth.max === 0 || this.#minRtt === Infinity) return this.#bounds.clamp(0);
    return this.#bounds.clamp(
      Math.min(this.#target(BBR_WINDOW_GAIN) * this.#makeUp(), this.#inFlightMax),
    );
  }

  pacingRate(): number {
    return this.#rate;
  }

  #initialRate(rtt: number): number {
    const window = INITIAL_WINDOW_PACKETS * this.#bounds.packetBytes;
    return BBR_STARTUP_GAIN * window / rtt * 1000;
  }

  /**
   * What has to be sent for one that is delivered. Loss by a full queue does not count: there is
   * none in the rounds that drain it.
   */
  #makeUp(): number {
    return 1 / Math.max(1 - BBR_NOISE_MAX, Math.min(1, this.#arrival.max));
  }

  /** `gain` times what the path holds without a queue. */
  #pipe(gain: number): number {
    const rtt = this.#minRtt === Infinity ? PACING_INITIAL_RTT_MS : this.#minRtt;
    return gain * this.#bandwidth.max * rtt / 1000;
  }

  /** The same, and room for bursts of sending and of acknowledging. */
  #target(gain: number): number {
    const burst = Math.min(
      PACING_BURST_PACKETS * this.#bounds.packetBytes,
      this.#bandwidth.max / 1000,
    );
    return this.#pipe(gain) + 3 * Math.max(burst, this.#bounds.packetBytes);
  }

  #probeRttWindow(): number {
    const least = WINDOW_PACKETS_MIN * this.#bounds.packetBytes;
    return Math.max(least, this.#pipe(BBR_PROBE_RTT_GAIN));
  }

  #updateRound(now: number, sample: AckSample): void {
    this.#round.onAck(sample);
    if (!this.#round.isOver) return;
    this.#judgeLoss(now);
    this.#round.next(now, sample.delivered);
  }

  /** After each round: was so much lost that it can't be noise? */
  #judgeLoss(now: number): void {
    const { count, began, acked, lost, lostPackets, packets, inFlight } = this.#round;
    const share = lost / Math.max(1, lost + acked);
    const told = packets >= BBR_NOISE_PACKETS_MIN;
    this.#arrival.update(count, told ? 1 - share : 1);
    if (share <= BBR_LOSS_TOLERANCE || lostPackets < BBR_LOSS_PACKETS_MIN) {
      this.#lossyRounds = 0;
      this.#inFlightMax *= 1.25;
      if (this.#inFlightMax > this.#pipe(2 * BBR_WINDOW_GAIN)) this.#inFlightMax = Infinity;
      return;
    }
    this.#lossyRounds += 1;
    const bound = Math.min(this.#inFlightMax, inFlight);
    // What arrived within the round is what the path holds, at the least.
    this.#inFlightMax = Math.max(BBR_BETA * bound, acked);
    if (this.#mode === "startup") this.#pipeFull = true;
    if (this.#lossyRounds < BBR_LOSSY_ROUNDS || now <= began) return;
    // A policer let bursts through, or the path became slower: believe the average.
    const average = acked / (now - began) * 1000;
    if (average < this.#bandwidth.max) this.#bandwidth.reset(count, average);
  }

  #checkPipe(sample: AckSample): void {
    if (!this.#pipeFull && this.#round.isOver && !sample.appLimited) {
      if (this.#bandwidth.max >= this.#fullRate * BBR_FULL_GROWTH) {
        this.#fullRate = this.#bandwidth.max;
        this.#fullRounds = 0;
      } else {
        this.#fullRounds += 1;
        this.#pipeFull = this.#fullRounds >= BBR_FULL_ROUNDS;
      }
    }
    if (this.#mode === "startup" && this.#pipeFull) {
      this.#mode = "drain";
      this.#pacingGain = 1 / BBR_STARTUP_GAIN;
    }
  }

  #enterProbeBandwidth(now: number): void {
    this.#mode = "probeBandwidth";
    // Any phase but draining, which would only lose time.
    const phase = Math.floor(this.#random() * (CYCLE.length - 1));
    this.#beginPhase(now, phase >= DRAIN_PHASE ? phase + 1 : phase);
  }

  #beginPhase(now: number, phase: number): void {
    this.#phase = phase;
    this.#phaseBegan = now;
    this.#phaseLost = false;
    this.#pacingGain = CYCLE[phase]!;
  }

  #cycle(now: number, sample: AckSample): void {
    const elapsed = now - this.#phaseBegan;
    let over = elapsed > this.#minRtt;
    if (this.#phase === PROBE_PHASE) {
      // A probe has to fill the pipe by its gain before it has shown anything.
      over &&= this.#phaseLost || sample.priorInFlight >= this.#target(this.#pacingGain) ||
        elapsed > BBR_PROBE_ROUNDS_MAX * this.#minRtt;
    } else if (this.#phase === DRAIN_PHASE) {
      over ||= sample.inFlight <= this.#target(1);
    }
    if (over) this.#beginPhase(now, (this.#phase + 1) % CYCLE.length);
  }

  #updateMinRtt(now: number, sample: AckSample): void {
    const expired = now > this.#minRttAt + BBR_MIN_RTT_WINDOW_MS;
    if (sample.rtt >= 0 && (sample.rtt <= this.#minRtt || expired)) {
      this.#minRtt = sample.rtt;
      this.#minRttAt = now;
    }
    const wasIdle = this.#idleRestart;
    this.#idleRestart = false;
    if (expired && !wasIdle && this.#mode !== "probeRtt" && this.#pipeFull) {
      this.#mode = "probeRtt";
      this.#pacingGain = 1;
      this.#probeRttEnd = 0;
    }
    if (this.#mode !== "probeRtt") return;
    if (this.#probeRttEnd === 0) {
      if (sample.inFlight > this.#probeRttWindow()) return;
      this.#probeRttEnd = now + Math.max(BBR_PROBE_RTT_MS, this.#minRtt);
    } else if (now >= this.#probeRttEnd) {
      this.#minRttAt = now;
      this.#enterProbeBandwidth(now);
    }
  }

  #setRate(sample: AckSample): void {
    const measured = this.#pacingGain * this.#bandwidth.max * this.#makeUp();
    if (this.#pipeFull) {
      this.#rate = measured;
      return;
    }
    // While it grows the rate never falls for a sample that was too small.
    const first = sample.rtt > 0 && this.#bandwidth.max === 0 ? this.#initialRate(sample.rtt) : 0;
    this.#rate = Math.max(this.#rate, measured, first);
  }
}

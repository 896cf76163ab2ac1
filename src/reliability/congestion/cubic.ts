// Loss-based congestion control: CUBIC (RFC 9438) with HyStart++ (RFC 9406) and paced bursts.

import {
  CUBIC_BETA,
  CUBIC_C,
  CUBIC_PACING,
  CUBIC_PACING_SLOW_START,
  HYSTART_GROWTH_DIVISOR,
  HYSTART_ROUNDS,
  HYSTART_RTT_MS_MAX,
  HYSTART_RTT_MS_MIN,
  HYSTART_SAMPLES_MIN,
  INITIAL_WINDOW_PACKETS,
  PACING_INITIAL_RTT_MS,
  WINDOW_PACKETS_MAX,
  WINDOW_PACKETS_MIN,
} from "../params.ts";
import { type AckSample, type CongestionController, WindowBounds } from "./controller.ts";

/** Growth of the Reno-friendly window, in packets a round trip: RFC 9438 §4.3. */
const RENO_ALPHA = 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA);

/** Leaves slow start when the round trip grows, before the queue overflows. */
class HyStart {
  cautious = false;
  #roundEnd = 0;
  #roundMin = Infinity;
  #lastMin = Infinity;
  #baseline = Infinity;
  #samples = 0;
  #rounds = 0;

  /** True when slow start is over. */
  onAck(sample: AckSample): boolean {
    if (sample.priorDelivered >= this.#roundEnd) {
      if (this.cautious && ++this.#rounds >= HYSTART_ROUNDS) return true;
      this.#roundEnd = sample.delivered;
      this.#lastMin = this.#roundMin;
      this.#roundMin = Infinity;
      this.#samples = 0;
    }
    if (sample.rtt < 0) return false;
    this.#roundMin = Math.min(this.#roundMin, sample.rtt);
    this.#samples += 1;
    if (this.#samples < HYSTART_SAMPLES_MIN) return false;
    if (this.cautious) {
      // The round trip fell again: it was not a queue.
      if (this.#roundMin < this.#baseline) this.cautious = false;
    } else if (this.#lastMin !== Infinity) {
      const eighth = this.#lastMin / 8;
      const grown = Math.min(Math.max(eighth, HYSTART_RTT_MS_MIN), HYSTART_RTT_MS_MAX);
      if (this.#roundMin >= this.#lastMin + grown) {
        this.cautious = true;
        this.#baseline = this.#roundMin;
        this.#rounds = 0;
      }
    }
    return false;
  }
}

export class Cubic implements CongestionController {
  readonly name = "cubic";
  readonly #bounds: WindowBounds;
  #hystart = new HyStart();
  #window: number;
  #slowStartEnd = Infinity;
  #smoothedRtt = 0;

  /** Window before the last reduction, where the curve is flat. */
  #windowMax = 0;
  #epochStart = -1;
  #plateauSeconds = 0;
  #origin = 0;
  #renoWindow = 0;
  #renoFull = 0;

  /** Packets sent up to here belong to the reduction that was already made. */
  #recoveryStart = -Infinity;
  #lostInRecovery = 0;
  #undoWindow = 0;
  #undoWindowMax = 0;
  #undoSlowStartEnd = 0;

  constructor(floorPackets: number, packetBytes: number) {
    this.#bounds = new WindowBounds(floorPackets, packetBytes);
    this.#window = INITIAL_WINDOW_PACKETS * packetBytes;
  }

  get slowStart(): boolean {
    return this.#window < this.#slowStartEnd;
  }

  onSent(now: number, _bytes: number, inFlight: number): void {
    // Idle time is no time to grow in: the curve begins anew.
    if (inFlight === 0 && this.#epochStart >= 0 && this.#smoothedRtt > 0) {
      if (now - this.#epochStart > 1000) this.#epochStart = -1;
    }
  }

  onLost(now: number, sample: AckSample): void {
    if (sample.lostSentTime <= this.#recoveryStart) {
      this.#lostInRecovery += sample.lostPackets;
      return;
    }
    this.#undoWindow = this.#window;
    this.#undoWindowMax = this.#windowMax;
    this.#undoSlowStartEnd = this.#slowStartEnd;
    this.#lostInRecovery = sample.lostPackets;
    this.#recoveryStart = now;
    // Fast convergence: a flow that shrinks leaves its share to the one that came.
    const shrinking = this.#window < this.#windowMax;
    this.#windowMax = shrinking ? this.#window * (1 + CUBIC_BETA) / 2 : this.#window;
    this.#setWindow(this.#window * CUBIC_BETA);
    this.#slowStartEnd = this.#window;
    this.#epochStart = -1;
  }

  onAck(now: number, sample: AckSample): void {
    this.#smoothedRtt = sample.smoothedRtt;
    if (sample.appLimited || sample.ackedSentTime <= this.#recoveryStart) return;
    if (!this.slowStart) {
      this.#avoidCongestion(now, sample.ackedBytes);
      return;
    }
    if (this.#hystart.onAck(sample)) {
      this.#slowStartEnd = this.#window;
      this.#windowMax = this.#window;
      return;
    }
    const divisor = this.#hystart.cautious ? HYSTART_GROWTH_DIVISOR : 1;
    this.#setWindow(this.#window + sample.ackedBytes / divisor);
  }

  /** When all of the losses behind a reduction were false, it is taken back. */
  onSpuriousLoss(_now: number, sentTime: number): void {
    if (sentTime > this.#recoveryStart || this.#lostInRecovery === 0) return;
    this.#lostInRecovery -= 1;
    if (this.#lostInRecovery > 0 || this.#undoWindow <= this.#window) return;
    this.#window = this.#undoWindow;
    this.#windowMax = this.#undoWindowMax;
    this.#slowStartEnd = this.#undoSlowStartEnd;
    this.#epochStart = -1;
  }

  onPersistentCongestion(): void {
    this.#windowMax = this.#window;
    this.#slowStartEnd = this.#window * CUBIC_BETA;
    this.#setWindow(0);
    this.#epochStart = -1;
    this.#lostInRecovery = 0;
    this.#recoveryStart = -Infinity;
    this.#hystart = new HyStart();
  }

  setPacketBytes(bytes: number): void {
    this.#bounds.packetBytes = bytes;
  }

  window(): number {
    return this.#bounds.clamp(this.#window);
  }

  pacingRate(): number {
    const rtt = this.#smoothedRtt > 0 ? this.#smoothedRtt : PACING_INITIAL_RTT_MS;
    const gain = this.slowStart ? CUBIC_PACING_SLOW_START : CUBIC_PACING;
    return gain * this.#window / rtt * 1000;
  }

  #setWindow(bytes: number): void {
    const packet = this.#bounds.packetBytes;
    const least = WINDOW_PACKETS_MIN * packet;
    this.#window = Math.min(Math.max(bytes, least), WINDOW_PACKETS_MAX * packet);
  }

  #avoidCongestion(now: number, ackedBytes: number): void {
    const packet = this.#bounds.packetBytes;
    const window = this.#window / packet;
    const windowMax = this.#windowMax / packet;
    if (this.#epochStart < 0) {
      this.#epochStart = now;
      this.#plateauSeconds = Math.cbrt(Math.max(0, windowMax - window) / CUBIC_C);
      this.#renoWindow = window;
      this.#renoFull = windowMax;
      this.#origin = Math.max(window, windowMax);
    }
    const seconds = (now - this.#epochStart + this.#smoothedRtt) / 1000 - this.#plateauSeconds;
    const curve = CUBIC_C * seconds ** 3 + this.#origin;
    const target = Math.min(Math.max(curve, window), 1.5 * window);
    const acked = ackedBytes / packet;
    const alpha = this.#renoWindow < this.#renoFull ? RENO_ALPHA : 1;
    this.#renoWindow += alpha * acked / window;
    const grown = window + (target - window) / window * acked;
    this.#setWindow(Math.max(grown, this.#renoWindow) * packet);
  }
}

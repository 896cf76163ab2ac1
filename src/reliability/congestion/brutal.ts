// Sends at a stated rate and makes up for loss: for a line whose rate is known and whose loss is
// not congestion. It is no limit: a TokenBucket behind it is.

import {
  BRUTAL_ACK_RATE_MIN,
  BRUTAL_PACKET_OVERHEAD,
  BRUTAL_RATE_MIN,
  BRUTAL_SAMPLE_PACKETS_MIN,
  BRUTAL_SLOT_MS,
  BRUTAL_SLOTS,
  BRUTAL_WINDOW_BYTES_MIN,
  BRUTAL_WINDOW_GAIN,
} from "../params.ts";
import { type AckSample, type CongestionController, WindowBounds } from "./controller.ts";

export class Brutal implements CongestionController {
  readonly name = "brutal";
  readonly #rate: number;
  readonly #bounds: WindowBounds;
  readonly #slotTime = new Float64Array(BRUTAL_SLOTS).fill(-1);
  readonly #acked = new Float64Array(BRUTAL_SLOTS);
  readonly #lost = new Float64Array(BRUTAL_SLOTS);
  #ackRate = 1;
  #smoothedRtt = 0;

  constructor(rate: number, floorPackets: number, packetBytes: number) {
    this.#rate = Math.max(rate, BRUTAL_RATE_MIN);
    this.#bounds = new WindowBounds(floorPackets, packetBytes);
  }

  /** Share of packets that arrive, as far as it is compensated. */
  get ackRate(): number {
    return this.#ackRate;
  }

  onSent(): void {}

  onLost(now: number, sample: AckSample): void {
    this.#count(now, 0, sample.lostPackets);
  }

  onAck(now: number, sample: AckSample): void {
    this.#smoothedRtt = sample.smoothedRtt;
    this.#count(now, sample.ackedPackets, 0);
  }

  /** It is counted with the acknowledged as well; here it leaves the lost. */
  onSpuriousLoss(now: number): void {
    this.#count(now, 0, -1);
  }

  onPersistentCongestion(): void {}

  setPacketBytes(bytes: number): void {
    this.#bounds.packetBytes = bytes;
  }

  window(): number {
    if (this.#smoothedRtt <= 0) return this.#bounds.clamp(BRUTAL_WINDOW_BYTES_MIN);
    const inFlight = this.#rate * this.#smoothedRtt / 1000;
    return this.#bounds.clamp(BRUTAL_WINDOW_GAIN * inFlight / this.#ackRate);
  }

  /** The line carries more than our bytes: a sender that forgets it overfills the line for good. */
  pacingRate(): number {
    const { packetBytes } = this.#bounds;
    return this.#rate * packetBytes / (packetBytes + BRUTAL_PACKET_OVERHEAD) / this.#ackRate;
  }

  #count(now: number, acked: number, lost: number): void {
    const second = Math.floor(now / BRUTAL_SLOT_MS);
    const slot = second % BRUTAL_SLOTS;
    if (this.#slotTime[slot] !== second) {
      this.#slotTime[slot] = second;
      this.#acked[slot] = 0;
      this.#lost[slot] = 0;
    }
    this.#acked[slot]! += acked;
    this.#lost[slot]! += lost;
    this.#update(second);
  }

  #update(second: number): void {
    let acked = 0;
    let lost = 0;
    for (let slot = 0; slot < BRUTAL_SLOTS; slot++) {
      if (this.#slotTime[slot]! <= second - BRUTAL_SLOTS) continue;
      acked += this.#acked[slot]!;
      lost += this.#lost[slot]!;
    }
    lost = Math.max(0, lost);
    const known = acked + lost >= BRUTAL_SAMPLE_PACKETS_MIN;
    this.#ackRate = known ? Math.max(BRUTAL_ACK_RATE_MIN, acked / (acked + lost)) : 1;
  }
}

/** Acknowledgement of what came, and recovery of what was lost (after RFC 9002, simplified). */
import { type Frame, type Range, SENT_ONCE } from "./frames.ts";

const PACKET_THRESHOLD = 3;
const LONGEST_PTO_MS = 2000;
const MAX_RANGES = 32;

/** Packet numbers that came: duplicates and ranges to acknowledge. */
export class Received {
  /** From the highest down. */
  #ranges: Range[] = [];
  #largestAt = 0;

  /** False if the number was seen before. */
  add(number: number): boolean {
    if (this.#ranges.some((range) => range.first <= number && number <= range.last)) return false;
    if (number > (this.#ranges[0]?.last ?? -1)) this.#largestAt = performance.now();
    const at = this.#ranges.findIndex((range) => range.last < number);
    const index = at < 0 ? this.#ranges.length : at;
    this.#ranges.splice(index, 0, { first: number, last: number });
    this.#join(index);
    this.#join(index - 1);
    return true;
  }

  ack(): Frame | undefined {
    if (this.#ranges.length === 0) return undefined;
    const delayUs = Math.round((performance.now() - this.#largestAt) * 1000);
    const ranges = this.#ranges.slice(0, MAX_RANGES).map((range) => ({ ...range }));
    return { type: "ack", delayUs, ranges };
  }

  #join(index: number): void {
    const high = this.#ranges[index];
    const low = this.#ranges[index + 1];
    if (high === undefined || low === undefined || low.last + 1 !== high.first) return;
    high.first = low.first;
    this.#ranges.splice(index + 1, 1);
  }
}

interface Flying {
  at: number;
  frames: Frame[];
}

/** Packets on their way that ask for an acknowledgement. */
export class InFlight {
  rttMs = 100;
  timeouts = 0;
  retransmitted = 0;
  #flying = new Map<number, Flying>();
  #sampled = false;
  #largest = -1;

  get size(): number {
    return this.#flying.size;
  }

  add(number: number, frames: Frame[]): void {
    this.#flying.set(number, { at: performance.now(), frames });
  }

  /** The frames to send again. */
  onAck(ranges: Range[]): Frame[] {
    const now = performance.now();
    const top = this.#flying.get(ranges[0]?.last ?? -1);
    if (top !== undefined) this.#sample(now - top.at);
    for (const number of [...this.#flying.keys()]) {
      const hit = ranges.some((range) => range.first <= number && number <= range.last);
      if (hit && this.#flying.delete(number)) this.timeouts = 0;
    }
    this.#largest = Math.max(this.#largest, ranges[0]?.last ?? -1);
    const late = now - Math.max(1, this.rttMs * 9 / 8);
    const lost: Frame[] = [];
    for (const [number, packet] of this.#flying) {
      if (number >= this.#largest) continue;
      if (number > this.#largest - PACKET_THRESHOLD && packet.at > late) continue;
      lost.push(...this.#giveUp(number, packet));
    }
    return lost;
  }

  /** The frames of the oldest packet, if a probe timeout has passed since it went. */
  onTick(): Frame[] {
    const [oldest] = this.#flying;
    if (oldest === undefined) return [];
    const pto = Math.min(LONGEST_PTO_MS, Math.max(50, 3 * this.rttMs) * 2 ** this.timeouts);
    if (performance.now() - oldest[1].at < pto) return [];
    this.timeouts++;
    return this.#giveUp(...oldest);
  }

  #giveUp(number: number, packet: Flying): Frame[] {
    this.#flying.delete(number);
    const frames = packet.frames.filter((frame) => !SENT_ONCE.has(frame.type));
    this.retransmitted += frames.length;
    return frames;
  }

  #sample(rttMs: number): void {
    this.rttMs = this.#sampled ? this.rttMs * 7 / 8 + rttMs / 8 : rttMs;
    this.#sampled = true;
  }
}

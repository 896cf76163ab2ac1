// A sender and receiver of numbered frames on top of recovery: the least that can be simulated.

import assert from "node:assert/strict";
import type { CongestionController } from "../../src/reliability/congestion/controller.ts";
import { FrameRecords } from "../../src/reliability/frame_records.ts";
import { MAX_ACK_DELAY_MS } from "../../src/reliability/params.ts";
import type { Path } from "../../src/reliability/path.ts";
import { PathMtu } from "../../src/reliability/pmtu.ts";
import { ACK_LIST_LENGTH, ReceivedNumbers } from "../../src/reliability/received.ts";
import { PacketKind, Recovery } from "../../src/reliability/recovery.ts";
import type { Rng } from "../fuzz/rng.ts";
import type { VirtualClock } from "./clock.ts";
import type { Link } from "./network.ts";

const KIND_ACK = 3;
const KIND_DATA = 6;
/** Header, tag, IP and UDP of a packet with an ACK alone. */
const ACK_BYTES = 80;
const FRAMES_PER_PACKET_MAX = 3;

export interface NumberedPacket {
  readonly number: number;
  readonly path: number;
  readonly frames: readonly number[];
  readonly ranges: Float64Array | undefined;
  readonly ackDelay: number;
  readonly eliciting: boolean;
}

export interface PeerOptions {
  readonly clock: VirtualClock;
  readonly rng: Rng;
  /** Frames to send; Infinity for a flow that never ends. */
  readonly frames: number;
  readonly controller: (path: number) => CongestionController;
  readonly pmtu?: () => PathMtu;
  readonly maxRetries?: number;
  /** Several small frames a packet, chosen at random, and packets of many sizes. */
  readonly mixed?: boolean;
}

/** One end. It sends its frames, and acknowledges what it gets. */
export class Peer {
  readonly recovery: Recovery;
  readonly records = new FrameRecords();
  readonly received = new ReceivedNumbers();
  readonly seen = new Set<number>();
  readonly links: (Link<NumberedPacket> | undefined)[] = [];
  /** Path that data goes out by. */
  active = 0;
  ackedFrames = 0;
  uniqueBytes = 0;
  duplicateFrames = 0;
  deadPaths: number[] = [];
  readonly #options: PeerOptions;
  readonly #acked = new Set<number>();
  /** Copies of a frame that are neither acknowledged nor forgotten. */
  readonly #copies = new Map<number, number>();
  readonly #again: number[] = [];
  readonly #list = new Float64Array(ACK_LIST_LENGTH);
  #nextFrame = 0;
  #timer = 0;
  #timerAt = Infinity;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.recovery = new Recovery(
      {
        acked: (kind, _stream, offset) => this.#onFrameAcked(kind, offset[0]!),
        lost: (kind, _stream, offset) => {
          if (kind === KIND_DATA && !this.#acked.has(offset[0]!)) this.#again.push(offset[0]!);
        },
        pathDead: (path) => this.deadPaths.push(path),
      },
      this.records,
      { maxRetries: options.maxRetries ?? 1000, random: () => options.rng.float() },
    );
  }

  addPath(index: number, link: Link<NumberedPacket>): Path {
    this.links[index] = link;
    const pmtu = this.#options.pmtu?.() ?? new PathMtu(1400, 1400);
    return this.recovery.addPath(index, this.#options.controller(index), pmtu);
  }

  get done(): boolean {
    return this.ackedFrames >= this.#options.frames;
  }

  receive(packet: NumberedPacket, bytes: number): void {
    const { clock } = this.#options;
    if (this.received.insert(clock.now, packet.number, packet.eliciting)) {
      if (packet.ranges !== undefined) {
        const count = packet.ranges.length / 2;
        const valid = this.recovery.onAck(clock.now, packet.ranges, count, packet.ackDelay);
        assert.ok(valid, "an honest ACK was refused");
      }
      for (const frame of packet.frames) {
        if (this.seen.has(frame)) this.duplicateFrames += 1;
        else this.seen.add(frame);
      }
      if (packet.frames.length > 0) this.uniqueBytes += bytes;
    }
    this.pump();
  }

  /** Sends what may be sent, and sets the timer for what may not yet. */
  pump(): void {
    const { clock } = this.#options;
    const path = this.recovery.path(this.active);
    while (path !== undefined && this.#sendOne(path));
    if (this.received.ackDue(clock.now)) this.#sendAck();
    this.#setTimer(path);
  }

  #sendOne(path: Path): boolean {
    const { clock } = this.#options;
    const { now } = clock;
    if (!this.recovery.hasRoom() || !path.canSend(now)) return false;
    const probeSize = path.pmtu.probe(now);
    if (probeSize > 0) {
      this.#emit(path, [], probeSize, PacketKind.mtuProbe, true);
      return true;
    }
    const frames = this.#takeFrames();
    if (frames.length === 0 && path.probes === 0) {
      path.onAppLimited();
      return false;
    }
    const { mixed, rng } = this.#options;
    const bytes = mixed ? rng.int(100, path.packetBytes) : path.packetBytes;
    this.#emit(path, frames, bytes, PacketKind.eliciting, true);
    return true;
  }

  #takeFrames(): number[] {
    const { mixed, rng, frames } = this.#options;
    const most = mixed ? rng.int(1, FRAMES_PER_PACKET_MAX) : 1;
    const taken: number[] = [];
    while (taken.length < most) {
      const again = this.#again.pop();
      if (again !== undefined) {
        if (!this.#acked.has(again)) taken.push(again);
      } else if (this.#nextFrame < frames) {
        taken.push(this.#nextFrame++);
      } else {
        break;
      }
    }
    return taken;
  }

  #sendAck(): void {
    const path = this.recovery.path(this.active);
    if (path === undefined) return;
    const ping = this.received.wantsPing() && path.canSend(this.#options.clock.now);
    this.#emit(path, [], ACK_BYTES, ping ? PacketKind.eliciting : PacketKind.quiet, true);
  }

  #emit(path: Path, frames: number[], bytes: number, kind: number, ack: boolean): void {
    const { clock } = this.#options;
    const eliciting = kind !== PacketKind.quiet;
    let ranges: Float64Array | undefined;
    if (ack && this.received.ackWaiting) {
      const count = this.received.fill(this.#list);
      ranges = this.#list.slice(0, 2 * count);
      if (eliciting) this.recovery.record(KIND_ACK, 0, ranges[1]!, 0);
      this.received.onAckSent(eliciting);
    }
    for (const frame of frames) {
      assert.ok(this.recovery.record(KIND_DATA, 0, frame, 1));
      this.#copies.set(frame, (this.#copies.get(frame) ?? 0) + 1);
    }
    const number = this.recovery.nextNumber;
    assert.equal(this.recovery.onSent(clock.now, path.index, bytes, kind), number);
    const ackDelay = Math.min(this.received.ackDelay(clock.now), MAX_ACK_DELAY_MS);
    const packet = { number, path: path.index, frames, ranges, ackDelay, eliciting };
    this.links[path.index]?.send(packet, bytes);
  }

  #onFrameAcked(kind: number, offset: number): void {
    if (kind === KIND_ACK) {
      this.received.onAckAcked(offset);
      return;
    }
    const copies = this.#copies.get(offset) ?? 0;
    assert.ok(copies > 0, `frame ${offset} acknowledged more often than sent`);
    this.#copies.set(offset, copies - 1);
    if (this.#acked.has(offset)) return;
    this.#acked.add(offset);
    this.ackedFrames += 1;
  }

  #setTimer(path: Path | undefined): void {
    const { clock } = this.#options;
    const blocked = this.#again.length === 0 && this.#nextFrame >= this.#options.frames;
    const idle = blocked && (path?.probes ?? 0) === 0;
    const send = path === undefined || idle ? Infinity : path.nextSend(clock.now);
    const next = Math.min(send, this.recovery.nextTimeout(), this.received.nextTimeout());
    // A timer that is already set for then, or before, will do.
    if (next === Infinity || (this.#timerAt > clock.now && this.#timerAt <= next)) return;
    const timer = ++this.#timer;
    this.#timerAt = next;
    clock.at(next, () => {
      if (timer !== this.#timer) return;
      this.#timerAt = Infinity;
      if (this.recovery.nextTimeout() <= clock.now) this.recovery.onTimeout(clock.now);
      this.pump();
    });
  }
}

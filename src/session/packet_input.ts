/**
 * Takes packets apart: each frame goes to whom it concerns. StreamInput has what is about streams;
 * here is what paths, recovery and the driver are told.
 */

import type { Recovery } from "../reliability/recovery.ts";
import type { ReceivedNumbers } from "../reliability/received.ts";
import {
  CloseCode,
  FrameReader,
  FRAMES_BAD,
  FRAMES_END,
  FrameType,
  isAckEliciting,
} from "../wire/frames.ts";
import { ACK_RANGES_MAX } from "../wire/limits.ts";
import type { Options } from "./events.ts";
import type { SessionLife } from "./life.ts";
import type { PacketOutput } from "./packet_output.ts";
import { NO_PATH, type SessionPath, type SessionPaths } from "./paths.ts";
import { StreamInput } from "./stream_input.ts";
import type { Streams } from "./streams.ts";

// One thread, no re-entry (see Events): these live as long as the module.
const reader = new FrameReader();
const ackPairs = new Float64Array(2 * ACK_RANGES_MAX);
/** The driver was asked about a PATH_RESPONSE of this packet. */
let hasAsked = false;

/** What takes part in it beside the streams. */
export interface InputParts<Owner> {
  readonly options: Options<Owner>;
  readonly streams: Streams<Owner>;
  readonly paths: SessionPaths;
  readonly recovery: Recovery;
  readonly received: ReceivedNumbers;
  readonly life: SessionLife<Owner>;
  readonly output: PacketOutput<Owner>;
}

export class PacketInput<Owner> {
  readonly #options: Options<Owner>;
  readonly #streams: Streams<Owner>;
  readonly #streamInput: StreamInput<Owner>;
  readonly #paths: SessionPaths;
  readonly #recovery: Recovery;
  readonly #received: ReceivedNumbers;
  readonly #life: SessionLife<Owner>;
  readonly #output: PacketOutput<Owner>;

  constructor({ options, streams, paths, recovery, received, life, output }: InputParts<Owner>) {
    this.#options = options;
    this.#streams = streams;
    this.#streamInput = new StreamInput(streams, options.isClient);
    this.#paths = paths;
    this.#recovery = recovery;
    this.#received = received;
    this.#life = life;
    this.#output = output;
  }

  /** Takes a packet; false: the session is closing, or is done. */
  receive(
    now: number,
    pathIndex: number,
    number: number,
    bytes: Uint8Array,
    at: number,
    length: number,
    wireBytes: number,
  ): boolean {
    const path = this.#paths.at(pathIndex);
    if (path === undefined) return true;
    path.receivedBytes += wireBytes;
    this.#streams.counters.packetsReceived++;
    const life = this.#life;
    if (!life.isOpen) {
      life.sayCloseAgain();
      return false;
    }
    life.lastHeard = now;
    // A larger packet may be sent now to one that is not proven.
    if (!path.isProven) this.#output.unstall();
    if (path.recovery.dead) this.#recovery.revive(pathIndex);
    this.#streams.setSilent(false);
    const isHighest = number > this.#received.largest;
    const eliciting = this.#receiveFrames(path, bytes, at, length);
    if (!life.isOpen) return false;
    // A frame found no room: the packet counts as lost, so that the peer says it again.
    if (!this.#streamInput.refused) this.#received.insert(now, number, eliciting);
    if (isHighest) this.#followPeer(now, path);
    return true;
  }

  /** Takes frames that came without a packet number. */
  receiveEarly(now: number, bytes: Uint8Array, at: number, length: number): boolean {
    const path = this.#paths.at(this.#paths.active);
    const life = this.#life;
    if (path === undefined || !life.isOpen) return life.isOpen;
    life.lastHeard = now;
    this.#receiveFrames(path, bytes, at, length);
    return life.isOpen;
  }

  #followPeer(now: number, path: SessionPath): void {
    if (path.isProven) this.#paths.follow(path);
    else if (path.challengesLeft === 0 && path.challengeAt === Infinity) {
      path.challengeAnew(now, this.#options.random);
    }
  }

  /** Whether the packet asks for an acknowledgement. */
  #receiveFrames(path: SessionPath, bytes: Uint8Array, at: number, length: number): boolean {
    let eliciting = false;
    const streams = this.#streams;
    const life = this.#life;
    this.#streamInput.refused = false;
    hasAsked = false;
    reader.reset(bytes, at, length);
    for (;;) {
      const type = reader.next();
      if (type === FRAMES_END) return eliciting;
      if (type === FRAMES_BAD) {
        life.fail(reader.error);
        return eliciting;
      }
      if (isAckEliciting(type)) eliciting = true;
      if (type === FrameType.stream) this.#streamInput.onStream(reader);
      else if (type === FrameType.ack) this.#onAck();
      else if (type === FrameType.datagram) this.#onDatagram();
      else if (type !== FrameType.padding) this.#onOther(type, path);
      if (streams.failure !== 0) life.fail(streams.failure);
      if (!life.isOpen) return eliciting;
    }
  }

  #onOther(type: number, path: SessionPath): void {
    if (this.#streamInput.onFrame(type, reader)) return;
    const { echoHigh, echoLow } = reader;
    const { owner, events } = this.#streams;
    switch (type) {
      case FrameType.ping:
        if (!path.owePong(echoHigh, echoLow)) this.#streamInput.refused = true;
        return;
      case FrameType.pong:
        if (echoHigh === 0 && echoLow === 0) return;
        return events.pong(owner, path.index, echoHigh, echoLow);
      case FrameType.pathChallenge:
        return path.oweResponse(echoHigh, echoLow);
      case FrameType.pathResponse:
        return this.#onPathResponse();
      case FrameType.pathStatus:
        this.#paths.onStatus(path, reader.sequence, reader.isActive);
        return this.#output.unstall();
      case FrameType.assocEnd:
        return events.assocEnded(owner, reader.assoc);
      case FrameType.close:
        return this.#life.finish(reader.code, false);
      case FrameType.rates:
        this.#options.onRates?.(owner, reader.upKbps, reader.downKbps);
    }
  }

  #onPathResponse(): void {
    const { echoHigh, echoLow } = reader;
    let proven = this.#paths.onResponse(echoHigh, echoLow);
    if (proven === NO_PATH) proven = this.#provenByDriver(echoHigh, echoLow);
    if (proven === NO_PATH) return;
    this.#output.unstall();
    this.#streams.events.pathProven(this.#streams.owner, proven);
  }

  /** The path whose challenge the driver has sent, in an ACCEPT; one question a packet. */
  #provenByDriver(high: number, low: number): number {
    const { provesPath } = this.#options;
    if (provesPath === undefined || hasAsked) return NO_PATH;
    hasAsked = true;
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined || path.isProven) continue;
      if (!provesPath(this.#streams.owner, i, high, low)) continue;
      this.#paths.prove(path);
      return i;
    }
    return NO_PATH;
  }

  #onDatagram(): void {
    const { assoc, bytes, addressAt, addressLength, dataAt, length } = reader;
    const { readLimit, now, owner, events, counters } = this.#streams;
    if (readLimit !== undefined && !readLimit.take(now, length)) {
      counters.datagramsOverRate++;
      return;
    }
    events.datagram(owner, assoc, bytes, addressAt, addressLength, dataAt, length);
  }

  #onAck(): void {
    const { ranges, delayUs } = reader;
    for (let i = 0; i < ranges.count; i++) {
      ackPairs[2 * i] = ranges.smallest(i);
      ackPairs[2 * i + 1] = ranges.largest(i);
    }
    if (!this.#recovery.onAck(this.#streams.now, ackPairs, ranges.count, delayUs / 1000)) {
      this.#life.fail(CloseCode.badFrame);
    }
    this.#output.recordsCame();
    const path = this.#paths.at(this.#paths.active)?.recovery;
    if (path !== undefined) this.#streams.noteWindow(path.controller.window());
  }
}

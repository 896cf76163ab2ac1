/**
 * What a session has to say beside its streams: datagrams, the end of associations, and the rates
 * of this side's line.
 */

import { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import { FrameType } from "../wire/frames.ts";
import { DATA_OVERHEAD } from "../wire/limits.ts";
import type { SessionCounters } from "./counters.ts";
import { DatagramQueue } from "./datagram_queue.ts";
import { DATAGRAM_QUEUE_BYTES } from "./limits.ts";
import type { SessionPath } from "./paths.ts";

/** Of a session whose associations never ended; never added to. */
const NO_ASSOCS: number[] = [];
/** Of a session that sent no datagram yet; never added to. */
const NO_DATAGRAMS = new DatagramQueue(0);
/** Writes frames into queues. One thread, no re-entry. */
const queueWriter = new Writer();

/** Notes a frame that is about to be written; false: it can't be. */
interface FrameRecorder {
  record(type: number, id: number, offset: number, length: number): boolean;
}

export class MessageOutput {
  /** The first datagram waits for more to come by a path that is not proven. */
  waits = false;
  readonly #counters: SessionCounters;
  #datagrams = NO_DATAGRAMS;
  #endedAssocs: number[] = NO_ASSOCS;
  #owesRates = false;
  #upKbps = 0;
  #downKbps = 0;

  constructor(counters: SessionCounters) {
    this.#counters = counters;
  }

  get hasWork(): boolean {
    return this.#owesRates || (this.#datagrams.count > 0 && !this.waits) ||
      this.#endedAssocs.length > 0;
  }

  get hasDatagrams(): boolean {
    return this.#datagrams.count > 0;
  }

  /** Bytes of the first datagram's frame; only while there is one. */
  get firstLength(): number {
    return this.#datagrams.firstLength;
  }

  get hasMemory(): boolean {
    return this.#datagrams.memory.length > 0;
  }

  /** Queues a datagram whose frame has at most `most` bytes; false: it can't, and is counted. */
  send(
    most: number,
    assoc: number,
    address: Uint8Array,
    addressAt: number,
    addressLength: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): boolean {
    const size = frames.datagramFrameBytes(assoc, addressLength, length);
    if (size > most) {
      this.#counters.datagramsTooLong++;
      return false;
    }
    if (this.#datagrams === NO_DATAGRAMS) this.#datagrams = new DatagramQueue(DATAGRAM_QUEUE_BYTES);
    const slot = this.#datagrams.reserve(size);
    if (slot < 0) {
      this.#counters.datagramsDropped++;
      return false;
    }
    const writer = queueWriter;
    writer.reset(this.#datagrams.memory, slot, slot + size);
    frames.writeDatagram(writer, assoc, address, addressAt, addressLength, bytes, at, length);
    this.#datagrams.commit(size);
    return true;
  }

  endAssoc(assoc: number): void {
    if (this.#endedAssocs === NO_ASSOCS) this.#endedAssocs = [];
    this.#endedAssocs.push(assoc);
  }

  sayRates(upKbps: number, downKbps: number): void {
    this.#upKbps = upKbps;
    this.#downKbps = downKbps;
    this.#owesRates = true;
  }

  /** A frame of ours was lost and is said again. */
  lost(kind: number, id: number): void {
    if (kind === FrameType.assocEnd) this.endAssoc(id);
    else if (kind === FrameType.rates) this.#owesRates = true;
  }

  /** Gives the memory back, with what is queued. */
  release(): void {
    this.#datagrams.release();
  }

  /** Gives the memory back unless something is queued. */
  shrink(): void {
    this.#datagrams.shrink();
  }

  // ---- into packets ----

  writeControl(writer: Writer, recorder: FrameRecorder): void {
    if (this.#owesRates) this.#writeRates(writer, recorder);
    while (this.#endedAssocs.length > 0) {
      const assoc = this.#endedAssocs[this.#endedAssocs.length - 1]!;
      if (writer.room < frames.singleFrameBytes(assoc)) break;
      if (!recorder.record(FrameType.assocEnd, assoc, 0, 0)) break;
      frames.writeAssocEnd(writer, assoc);
      this.#endedAssocs.pop();
    }
  }

  #writeRates(writer: Writer, recorder: FrameRecorder): void {
    if (writer.room < frames.pairFrameBytes(this.#upKbps, this.#downKbps)) return;
    if (!recorder.record(FrameType.rates, 0, 0, 0)) return;
    frames.writeRates(writer, this.#upKbps, this.#downKbps);
    this.#owesRates = false;
  }

  /** Datagrams that fit into a packet that begins at `start`. */
  writeDatagrams(writer: Writer, path: SessionPath, start: number): void {
    while (this.#datagrams.count > 0) {
      const length = this.#datagrams.firstLength;
      if (length > writer.room) {
        const wireBytes = length + DATA_OVERHEAD;
        if (writer.at === start && path.atMost(wireBytes) < wireBytes) this.waits = true;
        return;
      }
      this.writeFirst(writer);
    }
  }

  /** The first datagram, for which there is room. */
  writeFirst(writer: Writer): void {
    writer.copy(this.#datagrams.memory, this.#datagrams.firstAt, this.#datagrams.firstLength);
    this.#datagrams.shift();
  }

  /** Gives the first datagram up: it is longer than the peer takes. */
  dropFirst(): void {
    this.#counters.datagramsTooLong++;
    this.#datagrams.shift();
  }
}

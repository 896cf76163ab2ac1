/** Writes what streams have to say into packets: who waits longest first, one after another. */

import type { Recovery } from "../reliability/recovery.ts";
import type { RttEstimator } from "../reliability/rtt.ts";
import type { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import { FrameType } from "../wire/frames.ts";
import { Limit } from "./counters.ts";
import { Pending, type Stream } from "./stream.ts";
import type { Streams } from "./streams.ts";

/** Less room than this is not worth a stream's turn. */
export const SCRAP_BYTES = 24;

export class StreamOutput<Owner> {
  readonly #streams: Streams<Owner>;
  readonly #recovery: Recovery;
  readonly #writer: Writer;
  /** Frame records were spent: nothing that is sent again can be written before some come back. */
  isShort = false;
  /** The stream that was written last. */
  #last: Stream | undefined;

  constructor(streams: Streams<Owner>, recovery: Recovery, writer: Writer) {
    this.#streams = streams;
    this.#recovery = recovery;
    this.#writer = writer;
  }

  /** Why streams have nothing to send: a Limit, by the one that sent last. */
  get limit(): number {
    const last = this.#last;
    if (this.#streams.table.isStalled || last?.send.isBlocked) return Limit.flow;
    return last?.writerWaits ? Limit.buffer : Limit.app;
  }

  writeMaxData(now: number, rtt: RttEstimator): void {
    const { window } = this.#streams;
    // What the limit grows to is known only by growing it: the longest form has to fit.
    if (this.#writer.room < frames.singleFrameBytes(Number.MAX_SAFE_INTEGER)) return;
    if (!this.record(FrameType.maxData, 0, 0, 0)) return;
    frames.writeMaxData(this.#writer, window.update(now, rtt.smoothed, false));
    this.#streams.owesMaxData = false;
  }

  writeStreams(now: number, rtt: RttEstimator): void {
    const { table } = this.#streams;
    for (let turns = table.waiting; turns > 0 && this.#writer.room > SCRAP_BYTES; turns--) {
      const stream = table.dequeue();
      this.#writeStream(stream, now, rtt);
      // One that waits for the peer's MAX_DATA stays in the queue: see isStalled.
      if (stream.hasWork) table.enqueue(stream);
      if (this.isShort) return;
    }
  }

  /** Notes a frame that is about to be written; false: it can't be. */
  record(type: number, id: number, offset: number, length: number): boolean {
    if (this.#recovery.record(type, id, offset, length)) return true;
    this.isShort = true;
    return false;
  }

  #writeStream(stream: Stream, now: number, rtt: RttEstimator): void {
    if (stream.pending !== 0 && !this.#writeControl(stream, now, rtt)) return;
    this.#last = stream;
    const { send, id } = stream;
    const writer = this.#writer;
    const { credit } = this.#streams;
    // What was lost comes in pieces.
    while (writer.room > SCRAP_BYTES) {
      send.aim();
      const room = frames.streamDataThatFits(writer.room, id, send.pickedOffset);
      if (!send.pick(room, credit.available)) break;
      const { pickedOffset, pickedLength } = send;
      if (!this.#recovery.recordAt(FrameType.stream, id, pickedOffset, pickedLength)) {
        this.isShort = true;
        return;
      }
      frames.writeStreamHead(writer, id, pickedOffset, pickedLength);
      if (send.pickedIsNew) credit.consume(pickedLength);
      send.takePicked(writer.bytes, writer.at);
      writer.at += pickedLength;
    }
    if (!send.wantsFin || writer.room < frames.pairFrameBytes(id, send.end)) return;
    if (!this.record(FrameType.fin, id, 0, 0)) return;
    frames.writeFin(writer, id, send.end);
    send.finSent();
  }

  /** OPEN, OPENED, RST, MAX_STREAM; false when they did not all fit. */
  #writeControl(stream: Stream, now: number, rtt: RttEstimator): boolean {
    const { pending } = stream;
    if ((pending & Pending.open) !== 0 && !this.#writeAddress(stream, FrameType.open)) return false;
    if ((pending & Pending.opened) !== 0 && !this.#writeAddress(stream, FrameType.opened)) {
      return false;
    }
    if ((pending & Pending.rst) !== 0 && !this.#writeRst(stream)) return false;
    return (pending & Pending.maxStream) === 0 || this.#writeMaxStream(stream, now, rtt);
  }

  #writeAddress(stream: Stream, type: number): boolean {
    const { id, address, kindOrCode } = stream;
    const writer = this.#writer;
    if (writer.room < frames.openFrameBytes(id, address.length)) return false;
    if (!this.record(type, id, 0, 0)) return false;
    if (type === FrameType.open) {
      frames.writeOpen(writer, id, kindOrCode, address, 0, address.length);
      stream.pending &= ~Pending.open;
    } else {
      frames.writeOpened(writer, id, kindOrCode, address, 0, address.length);
      stream.pending &= ~Pending.opened;
    }
    return true;
  }

  #writeRst(stream: Stream): boolean {
    const { id, rstCode } = stream;
    if (this.#writer.room < frames.pairFrameBytes(id, rstCode)) return false;
    if (!this.record(FrameType.rst, id, 0, 0)) return false;
    frames.writeRst(this.#writer, id, rstCode);
    stream.pending &= ~Pending.rst;
    return true;
  }

  #writeMaxStream(stream: Stream, now: number, rtt: RttEstimator): boolean {
    const { id, window } = stream;
    const longest = frames.pairFrameBytes(id, Number.MAX_SAFE_INTEGER);
    if (this.#writer.room < longest || !this.record(FrameType.maxStream, id, 0, 0)) return false;
    const max = window.update(now, rtt.smoothed, !stream.isPaused);
    frames.writeMaxStream(this.#writer, id, max);
    stream.pending &= ~Pending.maxStream;
    return true;
  }
}

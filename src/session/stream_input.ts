/** What the peer says of streams: the frames OPEN to RST, and MAX_STREAM and MAX_DATA. */

import { type NumberCell, numberCell } from "../base/number_field.ts";
import { NO_ADDRESS } from "../wire/address.ts";
import { CloseCode, type FrameReader, FrameType, OpenedCode } from "../wire/frames.ts";
import { ANSWERS_MAX, REFUSALS_MAX } from "./limits.ts";
import { Pending, type Stream } from "./stream.ts";
import type { Streams } from "./streams.ts";

/** Where the data of a frame ends, for #admit. One thread, no re-entry. */
const dataEnd = numberCell();

export class StreamInput<Owner> {
  readonly #streams: Streams<Owner>;
  readonly #isClient: boolean;
  /** A frame found no room: its packet has to count as lost, so that the peer says it again. */
  refused = false;

  constructor(streams: Streams<Owner>, isClient: boolean) {
    this.#streams = streams;
    this.#isClient = isClient;
  }

  /** Takes a frame other than STREAM; false: it is not about streams. */
  onFrame(type: number, reader: FrameReader): boolean {
    switch (type) {
      case FrameType.open:
        this.#onOpen(reader);
        return true;
      case FrameType.opened:
        this.#onOpened(reader);
        return true;
      case FrameType.fin:
        this.#onFin(reader);
        return true;
      case FrameType.rst:
        this.#onRst(reader);
        return true;
      case FrameType.maxData:
        if (this.#streams.credit.raise(reader.max)) this.#streams.table.isStalled = false;
        return true;
      case FrameType.maxStream:
        this.#onMaxStream(reader);
        return true;
      default:
        return false;
    }
  }

  onStream(reader: FrameReader): void {
    const stream = this.#orEarly(reader.stream);
    if (stream === undefined) return;
    const { offset, length } = reader;
    dataEnd[0] = offset + length;
    const fresh = this.#admit(stream, dataEnd);
    if (fresh < 0) return;
    if (stream.isReset) return this.#streams.consume(stream, fresh);
    const { receive } = stream;
    // Bytes of it may have been here before.
    const known = Math.max(0, receive.base - offset);
    if (known >= length) return;
    this.#takeData(stream, reader, known);
  }

  /** Data whose first `known` bytes are old; the rest begins at, or behind, what the reader has. */
  #takeData(stream: Stream, { bytes, offset, dataAt, length }: FrameReader, known: number): void {
    const streams = this.#streams;
    const { receive } = stream;
    const start = offset + known;
    const at = dataAt + known;
    const left = length - known;
    if (!stream.isOpen || stream.isPaused || !receive.isNext(start)) {
      if (!receive.keep(start, bytes, at, left)) return this.#refuse();
      if (!stream.isOpen) return;
      streams.deliverHeld(stream);
      if (!streams.isClosed) streams.spanHoles(stream);
      return;
    }
    const taken = streams.offer(stream, bytes, at, left);
    if (stream.isReset || streams.isClosed) return;
    receive.advance(taken);
    streams.consume(stream, taken);
    if (taken === left) return streams.tellEnd(stream);
    stream.isPaused = true;
    if (!receive.keep(start + taken, bytes, at + taken, left - taken)) this.#refuse();
  }

  #refuse(): void {
    this.#streams.counters.framesRefused++;
    this.refused = true;
  }

  /** Counts data up to `end` against the limits; how much of it is new, or -1: it broke one. */
  #admit(stream: Stream, end: NumberCell): number {
    const streams = this.#streams;
    const fresh = stream.window.receive(end);
    if (fresh < 0 || !streams.window.receiveMore(fresh)) {
      streams.failure = CloseCode.flowControl;
      return -1;
    }
    if (stream.receive.admits(end)) return fresh;
    streams.failure = CloseCode.streamState;
    return -1;
  }

  /** Whether an id without a stream may yet be opened: it is not over, and can be the peer's. */
  #isToCome(id: number): boolean {
    const { table } = this.#streams;
    if (table.isClosed(id)) return false;
    // Only clients open streams, and in turn.
    if (this.#isClient) this.#streams.failure = CloseCode.streamState;
    else if (!table.isInReach(id)) this.#streams.failure = CloseCode.overLimit;
    else return true;
    return false;
  }

  /** The stream that STREAM or FIN speaks of, which may overtake OPEN. */
  #orEarly(id: number): Stream | undefined {
    const { table, counters } = this.#streams;
    const stream = table.get(id);
    if (stream !== undefined || !this.#isToCome(id)) return stream;
    if (table.takesUnopened) return table.add(id, false);
    counters.unopenedRefused++;
    this.refused = true;
    return undefined;
  }

  /** The stream that OPEN makes, or has data waiting for; undefined: nobody is told of any. */
  #opening(id: number): Stream | undefined {
    const streams = this.#streams;
    const { table, counters } = streams;
    const stream = table.get(id);
    if (stream === undefined && !this.#isToCome(id)) return undefined;
    if (stream?.isOpen) return undefined;
    const isFull = stream === undefined && table.isFull;
    const isDeaf = streams.unheardAnswers >= (isFull ? REFUSALS_MAX : ANSWERS_MAX);
    if (isDeaf || !table.takeOpening(streams.now)) {
      if (isDeaf) counters.answersFull++;
      else counters.openingsOverRate++;
      this.refused = true;
      return undefined;
    }
    if (stream !== undefined) {
      table.open(stream);
      return stream;
    }
    const added = table.add(id);
    if (!isFull) return added;
    counters.streamsRefused++;
    streams.answerStream(added, OpenedCode.tooManyStreams, NO_ADDRESS);
    return added;
  }

  #onOpen({ stream: id, bytes, addressAt, addressLength }: FrameReader): void {
    const streams = this.#streams;
    if (this.#isClient) {
      streams.failure = CloseCode.streamState;
      return;
    }
    const stream = this.#opening(id);
    // It has been refused, or the client has given it up before its OPEN came.
    if (stream === undefined || stream.isReset) return;
    stream.isTold = true;
    streams.events.opened(streams.owner, id, bytes, addressAt, addressLength);
    if (!streams.isClosed) streams.deliverHeld(stream);
  }

  #onOpened(reader: FrameReader): void {
    const { stream: id, code } = reader;
    const streams = this.#streams;
    if (!this.#isClient) {
      streams.failure = CloseCode.streamState;
      return;
    }
    const stream = streams.table.get(id);
    if (stream === undefined) this.#isToCome(id);
    if (stream === undefined || stream.isAnswered) return;
    stream.isAnswered = true;
    // Whoever gave the stream up does not want to hear.
    if (stream.isReset) return;
    if (code !== OpenedCode.ok) streams.end(stream);
    const { bytes, addressAt, addressLength } = reader;
    streams.events.answered(streams.owner, id, code, bytes, addressAt, addressLength);
    streams.removeIfGone(stream);
  }

  #onFin({ stream: id, final }: FrameReader): void {
    const streams = this.#streams;
    const stream = this.#orEarly(id);
    if (stream === undefined) return;
    dataEnd[0] = final;
    const fresh = this.#admit(stream, dataEnd);
    if (fresh < 0) return;
    if (!stream.receive.finish(final)) {
      streams.failure = CloseCode.streamState;
      return;
    }
    // Nothing is behind the end: what is still owed of MAX_STREAM would only hold the stream up.
    stream.pending &= ~Pending.maxStream;
    if (!stream.isReset) return streams.tellEnd(stream);
    streams.consume(stream, fresh);
    streams.removeIfGone(stream);
  }

  #onRst({ stream: id, code }: FrameReader): void {
    const streams = this.#streams;
    const stream = streams.table.get(id);
    // One that has overtaken its OPEN makes nothing: it is to come again.
    if (stream === undefined && this.#isToCome(id)) this.#refuse();
    if (stream === undefined || stream.isReset) return;
    streams.end(stream);
    if (stream.isTold) streams.events.wasReset(streams.owner, id, code);
    streams.removeIfGone(stream);
  }

  #onMaxStream({ stream: id, max }: FrameReader): void {
    const stream = this.#streams.table.get(id);
    // Of one that is to come it says nothing: its limit is the first one.
    if (stream === undefined) this.#isToCome(id);
    if (stream === undefined || max <= stream.send.limit) return;
    stream.send.limit = max;
    if (stream.send.hasWork) this.#streams.table.wake(stream);
  }
}

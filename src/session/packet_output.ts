/**
 * Puts packets together: on which path, how large, and what goes into them. StreamOutput writes
 * what is of streams, MessageOutput what is beside them.
 */

import type { Path as RecoveryPath } from "../reliability/path.ts";
import { ACK_LIST_LENGTH, type ReceivedNumbers } from "../reliability/received.ts";
import { PacketKind as SentKind, type Recovery } from "../reliability/recovery.ts";
import { Writer } from "../wire/cursor.ts";
import * as frames from "../wire/frames.ts";
import { AckRanges, FrameType } from "../wire/frames.ts";
import { ACK_RANGES_MAX, DATA_OVERHEAD } from "../wire/limits.ts";
import { Limit } from "./counters.ts";
import type { SessionLife } from "./life.ts";
import { PACKET_BYTES_MAX, RETRY_MS } from "./limits.ts";
import type { MessageOutput } from "./message_output.ts";
import { NO_PATH, type SessionPath, type SessionPaths } from "./paths.ts";
import { SCRAP_BYTES, StreamOutput } from "./stream_output.ts";
import type { Streams } from "./streams.ts";

const NO_BYTES = new Uint8Array(0);

// One thread, no re-entry (see Events): these live as long as the module.
const writer = new Writer();
const ackRanges = new AckRanges();
const ackPairs = new Float64Array(Math.max(ACK_LIST_LENGTH, 2 * ACK_RANGES_MAX));

export interface OutputParts<Owner> {
  readonly keepAliveMs: number;
  readonly streams: Streams<Owner>;
  readonly messages: MessageOutput;
  readonly paths: SessionPaths;
  readonly recovery: Recovery;
  readonly received: ReceivedNumbers;
  readonly life: SessionLife<Owner>;
}

export class PacketOutput<Owner> {
  /** Of the packet that build() wrote last: see Session. */
  builtNumber = 0;
  builtPath = NO_PATH;
  builtIsLarge = false;
  packetBytesMax: number = PACKET_BYTES_MAX;
  /** The active path when a packet was built last. */
  #builtActive = NO_PATH;
  /** Frame records were spent: when to try again. */
  #retryAt = Infinity;
  readonly #keepAliveMs: number;
  readonly #streams: Streams<Owner>;
  readonly #streamOutput: StreamOutput<Owner>;
  readonly #messages: MessageOutput;
  readonly #paths: SessionPaths;
  readonly #recovery: Recovery;
  readonly #received: ReceivedNumbers;
  readonly #life: SessionLife<Owner>;

  constructor(parts: OutputParts<Owner>) {
    const { keepAliveMs, streams, messages, paths, recovery, received, life } = parts;
    this.#keepAliveMs = keepAliveMs;
    this.#streams = streams;
    this.#streamOutput = new StreamOutput(streams, recovery, writer);
    this.#messages = messages;
    this.#paths = paths;
    this.#recovery = recovery;
    this.#received = received;
    this.#life = life;
  }

  /** More may be sent than before: whatever waited is looked at again. */
  unstall(): void {
    this.#streams.table.isStalled = false;
    this.#messages.waits = false;
  }

  /** Frame records may have come back. */
  recordsCame(): void {
    this.#streamOutput.isShort = false;
  }

  build(now: number, bytes: Uint8Array, at: number, room: number): number {
    if (!this.#life.isOpen) return this.#buildClose(now, bytes, at, room);
    const { active, count } = this.#paths;
    this.#streams.stampResets(now);
    if (this.#builtActive !== active) this.#leavePaths();
    for (let i = 0; i < count; i++) {
      if (i === active) continue;
      const path = this.#paths.at(i);
      if (path === undefined || (!path.owesNow(now) && path.recovery.probes === 0)) continue;
      const length = this.#buildOn(now, path, bytes, at, room);
      if (length > 0) return length;
    }
    const path = this.#paths.at(active);
    return path === undefined ? 0 : this.#buildOn(now, path, bytes, at, room);
  }

  /** Data goes another way now: what is in flight where nobody answers must not wait there. */
  #leavePaths(): void {
    this.#builtActive = this.#paths.active;
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i)?.recovery;
      if (path === undefined || i === this.#paths.active) continue;
      if (path.ptoCount > 0 || path.dead) this.#recovery.abandon(i);
    }
  }

  /** The same when the probe timer of a path runs out that data has left. */
  leaveSilentPaths(): void {
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined) continue;
      const { ptoCount } = path.recovery;
      if (ptoCount > path.timeouts && i !== this.#paths.active) this.#recovery.abandon(i);
      path.timeouts = ptoCount;
    }
  }

  #buildOn(now: number, path: SessionPath, bytes: Uint8Array, at: number, room: number): number {
    if (path.isBlocked) return 0;
    const { recovery } = path;
    const isActive = path.index === this.#paths.active;
    const maySend = recovery.canSend(now) && this.#recovery.hasRoom();
    const ackDue = isActive && this.#received.ackDue(now);
    if (isActive && maySend && !ackDue && this.#messages.hasDatagrams && !path.owesNow(now)) {
      const large = this.#buildLarge(now, path, bytes, at, room);
      if (large > 0) return large;
    }
    const probe = maySend && !ackDue ? this.#mtuProbe(now, path, room) : 0;
    const size = path.atMost(probe > 0 ? probe : recovery.packetBytes);
    const most = Math.min(room, size - DATA_OVERHEAD);
    if (most <= 0) return 0;
    writer.reset(bytes, at, at + most);
    const hasData = isActive && maySend && probe === 0 && this.#hasData();
    const owes = path.owesNow(now);
    const wantsPing = recovery.probes > 0 || (isActive && this.#pingDue(now));
    const ack = ackDue ||
      (probe === 0 && (hasData || owes || wantsPing) && this.#received.ackWaiting);
    if (ack) this.#writeAck(now);
    const afterAck = writer.at;
    if (owes) this.#writePathFrames(now, path);
    if (hasData) this.#writeData(now, path, at);
    if (probe > 0) this.#writeProbe();
    // ACKs alone are never acknowledged: now and then one asks for it, so that ranges can go.
    const asks = wantsPing || (afterAck > at && this.#received.wantsPing());
    if (writer.at === afterAck && asks) frames.writePing(writer, 0, 0);
    const length = writer.at - at;
    const eliciting = writer.at > afterAck;
    if (afterAck > at) this.#received.onAckSent(eliciting);
    if (length > 0) {
      return this.#sent(now, path, length, probe > 0 ? SentKind.mtuProbe : +eliciting);
    }
    if (isActive) {
      if (maySend) recovery.onAppLimited();
      this.#streams.counters.limits.note(now, this.#limit(recovery, maySend));
    }
    this.#recovery.discard();
    return 0;
  }

  /** Why nothing more goes out on the active path now: a Limit. */
  #limit(path: RecoveryPath, maySend: boolean): number {
    if (!this.#hasData()) return this.#streamOutput.limit;
    if (maySend) return Limit.flow;
    return path.windowOpen && this.#recovery.hasRoom() ? Limit.pacing : Limit.window;
  }

  /** Bytes of the first datagram where it is larger than the path's packets; or 0. */
  get largeBytes(): number {
    if (!this.#messages.hasDatagrams || !this.#life.isOpen) return 0;
    const length = this.#messages.firstLength;
    const path = this.#paths.at(this.#paths.active)?.recovery;
    return path === undefined || length <= path.packetBytes - DATA_OVERHEAD ? 0 : length;
  }

  /** A packet of one datagram that is larger than the path's packets; its length, or 0. */
  #buildLarge(now: number, path: SessionPath, bytes: Uint8Array, at: number, room: number): number {
    const messages = this.#messages;
    const length = messages.firstLength;
    if (length <= path.recovery.packetBytes - DATA_OVERHEAD) return 0;
    if (length > this.packetBytesMax - DATA_OVERHEAD) {
      // The peer has said what it takes since it was queued.
      messages.dropFirst();
      return 0;
    }
    const wireBytes = length + DATA_OVERHEAD;
    if (path.atMost(wireBytes) < wireBytes) messages.waits = true;
    if (messages.waits || length > room) return 0;
    writer.reset(bytes, at, at + length);
    messages.writeFirst(writer);
    this.#sent(now, path, length, SentKind.fragmented);
    this.builtIsLarge = true;
    return length;
  }

  #sent(now: number, path: SessionPath, length: number, kind: number): number {
    this.builtIsLarge = false;
    const wireBytes = length + DATA_OVERHEAD;
    this.builtNumber = this.#recovery.onSent(now, path.index, wireBytes, kind);
    this.builtPath = path.index;
    path.sentBytes += wireBytes;
    this.#life.lastSent = now;
    this.#streams.counters.packetsBuilt++;
    return length;
  }

  /** The size of a path MTU probe to send now, or 0. Only where data flows: it is for data. */
  #mtuProbe(now: number, { isProven, recovery }: SessionPath, room: number): number {
    if (!isProven || recovery.packetsInFlight === 0 || recovery.probes > 0) return 0;
    const size = recovery.pmtu.probe(now);
    return size - DATA_OVERHEAD <= room ? size : 0;
  }

  #writeProbe(): void {
    frames.writePing(writer, 0, 0);
    frames.writePadding(writer, writer.room);
  }

  #hasData(): boolean {
    if (this.#streamOutput.isShort) return false;
    return this.#messages.hasWork || this.#streams.hasWork;
  }

  /** As a comparison, since a time that is returned would be garbage in every packet. */
  #pingDue(now: number): boolean {
    return this.#streams.table.count > 0 && now >= this.#life.lastHeard + this.#keepAliveMs &&
      now >= this.#life.lastSent + this.#keepAliveMs;
  }

  #writeAck(now: number): void {
    const count = this.#received.fill(ackPairs);
    ackRanges.clear();
    for (let i = 0; i < count; i++) ackRanges.add(ackPairs[2 * i + 1]!, ackPairs[2 * i]!);
    const delayUs = Math.round(this.#received.ackDelay(now) * 1000);
    const fitting = frames.ackRangesThatFit(ackRanges, delayUs, writer.room);
    if (!frames.writeAck(writer, ackRanges, fitting, delayUs)) return;
    // Without a record its ranges are said once more, which harms nobody.
    this.#recovery.record(FrameType.ack, 0, ackRanges.largest(0), 0);
  }

  #writePathFrames(now: number, path: SessionPath): void {
    path.writeEchoes(now, writer);
    if (path.owesPing && writer.room >= frames.ECHO_FRAME_BYTES) {
      path.owesPing = false;
      // Without a record it is not repeated when it is lost: then the driver's next one tells.
      this.#recovery.record(FrameType.ping, path.index, path.pingHigh, path.pingLow);
      frames.writePing(writer, path.pingHigh, path.pingLow);
    }
    const { sequence } = this.#paths;
    if (!path.owesStatus || writer.room < frames.pathStatusFrameBytes(sequence)) return;
    // Without a record it stays owed, and goes with the next packet as well.
    path.owesStatus = !this.#recovery.record(FrameType.pathStatus, 0, sequence, 0);
    frames.writePathStatus(writer, sequence, true);
  }

  /** Session frames, then datagrams, then streams in turn. `start`: where the packet begins. */
  #writeData(now: number, path: SessionPath, start: number): void {
    const before = writer.at;
    const { rtt } = path.recovery;
    const output = this.#streamOutput;
    if (this.#streams.owesMaxData) output.writeMaxData(now, rtt);
    this.#messages.writeControl(writer, output);
    this.#messages.writeDatagrams(writer, path, start);
    if (!this.#streams.table.isStalled) output.writeStreams(now, rtt);
    if (output.isShort) this.#retryAt = now + RETRY_MS;
    else if (writer.at === start) this.#streams.table.isStalled = true;
    // So that packets of a burst have one size for GSO.
    const { room } = writer;
    if (writer.at > before && room > 0 && room <= SCRAP_BYTES) frames.writePadding(writer, room);
  }

  #buildClose(now: number, bytes: Uint8Array, at: number, room: number): number {
    const life = this.#life;
    if (!life.owesClose || life.isDone) return 0;
    life.closeSaid();
    const path = this.#paths.at(this.#paths.active);
    if (path === undefined || path.isBlocked) return 0;
    writer.reset(bytes, at, at + room);
    if (!frames.writeClose(writer, life.closeCode, NO_BYTES)) return 0;
    return this.#sent(now, path, writer.at - at, SentKind.quiet);
  }

  // ---- time ----

  /** When a packet is to be built at the latest, timers of recovery aside. */
  nextSend(now: number): number {
    let next = this.#retryAt;
    for (let i = 0; i < this.#paths.count; i++) {
      const path = this.#paths.at(i);
      if (path === undefined || path.isBlocked) continue;
      next = Math.min(next, path.nextSend(now));
      if (i === this.#paths.active) next = Math.min(next, this.#nextOnActive(now, path.recovery));
      else if (path.recovery.probes > 0) next = Math.min(next, now);
    }
    return next;
  }

  #nextOnActive(now: number, path: RecoveryPath): number {
    const next = Math.min(this.#received.nextTimeout(), this.#pingAt());
    if (path.probes > 0) return Math.min(next, now);
    if (this.#hasData() && this.#recovery.hasRoom()) return Math.min(next, path.nextSend(now));
    path.rest();
    return next;
  }

  /** When our own sign of life is due. */
  #pingAt(): number {
    if (this.#streams.table.count === 0) return Infinity;
    return Math.max(this.#life.lastHeard, this.#life.lastSent) + this.#keepAliveMs;
  }

  onTimeout(now: number): void {
    if (this.#retryAt > now) return;
    this.#retryAt = Infinity;
    this.recordsCame();
  }
}

/** Events out of the kernel: BPF ring buffers and perf buffers, drained a batch a call. */

import { checked, SysError } from "../errors.ts";
import { Handle } from "../handle.ts";
import type { Libraries } from "../libraries.ts";
import type { BpfMap } from "./map.ts";

/** In front of each record of a batch: length u32, cpu u32. Records are padded to 8 bytes. */
const RECORD_HEADER_BYTES = 8;

export class EventRing extends Handle {
  readonly #libs: Libraries;
  readonly #pointer: Deno.PointerObject;

  private constructor(libs: Libraries, label: string, pointer: Deno.PointerObject) {
    super(label);
    this.#libs = libs;
    this.#pointer = pointer;
  }

  static ofRingBuffer(libs: Libraries, map: BpfMap): EventRing {
    const error = new Int32Array(1);
    const pointer = libs.native.symbols.ph_ring_open(map.fd, error);
    return EventRing.#opened(libs, `ring buffer ${map.info.name}`, pointer, error[0]!);
  }

  /** One buffer of `pages` (a power of two) for each CPU, on a perf event array. */
  static ofPerfBuffer(libs: Libraries, map: BpfMap, pages = 64): EventRing {
    const error = new Int32Array(1);
    const pointer = libs.native.symbols.ph_perf_open(map.fd, pages, error);
    return EventRing.#opened(libs, `perf buffer ${map.info.name}`, pointer, error[0]!);
  }

  static #opened(
    libs: Libraries,
    label: string,
    pointer: Deno.PointerValue,
    error: number,
  ): EventRing {
    if (pointer === null) throw new SysError(`open ${label}`, -error);
    return new EventRing(libs, label, pointer);
  }

  /**
   * Moves as many whole records as fit into `out`; the bytes used, 0 when there was nothing.
   * `eachRecord` walks them.
   */
  drain(out: Uint8Array<ArrayBuffer>): number {
    this.assertOpen();
    const result = this.#libs.native.symbols.ph_ring_drain(this.#pointer, out, out.length);
    return result >= 0 ? result : checked(result, `drain ${this.label}`);
  }

  /** Readable while there are records. */
  get fd(): number {
    this.assertOpen();
    return this.#libs.native.symbols.ph_ring_fd(this.#pointer);
  }

  /** Records the kernel had no room for (perf buffers; a ring buffer's program counts its own). */
  get lost(): bigint {
    this.assertOpen();
    return this.#libs.native.symbols.ph_ring_lost(this.#pointer);
  }

  protected release(): void {
    this.#libs.native.symbols.ph_ring_close(this.#pointer);
  }
}

/** Calls `visit` with the offset and length of each record in the first `used` bytes. */
export function eachRecord(
  view: DataView,
  used: number,
  visit: (offset: number, length: number, cpu: number) => void,
): void {
  let at = 0;
  while (at + RECORD_HEADER_BYTES <= used) {
    const length = view.getUint32(at, true);
    const offset = at + RECORD_HEADER_BYTES;
    if (offset + length > used) {
      throw new RangeError(`Cannot read a record of ${length} bytes at ${at} of ${used}`);
    }
    visit(offset, length, view.getUint32(at + 4, true));
    at = offset + ((length + 7) & ~7);
  }
}

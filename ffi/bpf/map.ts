/** BPF maps: contents by key, in batches, summed over CPUs; pinned and found again. */

import { checked } from "../errors.ts";
import { Handle } from "../handle.ts";
import type { Libraries } from "../libraries.ts";
import { BpfMapCreateOpts, BpfMapInfo, BpfMapType } from "./libbpf.gen.ts";
import { cString, optionsOf, textOf } from "../memory.ts";

/** What the kernel says of a map. */
export interface MapInfo {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** BPF_ANY, BPF_NOEXIST, BPF_EXIST */
export type Write = "any" | "new" | "existing";
const writeFlags = { any: 0n, new: 1n, existing: 2n } as const;

const ENOENT = -2;
const E2BIG = -7;
const EEXIST = -17;
const ENOSPC = -28;
const ENOTSUPP = -524;
const EINVAL = -22;
const EOPNOTSUPP = -95;
const BATCH_DEFAULT = 4096;

/** Whose entries mean the same in a map of another size, or under another program. */
const hashTypes: ReadonlySet<number> = new Set([
  BpfMapType.hash,
  BpfMapType.lruHash,
  BpfMapType.percpuHash,
  BpfMapType.lruPercpuHash,
]);

export function isHash({ type }: Pick<MapShape, "type">): boolean {
  return hashTypes.has(type);
}

const perCpuTypes: ReadonlySet<number> = new Set([
  BpfMapType.percpuHash,
  BpfMapType.percpuArray,
  BpfMapType.lruPercpuHash,
]);

/** A key of four bytes, as array maps have them. */
export function keyOfIndex(index: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.of(index).buffer);
}

/** Rows of a batch: `count` keys and values, one behind the other. Reused between batches. */
export interface MapRows {
  readonly keys: Uint8Array<ArrayBuffer>;
  readonly values: Uint8Array<ArrayBuffer>;
  count: number;
}

export class BpfMap extends Handle {
  readonly info: MapInfo;
  /** Bytes that one look-up fills: for per-CPU maps one value, padded to 8, for each CPU. */
  readonly slotSize: number;
  readonly cpus: number;
  readonly #libs: Libraries;
  readonly #fd: number;
  readonly #owned: boolean;
  #batches = true;

  /** Takes over `fd` when `owned`; else it belongs to an object that outlives the use. */
  constructor(libs: Libraries, fd: number, owned: boolean) {
    const info = readMapInfo(libs, fd);
    super(`map ${info.name}`);
    this.#libs = libs;
    this.#fd = fd;
    this.#owned = owned;
    this.info = info;
    this.cpus = perCpuTypes.has(info.type) ? possibleCpus(libs) : 1;
    this.slotSize = this.cpus === 1 && !perCpuTypes.has(info.type)
      ? info.valueSize
      : align8(info.valueSize) * this.cpus;
  }

  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /** Fills `value` and answers true, or false when there is no such key. Allocates nothing. */
  read(key: Uint8Array<ArrayBuffer>, value: Uint8Array<ArrayBuffer>): boolean {
    this.assertOpen();
    this.#expect(key, this.info.keySize, "key");
    this.#expect(value, this.slotSize, "value");
    const result = this.#libs.libbpf.bpf_map_lookup_elem(this.#fd, key, value);
    if (result === ENOENT) return false;
    this.#check("bpf_map_lookup_elem", result);
    return true;
  }

  get(key: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
    const value = new Uint8Array(this.slotSize);
    return this.read(key, value) ? value : undefined;
  }

  set(key: Uint8Array<ArrayBuffer>, value: Uint8Array<ArrayBuffer>, write: Write = "any"): void {
    this.assertOpen();
    this.#expect(key, this.info.keySize, "key");
    this.#expect(value, this.slotSize, "value");
    const flags = writeFlags[write];
    this.#check(
      "bpf_map_update_elem",
      this.#libs.libbpf.bpf_map_update_elem(this.#fd, key, value, flags),
    );
  }

  /**
   * Puts a map into a map of maps, in the place of another in one step; programs that look see the
   * one or the other. Once this returns, none looks at the other any more. What `get` answers for
   * the key is the map's id.
   */
  put(key: Uint8Array<ArrayBuffer>, inner: BpfMap, write: Write = "any"): void {
    this.set(key, new Uint8Array(Uint32Array.of(inner.fd).buffer), write);
  }

  /** Adds an entry unless its key is there, or there is no room: says which. */
  add(
    key: Uint8Array<ArrayBuffer>,
    value: Uint8Array<ArrayBuffer>,
  ): "added" | "present" | "full" {
    this.assertOpen();
    this.#expect(key, this.info.keySize, "key");
    this.#expect(value, this.slotSize, "value");
    const flags = writeFlags.new;
    const result = this.#libs.libbpf.bpf_map_update_elem(this.#fd, key, value, flags);
    if (result === EEXIST) return "present";
    if (result === E2BIG) return "full";
    this.#check("bpf_map_update_elem", result);
    return "added";
  }

  /** Answers whether the key was there. */
  delete(key: Uint8Array<ArrayBuffer>): boolean {
    this.assertOpen();
    this.#expect(key, this.info.keySize, "key");
    const result = this.#libs.libbpf.bpf_map_delete_elem(this.#fd, key);
    if (result === ENOENT) return false;
    this.#check("bpf_map_delete_elem", result);
    return true;
  }

  /**
   * All keys, as copies. A key that is deleted meanwhile makes the kernel start over, so the walk
   * is bounded by the map's size and may repeat or miss what changes under it.
   */
  *keys(): Generator<Uint8Array<ArrayBuffer>> {
    this.assertOpen();
    let previous: Uint8Array<ArrayBuffer> | null = null;
    for (let i = 0; i < this.info.maxEntries; i++) {
      const key = new Uint8Array(this.info.keySize);
      const result = this.#libs.libbpf.bpf_map_get_next_key(this.#fd, previous, key);
      if (result === ENOENT) return;
      this.#check("bpf_map_get_next_key", result);
      yield key;
      previous = key;
    }
  }

  /** Buffers for `batches` and `setMany`, of at most `count` rows. */
  rows(count = Math.min(this.info.maxEntries, BATCH_DEFAULT)): MapRows {
    return {
      keys: new Uint8Array(count * this.info.keySize),
      values: new Uint8Array(count * this.slotSize),
      count: 0,
    };
  }

  /**
   * Reads the whole map, up to a buffer of rows at a time; the rows are the same object each time.
   * `take` also deletes them. Falls back to one look-up a key where the kernel has no batches.
   */
  *batches(options: { rows?: MapRows; take?: boolean } = {}): Generator<MapRows> {
    this.assertOpen();
    const rows = options.rows ?? this.rows();
    const take = options.take ?? false;
    if (this.#batches) {
      const done = yield* this.#kernelBatches(rows, take);
      if (done) return;
      this.#batches = false;
    }
    yield* this.#singleBatches(rows, take);
  }

  /** Returns false when the kernel can't do it for this map, before anything was yielded. */
  *#kernelBatches(first: MapRows, take: boolean): Generator<MapRows, boolean> {
    const { libbpf } = this.#libs;
    const call = take ? libbpf.bpf_map_lookup_and_delete_batch : libbpf.bpf_map_lookup_batch;
    const name = take ? "bpf_map_lookup_and_delete_batch" : "bpf_map_lookup_batch";
    // A cursor is opaque: a bucket number or a key, so at least as large as either.
    const cursor = new Uint8Array(Math.max(8, this.info.keySize));
    const count = new Uint32Array(1);
    let rows = first;
    for (let started = false;;) {
      const capacity = rows.keys.length / this.info.keySize;
      count[0] = capacity;
      const result = call(
        this.#fd,
        started ? cursor : null,
        cursor,
        rows.keys,
        rows.values,
        count,
        null,
      );
      if (isUnsupported(result) && !started) return false;
      if (result === ENOSPC && capacity < 2 * this.info.maxEntries) {
        // One bucket of the hash holds more than the buffer.
        rows = this.rows(capacity * 2);
        continue;
      }
      if (result !== ENOENT) this.#check(name, result);
      rows.count = count[0]!;
      if (rows.count > 0) yield rows;
      if (result === ENOENT) return true;
      started = true;
    }
  }

  *#singleBatches(rows: MapRows, take: boolean): Generator<MapRows> {
    const capacity = rows.keys.length / this.info.keySize;
    rows.count = 0;
    for (const key of take ? [...this.keys()] : this.keys()) {
      const at = rows.count * this.slotSize;
      if (!this.read(key, rows.values.subarray(at, at + this.slotSize))) continue;
      rows.keys.set(key, rows.count * this.info.keySize);
      rows.count++;
      if (take) this.delete(key);
      if (rows.count < capacity) continue;
      yield rows;
      rows.count = 0;
    }
    if (rows.count > 0) yield rows;
  }

  /** Entries there are, of a map that is no array; the whole map is read for it. */
  count(): number {
    let count = 0;
    for (const rows of this.batches()) count += rows.count;
    return count;
  }

  /** Writes `rows.count` rows, in one call where the kernel can. */
  setMany(rows: MapRows): void {
    this.assertOpen();
    if (this.#batches && rows.count > 0) {
      const count = new Uint32Array([rows.count]);
      const { keys, values } = rows;
      const result = this.#libs.libbpf.bpf_map_update_batch(this.#fd, keys, values, count, null);
      if (!isUnsupported(result)) return this.#check("bpf_map_update_batch", result);
      this.#batches = false;
    }
    this.#eachRow(rows, (key, value) => this.set(key, value));
  }

  /** Deletes the keys of `rows`; those that are not there are no error. */
  deleteMany(rows: MapRows): void {
    this.assertOpen();
    this.#eachRow(rows, (key) => this.delete(key));
  }

  #eachRow(
    rows: MapRows,
    visit: (key: Uint8Array<ArrayBuffer>, value: Uint8Array<ArrayBuffer>) => void,
  ): void {
    const { keySize } = this.info;
    for (let i = 0; i < rows.count; i++) {
      visit(
        rows.keys.subarray(i * keySize, (i + 1) * keySize),
        rows.values.subarray(i * this.slotSize, (i + 1) * this.slotSize),
      );
    }
  }

  /**
   * For a per-CPU array whose values are u64 fields: their sums over all CPUs, one number a field,
   * the fields of entry 0 first. Sums are exact up to 2^53.
   */
  sums(rows: MapRows = this.rows(this.info.maxEntries)): Float64Array {
    const fields = this.info.valueSize / 8;
    if (!Number.isInteger(fields)) {
      throw new TypeError(`Cannot sum ${this.label} as its values are not made of u64`);
    }
    const total = new Float64Array(this.info.maxEntries * fields);
    const stride = align8(this.info.valueSize) / 4;
    for (const batch of this.batches({ rows })) {
      const keys = new Uint32Array(batch.keys.buffer, 0, batch.count);
      const words = new Uint32Array(batch.values.buffer, 0, (batch.count * this.slotSize) / 4);
      for (let row = 0, at = 0; row < batch.count; row++) {
        const base = keys[row]! * fields;
        for (let cpu = 0; cpu < this.cpus; cpu++, at += stride) {
          for (let field = 0; field < fields; field++) {
            const low = words[at + 2 * field]!;
            total[base + field]! += low + words[at + 2 * field + 1]! * 0x1_0000_0000;
          }
        }
      }
    }
    return total;
  }

  pin(path: string): void {
    this.assertOpen();
    this.#check(`pin ${path}`, this.#libs.libbpf.bpf_obj_pin(this.#fd, cString(path)));
  }

  protected release(): void {
    if (this.#owned) this.#libs.native.symbols.ph_close(this.#fd);
  }

  #check(call: string, result: number): void {
    if (result < 0) checked(result, `${call} ${this.label}`);
  }

  #expect(bytes: Uint8Array, size: number, what: string): void {
    if (bytes.length === size) return;
    throw new RangeError(
      `Cannot use ${this.label} as its ${what} has ${size} bytes: ` +
        `current value has ${bytes.length}`,
    );
  }
}

function isUnsupported(result: number): boolean {
  return result === ENOTSUPP || result === EINVAL || result === EOPNOTSUPP;
}

function align8(size: number): number {
  return (size + 7) & ~7;
}

let cpuCount = 0;

/** CPUs the kernel reserves per-CPU slots for. */
export function possibleCpus(libs: Libraries): number {
  if (cpuCount === 0) {
    cpuCount = checked(libs.libbpf.libbpf_num_possible_cpus(), "count CPUs");
  }
  return cpuCount;
}

function readMapInfo(libs: Libraries, fd: number): MapInfo {
  const bytes = new Uint8Array(BpfMapInfo.size);
  const length = new Uint32Array([bytes.length]);
  const result = libs.libbpf.bpf_obj_get_info_by_fd(fd, bytes, length);
  checked(result, () => `bpf_obj_get_info_by_fd ${fd}`);
  const info = BpfMapInfo.read(new DataView(bytes.buffer));
  return {
    id: info.id,
    name: textOf(info.name),
    type: info.type,
    keySize: info.keySize,
    valueSize: info.valueSize,
    maxEntries: info.maxEntries,
    flags: info.mapFlags,
  };
}

export interface MapShape {
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
}

/**
 * Makes a map. One of maps (ARRAY_OF_MAPS, HASH_OF_MAPS; its values have 4 bytes) takes only maps
 * that are made as `inner` is.
 */
export function createMap(libs: Libraries, shape: MapShape, inner?: BpfMap): BpfMap {
  const mapFlags = shape.flags ?? 0;
  const opts = optionsOf(BpfMapCreateOpts, { mapFlags, innerMapFd: inner?.fd ?? 0 });
  const fd = libs.libbpf.bpf_map_create(
    shape.type,
    cString(shape.name),
    shape.keySize,
    shape.valueSize,
    shape.maxEntries,
    opts,
  );
  return new BpfMap(libs, checked(fd, () => `create map ${shape.name}`), true);
}

/** The map pinned at `path`, or undefined when nothing is. */
export function openPinnedMap(libs: Libraries, path: string): BpfMap | undefined {
  const fd = libs.libbpf.bpf_obj_get(cString(path));
  if (fd === ENOENT) return undefined;
  return new BpfMap(libs, checked(fd, () => `open map ${path}`), true);
}

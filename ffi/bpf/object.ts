/**
 * BPF objects: open from memory → set constants, sizes, maps to reuse → load → maps and programs.
 */

import { BpfError } from "./bpf_error.ts";
import { checked } from "../errors.ts";
import { Handle } from "../handle.ts";
import { BpfObjectOpenOpts } from "./libbpf.gen.ts";
import type { Libraries } from "../libraries.ts";
import { BpfMap, type MapShape } from "./map.ts";
import { addressOf, copyAt, cString, holding, optionsOf, stringAt } from "../memory.ts";
import { BpfProgram } from "./program.ts";

const LIBBPF_LOG_BYTES = 256 << 10;
const VERIFIER_LOG_BYTES = 4 << 20;

const RODATA = ".rodata";
/** Of BTF: a section of variables, and the part of a type that all kinds have. */
const KIND_DATASEC = 15;
const BTF_TYPE_BYTES = 12;

/** Where a `const volatile` variable lies in .rodata. */
interface Constant {
  readonly offset: number;
  readonly size: number;
}

export interface LoadOptions {
  /** Keeps the verifier's output for each program even when it succeeds: see `verifierLogs`. */
  readonly verbose?: boolean;
}

export class BpfObject extends Handle {
  readonly #libs: Libraries;
  readonly #pointer: Deno.PointerObject;
  readonly #mapPointers = new Map<string, Deno.PointerObject>();
  readonly #programPointers = new Map<string, Deno.PointerObject>();
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #logs = new Map<string, Uint8Array<ArrayBuffer>>();
  #loaded = false;
  #isLoading = false;
  #constants: ReadonlyMap<string, Constant> | undefined;

  /** Opens without loading. `bytes` may be dropped afterwards: libbpf keeps its own copy. */
  constructor(libs: Libraries, name: string, bytes: Uint8Array<ArrayBuffer>) {
    super(`BPF object ${name}`);
    this.#libs = libs;
    this.#pointer = openMemory(libs, name, bytes);
    const { libbpf } = libs;
    let map = libbpf.bpf_object__next_map(this.#pointer, null);
    for (; map !== null; map = libbpf.bpf_object__next_map(this.#pointer, map)) {
      this.#mapPointers.set(stringAt(libbpf.bpf_map__name(map)), map);
    }
    let program = libbpf.bpf_object__next_program(this.#pointer, null);
    for (; program !== null; program = libbpf.bpf_object__next_program(this.#pointer, program)) {
      this.#programPointers.set(stringAt(libbpf.bpf_program__name(program)), program);
    }
  }

  /** What the object declares of the maps it makes; those of global variables are left out. */
  shapes(): MapShape[] {
    this.assertOpen();
    const { libbpf } = this.#libs;
    const own = [...this.#mapPointers].filter(([, map]) =>
      !libbpf.bpf_map__is_internal(map) && libbpf.bpf_map__autocreate(map)
    );
    return own.map(([name, map]) => ({
      name,
      type: libbpf.bpf_map__type(map),
      keySize: libbpf.bpf_map__key_size(map),
      valueSize: libbpf.bpf_map__value_size(map),
      maxEntries: libbpf.bpf_map__max_entries(map),
      flags: libbpf.bpf_map__map_flags(map),
    }));
  }

  /** Sets a `const volatile` integer of the program: the verifier removes what it turns off. */
  setConstant(name: string, value: number | bigint): void {
    this.#assertNotLoaded("set a constant");
    const { libbpf } = this.#libs;
    const map = [...this.#mapPointers].find(([key]) => key.endsWith(RODATA))?.[1];
    const variable = (this.#constants ??= this.#findConstants()).get(name);
    if (map === undefined || variable === undefined) {
      throw new RangeError(`Cannot set ${name} as ${this.label} has no such constant`);
    }
    const size = new BigUint64Array(1);
    const initial = libbpf.bpf_map__initial_value(map, new Uint8Array(size.buffer));
    if (initial === null) throw new Error(`Cannot set ${name} as ${this.label} has no .rodata`);
    const bytes = copyAt(initial, Number(size[0]));
    writeInteger(new DataView(bytes.buffer), variable.offset, variable.size, value);
    const result = libbpf.bpf_map__set_initial_value(map, bytes, BigInt(bytes.length));
    checked(result, () => `set ${name} of ${this.label}`);
  }

  /** Changes a map's size before loading. */
  resize(name: string, maxEntries: number): void {
    this.#assertNotLoaded("resize a map");
    const result = this.#libs.libbpf.bpf_map__set_max_entries(this.#mapPointer(name), maxEntries);
    checked(result, () => `resize map ${name}`);
  }

  /** Makes the programs use an existing map (which stays the caller's to close) for this one. */
  reuse(name: string, map: BpfMap): void {
    this.#assertNotLoaded("reuse a map");
    const result = this.#libs.libbpf.bpf_map__reuse_fd(this.#mapPointer(name), map.fd);
    checked(result, () => `reuse map ${name}`);
  }

  /** Which maps a map of maps takes, where the object does not say so: those made as this one. */
  setInner(name: string, inner: BpfMap): void {
    this.#assertNotLoaded("set an inner map");
    const pointer = this.#mapPointer(name);
    const result = this.#libs.libbpf.bpf_map__set_inner_map_fd(pointer, inner.fd);
    checked(result, () => `set the inner map of ${name}`);
  }

  /** Does without a map: good where a constant keeps the programs from ever coming to it. */
  omit(name: string): void {
    this.#assertNotLoaded("leave out a map");
    const result = this.#libs.libbpf.bpf_map__set_autocreate(this.#mapPointer(name), false);
    checked(result, () => `leave out map ${name}`);
  }

  /** Leaves a program out of loading. */
  skip(program: string): void {
    this.#assertNotLoaded("leave out a program");
    this.#libs.libbpf.bpf_program__set_autoload(this.#programPointer(program), false);
  }

  /** Creates the maps and passes the programs through the verifier. */
  load(options: LoadOptions = {}): this {
    this.#assertNotLoaded("load");
    if (options.verbose) this.#keepVerifierLogs();
    const { libbpf, native } = this.#libs;
    const used = new Uint32Array(1);
    const load = libbpf.bpf_object__load;
    const { ph_object_load } = native.symbols;
    this.#loads(
      ph_object_load(load, this.#pointer, logBytes, logBytes.length, used),
      logBytes,
      used,
    );
    return this;
  }

  /** As `load`, on another thread: nothing else may be done with the object meanwhile. */
  async loadBeside(): Promise<this> {
    this.#assertNotLoaded("load");
    const { libbpf, native } = this.#libs;
    const [log, used] = [new Uint8Array(LIBBPF_LOG_BYTES), new Uint32Array(1)];
    const load = libbpf.bpf_object__load;
    const { ph_object_load } = native.beside;
    this.#isLoading = true;
    const result = await ph_object_load(load, this.#pointer, log, log.length, used);
    this.#isLoading = false;
    this.#loads(result, log, used);
    return this;
  }

  #loads(result: number, log: Uint8Array, used: Uint32Array): void {
    if (result < 0) {
      const text = new TextDecoder().decode(log.subarray(0, used[0]));
      const whole = text + [...this.verifierLogs().values()].join("\n");
      throw new BpfError(`load ${this.label}`, -result, whole, loadRemedy(-result));
    }
    this.#loaded = true;
  }

  #keepVerifierLogs(): void {
    const { libbpf } = this.#libs;
    for (const [name, program] of this.#programPointers) {
      const log = new Uint8Array(VERIFIER_LOG_BYTES);
      libbpf.bpf_program__set_log_level(program, 1);
      libbpf.bpf_program__set_log_buf(program, log, BigInt(log.length));
      this.#logs.set(name, log);
    }
  }

  /** Asked of libbpf, which has read all types already: to read them here takes 5 ms of a start. */
  #findConstants(): Map<string, Constant> {
    const { libbpf } = this.#libs;
    const types = libbpf.bpf_object__btf(this.#pointer);
    const found = new Map<string, Constant>();
    const id = libbpf.btf__find_by_name_kind(types, cString(RODATA), KIND_DATASEC);
    const section = id < 0 ? null : libbpf.btf__type_by_id(types, id);
    if (section === null) return found;
    const view = new Deno.UnsafePointerView(section);
    const count = view.getUint32(4) & 0xffff;
    for (let at = BTF_TYPE_BYTES; at < BTF_TYPE_BYTES + 12 * count; at += 12) {
      const variable = libbpf.btf__type_by_id(types, view.getUint32(at));
      if (variable === null) continue;
      const nameAt = new Deno.UnsafePointerView(variable).getUint32(0);
      const name = stringAt(libbpf.btf__name_by_offset(types, nameAt));
      found.set(name, { offset: view.getUint32(at + 4), size: view.getUint32(at + 8) });
    }
    return found;
  }

  /** The verifier's output by program, after a verbose load (also after one that failed). */
  verifierLogs(): Map<string, string> {
    const decoder = new TextDecoder();
    const logs = new Map<string, string>();
    for (const [name, bytes] of this.#logs) {
      logs.set(name, decoder.decode(bytes.subarray(0, bytes.indexOf(0))));
    }
    return logs;
  }

  /** A map of the loaded object, good until the object is closed. */
  map(name: string): BpfMap {
    this.#assertLoaded();
    let map = this.#maps.get(name);
    if (map === undefined) {
      const fd = this.#libs.libbpf.bpf_map__fd(this.#mapPointer(name));
      map = new BpfMap(this.#libs, checked(fd, () => `map ${name}`), false);
      this.#maps.set(name, map);
    }
    return map;
  }

  /** A program of the loaded object, good until the object is closed. */
  program(name: string): BpfProgram {
    this.#assertLoaded();
    let program = this.#programs.get(name);
    if (program === undefined) {
      const fd = this.#libs.libbpf.bpf_program__fd(this.#programPointer(name));
      program = new BpfProgram(this.#libs, checked(fd, () => `program ${name}`), name, false);
      this.#programs.set(name, program);
    }
    return program;
  }

  get programNames(): string[] {
    return [...this.#programPointers.keys()];
  }

  /** The object's types as BTF, with the offsets of variables that libbpf has filled in. */
  btfBytes(): Uint8Array<ArrayBuffer> {
    this.assertOpen();
    const { libbpf } = this.#libs;
    const size = new Uint32Array(1);
    const data = libbpf.btf__raw_data(libbpf.bpf_object__btf(this.#pointer), size);
    if (data === null) throw new Error(`Cannot read ${this.label} as it has no BTF`);
    return copyAt(data, size[0]!);
  }

  protected release(): void {
    for (const map of this.#maps.values()) map.close();
    for (const program of this.#programs.values()) program.close();
    this.#libs.libbpf.bpf_object__close(this.#pointer);
  }

  #assertNotLoaded(action: string): void {
    this.assertOpen();
    if (this.#loaded) throw new Error(`Cannot ${action} as ${this.label} is loaded already`);
    if (this.#isLoading) throw new Error(`Cannot ${action} as ${this.label} is being loaded`);
  }

  #assertLoaded(): void {
    this.assertOpen();
    if (!this.#loaded) throw new Error(`Cannot use ${this.label} as it is not loaded yet`);
  }

  #mapPointer(name: string): Deno.PointerObject {
    return this.#named(this.#mapPointers, "map", name);
  }

  #programPointer(name: string): Deno.PointerObject {
    return this.#named(this.#programPointers, "program", name);
  }

  #named(all: Map<string, Deno.PointerObject>, kind: string, name: string): Deno.PointerObject {
    const pointer = all.get(name);
    if (pointer !== undefined) return pointer;
    const names = [...all.keys()].join(", ");
    throw new RangeError(`Cannot find ${kind} ${name} as ${this.label} has only ${names}`);
  }
}

function openMemory(
  libs: Libraries,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Deno.PointerObject {
  const { libbpf, native } = libs;
  // BPF names end where C identifiers do; libbpf shows this one in its messages.
  const objectName = cString(name);
  const opts = optionsOf(BpfObjectOpenOpts, { objectName: addressOf(objectName) });
  takeLog(libs);
  const error = new Int32Array(1);
  const pointer = holding([objectName, opts, bytes], () =>
    native.symbols.ph_call_pointer(
      libbpf.bpf_object__open_mem,
      addressOf(bytes),
      BigInt(bytes.length),
      addressOf(opts),
      0n,
      error,
    ));
  if (pointer !== null) return pointer;
  const remedy = "not a BPF object for this libbpf; was the file cut short?";
  throw new BpfError(`open BPF object ${name}`, -error[0]! || 22, takeLog(libs), remedy);
}

const logBytes = new Uint8Array(LIBBPF_LOG_BYTES);

/** What libbpf said since the last call on this thread. */
function takeLog(libs: Libraries): string {
  const length = libs.native.symbols.ph_log_take(logBytes, logBytes.length);
  return new TextDecoder().decode(logBytes.subarray(0, length));
}

function loadRemedy(errno: number): string | undefined {
  switch (errno) {
    case 1:
      return "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
    case 12:
      return "a map is too large for this machine's memory or RLIMIT_MEMLOCK";
    case 7:
    case 13:
    case 22:
      return "the kernel's verifier refused it; its output is in the log";
    default:
      return undefined;
  }
}

function writeInteger(view: DataView, at: number, size: number, value: number | bigint): void {
  const wide = BigInt(value);
  if (BigInt.asUintN(size * 8, wide) !== wide && BigInt.asIntN(size * 8, wide) !== wide) {
    throw new RangeError(`Cannot set a constant of ${size} bytes to ${value} as it does not fit`);
  }
  for (let i = 0; i < size; i++) {
    view.setUint8(at + i, Number((wide >> BigInt(8 * i)) & 0xffn));
  }
}

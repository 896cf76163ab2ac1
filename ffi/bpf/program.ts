/** A loaded BPF program: run on test packets, pinned, attached by what is in link.ts. */

import { checked } from "../errors.ts";
import { Handle } from "../handle.ts";
import { BpfProgInfo, BpfTestRunOpts } from "./libbpf.gen.ts";
import type { Libraries } from "../libraries.ts";
import { addressOf, cString, holding, optionsOf, textOf } from "../memory.ts";

/** BPF_F_TEST_XDP_LIVE_FRAMES: verdicts are carried out, on real frames. */
const LIVE_FRAMES = 1 << 1;
const OUT_BYTES_MAX = 4096;
const EMPTY = new Uint8Array(0);

export interface RunOptions {
  /** The frame, or for other program types what they call data. */
  readonly data?: Uint8Array<ArrayBuffer>;
  /** struct xdp_md, __sk_buff, …; after the run it holds what the program left. */
  readonly context?: Uint8Array<ArrayBuffer>;
  readonly repeat?: number;
  /** Send the frames into the real network stack; the count done is `repeat`. XDP only. */
  readonly live?: boolean;
  /** Live frames a batch (at most 256, the kernel's default is 64). */
  readonly batch?: number;
}

export interface RunResult {
  /** The program's return value: for XDP 0 aborted, 1 drop, 2 pass, 3 tx, 4 redirect. */
  readonly value: number;
  /** What the program left of the data. */
  readonly data: Uint8Array;
  /** Mean run time. */
  readonly durationNs: number;
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  /** The kernel's hash of the instructions, 8 bytes in hex. */
  readonly tag: string;
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
}

export class BpfProgram extends Handle {
  readonly #libs: Libraries;
  readonly #fd: number;
  readonly #owned: boolean;

  /** Takes over `fd` when `owned`; else it belongs to an object that outlives the use. */
  constructor(libs: Libraries, fd: number, name: string, owned: boolean) {
    super(`BPF program ${name}`);
    this.#libs = libs;
    this.#fd = fd;
    this.#owned = owned;
  }

  get fd(): number {
    this.assertOpen();
    return this.#fd;
  }

  /** BPF_PROG_TEST_RUN. */
  run(options: RunOptions = {}): RunResult {
    this.assertOpen();
    const data = options.data ?? EMPTY;
    const out = new Uint8Array(options.live ? 0 : Math.max(OUT_BYTES_MAX, data.length + 512));
    const context = options.context;
    const keepsContext = context !== undefined && !options.live;
    const opts = optionsOf(BpfTestRunOpts, {
      dataIn: data.length > 0 ? addressOf(data) : 0n,
      dataSizeIn: data.length,
      dataOut: data.length > 0 && out.length > 0 ? addressOf(out) : 0n,
      dataSizeOut: data.length > 0 ? out.length : 0,
      ctxIn: context === undefined ? 0n : addressOf(context),
      ctxSizeIn: context?.length ?? 0,
      ctxOut: keepsContext ? addressOf(context) : 0n,
      ctxSizeOut: keepsContext ? context.length : 0,
      repeat: options.repeat ?? 1,
      flags: options.live ? LIVE_FRAMES : 0,
      batchSize: options.live ? options.batch ?? 0 : 0,
    });
    const run = () => this.#libs.libbpf.bpf_prog_test_run_opts(this.#fd, opts);
    const result = holding([data, out, context], run);
    checked(result, () => `run ${this.label}`);
    const after = BpfTestRunOpts.read(new DataView(opts.buffer));
    return {
      value: after.retval,
      data: out.subarray(0, after.dataSizeOut),
      durationNs: after.duration,
    };
  }

  info(): ProgramInfo {
    this.assertOpen();
    const bytes = new Uint8Array(BpfProgInfo.size);
    const length = new Uint32Array([bytes.length]);
    const result = this.#libs.libbpf.bpf_obj_get_info_by_fd(this.#fd, bytes, length);
    checked(result, () => `bpf_obj_get_info_by_fd ${this.label}`);
    const info = BpfProgInfo.read(new DataView(bytes.buffer));
    return {
      id: info.id,
      name: textOf(info.name),
      type: info.type,
      tag: [...info.tag].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
      runTimeNs: info.runTimeNs,
      runCount: info.runCnt,
    };
  }

  pin(path: string): void {
    this.assertOpen();
    const result = this.#libs.libbpf.bpf_obj_pin(this.#fd, cString(path));
    checked(result, () => `pin ${this.label} at ${path}`);
  }

  protected release(): void {
    if (this.#owned) this.#libs.native.symbols.ph_close(this.#fd);
  }
}

/** The program with this id, as another process may have loaded it; undefined when it is gone. */
export function openProgramById(libs: Libraries, id: number): BpfProgram | undefined {
  const fd = libs.libbpf.bpf_prog_get_fd_by_id(id);
  if (fd === -2) return undefined;
  return new BpfProgram(libs, checked(fd, () => `open program ${id}`), `#${id}`, true);
}

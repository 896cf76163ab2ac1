/** A BPF object that could not be opened, loaded or attached, with libbpf's own words. */

import { SysError } from "../errors.ts";

export class BpfError extends SysError {
  override readonly name = "BpfError";
  /** libbpf's messages of the failing call, the verifier's included. "" when it said none. */
  readonly log: string;

  constructor(call: string, errno: number, log: string, remedy?: string) {
    super(call, errno, remedy);
    this.log = log;
  }
}

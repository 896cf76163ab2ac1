/** A thread of tunnel_bench.ts: its first message says which end it is. */

import { openNative } from "../../ffi/native.ts";
import { nativePath } from "../native.ts";
import { type Role, runEnd } from "./tunnel_bench_end.ts";

declare const self: {
  onmessage: ((event: MessageEvent<{ role: Role; memory: SharedArrayBuffer }>) => void) | null;
  close(): void;
};

self.onmessage = ({ data: { role, memory } }) => {
  runEnd(openNative(nativePath()), role, new Float64Array(memory));
  self.close();
};

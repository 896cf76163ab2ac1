/** A thread of heap_profile.ts: an end of the tunnel, with V8's sampling heap profiler on it. */

import inspector from "node:inspector";
import { openNative } from "../../ffi/native.ts";
import { nativePath } from "../native.ts";
import { type Role, runEnd } from "./tunnel_bench_end.ts";

/** Bytes between two samples, on average. */
const INTERVAL = 256;

interface Node {
  readonly callFrame: { readonly functionName: string; readonly url: string; lineNumber: number };
  readonly selfSize: number;
  readonly children: readonly Node[];
}

/** Bytes by the function that made them. */
export type Sites = readonly (readonly [string, number])[];

declare const self: {
  onmessage: ((event: MessageEvent<{ role: Role; memory: SharedArrayBuffer }>) => void) | null;
  postMessage(message: Sites): void;
  close(): void;
};

function sitesOf(root: Node): Sites {
  const bytes = new Map<string, number>();
  const walk = ({ callFrame, selfSize, children }: Node): void => {
    const file = callFrame.url.split("/").slice(-2).join("/");
    const name = `${callFrame.functionName} ${file}:${callFrame.lineNumber + 1}`;
    bytes.set(name, (bytes.get(name) ?? 0) + selfSize);
    children.forEach(walk);
  };
  walk(root);
  return [...bytes].sort((a, b) => b[1] - a[1]);
}

self.onmessage = ({ data: { role, memory } }) => {
  const session = new inspector.Session();
  session.connect();
  session.post("HeapProfiler.enable");
  runEnd(openNative(nativePath()), role, new Float64Array(memory), () => {
    // With what was collected since: garbage is what this is about.
    session.post("HeapProfiler.startSampling", {
      samplingInterval: INTERVAL,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
  });
  session.post("HeapProfiler.stopSampling", (error, { profile }) => {
    if (error !== null) throw error;
    self.postMessage(sitesOf(profile.head as Node));
    self.close();
  });
};

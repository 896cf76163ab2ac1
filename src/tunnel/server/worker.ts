/**
 * The entry of a server's data-plane worker: one thread, one synchronous loop, no promises inside.
 * It is told what to do once, by its first message; from then on only its eventfd, the ring and
 * the shared words reach it.
 */

import { openLoadedLibraries } from "../../../ffi/libraries.ts";
import { messageOf } from "../../base/errors.ts";
import { ServerRehearsal } from "../rehearsal/server.ts";
import { ServerTunnel } from "./tunnel.ts";
import { TunnelService } from "./service.ts";
import { WarmUp } from "../rehearsal/warm_up.ts";
import type { ServerStart, WorkerMessage } from "../protocol.ts";

/** Main and the other workers still start. */
const WARM_UP_DELAY_MS = 300;

declare const self: {
  onmessage: ((event: MessageEvent<ServerStart>) => void) | null;
  postMessage(message: WorkerMessage): void;
  close(): void;
};

self.onmessage = ({ data }) => {
  try {
    const libs = openLoadedLibraries();
    const worker = new TunnelService(
      libs,
      data,
      (message) => self.postMessage(message),
      (loop, start, libs, events) => {
        const { salts, replayRecord } = start;
        return new ServerTunnel(loop, start, libs, events, {
          ...(salts === undefined ? {} : { sharedSalts: salts }),
          ...(replayRecord === undefined ? {} : { replayRecord }),
        });
      },
    );
    const warmUp = new WarmUp(worker.loop, (course) => new ServerRehearsal(libs, course));
    warmUp.begin(WARM_UP_DELAY_MS);
    try {
      worker.run();
    } finally {
      warmUp.close();
    }
    self.postMessage({ kind: "stopped" });
  } catch (error) {
    const reason = messageOf(error);
    self.postMessage({ kind: "failed", reason });
  }
  self.close();
};

/**
 * Entry of a client's data-plane worker: one thread, one synchronous loop, no promises inside. It
 * is told what to do by its first message; from then on only its eventfd, the ring and the shared
 * words reach it.
 */

import { openLoadedLibraries } from "../../../ffi/libraries.ts";
import { messageOf } from "../../base/errors.ts";
import { ClientRehearsal } from "../rehearsal/client.ts";
import { ClientService } from "./service.ts";
import { ClientTunnel } from "./tunnel.ts";
import { WarmUp } from "../rehearsal/warm_up.ts";
import type { ClientStart, WorkerMessage } from "../protocol.ts";

/** The ready line comes first. */
const WARM_UP_DELAY_MS = 10;

declare const self: {
  onmessage: ((event: MessageEvent<ClientStart>) => void) | null;
  postMessage(message: WorkerMessage): void;
  close(): void;
};

self.onmessage = ({ data }) => {
  try {
    const libs = openLoadedLibraries();
    const side = new ClientService(
      libs,
      data,
      (message) => self.postMessage(message),
      (loop, start, libs, events) => new ClientTunnel(loop, start, libs, events),
    );
    const warmUp = new WarmUp(side.loop, (course) => new ClientRehearsal(libs, course));
    // Without inbounds it is there for a question or two.
    if (data.inbounds.length > 0) warmUp.begin(WARM_UP_DELAY_MS);
    try {
      side.run();
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

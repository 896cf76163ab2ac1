/**
 * Entry of a client's data-plane worker: one thread, one synchronous loop, no promises inside. It
 * is told what to do by its first message; from then on only its eventfd, the ring and the shared
 * words reach it.
 */

import { openLoadedLibraries } from "../../ffi/libraries.ts";
import { ClientSide } from "./client_side.ts";
import { ClientTunnel } from "./client_tunnel.ts";
import type { ClientStart, WorkerMessage } from "./worker_protocol.ts";

declare const self: {
  onmessage: ((event: MessageEvent<ClientStart>) => void) | null;
  postMessage(message: WorkerMessage): void;
  close(): void;
};

self.onmessage = ({ data }) => {
  try {
    const side = new ClientSide(
      openLoadedLibraries(),
      data,
      (message) => self.postMessage(message),
      (loop, start, libs, events, words) => new ClientTunnel(loop, start, libs, events, words),
    );
    side.run();
    self.postMessage({ kind: "stopped" });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    self.postMessage({ kind: "failed", reason });
  }
  self.close();
};

/**
 * A data-plane worker: one thread, one synchronous loop, no promises inside. It is told what to
 * do once, by its first message; from then on only its eventfd and the shared words reach it.
 *
 * Until the tunnel is there it holds the listen port, so that the machine stays silent to
 * strangers (an unbound port answers by ICMP), and counts what it is sent.
 */

import { Epoll, EpollEvent, EventFd } from "../../ffi/loop.ts";
import { openLoadedLibraries } from "../../ffi/libraries.ts";
import { UdpInbox, UdpSocket } from "../../ffi/udp.ts";
import { SharedWord, type WorkerMessage, type WorkerStart } from "./worker_protocol.ts";

declare const self: {
  onmessage: ((event: MessageEvent<WorkerStart>) => void) | null;
  postMessage(message: WorkerMessage): void;
  close(): void;
};

const TAG_WAKE = 0;
const TAG_SOCKET = 1;
/** Batches taken before the wake-up is looked at again, so that a flood can't hold off a stop. */
const BATCHES_A_ROUND = 16;

self.onmessage = ({ data }) => {
  try {
    run(data);
    self.postMessage({ kind: "stopped" });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    self.postMessage({ kind: "failed", reason });
  }
  self.close();
};

function run(start: WorkerStart): void {
  const { native } = openLoadedLibraries();
  const words = new BigInt64Array(start.shared);
  using wake = new EventFd(native, start.wakeFd);
  using epoll = new Epoll(native);
  using socket = new UdpSocket(native, {
    local: start.listen,
    reusePort: true,
    packetInfo: true,
  });
  const inbox = new UdpInbox();
  epoll.add(wake.fd, EpollEvent.in, TAG_WAKE);
  epoll.add(socket.fd, EpollEvent.in, TAG_SOCKET);
  self.postMessage({ kind: "ready", port: socket.local.port, features: socket.features });

  for (;;) {
    const ready = epoll.wait(-1);
    for (let i = 0; i < ready; i++) {
      if (epoll.tag(i) === TAG_WAKE) wake.drain();
      else receive(socket, inbox, words);
    }
    if (Atomics.load(words, SharedWord.stop) !== 0n) return;
  }
}

function receive(socket: UdpSocket, inbox: UdpInbox, words: BigInt64Array): void {
  for (let round = 0; round < BATCHES_A_ROUND; round++) {
    const count = socket.receive(inbox);
    if (count === 0) return;
    Atomics.add(words, SharedWord.datagrams, BigInt(count));
  }
}

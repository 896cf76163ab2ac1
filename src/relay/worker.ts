/** The entry of the relay's worker: one thread, one synchronous loop, the relay in user space. */

import { type Libraries, openLoadedLibraries } from "../../ffi/libraries.ts";
import { EpollEvent, EventFd } from "../../ffi/loop.ts";
import { BpfMap } from "../../ffi/bpf/map.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { messageOf } from "../base/errors.ts";
import { Log } from "../base/log.ts";
import { Tskd } from "../crypto/tskd.ts";
import { Loop, textOfError } from "../loop/loop.ts";
import { Forwarder } from "./forward.ts";
import { type RelayMessage, type RelayStart, RelayWord } from "./protocol.ts";
import { RelayReturns } from "./returns.ts";

declare const self: {
  onmessage: ((event: MessageEvent<RelayStart>) => void) | null;
  postMessage(message: RelayMessage): void;
  close(): void;
};

self.onmessage = ({ data }) => {
  try {
    run(openLoadedLibraries(), data);
    self.postMessage({ kind: "stopped" });
  } catch (error) {
    const reason = messageOf(error);
    self.postMessage({ kind: "failed", reason });
  }
  self.close();
};

function run(libs: Libraries, start: RelayStart): void {
  const { plan, psk, wakeFd, words: shared, states } = start;
  const words = new BigInt64Array(shared);
  const log = new Log((record) => self.postMessage({ kind: "log", record }), "relay");
  const onError = (error: unknown) => log.error("fault", textOfError(error));
  const loop = new Loop(libs.native, onError);
  const windows = psk === undefined ? undefined : new Tskd(new NativePrimitives(libs.native), psk);
  const maskKeys = () => {
    windows!.tick(Date.now());
    return { keys: windows!.maskKeys, count: windows!.maskCount };
  };
  const forwarder = new Forwarder(loop, {
    plan,
    words,
    states: new Uint8Array(states),
    ...(windows === undefined ? {} : { maskKeys }),
    onError,
  });
  const returns = start.flowsFd === undefined ? undefined : new RelayReturns(loop, {
    plan,
    flows: new BpfMap(libs, start.flowsFd, false),
    listenerOf: (ip, port) => forwarder.listenerOf(ip, port),
    onReturned: () => Atomics.add(words, RelayWord.returned, 1n),
    onLost: () => Atomics.add(words, RelayWord.notSent, 1n),
    onError,
  });
  const wake = new EventFd(libs.native, wakeFd);
  try {
    const heard = (): void => {
      wake.drain();
      if (Atomics.load(words, RelayWord.stop) !== 0n) {
        loop.isStopping = true;
        return;
      }
      forwarder.changed();
      returns?.changed();
    };
    loop.watch(wake.fd, EpollEvent.in, { ready: heard });
    forwarder.start();
    self.postMessage({ kind: "ready" });
    heard();
    loop.run();
  } finally {
    windows?.wipe();
    psk?.fill(0);
    returns?.stop();
    forwarder.stop();
    loop.close();
  }
}

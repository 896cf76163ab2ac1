/** What a server or client gives up of its rights: who takes it over gets no more than it needs. */

import { Capability, hideMemory, keepCapabilities } from "../../ffi/privileges.ts";
import type { Native } from "../../ffi/native.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

const { bpf, netAdmin, netBindService, netRaw, perfmon } = Capability;
/** What deploy's systemd unit gives as well, where each is explained. */
export const SERVER_NEEDS: readonly number[] = [bpf, perfmon, netAdmin, netRaw, netBindService];
/** Buffers larger than the system's limit, ports below 1024. */
export const CLIENT_NEEDS: readonly number[] = [netAdmin, netBindService];

/** Before anybody is served. */
export function closeMemory(native: Native, log: Log): void {
  attempt("memory_open", "a core file of this process would hold keys", log, () => {
    hideMemory(native);
  });
}

/** Once all is loaded, attached and open. */
export function giveUpAllBut(needs: readonly number[], native: Native, log: Log): void {
  attempt("capabilities_kept", "this process keeps capabilities that it does not need", log, () => {
    keepCapabilities(native, needs);
  });
}

/** It serves as well without. */
function attempt(event: string, message: string, log: Log, act: () => void): void {
  try {
    act();
  } catch (error) {
    log.warn(event, message, { cause: messageOf(error) });
  }
}

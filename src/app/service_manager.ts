/** What systemd is told of this process (Type=notify): ready, reloading, stopping, how it is. */

import { NotifySocket } from "../../ffi/notify_socket.ts";
import { messageOf } from "../base/errors.ts";
import { type Log, printable } from "../base/log.ts";

/** How often the line that `systemctl status` shows may change. */
const STATUS_MS = 5000;

export class ServiceManager {
  #socket: NotifySocket | undefined;
  #status = "";
  #timer: number | undefined;

  /** To `address`, of NOTIFY_SOCKET; without one nobody wants to know. */
  constructor(address: string | undefined, log: Log) {
    if (address === undefined || address === "") return;
    try {
      this.#socket = new NotifySocket(address);
    } catch (error) {
      log.warn("notify_failed", "systemd can't be told that this service is ready", {
        cause: messageOf(error),
      });
    }
  }

  /** It serves. From now on `status` tells how it is, now and every few seconds. */
  ready(status: () => string): void {
    if (this.#socket === undefined) return;
    this.#tell("READY=1", status());
    this.#timer ??= setInterval(() => this.#refresh(status()), STATUS_MS);
  }

  /** Reads its configuration again, until it is ready. */
  reloading(): void {
    const socket = this.#socket;
    if (socket !== undefined) this.#tell(`RELOADING=1\nMONOTONIC_USEC=${socket.monotonicUs()}`);
  }

  /** Nothing is said afterwards. */
  stopping(): void {
    clearInterval(this.#timer);
    this.#tell("STOPPING=1", "stopping");
    this.#socket?.[Symbol.dispose]();
    // A reload may still be under way, and become ready.
    this.#socket = undefined;
  }

  #tell(state: string, status?: string): void {
    if (status !== undefined) this.#status = printable(status);
    this.#socket?.send(status === undefined ? state : `${state}\nSTATUS=${this.#status}`);
  }

  #refresh(status: string): void {
    const text = printable(status);
    if (text === this.#status) return;
    if (this.#socket?.send(`STATUS=${text}`, { mayBeLost: true })) this.#status = text;
  }
}

/**
 * What a server's worker rehearses: a copy of itself serves a client's tunnel in the same thread,
 * whose streams lead to an echo.
 */

import type { Libraries } from "../../../ffi/libraries.ts";
import { EpollEvent } from "../../../ffi/loop.ts";
import { TcpListener, type TcpSocket } from "../../../ffi/tcp.ts";
import type { Session } from "../../session/session.ts";
import { encodeAddress } from "../../wire/address.ts";
import { CloseCode } from "../../wire/frames.ts";
import { ClientTunnel } from "../client/tunnel.ts";
import type { Host } from "../../loop/host.ts";
import type { Loop, Watcher } from "../../loop/loop.ts";
import { ServerTunnel } from "../server/tunnel.ts";
import { TunnelService } from "../server/service.ts";
import * as warm from "./warm_up.ts";

export class ServerRehearsal extends warm.SilentEvents implements warm.Rehearsal {
  readonly #stage: warm.Stage;
  readonly #opened: DisposableStack;
  readonly #course: warm.Course;
  readonly #host: Host;
  readonly #client: ClientTunnel;
  readonly #address: Uint8Array;
  readonly #message = new Uint8Array(warm.MESSAGE_BYTES_MAX);
  #session: Session | undefined;
  #received = 0;

  constructor(libs: Libraries, course: warm.Course) {
    super();
    this.#course = course;
    using opened = new DisposableStack();
    const tuning = { bufferBytes: warm.BUFFER_BYTES };
    const stage = this.#stage = opened.adopt(new warm.Stage(libs), (one) => one.close());
    const start = stage.server([{ cidr: ["127.0.0.0/8"], outbound: "direct" }]);
    const host = this.#host = opened.adopt(stage.host(), (one) => one.close());
    const { loop } = host;
    const server = new TunnelService(
      host,
      start,
      (_, start, events) => new ServerTunnel(loop, start, libs, events, tuning),
    );
    host.open([server]);
    opened.defer(() => host.stop());
    const echo = opened.adopt(new Echo(loop), (one) => one.close());
    this.#address = encodeAddress("127.0.0.1", echo.port)!;
    const peer = stage.client(server.tunnel.port, []);
    this.#client = new ClientTunnel(loop, peer, libs, this, tuning);
    opened.defer(() => this.#client.stop());
    this.#client.start();
    this.#opened = opened.move();
  }

  get failure(): string {
    return this.#stage.failure;
  }

  get isOver(): boolean {
    return this.#course.isOver;
  }

  round(): void {
    if (this.#session === undefined) this.#begin();
    this.#host.loop.round(0);
  }

  close(): void {
    this.#opened.dispose();
  }

  #begin(): void {
    const session = this.#session = this.#client.session();
    const id = session.openStream(this.#address);
    session.write(id, this.#message, 0, this.#course.messageBytes);
    this.#client.wake(session);
  }

  override data(session: Session, id: number, _: Uint8Array, _at: number, length: number): number {
    const { messageBytes } = this.#course;
    this.#received += length;
    if (this.#received < messageBytes) return length;
    this.#received = 0;
    if (this.#course.nextTrip()) session.write(id, this.#message, 0, messageBytes);
    else session.finish(id);
    return length;
  }

  override ended(session: Session): void {
    if (this.#course.endsSession) session.close(this.#host.loop.now, CloseCode.done);
    this.#course.nextStream();
    this.#session = undefined;
  }
}

/** A target that sends back what it is sent. */
class Echo implements Watcher {
  readonly #loop: Loop;
  readonly #listener: TcpListener;
  readonly #tag: number;
  readonly #connections = new Set<Connection>();

  constructor(loop: Loop) {
    this.#loop = loop;
    this.#listener = new TcpListener(loop.native, { local: warm.anyPort });
    this.#tag = loop.watch(this.#listener.fd, EpollEvent.in, this);
  }

  get port(): number {
    return this.#listener.local.port;
  }

  ready(): void {
    for (const socket of this.#listener.accept()) {
      this.#connections.add(new Connection(this.#loop, socket, this.#connections));
    }
  }

  close(): void {
    for (const connection of [...this.#connections]) connection.close();
    this.#loop.unwatch(this.#tag, this.#listener.fd);
    this.#listener.close();
  }
}

class Connection implements Watcher {
  readonly #loop: Loop;
  readonly #socket: TcpSocket;
  readonly #all: Set<Connection>;
  readonly #bytes = new Uint8Array(warm.MESSAGE_BYTES_MAX);
  readonly #tag: number;

  constructor(loop: Loop, socket: TcpSocket, all: Set<Connection>) {
    this.#loop = loop;
    this.#socket = socket;
    this.#all = all;
    this.#tag = loop.watch(socket.fd, EpollEvent.in, this);
  }

  ready(): void {
    const count = this.#socket.read(this.#bytes, 0, this.#bytes.length);
    if (count > 0) this.#socket.write(this.#bytes, 0, count);
    else this.close();
  }

  close(): void {
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
    this.#all.delete(this);
  }
}

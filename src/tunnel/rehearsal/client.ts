/**
 * What a client's worker rehearses: a copy of itself takes connections, by each of the ways in,
 * for a server's tunnel in the same thread, which sends back what it is sent.
 */

import type { Libraries } from "../../../ffi/libraries.ts";
import { EpollEvent } from "../../../ffi/loop.ts";
import type { Native } from "../../../ffi/native.ts";
import { TcpSocket } from "../../../ffi/tcp.ts";
import type { Session } from "../../session/session.ts";
import { CloseCode, OpenedCode } from "../../wire/frames.ts";
import { ClientService } from "../client/service.ts";
import { ClientTunnel } from "../client/tunnel.ts";
import type { Host } from "../../loop/host.ts";
import { Loop, type Watcher } from "../../loop/loop.ts";
import { ServerTunnel } from "../server/tunnel.ts";
import { NO_ADDRESS } from "../../wire/address.ts";
import * as warm from "./warm_up.ts";

const ascii = (text: string) => new TextEncoder().encode(text);

/** What is said before the first message, piece by piece, each of which is answered. */
const WAYS_IN: readonly (readonly Uint8Array<ArrayBuffer>[])[] = [
  [],
  [Uint8Array.of(5, 1, 0), Uint8Array.of(5, 1, 0, 1, 127, 0, 0, 1, 0, 7)],
  [ascii("CONNECT 127.0.0.1:7 HTTP/1.1\r\nHost: 127.0.0.1:7\r\n\r\n")],
];

export class ClientRehearsal implements warm.Rehearsal {
  readonly #stage: warm.Stage;
  readonly #opened: DisposableStack;
  readonly #course: warm.Course;
  readonly #native: Native;
  readonly #serverLoop: Loop;
  readonly #host: Host;
  readonly #client: ClientService;
  #tunnel: ClientTunnel | undefined;
  #caller: Caller | undefined;

  constructor(libs: Libraries, course: warm.Course) {
    const { native } = libs;
    this.#native = native;
    this.#course = course;
    using opened = new DisposableStack();
    const tuning = { bufferBytes: warm.BUFFER_BYTES };
    const stage = this.#stage = opened.adopt(new warm.Stage(libs), (one) => one.close());
    const loop = this.#serverLoop = opened.adopt(new Loop(native), (one) => one.close());
    const peer = stage.server([]);
    const server = new ServerTunnel(loop, peer, libs, new Mirror(), tuning);
    opened.defer(() => server.stop());
    server.start();
    const start = stage.client(server.port, [
      { kind: "tcp", listen: warm.anyPort, target: "127.0.0.1:7" },
      { kind: "mixed", listen: warm.anyPort },
    ]);
    const host = this.#host = opened.adopt(stage.host(), (one) => one.close());
    this.#client = new ClientService(
      host,
      start,
      ({ loop }, start, events) =>
        this.#tunnel = new ClientTunnel(loop, start, libs, events, tuning),
    );
    host.open([this.#client]);
    opened.defer(() => host.stop());
    opened.defer(() => this.#caller?.close());
    this.#opened = opened.move();
  }

  get failure(): string {
    return this.#stage.failure;
  }

  get isOver(): boolean {
    return this.#course.isOver;
  }

  round(): void {
    if (this.#caller === undefined) this.#begin();
    else if (this.#caller.isOver) this.#end();
    this.#host.loop.round(0);
    this.#serverLoop.round(0);
  }

  close(): void {
    this.#opened.dispose();
  }

  #begin(): void {
    const way = this.#course.stream % WAYS_IN.length;
    const port = this.#client.inbounds.ports[way === 0 ? 0 : 1]!;
    const peer = { ...warm.anyPort, port };
    const socket = TcpSocket.connect(this.#native, { peer });
    this.#caller = new Caller(this.#host.loop, socket, WAYS_IN[way]!, this.#course);
  }

  #end(): void {
    this.#caller = undefined;
    this.#course.nextStream();
    const tunnel = this.#tunnel!;
    if (!this.#course.endsSession || tunnel.state !== "open") return;
    const session = tunnel.session();
    session.close(this.#host.loop.now, CloseCode.done);
    tunnel.wake(session);
  }
}

/** A program that connects, says something, waits for the answer, and so on. */
class Caller implements Watcher {
  isOver = false;
  readonly #loop: Loop;
  readonly #socket: TcpSocket;
  readonly #course: warm.Course;
  readonly #introduction: Uint8Array<ArrayBuffer>[];
  readonly #bytes = new Uint8Array(warm.MESSAGE_BYTES_MAX);
  readonly #tag: number;
  #isConnected = false;
  #received = 0;

  constructor(
    loop: Loop,
    socket: TcpSocket,
    introduction: readonly Uint8Array<ArrayBuffer>[],
    course: warm.Course,
  ) {
    this.#loop = loop;
    this.#socket = socket;
    this.#introduction = [...introduction];
    this.#course = course;
    this.#tag = loop.watch(socket.fd, EpollEvent.out, this);
  }

  ready(): void {
    if (!this.#isConnected) {
      this.#isConnected = true;
      this.#loop.change(this.#tag, this.#socket.fd, EpollEvent.in);
      return this.#say();
    }
    const count = this.#socket.read(this.#bytes, 0, this.#bytes.length);
    if (count <= 0) return this.close();
    if (this.#introduction.length > 0) {
      this.#introduction.shift();
      return this.#say();
    }
    this.#received += count;
    if (this.#received < this.#course.messageBytes) return;
    this.#received = 0;
    if (this.#course.nextTrip()) this.#say();
    else this.#socket.finish();
  }

  #say(): void {
    const [piece] = this.#introduction;
    if (piece !== undefined) this.#socket.write(piece, 0, piece.length);
    else this.#socket.write(this.#bytes, 0, this.#course.messageBytes);
  }

  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#loop.unwatch(this.#tag, this.#socket.fd);
    this.#socket.close();
  }
}

/** The server's application: every stream is an echo. */
class Mirror extends warm.SilentEvents {
  override opened(session: Session, id: number): void {
    session.answer(id, OpenedCode.ok, NO_ADDRESS);
  }

  override data(
    session: Session,
    id: number,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): number {
    return session.write(id, bytes, at, length);
  }

  override ended(session: Session, id: number): void {
    session.finish(id);
  }
}

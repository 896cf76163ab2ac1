/**
 * A worker thread from within: one synchronous loop, no promises, and the services that share it,
 * its resolver, its log and its counters. Main's side of it is Pool.
 */

import { type Libraries, openLoadedLibraries } from "../../ffi/libraries.ts";
import { EpollEvent, EventFd } from "../../ffi/loop.ts";
import { messageOf } from "../base/errors.ts";
import { type Log, type LogRecord, LogThreshold } from "../base/log.ts";
import { LineLimit } from "../base/log_limit.ts";
import { RingReader } from "../base/ring.ts";
import { type CounterSources, CounterWriter } from "./counters.ts";
import { HandOver } from "./hand_over.ts";
import { HeapRelief } from "./heap_relief.ts";
import { Inbox } from "./inbox.ts";
import { Loop, NOT_ARMED, textOfError, type Timer, type Watcher } from "./loop.ts";
import { type FirstMessage, type FromHost, type HostStart, RESOLVER } from "./protocol.ts";
import { type NameAnswer, Resolver } from "./resolver.ts";

/** How often services' ticks come, and counters are told. */
const TICK_MS = 250;
/** Faults told of within a time; more of them are only counted. */
const FAULTS_TOLD = 5;
const FAULTS_TOLD_MS = 10_000;

/** What runs in a worker. It is made with what it needs of its host, and then: */
export interface Service<Heard = unknown> {
  /** Of its own within a host: main speaks to it by this name, and sees its counters under it. */
  readonly name: string;
  /** What it counts; read once it has started. */
  readonly counters?: CounterSources;
  /** Opens what it serves by; main gets the answer. What throws leaves nothing open. */
  start(): unknown;
  /** Main has said something to it. */
  heard?(message: Heard): void;
  /** Several times a second. */
  tick?(now: number): void;
  /** Things that it has on the heap, such as sessions and streams: see HeapRelief. */
  readonly live?: number;
  /** Closes everything, with a word to peers where that is due. */
  stop(): void;
  /** Overwrites the keys that it was given; also where it never started. */
  wipe?(): void;
}

export class Host implements Watcher, Timer {
  heapIndex: number = NOT_ARMED;
  dueAt = 0;
  readonly libs: Libraries;
  readonly loop: Loop;
  readonly log: Log;
  readonly resolver: Resolver;
  readonly #post: (message: FromHost) => void;
  readonly #stop: Int32Array;
  readonly #inbox: Inbox;
  readonly #wake: EventFd;
  readonly #faults: FaultLog;
  readonly #handOverStart: HostStart["handOver"];
  #handOver: HandOver | undefined;
  readonly #relief: HeapRelief;
  #services: readonly Service[] = [];
  #counters: CounterWriter | undefined;

  constructor(libs: Libraries, start: HostStart, post: (message: FromHost) => void) {
    this.libs = libs;
    this.#post = post;
    const put = (record: LogRecord): void => post({ kind: "log", record });
    this.log = new LineLimit(put, () => this.loop.now).log(
      "worker",
      new LogThreshold(start.logLevel ?? "debug"),
    );
    this.#faults = new FaultLog(this.log);
    this.loop = new Loop(libs.native, (error) => this.#faults.heard(this.loop.now, error));
    this.resolver = new Resolver(this.loop, {
      ask: (id, name, asker, user) => post({ kind: "resolve", id, name, asker, user }),
      forget: (name, asker) => post({ kind: "forget", name, asker }),
    });
    this.#stop = new Int32Array(start.stop);
    this.#inbox = new Inbox(new RingReader(start.inbox));
    this.#wake = new EventFd(libs.native, start.wakeFd);
    this.#relief = HeapRelief.of(libs.native);
    this.#handOverStart = start.handOver;
  }

  /** By which connections go to the pool's other workers; nothing where there are none. */
  get handOver(): HandOver | undefined {
    if (this.#handOver === undefined && this.#handOverStart !== undefined) {
      const { index, spec } = this.#handOverStart;
      this.#handOver = new HandOver(this.loop, index, spec);
    }
    return this.#handOver;
  }

  /** Starts the services in their order, and says so. From then on the loop serves. */
  open(services: readonly Service[]): void {
    this.#services = services;
    const said: Record<string, unknown> = {};
    const started: Service[] = [];
    try {
      for (const service of services) {
        said[service.name] = service.start();
        started.push(service);
      }
    } catch (error) {
      for (const service of started.reverse()) service.stop();
      throw error;
    }
    const counters = this.#counters = new CounterWriter([
      { name: "loop", counters: { "": () => this.#counted() } },
      { name: RESOLVER, counters: { "": this.resolver.counters } },
      // Only where a service has asked for it.
      ...this.#handOver === undefined
        ? []
        : [{ name: "hand_over", counters: { "": this.#handOver.counters } }],
      ...services,
    ]);
    this.loop.watch(this.#wake.fd, EpollEvent.in, this);
    this.#post({ kind: "ready", services: said, counters: counters.view });
    this.loop.arm(this, this.loop.now + TICK_MS);
    // What was said before the descriptor was watched.
    this.ready();
  }

  /** Says something to main in the name of a service. */
  say(service: string, message: unknown): void {
    this.#post({ kind: "said", service, message });
  }

  #counted(): Record<string, number> {
    return { faults: this.loop.faults, linesHeldBack: this.log.limit?.heldBack ?? 0 };
  }

  /** Main has rung. */
  ready(): void {
    this.#wake.drain();
    while (this.#hear());
    if (Atomics.load(this.#stop, 0) !== 0) this.stop();
  }

  fire(now: number): void {
    this.loop.arm(this, now + TICK_MS);
    let live = 0;
    for (const service of this.#services) {
      try {
        service.tick?.(now);
        live += service.live ?? 0;
      } catch (error) {
        // The others are to have theirs.
        this.loop.fault(error);
      }
    }
    this.#faults.tick(now);
    this.#relief.tick(now, live);
    this.#counters?.write();
  }

  /** Ends the services in reverse, and the loop with this round. */
  stop(): void {
    if (this.loop.isStopping) return;
    this.loop.isStopping = true;
    for (const service of this.#services.toReversed()) {
      try {
        service.stop();
      } catch (error) {
        // The others are to be closed as well.
        this.loop.fault(error);
      }
    }
    this.#counters?.write();
  }

  /** Wipes keys, and lets go of the loop. */
  close(): void {
    for (const service of this.#services) service.wipe?.();
    this.#handOver?.close();
    this.loop.close();
  }

  /** Takes one message; whether there was one. */
  #hear(): boolean {
    try {
      const envelope = this.#inbox.read();
      if (envelope === undefined) return false;
      const { to, message } = envelope;
      if (to === RESOLVER) this.resolver.answered(message as NameAnswer);
      else this.#serviceOf(to).heard?.(message);
    } catch (error) {
      const cause = messageOf(error);
      this.log.error("message_ignored", "a message from main is ignored", { cause });
    }
    return true;
  }

  #serviceOf(name: string): Service {
    const service = this.#services.find((one) => one.name === name);
    if (service === undefined) throw new Error(`Cannot hear it as no service is called ${name}`);
    return service;
  }
}

/** Tells of faults with their stacks, but not of each where there are many. */
class FaultLog {
  readonly #log: Log;
  #since = -Infinity;
  #told = 0;
  #untold = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  heard(now: number, error: unknown): void {
    this.tick(now);
    if (this.#told >= FAULTS_TOLD) {
      this.#untold++;
      return;
    }
    this.#told++;
    this.#log.error("fault", "a worker went on after a fault of this program", {
      cause: messageOf(error),
      stack: textOfError(error),
    });
  }

  tick(now: number): void {
    if (now < this.#since + FAULTS_TOLD_MS) return;
    if (this.#told > 0) this.#since = now;
    this.#told = 0;
    if (this.#untold === 0) return;
    this.#log.error("faults", "a worker went on after more faults", { count: this.#untold });
    this.#untold = 0;
  }
}

declare const self: {
  onmessage: ((event: MessageEvent<FirstMessage<unknown>>) => void) | null;
  postMessage(message: FromHost): void;
  close(): void;
};

/**
 * The whole of a worker's entry: waits for the first message, and serves until main says stop. From
 * then on only the eventfd, the ring and the shared words reach the thread.
 */
export function serveWorker<Start>(
  servicesOf: (host: Host, start: Start) => readonly Service[],
): void {
  self.onmessage = ({ data }) => {
    try {
      serve(data as FirstMessage<Start>, servicesOf);
      self.postMessage({ kind: "stopped" });
    } catch (error) {
      self.postMessage({ kind: "failed", reason: messageOf(error) });
    }
    self.close();
  };
}

function serve<Start>(
  { host: hostStart, start }: FirstMessage<Start>,
  servicesOf: (host: Host, start: Start) => readonly Service[],
): void {
  const host = new Host(openLoadedLibraries(), hostStart, (message) => self.postMessage(message));
  try {
    host.open(servicesOf(host, start));
    host.loop.run();
  } finally {
    host.close();
  }
}

import assert from "node:assert/strict";
import { datagramDataThatFits } from "../../tests/fixtures/frames.ts";
import { ADDRESS, LoneSession } from "../../tests/fixtures/session.ts";
import { FrameRecords } from "../reliability/frame_records.ts";
import type { Writer } from "../wire/cursor.ts";
import * as f from "../wire/frames.ts";
import { SESSION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from "../wire/limits.ts";
import { Budget } from "./budget.ts";
import {
  ANSWERS_MAX,
  CHALLENGES_MAX,
  CLOSE_REPEATS_MAX,
  FORGET_RESET_MS,
  IDS_AHEAD_MAX,
  OPENINGS_A_SECOND,
  OPENINGS_BURST,
  OPENINGS_BUSY_A_SECOND,
  OPENINGS_WORKER_A_SECOND,
  READ_AHEAD_MAX,
  REFUSALS_MAX,
  RESETS_MAX,
  SPARSE_PAGES_SURE,
  STREAMS_MAX,
  STREAMS_SURE,
  STREAMS_WORKER_MAX,
  UNOPENED_MAX,
  UNOPENED_SURE,
  UNOPENED_WORKER_MAX,
} from "./limits.ts";
import { ShareGroup } from "./share.ts";

const open = (w: Writer, id = 0): boolean => f.writeOpen(w, id, 1, ADDRESS, 0, ADDRESS.length);

function stream(w: Writer, id: number, offset: number, length: number): void {
  f.writeStream(w, id, offset, new Uint8Array(length).fill(0x61), 0, length);
}

/** A server with stream 0 open and answered, and nothing left to say. */
function serving(): LoneSession {
  const lone = new LoneSession();
  lone.events.answer = f.OpenedCode.ok;
  lone.receive((w) => open(w));
  lone.send();
  lone.ackAll();
  lone.events.take();
  return lone;
}

function opening(): LoneSession {
  const lone = new LoneSession({ isClient: true });
  assert.equal(lone.session.openStream(ADDRESS), 0);
  return lone;
}

// ---- streams

Deno.test("a stream from OPEN to its end, seen from the client", () => {
  const client = opening();
  client.session.write(0, new Uint8Array(10), 0, 10);
  client.session.finish(0);
  assert.deepEqual(client.send(), ["open 0", "stream 0 0+10", "fin 0 10"]);
  client.receive((w) => {
    f.writeOpened(w, 0, 0, ADDRESS, 0, ADDRESS.length);
    stream(w, 0, 0, 3);
    f.writeFin(w, 0, 3);
  });
  assert.deepEqual(client.events.take(), ["answered 0 0", "data 0 3/3 aaa", "ended 0"]);
  client.ackAll();
  assert.deepEqual(client.events.take(), ["gone 0"]);
  assert.equal(client.session.streamCount, 0);
  assert.equal(client.budget.used, 0);
});

Deno.test("a session that is over knows which of its streams nobody had heard of", () => {
  const client = opening();
  client.send();
  client.ackAll();
  // Only said, only in part acknowledged, and answered: the peer's word overtook its ACK.
  for (let id = 1; id <= 3; id++) assert.equal(client.session.openStream(ADDRESS), id);
  client.session.write(1, new Uint8Array(10), 0, 10);
  client.send();
  client.receive((w) => f.writeOpened(w, 3, 0, ADDRESS, 0, ADDRESS.length));
  const unheard = () => [0, 1, 2, 3, 4].filter((id) => client.session.wasUnheard(id));
  assert.deepEqual(unheard(), []);
  client.session.onTimeout(Infinity);
  assert.deepEqual(unheard(), [1, 2]);
});

Deno.test("a stream from OPEN to its end, seen from the server", () => {
  const lone = new LoneSession();
  lone.receive((w) => {
    open(w);
    stream(w, 0, 0, 5);
    f.writeFin(w, 0, 5);
  });
  assert.deepEqual(lone.events.take(), ["opened 0", "data 0 5/5 aaaaa", "ended 0"]);
  lone.session.answer(0, 0, ADDRESS);
  lone.session.finish(0);
  assert.deepEqual(lone.send(), ["ack 0-0 of 1", "opened 0 0", "fin 0 0"]);
  lone.ackAll();
  assert.deepEqual(lone.events.take(), ["gone 0"]);
});

Deno.test("what comes before OPEN waits for it: data and FIN", () => {
  const lone = new LoneSession();
  lone.receive((w) => stream(w, 0, 0, 4));
  lone.receive((w) => f.writeFin(w, 0, 4));
  lone.receive((w) => f.writeFin(w, 1, 0));
  assert.deepEqual(lone.events.take(), []);
  lone.receive((w) => open(w, 0) && open(w, 1));
  const expected = ["opened 0", "data 0 4/4 aaaa", "ended 0", "opened 1", "ended 1"];
  assert.deepEqual(lone.events.take(), expected);
});

Deno.test("a stream that was given up before its OPEN came is heard of by nobody", () => {
  const lone = new LoneSession();
  lone.receive((w) => f.writeFin(w, 0, 0) && f.writeRst(w, 0, 0));
  lone.receive((w) => open(w));
  lone.send();
  lone.ackAll();
  assert.deepEqual(lone.events.take(), []);
  assert.equal(lone.session.streamCount, 0);
});

Deno.test("RST and MAX_STREAM before OPEN make no stream; the RST is to come again", () => {
  const lone = new LoneSession();
  for (let id = 0; id < 1000; id++) {
    lone.receive((w) => f.writeMaxStream(w, id, 2 ** 40));
    lone.receive((w) => f.writeRst(w, id, 0));
  }
  assert.equal(lone.session.streamCount, 0);
  assert.equal(lone.session.counters.framesRefused, 1000);
  const acks = lone.send().filter((line) => line.startsWith("ack"));
  assert(acks.at(-1)!.startsWith(`ack ${lone.number - 2}-`), "the last RST is not acknowledged");
});

Deno.test("few streams of a session are there before their OPEN; more count as lost", () => {
  const lone = new LoneSession();
  for (let id = 0; id < 10 * UNOPENED_MAX; id++) {
    lone.receive((w) => id % 2 === 0 ? stream(w, id, 0, 1) : f.writeFin(w, id, 0));
  }
  assert.equal(lone.session.streamCount, UNOPENED_MAX);
  assert.equal(lone.session.counters.unopenedRefused, 9 * UNOPENED_MAX);
  lone.receive((w) => open(w, 0));
  lone.receive((w) => f.writeFin(w, 1000, 0));
  assert.equal(lone.session.streamCount, UNOPENED_MAX + 1, "the OPEN has made room for one more");
  lone.session.close(0);
  assert.deepEqual([lone.budget.unopened.used, lone.budget.streams.used], [0, 0]);
});

Deno.test("sessions that say things of unopened streams leave others room for theirs", () => {
  const budget = new Budget(1 << 20);
  for (let i = 0; i < 500; i++) {
    const bad = new LoneSession({ budget });
    for (let id = 0; id < 2 * UNOPENED_MAX; id++) bad.receive((w) => f.writeFin(w, id, 0));
  }
  const honest = new LoneSession({ budget });
  for (let id = 0; id < UNOPENED_SURE; id++) honest.receive((w) => f.writeFin(w, id, 0));
  assert.equal(honest.session.streamCount, UNOPENED_SURE);
  const most = UNOPENED_WORKER_MAX + 501 * UNOPENED_SURE;
  assert(budget.unopened.used <= most, `${budget.unopened.used}`);
});

Deno.test("an id far above all that were opened ends the session", () => {
  const lone = new LoneSession();
  assert(lone.receive((w) => open(w, IDS_AHEAD_MAX - 1)));
  assert(lone.receive((w) => f.writeRst(w, 2 * IDS_AHEAD_MAX - 1, 0)));
  assert.equal(lone.receive((w) => f.writeMaxStream(w, 2 * IDS_AHEAD_MAX, 1)), false);
  assert.equal(lone.session.closeCode, f.CloseCode.overLimit);
});

Deno.test("data out of order and repeated is put in order, once", () => {
  const lone = serving();
  lone.receive((w) => stream(w, 0, 5, 5));
  assert.deepEqual(lone.events.take(), []);
  lone.receive((w) => stream(w, 0, 0, 7));
  assert.deepEqual(lone.events.take(), ["data 0 10/10 aaaaaaaaaa"]);
  lone.receive((w) => stream(w, 0, 2, 9));
  assert.deepEqual(lone.events.take(), ["data 0 1/1 a"]);
  lone.receive((w) => stream(w, 0, 0, 0));
  lone.receive((w) => stream(w, 0, 500_000, 0));
  assert.equal(lone.budget.used, 0, "nothing is kept for empty frames");
  assert.deepEqual(lone.events.take(), []);
});

Deno.test("a reader that took less hears nothing before it resumes", () => {
  const lone = serving();
  lone.events.takes = () => 2;
  lone.receive((w) => stream(w, 0, 0, 6));
  lone.receive((w) => stream(w, 0, 6, 2));
  assert.deepEqual(lone.events.take(), ["data 0 2/6 aa"]);
  lone.session.resume(0);
  assert.deepEqual(lone.events.take(), ["data 0 2/6 aa"]);
  lone.events.takes = (length) => length;
  lone.session.resume(0);
  assert.deepEqual(lone.events.take(), ["data 0 4/4 aaaa"]);
  lone.session.resume(0);
  assert.deepEqual(lone.events.take(), []);
});

Deno.test("a reader may reset, or close the session, in the middle of data", () => {
  for (const end of ["reset", "close"]) {
    const lone = serving();
    lone.events.on = (line, session) => {
      if (!line.startsWith("data")) return;
      if (end === "reset") session.reset(0, 1);
      else session.close(0);
    };
    lone.receive((w) => stream(w, 0, 3, 3));
    lone.receive((w) => stream(w, 0, 0, 3));
    assert.equal(lone.events.lines.filter((line) => line.startsWith("data")).length, 1);
    assert.equal(lone.budget.used, 0);
    assert.equal(lone.session.isOpen, end === "reset");
  }
});

Deno.test("RST says the final size as well, and is settled by both", () => {
  const lone = serving();
  lone.session.write(0, new Uint8Array(100), 0, 100);
  lone.send();
  lone.session.write(0, new Uint8Array(50), 0, 50);
  lone.session.reset(0, 3);
  assert.equal(lone.budget.used, 0);
  assert.deepEqual(lone.send(), ["rst 0 3", "fin 0 100"]);
  lone.ackAll();
  assert.deepEqual(lone.events.take(), [], "the peer's final size is missing");
  lone.receive((w) => f.writeFin(w, 0, 0));
  assert.deepEqual(lone.events.take(), ["gone 0"]);
});

Deno.test("a reset stream is forgotten in time, but not before the peer knows", () => {
  const lone = serving();
  // Long silence, so that the session's idea of the time is old.
  lone.now = 9000;
  lone.session.reset(0, 0);
  assert.deepEqual(lone.send(), ["rst 0 0", "fin 0 0"]);
  lone.ackAll();
  lone.pass(FORGET_RESET_MS - 1);
  assert.deepEqual(lone.events.take(), []);
  lone.pass(1);
  assert.deepEqual(lone.events.take(), ["gone 0"]);
  const deaf = serving();
  deaf.session.reset(0, 0);
  // Nothing is acknowledged, and the path dies; a sign of life keeps the session.
  for (let i = 0; i < 3; i++) {
    deaf.pass(FORGET_RESET_MS);
    deaf.receive((w) => f.writePing(w, 1, 1));
  }
  assert.deepEqual(deaf.events.take().filter((line) => line !== "died 0"), []);
  assert.equal(deaf.session.streamCount, 1);
});

Deno.test("a refusal ends the stream on both sides", () => {
  const lone = new LoneSession();
  lone.events.answer = f.OpenedCode.denied;
  lone.receive((w) => open(w));
  assert.deepEqual(lone.send(), ["ack 0-0 of 1", "opened 0 4", "fin 0 0"]);
  const client = opening();
  client.send();
  client.receive((w) => f.writeOpened(w, 0, 4, ADDRESS, 0, ADDRESS.length));
  assert.deepEqual(client.events.take(), ["answered 0 4"]);
  assert.deepEqual(client.send(), ["ack 0-0 of 1", "fin 0 0"]);
  client.ackAll();
  client.receive((w) => f.writeFin(w, 0, 0));
  assert.deepEqual(client.events.take(), ["gone 0"]);
});

Deno.test("a lost OPENED is said again, although all else is over", () => {
  const lone = new LoneSession();
  lone.events.answer = 0;
  lone.receive((w) => open(w) && f.writeFin(w, 0, 0));
  assert.deepEqual(lone.send(), ["ack 0-0 of 1", "opened 0 0"]);
  lone.session.finish(0);
  for (let i = 0; i < 4; i++) lone.session.ping(0, 1, i), lone.send();
  // The FIN and the pings arrived, the OPENED did not.
  lone.receive((w) => {
    w.u8(3);
    for (const value of [4, 0, 0, 3]) w.varint(value);
  });
  assert.deepEqual(lone.send().filter((line) => !line.startsWith("ack")), ["opened 0 0"]);
  lone.ackAll();
  assert.deepEqual(lone.events.take().at(-1), "gone 0");
});

Deno.test("a MAX_STREAM that is lost after the end holds no stream up", () => {
  const lone = serving();
  lone.receive((w) => stream(w, 0, 0, 60_000), 0);
  for (let at = 60_000; at < 560_000; at += 50_000) lone.receive((w) => stream(w, 0, at, 50_000));
  lone.receive((w) => f.writeFin(w, 0, 560_000));
  lone.session.finish(0);
  const said = lone.send();
  assert(!said.some((line) => line.startsWith("maxStream")), said.join("; "));
  lone.ackAll();
  assert.equal(lone.events.take().at(-1), "gone 0");
});

Deno.test("one stream too many is refused, and heard of; beyond, packets count as lost", () => {
  const lone = new LoneSession();
  for (let id = 0; id < STREAMS_MAX; id += 64) {
    lone.now += 32;
    lone.receive((w) => {
      for (let i = 0; i < 64; i++) open(w, id + i);
    });
  }
  assert.equal(lone.session.streamCount, STREAMS_MAX);
  lone.send();
  lone.events.take();
  lone.receive((w) => open(w, STREAMS_MAX));
  assert.equal(lone.session.counters.streamsRefused, 1);
  assert(lone.send().includes(`opened ${STREAMS_MAX} 6`));
  assert.deepEqual(lone.events.take(), []);
  for (let i = 1; i < REFUSALS_MAX; i++) lone.receive((w) => open(w, STREAMS_MAX + i));
  lone.receive((w) => open(w, STREAMS_MAX + REFUSALS_MAX));
  assert.equal(lone.session.counters.answersFull, 1);
  const [ack] = lone.send().filter((line) => line.startsWith("ack"));
  assert(ack!.startsWith(`ack ${lone.number - 2}-`), "the last one is not acknowledged");
  assert(lone.session.isOpen);
});

Deno.test("OPENs wait while the peer has too many answers to acknowledge", () => {
  const lone = new LoneSession();
  lone.events.answer = f.OpenedCode.refused;
  for (let id = 0; id < ANSWERS_MAX + 50; id++) {
    lone.now += 0.5;
    lone.receive((w) => open(w, id));
  }
  assert.equal(lone.session.streamCount, ANSWERS_MAX);
  assert.equal(lone.session.counters.answersFull, 50);
  for (let round = 0; round < 100; round++) {
    lone.now += 20;
    lone.send();
    lone.ackAll();
  }
  lone.events.take();
  lone.receive((w) => open(w, ANSWERS_MAX));
  assert(lone.events.take().includes(`opened ${ANSWERS_MAX}`));
  assert.equal(lone.session.counters.answersFull, 50);
});

Deno.test("streams that were reset, and whose end is never said, are not kept for long", () => {
  const lone = new LoneSession();
  for (let id = 0; id < 2 * RESETS_MAX; id++) {
    lone.receive((w) => open(w, id) && f.writeRst(w, id, 0));
    lone.now += 5;
    lone.send();
    lone.ackAll();
  }
  const { streamCount } = lone.session;
  assert(streamCount <= RESETS_MAX + 16, `${streamCount}`);
});

Deno.test("sessions with all streams that they can get leave others theirs", () => {
  const budget = new Budget(0);
  for (let i = 0; i < 20; i++) {
    const greedy = new LoneSession({ budget });
    for (let id = 0; id < STREAMS_MAX; id += 100) {
      greedy.now += 2000;
      greedy.receive((w) => {
        for (let i = 0; i < 100; i++) open(w, id + i);
      });
    }
  }
  assert(budget.streams.used <= STREAMS_WORKER_MAX + 20 * REFUSALS_MAX, `${budget.streams.used}`);
  const honest = new LoneSession({ budget });
  honest.events.answer = f.OpenedCode.ok;
  for (let id = 0; id < STREAMS_SURE; id++) honest.receive((w) => open(w, id));
  assert.equal(honest.session.counters.streamsRefused, 0);
});

Deno.test("a server opens no streams, a client answers none", () => {
  assert.equal(new LoneSession().session.openStream(ADDRESS), -1);
  const client = opening();
  client.session.answer(0, 4, ADDRESS);
  assert.deepEqual(client.send(), ["open 0"]);
});

Deno.test("a client's stream above the maximum is refused at once", () => {
  const lone = new LoneSession({ isClient: true });
  for (let i = 0; i < STREAMS_MAX; i++) assert.equal(lone.session.openStream(ADDRESS), i);
  assert.equal(lone.session.openStream(ADDRESS), -1);
});

// ---- limits and what breaks them

const BROKEN: readonly [string, number, (w: Writer) => void][] = [
  ["an unknown frame", f.CloseCode.unknownFrame, (w) => w.u8(0x11)],
  ["a frame cut short", f.CloseCode.badFrame, (w) => w.u8(f.FrameType.ping)],
  ["an ACK of what was never sent", f.CloseCode.badFrame, (w) => {
    w.u8(f.FrameType.ack);
    for (const value of [1000, 0, 0, 0]) w.varint(value);
  }],
  ["OPENED from a client", f.CloseCode.streamState, (w) => {
    f.writeOpened(w, 0, 0, ADDRESS, 0, ADDRESS.length);
  }],
  ["a stream over its limit", f.CloseCode.flowControl, (w) => {
    stream(w, 0, STREAM_WINDOW_BYTES, 1);
  }],
  ["a FIN over the limit", f.CloseCode.flowControl, (w) => {
    f.writeFin(w, 0, STREAM_WINDOW_BYTES + 1);
  }],
  ["data behind the end", f.CloseCode.streamState, (w) => {
    f.writeFin(w, 0, 3);
    stream(w, 0, 2, 2);
  }],
  ["an end before data", f.CloseCode.streamState, (w) => {
    stream(w, 0, 2, 2);
    f.writeFin(w, 0, 3);
  }],
  ["two ends", f.CloseCode.streamState, (w) => {
    f.writeFin(w, 0, 3);
    f.writeFin(w, 0, 4);
  }],
];

for (const [name, code, write] of BROKEN) {
  Deno.test(`${name} ends the session with CLOSE ${code}`, () => {
    const lone = serving();
    assert.equal(lone.receive(write), false);
    assert.deepEqual(lone.events.take().at(-1), `closed ${code} here`);
    assert.deepEqual(lone.send(), [`close ${code}`]);
    assert.equal(lone.session.closeCode, code);
    assert.equal(lone.budget.used, 0);
  });
}

Deno.test("a client's session ends by a stream that it never opened", () => {
  const writes: ((w: Writer) => void)[] = [
    (w) => open(w, 0),
    (w) => stream(w, 1, 0, 1),
    (w) => f.writeFin(w, 1, 0),
    (w) => f.writeRst(w, 1, 0),
    (w) => f.writeMaxStream(w, 1, 5),
    (w) => f.writeOpened(w, 1, 0, ADDRESS, 0, ADDRESS.length),
  ];
  for (const write of writes) {
    const lone = opening();
    assert.equal(lone.receive(write), false);
    assert.equal(lone.session.closeCode, f.CloseCode.streamState);
  }
});

Deno.test("data up to the limits is taken, of a stream and of the session", () => {
  const lone = new LoneSession();
  const streams = SESSION_WINDOW_BYTES / STREAM_WINDOW_BYTES;
  for (let id = 0; id < streams; id++) {
    assert(lone.receive((w) => stream(w, id, STREAM_WINDOW_BYTES - 1, 1)));
  }
  assert.equal(lone.receive((w) => stream(w, streams, 0, 1)), false);
  assert.equal(lone.session.closeCode, f.CloseCode.flowControl);
  assert.equal(lone.budget.used, 0);
});

Deno.test("windows are said anew as they are used, and resets give the session's back", () => {
  const lone = serving();
  const half = STREAM_WINDOW_BYTES / 2;
  for (let at = 0; at < half; at += 65_536) lone.receive((w) => stream(w, 0, at, 65_536));
  assert(lone.send().includes(`maxStream 0 ${half + STREAM_WINDOW_BYTES}`));
  const other = new LoneSession();
  other.events.answer = 0;
  for (let id = 0; id < 8; id++) {
    other.receive((w) => open(w, id) && f.writeRst(w, id, 0));
    other.receive((w) => f.writeFin(w, id, STREAM_WINDOW_BYTES));
  }
  const max = 8 * STREAM_WINDOW_BYTES + SESSION_WINDOW_BYTES;
  assert(other.send().includes(`maxData ${max}`));
});

Deno.test("a sender stops at the peer's limits, and goes on when they grow", () => {
  const lone = serving();
  const bytes = new Uint8Array(2 << 20);
  const sentTo = (): number => {
    let end = 0;
    for (let i = 0; i < 100; i++) {
      lone.session.write(0, bytes, 0, bytes.length);
      for (const line of lone.send(100)) {
        const [, from, length] = /^stream 0 (\d+)\+(\d+)/.exec(line) ?? [];
        if (from !== undefined) end = Math.max(end, Number(from) + Number(length));
      }
      lone.now += 20;
      lone.ackAll();
    }
    return end;
  };
  assert.equal(sentTo(), STREAM_WINDOW_BYTES);
  lone.receive((w) => f.writeMaxStream(w, 0, STREAM_WINDOW_BYTES + 7));
  assert.equal(sentTo(), STREAM_WINDOW_BYTES + 7);
  lone.receive((w) => f.writeMaxStream(w, 0, 5));
  assert.equal(sentTo(), 0, "a limit never shrinks");
});

Deno.test("a writer that the budget starved hears of room without an ACK", () => {
  const budget = new Budget(8192);
  const lone = new LoneSession({ isClient: true, budget });
  const held = budget.take(8192);
  lone.session.openStream(ADDRESS);
  assert.equal(lone.session.write(0, new Uint8Array(10), 0, 10), 0);
  lone.pass(100);
  assert(lone.events.take().filter((line) => line === "writable 0").length === 1);
  assert.equal(lone.session.write(0, new Uint8Array(10), 0, 10), 0);
  budget.give(held, 8192);
  lone.pass(100);
  assert(lone.events.take().includes("writable 0"));
  assert.equal(lone.session.write(0, new Uint8Array(10), 0, 10), 10);
});

Deno.test("without frame records nothing that is sent again goes out, until some come back", () => {
  const records = new FrameRecords(1);
  const lone = new LoneSession({ isClient: true, records });
  const taken = records.take(1, 1, 1, 1);
  lone.session.openStream(ADDRESS);
  assert.deepEqual(lone.send(), []);
  assert(lone.session.nextTimeout() > lone.now && lone.session.nextTimeout() < 100);
  records.release(taken);
  assert(lone.pass(100).includes("open 0"));
});

// ---- datagrams

Deno.test("datagrams: longer than the path's packets go alone, in a large one", () => {
  const lone = serving();
  const { session } = lone;
  const usual = datagramDataThatFits(1452 - 32, 1, ADDRESS.length);
  const most = datagramDataThatFits(65_507 - 32, 1, ADDRESS.length);
  const send = (length: number) =>
    session.sendDatagram(1, ADDRESS, 0, 7, new Uint8Array(length).fill(7), 0, length);
  assert.equal(send(most + 1), false);
  assert.equal(session.counters.datagramsTooLong, 1);
  assert(send(usual + 1) && send(10) && send(most));
  const bytes = new Uint8Array(70_000);
  const build = (): [number, boolean] => {
    const room = Math.max(session.largeBytes, 1452 - 32);
    const length = session.build(lone.now, bytes, 0, room);
    return [length, session.builtIsLarge];
  };
  // The acknowledgement that is due comes first, and alone.
  lone.receive((w) => f.writePing(w, 0, 0) && f.writePing(w, 0, 1));
  lone.receive((w) => f.writePing(w, 0, 0) && f.writePing(w, 0, 1));
  const [first, isLarge] = build();
  assert(first < 100 && !isLarge);
  const path = session.recovery.path(0)!;
  const before = path.inFlight;
  assert.deepEqual(build(), [1452 - 32 + 1, true]);
  assert.equal(path.inFlight - before, 1452 + 1, "its real size");
  const [small] = build();
  assert(small < 50 && !session.builtIsLarge);
  assert.deepEqual(build(), [65_507 - 32, true]);
  assert.equal(session.largeBytes, 0);
  assert.deepEqual(build(), [0, true]);
  // Nothing is learnt of them about the path MTU.
  lone.ackAll();
  assert.equal(path.pmtu.size, 1452);
  assert.equal(path.inFlight, 0);
  // The peer has said that it takes less.
  assert(send(5000));
  lone.now += 3000;
  session.packetBytesMax = 1452;
  assert.equal(build()[0], 0);
  assert.equal(session.counters.datagramsTooLong, 2);
});

Deno.test("datagrams: a large one waits until the path is proven", () => {
  const lone = new LoneSession({}, false);
  const { session } = lone;
  const bytes = new Uint8Array(70_000);
  lone.receive((w) => f.writePing(w, 0, 0));
  assert(session.sendDatagram(1, ADDRESS, 0, 7, new Uint8Array(5000), 0, 5000));
  while (session.build(lone.now, bytes, 0, session.largeBytes || 1420) > 0);
  assert(session.largeBytes > 0 && session.nextTimeout() > lone.now);
  session.pathState(0)!.receivedBytes = 5000;
  lone.receive((w) => f.writePing(w, 0, 0));
  while (session.build(lone.now, bytes, 0, session.largeBytes || 1420) > 0);
  assert(session.largeBytes === 0);
});

Deno.test("datagrams: lost ones are not repeated", () => {
  const lone = serving();
  const room = datagramDataThatFits(1452 - 32, 1, ADDRESS.length);
  const send = (length: number) =>
    lone.session.sendDatagram(1, ADDRESS, 0, 7, new Uint8Array(length), 0, length);
  assert(send(room) && send(0));
  // An acknowledgement is waiting as well: the long one gets a packet for itself.
  lone.receive((w) => f.writePing(w, 0, 0) && f.writePing(w, 0, 1));
  const said = lone.send();
  assert(said.includes(`datagram 1 ${room}`) && said.includes("datagram 1 0"), said.join("; "));
  assert(!lone.pass(3000).some((line) => line.startsWith("datagram")));
  let queued = 0;
  while (send(1000)) queued++;
  assert(queued > 400 && lone.session.counters.datagramsDropped === 1);
});

Deno.test("DATAGRAM and ASSOC_END come as events; a lost ASSOC_END is said again", () => {
  const lone = serving();
  lone.receive((w) => {
    f.writeDatagram(w, 4, ADDRESS, 0, 7, new Uint8Array(9), 0, 9);
    f.writeAssocEnd(w, 4);
  });
  assert.deepEqual(lone.events.take(), ["datagram 4 9", "assoc ended 4"]);
  lone.session.endAssoc(7);
  assert(lone.send().includes("assocEnd 7"));
  assert(lone.pass(2000).includes("assocEnd 7"));
});

// ---- acknowledgements and pings

Deno.test("every second packet is acknowledged, one alone in time, an ACK never", () => {
  const lone = serving();
  lone.receive((w) => f.writeAssocEnd(w, 1));
  assert.deepEqual(lone.send(), []);
  lone.receive((w) => f.writeAssocEnd(w, 1));
  assert.deepEqual(lone.send().length, 1);
  lone.receive((w) => f.writeAssocEnd(w, 1));
  assert.deepEqual(lone.pass(24), []);
  assert.equal(lone.pass(2).length, 1);
  lone.receive((w) => f.writePadding(w, 3));
  assert.deepEqual(lone.pass(100), []);
});

Deno.test("ACKs of many ranges ask for an answer now and then, not always", () => {
  const lone = serving();
  let pings = 0;
  for (let i = 0; i < 400; i++) {
    // Every second number is missing.
    lone.number++;
    lone.receive((w) => f.writeAssocEnd(w, 1));
    const said = lone.send();
    assert(said.length <= 2, said.join("; "));
    pings += said.filter((line) => line.startsWith("ping")).length;
  }
  assert(pings >= 5 && pings <= 15, `${pings}`);
});

Deno.test("PING is answered on its path; the session's own PONGs are no events", () => {
  const lone = serving();
  assert.equal(lone.addPath(true), 1);
  lone.receive((w) => f.writePing(w, 3, 4), 1);
  assert(lone.send().includes("1: pong 3 4"));
  lone.receive((w) => f.writePong(w, 0, 0) && f.writePong(w, 0, 9));
  assert.deepEqual(lone.events.take(), ["pong 0 0 9"]);
});

Deno.test("a lost PING is repeated only while it is the newest", () => {
  const lone = serving();
  lone.session.ping(0, 0, 1);
  lone.send();
  lone.session.ping(0, 0, 2);
  const said = lone.send().concat(lone.pass(1000));
  assert.equal(said.filter((line) => line === "ping 0 1").length, 0);
  assert(said.filter((line) => line === "ping 0 2").length >= 2);
});

// ---- paths

Deno.test("a newcomer is challenged, sent little to, and proven by the right answer", () => {
  const lone = serving();
  const path = lone.addPath(false);
  lone.receive((w) => f.writePadding(w, 100), path);
  const said = lone.send().filter((line) => line.startsWith("1: pathChallenge"));
  assert.equal(said.length, 1);
  const [, high, low] = /(\d+) (\d+)$/.exec(said[0]!)!;
  lone.receive((w) => f.writePathResponse(w, 0, 0));
  assert.equal(lone.session.pathState(path)!.isProven, false);
  // By whatever way it comes.
  lone.receive((w) => f.writePathResponse(w, Number(high), Number(low)), 0);
  assert.deepEqual(lone.events.take(), ["proven 1"]);
  assert.equal(lone.session.activePath, 0);
  lone.receive((w) => f.writePadding(w, 100), path);
  assert.equal(lone.session.activePath, 1, "where the newest packet came from");
});

Deno.test("an old packet moves nothing", () => {
  const lone = serving();
  const path = lone.addPath(true);
  lone.number = 50;
  lone.receive((w) => f.writePadding(w, 100), 0);
  lone.receive((w) => f.writePadding(w, 100), path, 49);
  assert.equal(lone.session.activePath, 0);
});

Deno.test("a path that does not answer its challenge is asked again, within its allowance", () => {
  const lone = new LoneSession({}, false);
  let sent = 0;
  for (let i = 0; i < 20; i++) {
    lone.receive((w) => f.writePadding(w, 68));
    lone.pass(1000);
    const { receivedBytes, sentBytes } = lone.session.pathState(0)!;
    assert(sentBytes <= 3 * receivedBytes);
    sent = sentBytes;
  }
  assert(sent > CHALLENGES_MAX * 41);
});

Deno.test("the client's activate() is said on the path, and again when it was lost", () => {
  const lone = opening();
  const path = lone.addPath(true);
  lone.send();
  lone.ackAll();
  lone.session.activate(path);
  assert(lone.send().includes("1: pathStatus 1"));
  assert(lone.pass(2000).includes("1: pathStatus 1"));
  assert.equal(lone.session.activePath, path);
});

Deno.test("data of a path that fell silent goes out by the other as soon as it is active", () => {
  const lone = opening();
  lone.session.write(0, new Uint8Array(50_000), 0, 50_000);
  lone.send();
  const path = lone.addPath(true);
  lone.pass(1200);
  assert(lone.session.recovery.path(0)!.ptoCount > 0);
  lone.session.activate(path);
  // Paced, but without waiting for one more probe.
  const said = lone.pass(150).filter((line) => line.startsWith("1: stream"));
  assert(said.length > 30, `${said.length}`);
});

Deno.test("a client without a path that answers ends; with one more it goes on there", () => {
  const alone = opening();
  alone.pass(29_000);
  assert.deepEqual(alone.events.take(), [`closed ${f.CloseCode.idle} here`]);
  const two = opening();
  two.addPath(true);
  const said: string[] = [];
  while (two.session.activePath === 0) said.push(...two.pass(100));
  said.push(...two.send());
  assert.deepEqual(two.events.take(), ["died 0"]);
  assert(said.includes("1: pathStatus 1") && said.includes("1: open 0"), said.join("; "));
});

Deno.test("a server whose path died waits, and goes on when the client is heard again", () => {
  const lone = serving();
  lone.session.write(0, new Uint8Array(100), 0, 100);
  while (lone.events.lines.length === 0) lone.pass(100);
  assert.deepEqual(lone.events.take(), ["died 0"]);
  assert.deepEqual(lone.pass(1000), []);
  lone.receive((w) => f.writePing(w, 1, 1));
  assert(lone.send().includes("stream 0 0+100"));
});

// ---- the end

Deno.test("CLOSE is repeated to a peer that goes on, a few times, then no more", () => {
  const lone = serving();
  lone.session.close(lone.now, f.CloseCode.shutdown);
  lone.session.close(lone.now, f.CloseCode.internal);
  assert.deepEqual(lone.events.take(), ["closed 9 here"]);
  let closes = lone.send().length;
  for (let i = 0; i < 10; i++) {
    assert.equal(lone.receive((w) => f.writePing(w, 0, 0)), false);
    closes += lone.send().length;
  }
  assert.equal(closes, CLOSE_REPEATS_MAX);
  assert.equal(lone.session.openStream(ADDRESS), -1);
  assert.equal(lone.session.write(0, new Uint8Array(1), 0, 1), 0);
  lone.pass(3000);
  assert(lone.session.isDone && lone.records.used === 0 && lone.budget.used === 0);
  assert.equal(lone.session.nextTimeout(), Infinity);
});

Deno.test("a CLOSE that comes ends the session at once", () => {
  const lone = serving();
  lone.receive((w) => f.writeClose(w, 9, new Uint8Array(0)));
  assert.deepEqual(lone.events.take(), ["closed 9 there"]);
  assert(lone.session.isDone);
  assert.deepEqual(lone.send(), []);
});

Deno.test("CLOSE to a stranger keeps to its allowance, and does not spin for it", () => {
  const lone = new LoneSession({}, false);
  lone.session.close(0);
  assert.deepEqual(lone.send(), []);
  assert(lone.session.nextTimeout() > 0);
});

Deno.test("silence ends a session; without streams nothing is said meanwhile", () => {
  const lone = new LoneSession();
  assert.deepEqual(lone.pass(29_999), []);
  assert(lone.session.isOpen);
  lone.pass(2);
  assert.deepEqual(lone.events.take(), [`closed ${f.CloseCode.idle} here`]);
  const open = serving();
  assert.deepEqual(open.pass(10_100).filter((line) => line.startsWith("ping")).length > 0, true);
});

Deno.test("0-RTT frames act at once and are never acknowledged", () => {
  const lone = new LoneSession();
  const bytes = new Uint8Array(100);
  const reader = new LoneSession({ isClient: true });
  reader.session.openStream(ADDRESS);
  const length = reader.session.build(0, bytes, 0, 100);
  assert(lone.session.receiveEarly(0, bytes, 0, length));
  assert.deepEqual(lone.events.take(), ["opened 0"]);
  assert.deepEqual(lone.pass(100), []);
});

// ---- shares of what all sessions have together

/** A server whose client has opened so many streams, on a budget that others share. */
function withStreams(count: number, budget: Budget, group?: ShareGroup): LoneSession {
  const lone = new LoneSession({ budget });
  lone.session.shareGroup = group;
  lone.events.answer = f.OpenedCode.ok;
  for (let id = 0; id < count; id++) {
    if (id >= OPENINGS_BURST) lone.now += 0.5;
    lone.receive((w) => open(w, id));
  }
  return lone;
}

/** Writes to all streams as long as any takes something, and says what there is; bytes written. */
function writeAll(lone: LoneSession, streams: number, rounds: number): number {
  const bytes = new Uint8Array(1 << 20);
  let written = 0;
  for (let round = 0; round < rounds; round++) {
    for (let id = 0; id < streams; id++) {
      written += lone.session.write(id, bytes, 0, bytes.length);
    }
    lone.now += 20;
    lone.send();
    lone.ackAll();
  }
  return written;
}

Deno.test("a reader that stops holds little of each stream, however many it has stopped", () => {
  const budget = new Budget(256 << 20);
  const paused = withStreams(200, budget);
  // The peer acknowledges all, and gives no more credit.
  writeAll(paused, 200, 400);
  const held = budget.used;
  assert(held <= 200 * 128 * 1024 + READ_AHEAD_MAX, `${held}`);
  const honest = withStreams(1, budget);
  for (let i = 1; i < 200; i++) honest.receive((w) => f.writeMaxStream(w, 0, i << 20));
  honest.receive((w) => f.writeMaxData(w, 200 << 20));
  const alone = withStreams(1, new Budget(256 << 20));
  for (let i = 1; i < 200; i++) alone.receive((w) => f.writeMaxStream(w, 0, i << 20));
  alone.receive((w) => f.writeMaxData(w, 200 << 20));
  assert.equal(writeAll(honest, 1, 100), writeAll(alone, 1, 100));
});

Deno.test("bytes far behind a hole cost their pages, and only so many of them", () => {
  const budget = new Budget(256 << 20);
  const sparse = withStreams(1000, budget);
  for (let id = 0; id < 1000; id++) {
    sparse.receive((w) => stream(w, id, STREAM_WINDOW_BYTES / 64, 1));
  }
  assert(budget.used <= SPARSE_PAGES_SURE * 4096, `${budget.used}`);
  assert(sparse.session.counters.framesRefused > 0);
  // A burst that was lost, and behind it what is usual: all of that is kept.
  const honest = withStreams(1, budget);
  const before = budget.used;
  for (let at = 500_000; at < 1_000_000; at += 1000) honest.receive((w) => stream(w, 0, at, 1000));
  assert.equal(honest.session.counters.framesRefused, 0);
  assert(budget.used - before <= 510_000, `${budget.used - before}`);
  honest.receive((w) => stream(w, 0, 0, 60_000));
  for (let at = 60_000; at < 500_000; at += 1000) honest.receive((w) => stream(w, 0, at, 1000));
  assert.equal(budget.used, before);
});

Deno.test("many sessions that want all memory leave some for one that comes late", () => {
  const budget = new Budget(64 << 20);
  const greedy = Array.from({ length: 50 }, () => withStreams(40, budget));
  // Whatever is sent is never acknowledged.
  const bytes = new Uint8Array(1 << 20);
  for (let round = 0; round < 20; round++) {
    for (const lone of greedy) {
      for (let id = 0; id < 40; id++) lone.session.write(id, bytes, 0, bytes.length);
    }
  }
  const late = withStreams(1, budget);
  assert(late.session.write(0, bytes, 0, bytes.length) >= 64 * 1024);
});

Deno.test("what is read for a peer that has vanished stays as it is until it answers", () => {
  const lone = serving();
  const bytes = new Uint8Array(1 << 20);
  assert(lone.session.write(0, bytes, 0, bytes.length) > 0);
  lone.send();
  const before = lone.session.room(0);
  assert(before > 0);
  for (let i = 0; i < 100 && lone.session.room(0) > 0; i++) lone.pass(100);
  assert(lone.now < 5000, `noticed in seconds: ${lone.now}`);
  assert.equal(lone.session.write(0, bytes, 0, bytes.length), 0);
  assert.equal(lone.session.counters.silences, 1);
  assert(lone.budget.used <= 256 * 1024, `${lone.budget.used}`);
  lone.events.take();
  assert(lone.session.isOpen);
  lone.receive((w) => f.writePing(w, 1, 1));
  assert(lone.session.room(0) > 0);
  lone.pass(100);
  lone.ackAll();
  assert(lone.events.take().includes("writable 0"));
});

Deno.test("a writer with nothing in flight hears when a vanished peer is back", () => {
  const lone = serving();
  lone.receive((w) => open(w, 1));
  lone.session.write(0, new Uint8Array(1000), 0, 1000);
  lone.send();
  while (lone.session.room(1) > 0) lone.pass(100);
  assert.equal(lone.session.write(1, new Uint8Array(10), 0, 10), 0);
  lone.events.take();
  lone.pass(1000);
  assert(!lone.events.take().includes("writable 1"), "nobody asks again and again");
  lone.receive((w) => f.writePing(w, 1, 1));
  lone.pass(50);
  assert(lone.events.take().includes("writable 1"));
});

/** Opens and resets so many streams in each of so many packets, one every 5 ms; how many were. */
function churn(lone: LoneSession, first: number, packets: number, each: number): number {
  for (let packet = 0; packet < packets; packet++) {
    lone.now += 5;
    lone.receive((w) => {
      for (let i = 0; i < each; i++) {
        const id = first + packet * each + i;
        open(w, id);
        f.writeRst(w, id, 0);
      }
    });
    lone.send();
    lone.ackAll();
  }
  return lone.events.take().filter((line) => line.startsWith("opened")).length;
}

Deno.test("a session that opens streams without end gets so many a second", () => {
  const budget = new Budget(1 << 20);
  const lone = new LoneSession({ budget });
  const opened = churn(lone, 0, 400, 73);
  const most = OPENINGS_BURST + 2 * OPENINGS_A_SECOND;
  assert(opened >= 0.9 * most && opened <= most + 1, `${opened}`);
  assert(lone.session.counters.openingsOverRate > 0 && lone.session.isOpen);
});

Deno.test("sessions that open streams without end leave another one its own", () => {
  const budget = new Budget(1 << 20);
  const bad = Array.from({ length: 20 }, () => new LoneSession({ budget }));
  const honest = new LoneSession({ budget });
  let [opened, own] = [0, 0];
  for (let second = 0; second < 5; second++) {
    for (let turn = 0; turn < 20; turn++) {
      for (const lone of bad) opened += churn(lone, lone.number * 73, 10, 73);
      own += churn(honest, honest.number * 2, 10, turn % 5 === 0 ? 1 : 0);
    }
  }
  assert.equal(own, 5 * 4 * 10);
  assert.equal(honest.session.counters.openingsOverRate, 0);
  const each = OPENINGS_BURST + 5 * OPENINGS_BUSY_A_SECOND;
  assert(opened <= 20 * each + 6 * OPENINGS_WORKER_A_SECOND, `${opened}`);
});

Deno.test("the sessions of a user have one share of memory and streams together", () => {
  const bytes = new Uint8Array(1 << 20);
  /** What one session gets beside 30 of another user, or of nobody. */
  const gets = (group: ShareGroup | undefined): number => {
    const budget = new Budget(32 << 20);
    const bad = Array.from({ length: 30 }, () => withStreams(40, budget, group));
    for (let id = 0; id < 40; id++) {
      for (const lone of bad) lone.session.write(id, bytes, 0, bytes.length);
    }
    const honest = withStreams(100, budget, new ShareGroup());
    let written = 0;
    for (let id = 0; id < 100; id++) written += honest.session.write(id, bytes, 0, bytes.length);
    return written;
  };
  const [together, apart] = [gets(new ShareGroup()), gets(undefined)];
  assert(together >= 4 * apart, `${together} and ${apart}`);
});

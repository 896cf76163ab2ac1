import assert from "node:assert/strict";
import { testNative } from "../tests/native.ts";
import { bootMs, Epoll, EpollEvent, epollReadyMax, EventFd, monotonicMs } from "./loop.ts";

const native = testNative();

Deno.test("Epoll.wait() reports a signalled eventfd with its tag, until it is drained", () => {
  using epoll = new Epoll(native);
  using event = new EventFd(native);
  epoll.add(event.fd, EpollEvent.in, 0xffff_fffe);
  assert.equal(epoll.wait(0), 0);
  event.signal();
  event.signal();
  for (let round = 0; round < 2; round++) {
    assert.equal(epoll.wait(-1), 1);
    assert.equal(epoll.tag(0), 0xffff_fffe);
    assert.equal(epoll.events(0), EpollEvent.in);
  }
  assert.equal(event.drain(), true);
  assert.equal(event.drain(), false);
  assert.equal(epoll.wait(0), 0);
});

Deno.test("Epoll.wait() waits as long as it was told", () => {
  using epoll = new Epoll(native);
  const start = performance.now();
  assert.equal(epoll.wait(20), 0);
  assert.ok(performance.now() - start >= 19);
});

Deno.test("Epoll.change() and remove() take effect", () => {
  using epoll = new Epoll(native);
  using event = new EventFd(native);
  epoll.add(event.fd, EpollEvent.in, 1);
  epoll.change(event.fd, EpollEvent.in | EpollEvent.out, 2);
  assert.equal(epoll.wait(0), 1);
  assert.equal(epoll.tag(0), 2);
  assert.equal(epoll.events(0), EpollEvent.out);
  epoll.remove(event.fd);
  assert.equal(epoll.wait(0), 0);
});

Deno.test("Epoll with edge triggering reports a signal once", () => {
  using epoll = new Epoll(native);
  using event = new EventFd(native);
  epoll.add(event.fd, EpollEvent.in | EpollEvent.edgeTriggered, 1);
  event.signal();
  assert.equal(epoll.wait(0), 1);
  assert.equal(epoll.wait(0), 0);
});

Deno.test("Epoll.wait() gives at most its capacity, and the rest the next time", () => {
  using epoll = new Epoll(native, 2);
  const events = Array.from({ length: 5 }, () => new EventFd(native));
  try {
    events.forEach((event, tag) => {
      epoll.add(event.fd, EpollEvent.in, tag);
      event.signal();
    });
    const seen = new Set<number>();
    for (let round = 0; round < 3; round++) {
      const ready = epoll.wait(0);
      assert.equal(ready, 2);
      for (let i = 0; i < ready; i++) seen.add(epoll.tag(i));
    }
    assert.equal(seen.size, 5);
  } finally {
    events.forEach((event) => event.close());
  }
});

Deno.test("EventFd wakes a thread that waits, across threads", async () => {
  using event = new EventFd(native);
  using epoll = new Epoll(native);
  epoll.add(event.fd, EpollEvent.in, 1);
  const source = `
    import { EventFd } from "${new URL("loop.ts", import.meta.url)}";
    import { testNative } from "${new URL("../tests/native.ts", import.meta.url)}";
    self.onmessage = ({ data }) => {
      new EventFd(testNative(), data).signal();
      self.postMessage("done");
    };`;
  const url = `data:application/javascript,${encodeURIComponent(source)}`;
  const worker = new Worker(url, { type: "module" });
  const done = new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(event.fd);
  assert.equal(epoll.wait(10_000), 1);
  assert.equal(event.drain(), true);
  await done;
  worker.terminate();
});

Deno.test("Epoll throws SysError for a descriptor it can't watch", () => {
  using epoll = new Epoll(native);
  using event = new EventFd(native);
  assert.throws(() => epoll.add(-1, EpollEvent.in, 0), {
    name: "SysError",
    code: "EBADF",
    message: "add descriptor -1 to epoll: EBADF (bad file descriptor)",
  });
  assert.throws(() => epoll.remove(event.fd), { code: "ENOENT" });
  epoll.add(event.fd, EpollEvent.in, 0);
  assert.throws(() => epoll.add(event.fd, EpollEvent.in, 0), { code: "EEXIST" });
});

Deno.test("Epoll throws a RangeError for a capacity out of bounds", () => {
  for (const capacity of [0, -1, 1.5, epollReadyMax + 1]) {
    assert.throws(() => new Epoll(native, capacity), RangeError);
  }
  new Epoll(native, epollReadyMax).close();
});

Deno.test("Epoll and EventFd name themselves when used after close", () => {
  const epoll = new Epoll(native);
  const event = new EventFd(native);
  epoll.close();
  epoll.close();
  event.close();
  event.close();
  assert.throws(() => epoll.wait(0), { message: "Cannot use epoll as it is closed" });
  assert.throws(() => epoll.fd, { message: "Cannot use epoll as it is closed" });
  assert.throws(() => event.signal(), { message: "Cannot use eventfd as it is closed" });
  assert.throws(() => event.drain(), { message: "Cannot use eventfd as it is closed" });
});

Deno.test("monotonicMs() counts milliseconds of the machine, and never back", async () => {
  const uptime = () => Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]) * 1000;
  // /proc counts what the machine slept too, and in hundredths.
  assert.ok(monotonicMs(native) <= uptime() + 20);
  // Between two readings of the other clock, however long this thread waits between any two.
  const [outside, start, inside] = [performance.now(), monotonicMs(native), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 30));
  const least = performance.now() - inside;
  const took = monotonicMs(native) - start;
  assert.ok(took >= least - 1 && took <= performance.now() - outside + 1, `${took} ms`);
  let last = start;
  for (let i = 0; i < 10_000; i++) {
    const now = monotonicMs(native);
    assert.ok(now >= last);
    last = now;
  }
});

Deno.test("EventFd that is borrowed leaves the descriptor open", () => {
  using event = new EventFd(native);
  new EventFd(native, event.fd).close();
  event.signal();
  assert.equal(event.drain(), true);
});

Deno.test("bootMs() is what /proc/uptime says, and not behind the monotonic clock", () => {
  const uptime = () => 1000 * Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
  const [before, now, after] = [uptime(), bootMs(native), uptime()];
  assert.ok(now >= before - 20 && now <= after + 20, `${before} ${now} ${after}`);
  assert.ok(bootMs(native) >= monotonicMs(native) - 20);
});

import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import { ipBytes } from "../base/ip.ts";
import { Doorstep } from "./doorstep.ts";

Deno.test("the source with most waiting gives way, its oldest first", () => {
  const doorstep = new Doorstep();
  const gone: string[] = [];
  const enter = (host: string, name: string) => {
    const peer = endpoint(ipBytes(host), 1);
    const one = {
      abort() {
        gone.push(name);
        doorstep.leave(peer, one);
      },
    };
    doorstep.add(peer, one);
    return () => doorstep.leave(peer, one);
  };
  assert.equal(doorstep.giveWay(), false);
  enter("192.0.2.1", "a");
  enter("192.0.2.2", "b");
  const leaveC = enter("192.0.2.1", "c");
  enter("192.0.2.1", "d");
  assert.ok(doorstep.giveWay());
  leaveC();
  leaveC();
  assert.ok(doorstep.giveWay() && doorstep.giveWay());
  assert.deepEqual(gone, ["a", "d", "b"]);
  assert.equal(doorstep.giveWay(), false);
});

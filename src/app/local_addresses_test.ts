import assert from "node:assert/strict";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { Namespace } from "../../tests/fixtures/netns.ts";
import { Log } from "../base/log.ts";
import { ipBytes } from "../base/ip.ts";
import { LocalAddresses } from "./local_addresses.ts";

const libs = libraries();
const log = new Log(() => assert.fail("nothing is to be told"));

Deno.test({
  name: "LocalAddresses hears of an address that comes, and of one that goes",
  ignore: Deno.uid() !== 0,
  fn() {
    using namespace = new Namespace();
    const hex = ipBytes("45.9.0.9").toHex();
    namespace.enter(() => {
      const addresses = new LocalAddresses(libs, log);
      const has = () => addresses.known.some(({ ip }) => ip === hex);
      // The first look without news; none follows for a while.
      assert.equal(addresses.haveChanged(0), false);
      assert.equal(has(), false);
      namespace.ip("addr", "add", "45.9.0.9/32", "dev", "lo");
      assert.equal(addresses.haveChanged(1), true);
      assert.equal(has(), true);
      assert.equal(addresses.haveChanged(2), false);
      namespace.ip("addr", "del", "45.9.0.9/32", "dev", "lo");
      assert.equal(addresses.haveChanged(3), true);
      assert.equal(has(), false);
      // Of a local route it hears later.
      namespace.ip("route", "add", "local", "45.8.0.0/24", "dev", "lo");
      assert.equal(addresses.haveChanged(10_000), true);
      assert.ok(addresses.known.some(({ bits }) => bits === 96 + 24));
      addresses.close();
    });
  },
});

import assert from "node:assert/strict";
import { SysError } from "../../ffi/errors.ts";
import {
  attachTc,
  attachTcx,
  attachXdp,
  ClsactFilter,
  openPinnedLink,
  queryXdp,
  removeFilter,
  setXdp,
} from "../../ffi/link.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/object.ts";
import {
  probeHelper,
  probeMapType,
  probeProgramType,
  tryClsact,
  tryPerfBuffer,
  trySocket,
  trySockhash,
  tryTcx,
  tryXdp,
} from "../../ffi/probe.ts";
import { bpfObject, freshPinPath, libraries } from "../fixtures/libraries.ts";
import { Namespace } from "../fixtures/netns.ts";

const libs = libraries();

interface Bench {
  readonly namespace: Namespace;
  readonly object: BpfObject;
  readonly ifindex: number;
}

/** A veth pair in a namespace of its own, with this thread inside. */
function inNamespace(act: (bench: Bench) => void): void {
  using namespace = new Namespace();
  namespace.veth("va", "vb");
  using object = new BpfObject(libs, "testing", bpfObject("testing")).load();
  namespace.enter(() => {
    const ifindex = libs.native.symbols.ph_ifindex(cString("va"));
    act({ namespace, object, ifindex });
  });
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert(error instanceof SysError, String(error));
    return error.code;
  }
  return "none";
}

for (const mode of ["native", "generic"] as const) {
  Deno.test(`attachXdp() attaches in ${mode} mode, and closing the link detaches`, () => {
    inNamespace(({ object, ifindex }) => {
      const program = object.program("xdp_pass");
      const link = attachXdp(libs, program, ifindex, mode);
      const { id } = program.info();
      const state = queryXdp(libs, ifindex);
      assert.equal(state[mode], id);
      assert.equal(state[mode === "native" ? "generic" : "native"], 0);
      assert.deepEqual(link.info(), { type: 6, id: link.info().id, programId: id, ifindex });
      link.close();
      assert.deepEqual(queryXdp(libs, ifindex), { native: 0, generic: 0, offloaded: 0 });
      assert.throws(() => link.info(), /Cannot use native XDP|Cannot use generic XDP/);
    });
  });
}

Deno.test("BpfLink.update() swaps the program, only if the expected one is there", () => {
  inNamespace(({ object, ifindex }) => {
    const [pass, drop] = [object.program("xdp_pass"), object.program("xdp_drop")];
    using link = attachXdp(libs, pass, ifindex, "native");
    assert.equal(codeOf(() => link.update(drop, object.program("tally"))), "EPERM");
    assert.equal(queryXdp(libs, ifindex).native, pass.info().id);
    link.update(drop, pass);
    assert.equal(queryXdp(libs, ifindex).native, drop.info().id);
    link.update(pass);
    assert.equal(queryXdp(libs, ifindex).native, pass.info().id);
  });
});

Deno.test("attachXdp() never replaces what is attached", () => {
  inNamespace(({ object, ifindex }) => {
    using _first = attachXdp(libs, object.program("xdp_pass"), ifindex, "native");
    const second = () => attachXdp(libs, object.program("xdp_drop"), ifindex, "native");
    assert.equal(codeOf(second), "EBUSY");
  });
});

Deno.test("a pinned link outlives its handle, and is found again", () => {
  inNamespace(({ object, ifindex }) => {
    const path = freshPinPath();
    const link = attachXdp(libs, object.program("xdp_pass"), ifindex, "native");
    link.pin(path);
    link.close();
    assert.notEqual(queryXdp(libs, ifindex).native, 0);
    const again = openPinnedLink(libs, path)!;
    again.detach();
    assert.equal(queryXdp(libs, ifindex).native, 0);
    assert.equal(again.info().ifindex, 0);
    again.close();
    Deno.removeSync(path);
    assert.equal(openPinnedLink(libs, path), undefined);
  });
});

Deno.test("a link tells that its interface is gone", () => {
  inNamespace(({ namespace, object, ifindex }) => {
    using link = attachXdp(libs, object.program("xdp_pass"), ifindex, "native");
    namespace.ip("link", "del", "va");
    assert.equal(link.info().ifindex, 0);
    assert.equal(codeOf(() => link.update(object.program("xdp_drop"))), "ENOLINK");
  });
});

Deno.test("setXdp() replaces by netlink, only if the expected program is there", () => {
  inNamespace(({ object, ifindex }) => {
    const [pass, drop] = [object.program("xdp_pass"), object.program("xdp_drop")];
    setXdp(libs, ifindex, "native", pass, null);
    assert.equal(codeOf(() => setXdp(libs, ifindex, "native", drop, null)), "EBUSY");
    assert.equal(codeOf(() => setXdp(libs, ifindex, "native", drop, drop)), "EEXIST");
    assert.equal(queryXdp(libs, ifindex).native, pass.info().id);
    setXdp(libs, ifindex, "native", drop, pass);
    assert.equal(queryXdp(libs, ifindex).native, drop.info().id);
    setXdp(libs, ifindex, "native", null, drop);
    assert.equal(queryXdp(libs, ifindex).native, 0);
  });
});

Deno.test("attachTcx() attaches and detaches at both ends", () => {
  inNamespace(({ object, ifindex }) => {
    for (const direction of ["ingress", "egress"] as const) {
      using link = attachTcx(libs, object.program("tc_pass"), ifindex, direction);
      assert.equal(link.info().ifindex, ifindex);
      assert.equal(link.info().type, 11);
    }
    using best = attachTc(libs, object.program("tc_pass"), ifindex, "ingress");
    assert(!(best instanceof ClsactFilter));
  });
});

Deno.test("ClsactFilter attaches, swaps, and takes its qdisc with it", () => {
  inNamespace(({ namespace, object, ifindex }) => {
    const filter = new ClsactFilter(libs, object.program("tc_pass"), ifindex, "egress");
    assert.match(namespace.ip("link", "show", "va"), /va/);
    assert.match(namespace.run("tc", "qdisc", "show", "dev", "va"), /clsact/);
    assert.equal(filter.programId(), object.program("tc_pass").info().id);
    using second = new BpfObject(libs, "testing", bpfObject("testing")).load();
    filter.update(second.program("tc_pass"));
    assert.equal(filter.programId(), second.program("tc_pass").info().id);
    filter.close();
    assert.doesNotMatch(namespace.run("tc", "qdisc", "show", "dev", "va"), /clsact/);
    assert.throws(() => filter.programId(), /closed/);
  });
});

Deno.test("ClsactFilter leaves a qdisc that was there before it", () => {
  inNamespace(({ namespace, object, ifindex }) => {
    namespace.run("tc", "qdisc", "add", "dev", "va", "clsact");
    new ClsactFilter(libs, object.program("tc_pass"), ifindex, "ingress").close();
    assert.match(namespace.run("tc", "qdisc", "show", "dev", "va"), /clsact/);
    assert.equal(namespace.run("tc", "filter", "show", "dev", "va", "ingress").trim(), "");
  });
});

Deno.test("a ClsactFilter with an identity takes the place of an earlier process's", () => {
  inNamespace(({ namespace, object, ifindex }) => {
    const identity = { handle: 0x5048, priority: 0x5048 };
    const program = object.program("tc_pass");
    const first = new ClsactFilter(libs, program, ifindex, "egress", identity);
    using second = new BpfObject(libs, "testing", bpfObject("testing")).load();
    new ClsactFilter(libs, second.program("tc_pass"), ifindex, "egress", identity);
    assert.equal(first.programId(), second.program("tc_pass").info().id);
    const filters = () => namespace.run("tc", "filter", "show", "dev", "va", "egress");
    assert.equal(filters().match(/bpf.*tc_pass/g)?.length, 1);
    removeFilter(libs, ifindex, "egress", identity);
    assert.equal(filters().trim(), "");
    // Where there is none that is no error.
    removeFilter(libs, ifindex, "egress", identity);
    first.close();
  });
});

Deno.test("attaching to no interface says so", () => {
  inNamespace(({ object }) => {
    assert.equal(
      codeOf(() => attachXdp(libs, object.program("xdp_pass"), 4242, "native")),
      "EINVAL",
    );
    assert.equal(
      codeOf(() => attachTcx(libs, object.program("tc_pass"), 4242, "ingress")),
      "ENODEV",
    );
    assert.equal(
      codeOf(() => new ClsactFilter(libs, object.program("tc_pass"), 4242, "ingress")),
      "ENODEV",
    );
  });
});

Deno.test("probing answers yes, no, and leaves nothing behind", () => {
  inNamespace(({ object, ifindex }) => {
    assert.deepEqual(tryXdp(libs, ifindex, "native"), { have: true });
    assert.deepEqual(queryXdp(libs, ifindex), { native: 0, generic: 0, offloaded: 0 });
    const lo = libs.native.symbols.ph_ifindex(cString("lo"));
    assert.equal(tryXdp(libs, lo, "native").have, false);
    using _link = attachXdp(libs, object.program("xdp_pass"), ifindex, "generic");
    assert.equal(tryXdp(libs, ifindex, "native").have, false);
    assert.notEqual(queryXdp(libs, ifindex).generic, 0);
    assert.deepEqual(trySockhash(libs), { have: true });
    assert.deepEqual(tryPerfBuffer(libs), { have: true });
    assert.deepEqual(trySocket(libs, "xdp"), { have: true });
    assert.deepEqual(trySocket(libs, "raw"), { have: true });
    assert.deepEqual(tryTcx(libs, ifindex), { have: true });
    assert.deepEqual(tryClsact(libs, ifindex), { have: true });
    assert.equal(probeProgramType(libs, 6).have, true);
    assert.notEqual(probeProgramType(libs, 4711).have, true);
    assert.notEqual(probeMapType(libs, 4711).have, true);
    assert.equal(probeHelper(libs, 6, 44).have, true);
    assert.equal(probeHelper(libs, 1, 44).have, false);
  });
});

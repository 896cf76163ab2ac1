import assert from "node:assert/strict";
import { libraries } from "../../../tests/fixtures/libraries.ts";
import { InstanceBusyError } from "../../kernel/pins.ts";
import { StateFolder } from "./state_folder.ts";

const libs = libraries();
const utf8 = (text: string) => new TextEncoder().encode(text);
const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

function withFolder(act: (path: string) => void): void {
  const path = Deno.makeTempDirSync();
  try {
    act(path);
  } finally {
    Deno.removeSync(path, { recursive: true });
  }
}

Deno.test("a file is written whole, for its owner alone, and instances have their own", () => {
  withFolder((path) => {
    using one = closing(StateFolder.open(libs, `${path}/a`, "one"));
    using two = closing(StateFolder.open(libs, `${path}/a`, "two"));
    assert.equal(one.folder.read("x"), undefined);
    for (const text of ["long text", "short"]) {
      one.folder.write("x", utf8(text));
      assert.deepEqual(one.folder.read("x"), utf8(text));
    }
    assert.equal(two.folder.read("x"), undefined);
    assert.equal(Deno.statSync(one.folder.pathOf("x")).mode! & 0o777, 0o600);
    assert.deepEqual(names(one.folder.path), ["x"]);
    one.folder.remove("x");
    one.folder.remove("x");
    assert.deepEqual(names(one.folder.path), []);
  });
});

Deno.test("a second process of an instance is told so, until the first ends", () => {
  withFolder((path) => {
    const first = StateFolder.open(libs, path, "one");
    assert.throws(() => StateFolder.open(libs, path, "one"), (error) => {
      assert.ok(error instanceof InstanceBusyError);
      assert.match(error.message, /another phantom runs this instance: stop it, or give this one/);
      return true;
    });
    first.close();
    StateFolder.open(libs, path, "one").close();
  });
});

Deno.test("files of earlier versions are taken over once, and drafts cleared away", () => {
  withFolder((path) => {
    for (const name of ["secret", "traffic", "mine"]) {
      Deno.writeTextFileSync(`${path}/${name}`, name);
    }
    using one = closing(StateFolder.open(libs, path, "one"));
    assert.deepEqual(names(one.folder.path), ["secret", "traffic"]);
    assert.deepEqual(names(path), ["mine", "state-one"]);
    Deno.writeTextFileSync(`${path}/secret`, "another");
    Deno.writeTextFileSync(one.folder.pathOf("traffic.draft"), "");
    one.folder.close();
    using again = closing(StateFolder.open(libs, path, "one"));
    assert.deepEqual(again.folder.read("secret"), utf8("secret"));
    assert.deepEqual(names(again.folder.path), ["secret", "traffic"]);
  });
});

Deno.test("where no folder can be, the server starts, and a write says why", () => {
  withFolder((path) => {
    Deno.writeTextFileSync(`${path}/file`, "");
    const folder = StateFolder.open(libs, `${path}/file`, "one");
    assert.throws(() => folder.write("x", utf8("x")), /Not a directory|os error 20/);
    folder.close();
  });
});

function closing(folder: StateFolder): { folder: StateFolder } & Disposable {
  return { folder, [Symbol.dispose]: () => folder.close() };
}

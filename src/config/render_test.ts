import assert from "node:assert/strict";
import { loadClientConfig } from "./client_load.ts";
import { CLIENT_SETTINGS } from "./client_settings.ts";
import { loadConfig } from "./load.ts";
import { Report } from "./problem.ts";
import { clientExampleFile, defaultConfigText, exampleFile, referencePage } from "./render.ts";
import { entriesOf, type Entry, type Group } from "./schema.ts";
import { PLACEHOLDER, SETTINGS } from "./settings.ts";
import { type MapNode, type Node, parseTree } from "./tree.ts";

const ROOT = new URL("../../", import.meta.url);
const PSK = "0f1e2d3c4b5a69788796a5b4c3d2e1f0".repeat(2);
const SOURCES = {
  file: "t.yaml",
  env: () => undefined,
  readFile: () => "",
  fileMode: () => 0o600,
};

const FILES: readonly (readonly [Group, () => string])[] = [
  [SETTINGS, exampleFile],
  [CLIENT_SETTINGS, clientExampleFile],
];

/** Every setting of both files, with those that lists hold. */
function allEntries(): Entry[] {
  return FILES.flatMap(([schema]) =>
    entriesOf(schema).flatMap((entry) =>
      entry.field.kind === "leaf" && entry.field.item !== undefined
        ? [entry, ...entriesOf(entry.field.item, `${entry.path}[0]`)]
        : [entry]
    )
  );
}

/** The committed file must be what the schema writes; PHANTOM_UPDATE=1 writes it anew. */
async function assertCommitted(name: string, text: string): Promise<void> {
  const url = new URL(name, ROOT);
  if (Deno.env.get("PHANTOM_UPDATE") === "1") await Deno.writeTextFile(url, text);
  const advice = `${name} differs from the schema: run this test with PHANTOM_UPDATE=1`;
  assert.equal(await Deno.readTextFile(url), text, advice);
}

function parse(text: string): MapNode {
  const report = new Report("t", text);
  const tree = parseTree(text, report);
  assert.ok(tree !== undefined && !report.failed);
  return tree.root;
}

function at(root: MapNode, path: string): Node | undefined {
  let node: Node | undefined = root;
  for (const name of path.split(".")) {
    node = node?.kind === "map" ? node.entries.find((e) => e.name === name)?.value : undefined;
  }
  return node;
}

function withoutOffsets(node: Node | undefined): unknown {
  if (node === undefined) return undefined;
  if (node.kind === "scalar") return node.text;
  if (node.kind === "list") return node.items.map(withoutOffsets);
  return Object.fromEntries(node.entries.map((e) => [e.name, withoutOffsets(e.value)]));
}

Deno.test("config.example.yaml is what exampleFile() writes", async () => {
  await assertCommitted("config.example.yaml", exampleFile());
});

Deno.test("client.example.yaml is what clientExampleFile() writes", async () => {
  await assertCommitted("client.example.yaml", clientExampleFile());
});

Deno.test("docs/CONFIG.md is what referencePage() writes", async () => {
  await assertCommitted("docs/CONFIG.md", referencePage());
});

Deno.test("exampleFile() holds every key with its default, and no other", () => {
  for (const [schema, write] of FILES) {
    const root = parse(write());
    for (const { path, field } of entriesOf(schema)) {
      const node = at(root, path);
      assert.ok(node !== undefined, path);
      if (field.kind === "section") continue;
      assert.deepEqual(
        withoutOffsets(node),
        withoutOffsets(at(parse(`x: ${field.fallbackText}`), "x")),
      );
    }
  }
  const { config, warnings } = loadConfig(defaultConfigText(PSK), SOURCES);
  assert.deepEqual(warnings, []);
  const bare = loadConfig(`psk: ${PSK}`, SOURCES).config;
  const { psk: written, ...settings } = config;
  const { psk, ...defaults } = bare;
  assert.deepEqual(settings, defaults);
  assert.ok(written.equals(psk));
});

Deno.test("clientExampleFile() needs nothing but a key", () => {
  const text = clientExampleFile().replace(PLACEHOLDER, PSK);
  const { config, warnings } = loadClientConfig(text, SOURCES);
  assert.deepEqual(warnings, []);
  const short = loadClientConfig(`server: server.example.org:54321\npsk: ${PSK}`, SOURCES).config;
  assert.deepEqual(JSON.parse(JSON.stringify(config)), JSON.parse(JSON.stringify(short)));
});

Deno.test("every default passes its own check", () => {
  const report = new Report("t", "");
  for (const { path, field } of allEntries()) {
    if (field.kind === "section" || field.type === "secret") continue;
    // Those without a default have an example, and lists of texts are left out, not empty.
    if (field.required || field.type === "text or list of texts") continue;
    const node = at(parse(`x: ${field.fallbackText}`), "x");
    assert.ok(node !== undefined);
    assert.deepEqual(field.read(node, path, report), field.fallback, path);
  }
  assert.equal(report.failed, false);
});

Deno.test("every key has a reason in one line, and its unit in its name when it has one", () => {
  for (const { path, name, field } of allEntries()) {
    assert.match(name, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/, path);
    assert.match(field.doc, /^[^\n|]{8,100}$/, path);
    if (field.kind === "leaf" && field.type.endsWith("text with a unit")) {
      assert.ok(name.endsWith(`_${field.unit}`), path);
    }
  }
});

Deno.test("referencePage() names every key", () => {
  const page = referencePage();
  for (const { name } of allEntries()) assert.ok(page.includes(`\`${name}\``), name);
});

Deno.test("referencePage() names every file of the state folder", async () => {
  const folder = new URL("src/tunnel/server/", ROOT);
  let files = 0;
  for await (const { name } of Deno.readDir(folder)) {
    const text = name.endsWith("_test.ts") ? "" : await Deno.readTextFile(new URL(name, folder));
    const file = /^const FILE_NAME = "(.*)";$/m.exec(text)?.[1];
    if (file === undefined) continue;
    assert.ok(referencePage().includes(`\n| \`${file}\` | `), file);
    files += 1;
  }
  assert.equal(files, 3);
});

Deno.test("exampleFile() stays within the line width", () => {
  for (const [, write] of FILES) {
    for (const line of write().split("\n")) assert.ok(line.length <= 100, line);
  }
});

Deno.test("defaultConfigText() puts the key in place of the placeholder", () => {
  const text = defaultConfigText(`${PSK}\n`);
  assert.ok(text.includes(`\npsk: "${PSK}"\n`));
  assert.ok(!text.includes(PLACEHOLDER));
  for (const bad of ["", PLACEHOLDER, "00".repeat(32), `${PSK}"`]) {
    assert.throws(() => defaultConfigText(bad), TypeError);
  }
});

Deno.test("no source of the configuration touches the machine", async () => {
  for await (const { name } of Deno.readDir(new URL("src/config/", ROOT))) {
    if (name.endsWith("_test.ts")) continue;
    const text = await Deno.readTextFile(new URL(`src/config/${name}`, ROOT));
    assert.doesNotMatch(text, /\bDeno\.|\bprocess\.|from "node:/, name);
  }
});

import assert from "node:assert/strict";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** Standard error of a command that fails in two lines, with JOURNAL_STREAM as the shell says. */
function failing(stream: string): string {
  const script = `JOURNAL_STREAM=${stream} exec "$0" run -A "$1" ping --fast`;
  const { stderr } = new Deno.Command("sh", {
    args: ["-c", script, Deno.execPath(), MAIN],
    env: { NO_COLOR: "1" },
  }).outputSync();
  return new TextDecoder().decode(stderr);
}

Deno.test("each line of a failure has its priority in the journal, and nowhere else", () => {
  const plain = failing("1:2");
  assert.match(plain, /^phantom: ping has no option --fast\nTry [^\n]*\n$/);
  const journal = failing("$(stat -L -c %d:%i /proc/self/fd/2)");
  assert.equal(journal, plain.replace(/^(?=.)/gm, "<3>"));
});

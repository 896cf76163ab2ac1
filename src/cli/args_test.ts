import assert from "node:assert/strict";
import { columns, type Command, helpOf, parseArgs, UsageError } from "./args.ts";

const command: Command = {
  name: "fly",
  summary: "leave the ground",
  options: [
    { name: "config", short: "c", value: "FILE", help: "a file" },
    { name: "wings", value: "COUNT", help: "how many" },
    { name: "quiet", short: "q", help: "say nothing" },
  ],
  run: () => 0,
};

function problemOf(...args: string[]): string {
  try {
    parseArgs(command, args);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  throw new Error("it was taken");
}

Deno.test("parseArgs() takes values behind a blank and an equals sign", () => {
  const spellings = [["--config", "a=b"], ["--config=a=b"], ["-c", "a=b"], ["-ca=b"], ["-c=a=b"]];
  for (const args of spellings) {
    const given = parseArgs(command, args);
    assert.equal(given.value("config"), "a=b");
    assert.ok(given.has("config"));
  }
  assert.equal(parseArgs(command, ["--wings", "-1"]).value("wings"), "-1");
  assert.equal(parseArgs(command, ["-c", "a", "--config", "b"]).value("config"), "b");
});

Deno.test("parseArgs() takes switches, and knows what was not given", () => {
  const given = parseArgs(command, ["-q"]);
  assert.ok(given.has("quiet"));
  assert.ok(!given.has("config"));
  assert.equal(given.value("config"), undefined);
  assert.ok(parseArgs(command, ["-h"]).has("help"));
});

Deno.test("parseArgs() says what is wrong and what was probably meant", () => {
  assert.equal(problemOf("--cofnig", "x"), "fly has no option --cofnig; did you mean --config?");
  assert.equal(problemOf("--silence"), "fly has no option --silence");
  assert.equal(problemOf("-x"), "fly has no option -x");
  assert.equal(problemOf("-qv"), "fly has no option -qv");
  for (const args of [["-config", "x"], ["-config=x"]]) {
    assert.equal(problemOf(...args), "fly has no option -config; did you mean --config?");
  }
  assert.equal(problemOf("-quiet"), "fly has no option -quiet; did you mean --quiet?");
  assert.equal(problemOf("away"), 'fly takes no argument "away"');
  for (const secret of ["phantom://AAAA@a:1", "A".repeat(43), `--${"0f".repeat(32)}`]) {
    assert.equal(problemOf(secret), "fly does not take an argument (not shown: it may be a key)");
  }
  assert.equal(problemOf("--config"), "--config wants a value: --config FILE");
  assert.equal(problemOf("--config="), "--config wants a value: --config FILE");
  assert.equal(problemOf("-c", ""), "--config wants a value: --config FILE");
  assert.equal(problemOf("--quiet=yes"), "--quiet takes no value");
  for (const odd of ["", "-", "--", "--=", "---config", "\0", "__proto__", "--constructor"]) {
    assert.notEqual(problemOf(odd), "");
  }
});

Deno.test("parseArgs() takes an argument without a name where the command has one", () => {
  const lander = { ...command, name: "land", argument: "config" };
  for (const args of [["a.yaml"], ["-q", "a.yaml"], ["a.yaml", "--wings", "2"]]) {
    assert.equal(parseArgs(lander, args).value("config"), "a.yaml");
  }
  assert.equal(parseArgs(lander, ["-"]).value("config"), "-");
  const long = `/etc/${"phantom".repeat(8)}/phantom`;
  assert.equal(parseArgs(lander, [long]).value("config"), long);
  const twice = "land takes no second argument";
  for (const args of [["a", "b"], ["-c", "a", "b"]]) {
    assert.throws(() => parseArgs(lander, args), { message: twice });
  }
  assert.throws(() => parseArgs(lander, ["A".repeat(43)]), /not shown: it may be a key/);
  assert.match(helpOf(lander), /\nUsage: phantom land \[FILE\] \[OPTION \.\.\.\]\n/);
});

Deno.test("a message about an argument is one line without control characters", () => {
  for (const odd of ["--a\nphantom: all is well", "--\x1b[2J", "x\r\ny", "\x9b31m"]) {
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(problemOf(odd), /[\x00-\x1f\x7f-\x9f]/);
  }
});

Deno.test("helpOf() names every option in two columns", () => {
  assert.equal(
    helpOf(command),
    "phantom fly: leave the ground\n\n" +
      "  -c, --config FILE  a file\n" +
      "      --wings COUNT  how many\n" +
      "  -q, --quiet        say nothing\n" +
      "  -h, --help         show this\n",
  );
});

Deno.test("columns() breaks the second where a terminal ends", () => {
  const text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
  const lines = columns([["-a", text], ["--bc", "short"]]).split("\n");
  assert.equal(lines.length, 4);
  assert.ok(lines.every((line) => line.length <= 80));
  assert.match(lines[1]!, /^ {8}\S/);
  assert.equal(lines.slice(0, 2).map((line) => line.slice(8)).join(" "), text);
});

Deno.test("columns() of nothing is nothing", () => {
  assert.equal(columns([]), "");
});

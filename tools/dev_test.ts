import { actionFor } from "./dev.ts";

Deno.test("actionFor() takes the strongest of the changes", () => {
  const cases = [
    [[], "nothing"],
    [["src/base/a_test.ts", "src/.a.ts.swp", "README.md"], "nothing"],
    [["src/base/a.ts", "src/base/a_test.ts"], "restart"],
    [["src/base/a.ts", "bpf/lib/parse.h"], "rebuild"],
    [["ffi/native/libphantom.map"], "rebuild"],
  ] as const;
  for (const [paths, wanted] of cases) {
    const got = actionFor(paths);
    if (got !== wanted) throw new Error(`${paths.join(" ")}: got ${got}, wanted ${wanted}`);
  }
});

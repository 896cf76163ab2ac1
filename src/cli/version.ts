/** `phantom version` */

import denoJson from "../../deno.json" with { type: "json" };
import { type Commit, Resources } from "../kernel/resources.ts";
import type { Command } from "./args.ts";
import { Exit } from "./exit.ts";

const COMMIT_DIGITS = 12;

export const command: Command = {
  name: "version",
  summary: "print the version, and the commit that it was built of",
  options: [{ name: "json", help: "print JSON" }],
  run(given, { root }) {
    const { version } = denoJson;
    const runtime = `${Deno.version.deno} (V8 ${Deno.version.v8})`;
    const commit = new Resources(root).commit();
    const isFromSource = !Deno.build.standalone;
    const { target } = Deno.build;
    if (given.has("json")) {
      const { commit: id = null, date = null, modified = null } = commit ?? {};
      console.log(JSON.stringify({
        ...{ version, commit: id, date, modified, fromSource: isFromSource },
        ...{ runtime, target },
      }));
    } else {
      const built = builtOf(commit, isFromSource);
      console.log(`phantom ${version}${built} (Deno ${runtime}, ${target})`);
    }
    return Exit.ok;
  },
};

/** `, commit 0123456789ab of 2026-01-02, modified, from source` */
function builtOf(commit: Commit | undefined, isFromSource: boolean): string {
  const parts = commit === undefined
    ? []
    : [`commit ${commit.commit.slice(0, COMMIT_DIGITS)} of ${commit.date.slice(0, 10)}`];
  if (commit?.modified) parts.push("modified");
  if (isFromSource) parts.push("from source");
  return parts.map((part) => `, ${part}`).join("");
}

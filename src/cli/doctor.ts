/** `phantom doctor` */

import { openLibraries } from "../../ffi/libraries.ts";
import { diagnose, type Finding, UNTRIED } from "../kernel/doctor.ts";
import { Resources } from "../kernel/resources.ts";
import type { Command } from "./args.ts";
import { Exit } from "./exit.ts";
import { painter } from "./paint.ts";

const LABELS = { yes: "have", no: "lack", unknown: "?" } as const;
const COLORS = { yes: "green", no: "red", unknown: "yellow" } as const;

export const command: Command = {
  name: "doctor",
  summary: "try what this machine can do, and tell what is lost and how to mend it",
  options: [
    { name: "json", help: "print JSON" },
    { name: "interface", value: "NAME", help: "also try native XDP on this physical interface" },
  ],
  run(given, { root }) {
    const resources = new Resources(root);
    const libs = openLibraries((name) => resources.library(name));
    const findings = diagnose(libs, given.value("interface"));
    const lacking = findings.filter(({ have, required }) => required && have !== "yes");
    if (given.has("json")) {
      console.log(JSON.stringify({ ok: lacking.length === 0, findings }, null, 2));
    } else {
      console.log(table(findings));
      console.log(summary(findings, lacking));
    }
    return lacking.length === 0 ? Exit.ok : Exit.lacking;
  },
};

function table(findings: readonly Finding[]): string {
  const paint = painter(Deno.stdout);
  const width = Math.max(...findings.map(({ name }) => name.length));
  let group = "";
  const lines: string[] = [];
  for (const finding of findings) {
    if (finding.group !== group) lines.push(`${group === "" ? "" : "\n"}${finding.group}`);
    group = finding.group;
    const label = paint(COLORS[finding.have], LABELS[finding.have].padEnd(4));
    lines.push(`  ${label}  ${finding.name.padEnd(width)}  ${finding.detail}`.trimEnd());
    if (finding.have === "yes") continue;
    if (finding.lost !== "") lines.push(`        without it: ${finding.lost}`);
    if (finding.remedy !== "") lines.push(`        remedy: ${finding.remedy}`);
  }
  return lines.join("\n");
}

function summary(findings: readonly Finding[], lacking: readonly Finding[]): string {
  if (lacking.length === 0) {
    const open = findings.filter(({ have }) => have !== "yes").length;
    const rest = open === 0 ? "" : `; ${open} optional things are missing or untried`;
    return `\nReady: a client, a server and XDP work here${rest}.`;
  }
  const what = "What works: a client, and a server without XDP";
  const isUntried = findings.some(({ name }) => name === UNTRIED);
  if (isUntried) return `\n${what}. Whether XDP does too is not known yet.`;
  return `\n${what}. Not ready for XDP: ${lacking.map(({ name }) => name).join(", ")}.`;
}

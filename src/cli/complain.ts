/** What standard error is told: lines for people, and for the journal with their priority. */

import { Priority } from "../base/log.ts";

/** Each line of a failure. */
export function complain(text: string): void {
  console.error(inJournal() ? marked(Priority.error, text) : text);
}

/** Each line of a warning. */
export function warn(text: string): void {
  console.error(inJournal() ? marked(Priority.warn, text) : text);
}

/** Whether standard error leads to systemd's journal, which keeps time and priority itself. */
export function inJournal(): boolean {
  const stream = Deno.env.get("JOURNAL_STREAM");
  if (stream === undefined || stream === "") return false;
  try {
    const { dev, ino } = Deno.statSync("/proc/self/fd/2");
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

function marked(priority: number, text: string): string {
  return text.split("\n").map((line) => `<${priority}>${line}`).join("\n");
}

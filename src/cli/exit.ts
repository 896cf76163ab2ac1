/** Exit codes, the same for every command. They are in the README: scripts rely on them. */
export const Exit = {
  ok: 0,
  /** The command could not do its work. */
  failed: 1,
  /** The arguments were wrong. */
  usage: 2,
  /** The configuration was wrong. */
  config: 3,
  /** `doctor` and `check`: this machine lacks something that is needed. */
  lacking: 4,
} as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** What is needed before our own library is there: putting bytes into a memfd. */

import { cString } from "./memory.ts";

const symbols = {
  // int memfd_create(const char *name, unsigned int flags)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

const MFD_CLOEXEC = 1;

/** Writes `bytes` to a new memfd that stays open, and answers the path under which it opens. */
export function memfdPath(name: string, bytes: Uint8Array<ArrayBuffer>): string {
  const libc = Deno.dlopen("libc.so.6", symbols);
  try {
    const fd = libc.symbols.memfd_create(cString(name), MFD_CLOEXEC);
    if (fd < 0) {
      throw new Error(`Cannot open ${name} as memfd_create failed: Linux 3.17 or newer is needed`);
    }
    let done = 0;
    while (done < bytes.length) {
      const rest = bytes.subarray(done);
      const written = Number(libc.symbols.write(fd, rest, BigInt(rest.length)));
      if (written <= 0) throw new Error(`Cannot open ${name} as there is no memory for its copy`);
      done += written;
    }
    return `/proc/self/fd/${fd}`;
  } finally {
    libc.close();
  }
}

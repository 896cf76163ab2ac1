/**
 * The symbols of libphantom.so, and its opening. The contract is ffi/native/ph.h; a test compares
 * the two. What is built over it: loop.ts, udp.ts, xsk.ts, tcp.ts, aead.ts, mask.ts, primitives.ts.
 *
 * Every call of the data plane is one that V8 compiles to a direct call: no 64-bit integers (one
 * as a parameter costs about 150 ns), buffers as typed arrays, pointers as objects kept by handles.
 */

import { type SymbolsOf, symbolsOf } from "./symbols.ts";

/** Must equal PH_ABI of the library that is loaded. */
export const nativeAbi = 6;

export const nativeSymbols = {
  // uint32_t ph_abi(void)
  ph_abi: { parameters: [], result: "u32" },

  // void *ph_log_printer(void)
  ph_log_printer: { parameters: [], result: "pointer" },
  // int32_t ph_log_take(void *out, uint32_t cap)
  ph_log_take: { parameters: ["buffer", "u32"], result: "i32" },
  // void *ph_call_pointer(void *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d, int32_t *err)
  ph_call_pointer: {
    parameters: ["pointer", "u64", "u64", "u64", "u64", "buffer"],
    result: "pointer",
  },

  // int32_t ph_object_load(void *fn, void *object, uint8_t *log, uint32_t cap, uint32_t *used)
  ph_object_load: {
    parameters: ["pointer", "pointer", "buffer", "u32", "buffer"],
    result: "i32",
  },

  // int32_t ph_lock_folder(const char *path)
  ph_lock_folder: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_open_folder(const char *path)
  ph_open_folder: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_is_bpffs(const char *path)
  ph_is_bpffs: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_mount_bpffs(const char *path)
  ph_mount_bpffs: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_ifindex(const char *name)
  ph_ifindex: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_try_socket(int32_t family, int32_t type, int32_t protocol)
  ph_try_socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int32_t ph_descriptors_raise(void)
  ph_descriptors_raise: { parameters: [], result: "i32" },
  // void ph_descriptors_spare(int32_t from)
  ph_descriptors_spare: { parameters: ["i32"], result: "void" },
  // void ph_memory_unused(uint8_t *bytes, uint64_t length)
  ph_memory_unused: { parameters: ["buffer", "u64"], result: "void" },
  // void ph_heap_release(void)
  ph_heap_release: { parameters: [], result: "void" },

  // int32_t ph_hide_memory(void)
  ph_hide_memory: { parameters: [], result: "i32" },
  // int32_t ph_keep_capabilities(uint64_t capabilities)
  ph_keep_capabilities: { parameters: ["u64"], result: "i32" },

  // int32_t ph_interface_watch(void)
  ph_interface_watch: { parameters: [], result: "i32" },
  // int32_t ph_address_watch(void)
  ph_address_watch: { parameters: [], result: "i32" },
  // int32_t ph_interface_changed(int32_t fd)
  ph_interface_changed: { parameters: ["i32"], result: "i32" },
  // int32_t ph_interface_list(uint32_t ifindex, struct ph_interface *interfaces, uint32_t max)
  ph_interface_list: { parameters: ["u32", "buffer", "u32"], result: "i32" },
  // int32_t ph_interface_peer(uint32_t ifindex, struct ph_interface *peer)
  ph_interface_peer: { parameters: ["u32", "buffer"], result: "i32" },

  // int32_t ph_local_list(struct ph_block *blocks, uint32_t max)
  ph_local_list: { parameters: ["buffer", "u32"], result: "i32" },

  // struct ph_ring *ph_ring_open(int32_t map_fd, int32_t *err)
  ph_ring_open: { parameters: ["i32", "buffer"], result: "pointer" },
  // struct ph_ring *ph_perf_open(int32_t map_fd, uint32_t pages, int32_t *err)
  ph_perf_open: { parameters: ["i32", "u32", "buffer"], result: "pointer" },
  // int32_t ph_ring_drain(struct ph_ring *ring, void *out, uint32_t cap)
  ph_ring_drain: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // uint64_t ph_ring_lost(const struct ph_ring *ring)
  ph_ring_lost: { parameters: ["pointer"], result: "u64" },
  // int32_t ph_ring_fd(const struct ph_ring *ring)
  ph_ring_fd: { parameters: ["pointer"], result: "i32" },
  // void ph_ring_close(struct ph_ring *ring)
  ph_ring_close: { parameters: ["pointer"], result: "void" },

  // int32_t ph_epoll_create(void)
  ph_epoll_create: { parameters: [], result: "i32" },
  // int32_t ph_epoll_add(int32_t ep, int32_t fd, uint32_t events, uint32_t tag)
  ph_epoll_add: { parameters: ["i32", "i32", "u32", "u32"], result: "i32" },
  // int32_t ph_epoll_change(int32_t ep, int32_t fd, uint32_t events, uint32_t tag)
  ph_epoll_change: { parameters: ["i32", "i32", "u32", "u32"], result: "i32" },
  // int32_t ph_epoll_remove(int32_t ep, int32_t fd)
  ph_epoll_remove: { parameters: ["i32", "i32"], result: "i32" },
  // int32_t ph_epoll_wait(int32_t ep, struct ph_ready *ready, int32_t max, int32_t timeout_ms)
  ph_epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  // int32_t ph_eventfd_create(void)
  ph_eventfd_create: { parameters: [], result: "i32" },
  // int32_t ph_eventfd_signal(int32_t fd)
  ph_eventfd_signal: { parameters: ["i32"], result: "i32" },
  // int32_t ph_eventfd_drain(int32_t fd)
  ph_eventfd_drain: { parameters: ["i32"], result: "i32" },
  // int32_t ph_close(int32_t fd)
  ph_close: { parameters: ["i32"], result: "i32" },
  // double ph_now_ms(void)
  ph_now_ms: { parameters: [], result: "f64" },
  // double ph_boot_ms(void)
  ph_boot_ms: { parameters: [], result: "f64" },

  // int32_t ph_udp_open(struct ph_addr *local, uint32_t *flags, uint32_t rcvbuf, uint32_t sndbuf)
  ph_udp_open: { parameters: ["buffer", "buffer", "u32", "u32"], result: "i32" },
  // int32_t ph_udp_device(int32_t fd, const char *device)
  ph_udp_device: { parameters: ["i32", "buffer"], result: "i32" },
  // int32_t ph_source_address(const struct ph_addr *peer, struct ph_addr *source)
  ph_source_address: { parameters: ["buffer", "buffer"], result: "i32" },
  // int32_t ph_name_addresses(const char *name, uint8_t *ips, uint32_t max)
  ph_name_addresses: { parameters: ["buffer", "buffer", "u32"], result: "i32", nonblocking: true },
  // int32_t ph_attach_program(int32_t fd, int32_t option, int32_t program)
  ph_attach_program: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int32_t ph_udp_error(int32_t fd, struct ph_addr *peer, struct ph_addr *teller)
  ph_udp_error: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int32_t ph_path_open(const struct ph_addr *peer)
  ph_path_open: { parameters: ["buffer"], result: "i32" },
  // int32_t ph_path_error(int32_t fd, uint32_t *detail)
  ph_path_error: { parameters: ["i32", "buffer"], result: "i32" },
  // int32_t ph_returns_open(const struct ph_addr *peer, uint32_t first, uint32_t last,
  //   uint32_t rcvbuf)
  ph_returns_open: { parameters: ["buffer", "u32", "u32", "u32"], result: "i32" },
  // int32_t ph_echo_send(const struct ph_addr *peer, uint32_t token)
  ph_echo_send: { parameters: ["buffer", "u32"], result: "i32" },
  // int32_t ph_echo_heard(int32_t fd, uint32_t token)
  ph_echo_heard: { parameters: ["i32", "u32"], result: "i32" },
  // int32_t ph_udp_recv(int32_t fd, uint32_t flags, uint8_t *arena, uint32_t arena_len,
  //   uint32_t slot_size, uint32_t slots, struct ph_udp_msg *msgs, struct ph_udp_span *spans,
  //   uint32_t max_spans)
  ph_udp_recv: {
    parameters: ["i32", "u32", "buffer", "u32", "u32", "u32", "buffer", "buffer", "u32"],
    result: "i32",
  },
  // int32_t ph_udp_send(int32_t fd, uint32_t *flags, const uint8_t *arena, uint32_t arena_len,
  //   struct ph_udp_send *sends, uint32_t n)
  ph_udp_send: {
    parameters: ["i32", "buffer", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },

  // int32_t ph_xsk_queues(uint32_t ifindex)
  ph_xsk_queues: { parameters: ["u32"], result: "i32" },
  // struct ph_xsk *ph_xsk_open(const struct ph_xsk_options *options, uint8_t *memory, uint32_t
  //   memory_len, int32_t *err)
  ph_xsk_open: { parameters: ["buffer", "buffer", "u32", "buffer"], result: "pointer" },
  // void ph_xsk_close(struct ph_xsk *xsk)
  ph_xsk_close: { parameters: ["pointer"], result: "void" },
  // int32_t ph_xsk_fd(const struct ph_xsk *xsk, uint32_t queue)
  ph_xsk_fd: { parameters: ["pointer", "u32"], result: "i32" },
  // int32_t ph_xsk_is_zero_copy(const struct ph_xsk *xsk)
  ph_xsk_is_zero_copy: { parameters: ["pointer"], result: "i32" },
  // int32_t ph_xsk_enter(const struct ph_xsk *xsk, uint32_t queue, int32_t map_fd, uint32_t key)
  ph_xsk_enter: { parameters: ["pointer", "u32", "i32", "u32"], result: "i32" },
  // int32_t ph_xsk_check(struct ph_xsk *xsk)
  ph_xsk_check: { parameters: ["pointer"], result: "i32" },
  // void ph_xsk_counts(const struct ph_xsk *xsk, uint64_t *counts)
  ph_xsk_counts: { parameters: ["pointer", "buffer"], result: "void" },
  // int32_t ph_xsk_recv(struct ph_xsk *xsk, uint32_t queue, struct ph_udp_msg *msgs, struct
  //   ph_udp_span *spans, uint32_t max)
  ph_xsk_recv: { parameters: ["pointer", "u32", "buffer", "buffer", "u32"], result: "i32" },
  // int32_t ph_xsk_learn(struct ph_xsk *xsk, const struct ph_udp_msg *msgs, uint32_t msg)
  ph_xsk_learn: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // int32_t ph_xsk_send(struct ph_xsk *xsk, const uint8_t *arena, uint32_t arena_len, struct
  //   ph_udp_send *sends, uint32_t n)
  ph_xsk_send: { parameters: ["pointer", "buffer", "u32", "buffer", "u32"], result: "i32" },
  // int32_t ph_xsk_take_sent(struct ph_xsk *xsk, struct ph_xsk_sent *sent, uint32_t max)
  ph_xsk_take_sent: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // int32_t ph_xsk_kick(struct ph_xsk *xsk)
  ph_xsk_kick: { parameters: ["pointer"], result: "i32" },

  // struct ph_aead *ph_aead_open_table(uint32_t max_keys, int32_t *err)
  ph_aead_open_table: { parameters: ["u32", "buffer"], result: "pointer" },
  // void ph_aead_close_table(struct ph_aead *table)
  ph_aead_close_table: { parameters: ["pointer"], result: "void" },
  // int32_t ph_aead_machine(void)
  ph_aead_machine: { parameters: [], result: "i32" },
  // int32_t ph_aead_key_add(struct ph_aead *table, const uint8_t *key, uint32_t cipher)
  ph_aead_key_add: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // int32_t ph_aead_key_remove(struct ph_aead *table, uint32_t key)
  ph_aead_key_remove: { parameters: ["pointer", "u32"], result: "i32" },
  // int32_t ph_aead_seal(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
  //   struct ph_aead_op *ops, uint32_t n)
  ph_aead_seal: { parameters: ["pointer", "buffer", "u32", "buffer", "u32"], result: "i32" },
  // int32_t ph_aead_open(struct ph_aead *table, uint8_t *arena, uint32_t arena_len,
  //   struct ph_aead_op *ops, uint32_t n)
  ph_aead_open: { parameters: ["pointer", "buffer", "u32", "buffer", "u32"], result: "i32" },
  // int32_t ph_aead_seal_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len, uint32_t aad,
  //   uint32_t aad_len, uint32_t text, uint32_t text_len)
  ph_aead_seal_once: {
    parameters: ["buffer", "buffer", "u32", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
  // int32_t ph_aead_open_once(const uint8_t *key, uint8_t *arena, uint32_t arena_len, uint32_t aad,
  //   uint32_t aad_len, uint32_t text, uint32_t text_len)
  ph_aead_open_once: {
    parameters: ["buffer", "buffer", "u32", "u32", "u32", "u32", "u32"],
    result: "i32",
  },

  // int32_t ph_unmask(uint8_t *arena, uint32_t arena_len, const struct ph_udp_span *spans,
  //   uint32_t n, const uint8_t *keys, uint32_t n_keys, uint32_t direction,
  //   struct ph_header *headers)
  ph_unmask: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32", "u32", "buffer"],
    result: "i32",
  },
  // int32_t ph_mask(uint8_t *arena, uint32_t arena_len, const uint8_t *key, uint32_t direction,
  //   const uint32_t *words, uint32_t words_len, uint32_t first, uint32_t stride, uint32_t n)
  ph_mask: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
  // int32_t ph_siphash(const uint8_t *key, const uint8_t *data, uint32_t length, uint8_t *out)
  ph_siphash: { parameters: ["buffer", "buffer", "u32", "buffer"], result: "i32" },

  // int32_t ph_x25519_public(const uint8_t *private_key, uint8_t *public_key)
  ph_x25519_public: { parameters: ["buffer", "buffer"], result: "i32" },
  // int32_t ph_x25519(const uint8_t *private_key, const uint8_t *public_key, uint8_t *shared)
  ph_x25519: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
  // int32_t ph_sha256(const uint8_t *data, uint32_t length, uint8_t *out)
  ph_sha256: { parameters: ["buffer", "u32", "buffer"], result: "i32" },
  // int32_t ph_hmac_sha256(const uint8_t *key, uint32_t key_len, const uint8_t *data,
  //   uint32_t length, uint8_t *out)
  ph_hmac_sha256: { parameters: ["buffer", "u32", "buffer", "u32", "buffer"], result: "i32" },
  // int32_t ph_hkdf(const uint8_t *ikm, uint32_t ikm_len, const uint8_t *salt, uint32_t salt_len,
  //   const uint8_t *info, uint32_t info_len, uint8_t *out, uint32_t out_len)
  ph_hkdf: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  // int32_t ph_random(uint8_t *out, uint32_t length)
  ph_random: { parameters: ["buffer", "u32"], result: "i32" },

  // int32_t ph_tcp_listen(struct ph_addr *local, uint32_t flags, int32_t backlog)
  ph_tcp_listen: { parameters: ["buffer", "u32", "i32"], result: "i32" },
  // int32_t ph_tcp_accept(int32_t fd, uint32_t flags, uint32_t keepalive_s,
  //   struct ph_tcp_accepted *accepted, uint32_t max)
  ph_tcp_accept: { parameters: ["i32", "u32", "u32", "buffer", "u32"], result: "i32" },
  // int32_t ph_tcp_connect(const struct ph_addr *peer, const struct ph_addr *source,
  //   const char *device, uint32_t flags, uint32_t keepalive_s)
  ph_tcp_connect: { parameters: ["buffer", "buffer", "buffer", "u32", "u32"], result: "i32" },
  // int32_t ph_tcp_result(int32_t fd)
  ph_tcp_result: { parameters: ["i32"], result: "i32" },
  // int32_t ph_tcp_local(int32_t fd, struct ph_addr *local)
  ph_tcp_local: { parameters: ["i32", "buffer"], result: "i32" },
  // int32_t ph_tcp_read(int32_t fd, uint8_t *arena, uint32_t arena_len, uint32_t offset,
  //   uint32_t length)
  ph_tcp_read: { parameters: ["i32", "buffer", "u32", "u32", "u32"], result: "i32" },
  // int32_t ph_tcp_write(int32_t fd, const uint8_t *arena, uint32_t arena_len, uint32_t offset,
  //   uint32_t length)
  ph_tcp_write: { parameters: ["i32", "buffer", "u32", "u32", "u32"], result: "i32" },
  // int32_t ph_tcp_held(int32_t fd)
  ph_tcp_held: { parameters: ["i32"], result: "i32" },
  // int32_t ph_tcp_finish(int32_t fd)
  ph_tcp_finish: { parameters: ["i32"], result: "i32" },
  // int32_t ph_tcp_abort(int32_t fd)
  ph_tcp_abort: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Of those, what may also run on another thread: it answers by a promise. */
const besideSymbols = {
  ph_object_load: { ...nativeSymbols.ph_object_load, nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

export type NativeSymbols = SymbolsOf<typeof nativeSymbols>;

/** The loaded library. It is never unloaded: handles would be left pointing at nothing. */
export interface Native {
  readonly symbols: NativeSymbols;
  readonly beside: SymbolsOf<typeof besideSymbols>;
}

/** Loads libphantom.so and refuses one that was built for another version of this program. */
export function openNative(path: string): Native {
  // Alone and first: a library of another version may lack symbols, which would hide the reason.
  const probe = Deno.dlopen(path, { ph_abi: nativeSymbols.ph_abi });
  const abi = probe.symbols.ph_abi();
  probe.close();
  if (abi !== nativeAbi) {
    throw new Error(`Cannot use ${path} as its ABI must be ${nativeAbi}: current value is ${abi}`);
  }
  return { symbols: symbolsOf(path, nativeSymbols), beside: symbolsOf(path, besideSymbols) };
}

/**
 * libbpf, as much of it as we call: each entry with its C declaration above it, which a test
 * compares with the installed headers (tests/bpf/symbols_test.ts).
 */

import type { SymbolsOf } from "../symbols.ts";

export const libbpfSymbols = {
  // ---- objects ----

  // libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t fn)
  libbpf_set_print: { parameters: ["pointer"], result: "pointer" },
  // const char *libbpf_version_string(void)
  libbpf_version_string: { parameters: [], result: "pointer" },
  // struct bpf_object *bpf_object__open_mem(const void *obj_buf, size_t obj_buf_sz, const struct
  //   bpf_object_open_opts *opts)
  // (as an address: it reports by errno, which only C can read in time, see ph_call_pointer)
  bpf_object__open_mem: { type: "pointer" },
  // int bpf_object__load(struct bpf_object *obj)
  // (as an address, for ph_object_load)
  bpf_object__load: { type: "pointer" },
  // void bpf_object__close(struct bpf_object *object)
  bpf_object__close: { parameters: ["pointer"], result: "void" },
  // struct bpf_map *bpf_object__next_map(const struct bpf_object *obj, const struct bpf_map *map)
  bpf_object__next_map: { parameters: ["pointer", "pointer"], result: "pointer" },
  // struct bpf_program *bpf_object__next_program(const struct bpf_object *obj, struct bpf_program
  //   *prog)
  bpf_object__next_program: { parameters: ["pointer", "pointer"], result: "pointer" },
  // struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *obj, const char *name)
  bpf_object__find_map_by_name: { parameters: ["pointer", "buffer"], result: "pointer" },
  // struct btf *bpf_object__btf(const struct bpf_object *obj)
  bpf_object__btf: { parameters: ["pointer"], result: "pointer" },
  // __s32 btf__find_by_name_kind(const struct btf *btf, const char *type_name, __u32 kind)
  btf__find_by_name_kind: { parameters: ["pointer", "buffer", "u32"], result: "i32" },
  // const struct btf_type *btf__type_by_id(const struct btf *btf, __u32 id)
  btf__type_by_id: { parameters: ["pointer", "u32"], result: "pointer" },
  // const char *btf__name_by_offset(const struct btf *btf, __u32 offset)
  btf__name_by_offset: { parameters: ["pointer", "u32"], result: "pointer" },
  // const void *btf__raw_data(const struct btf *btf, __u32 *size)
  btf__raw_data: { parameters: ["pointer", "buffer"], result: "pointer" },
  // ---- maps of an object ----

  // int bpf_map__fd(const struct bpf_map *map)
  bpf_map__fd: { parameters: ["pointer"], result: "i32" },
  // const char *bpf_map__name(const struct bpf_map *map)
  bpf_map__name: { parameters: ["pointer"], result: "pointer" },
  // enum bpf_map_type bpf_map__type(const struct bpf_map *map)
  bpf_map__type: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__key_size(const struct bpf_map *map)
  bpf_map__key_size: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__value_size(const struct bpf_map *map)
  bpf_map__value_size: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__max_entries(const struct bpf_map *map)
  bpf_map__max_entries: { parameters: ["pointer"], result: "u32" },
  // __u32 bpf_map__map_flags(const struct bpf_map *map)
  bpf_map__map_flags: { parameters: ["pointer"], result: "u32" },
  // int bpf_map__set_max_entries(struct bpf_map *map, __u32 max_entries)
  bpf_map__set_max_entries: { parameters: ["pointer", "u32"], result: "i32" },
  // int bpf_map__set_autocreate(struct bpf_map *map, bool autocreate)
  bpf_map__set_autocreate: { parameters: ["pointer", "bool"], result: "i32" },
  // bool bpf_map__autocreate(const struct bpf_map *map)
  bpf_map__autocreate: { parameters: ["pointer"], result: "bool" },
  // int bpf_map__reuse_fd(struct bpf_map *map, int fd)
  bpf_map__reuse_fd: { parameters: ["pointer", "i32"], result: "i32" },
  // const void *bpf_map__initial_value(struct bpf_map *map, size_t *psize)
  bpf_map__initial_value: { parameters: ["pointer", "buffer"], result: "pointer" },
  // int bpf_map__set_initial_value(struct bpf_map *map, const void *data, size_t size)
  bpf_map__set_initial_value: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  // int bpf_map__set_inner_map_fd(struct bpf_map *map, int fd)
  bpf_map__set_inner_map_fd: { parameters: ["pointer", "i32"], result: "i32" },
  // bool bpf_map__is_internal(const struct bpf_map *map)
  bpf_map__is_internal: { parameters: ["pointer"], result: "bool" },
  // ---- programs of an object ----

  // int bpf_program__fd(const struct bpf_program *prog)
  bpf_program__fd: { parameters: ["pointer"], result: "i32" },
  // const char *bpf_program__name(const struct bpf_program *prog)
  bpf_program__name: { parameters: ["pointer"], result: "pointer" },
  // enum bpf_prog_type bpf_program__type(const struct bpf_program *prog)
  bpf_program__type: { parameters: ["pointer"], result: "u32" },
  // int bpf_program__set_log_level(struct bpf_program *prog, __u32 log_level)
  bpf_program__set_log_level: { parameters: ["pointer", "u32"], result: "i32" },
  // int bpf_program__set_log_buf(struct bpf_program *prog, char *log_buf, size_t log_size)
  bpf_program__set_log_buf: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  // int bpf_program__set_autoload(struct bpf_program *prog, bool autoload)
  bpf_program__set_autoload: { parameters: ["pointer", "bool"], result: "i32" },
  // ---- attachment ----

  // int bpf_xdp_query(int ifindex, int flags, struct bpf_xdp_query_opts *opts)
  bpf_xdp_query: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  // int bpf_tc_hook_create(struct bpf_tc_hook *hook)
  bpf_tc_hook_create: { parameters: ["buffer"], result: "i32" },
  // int bpf_tc_hook_destroy(struct bpf_tc_hook *hook)
  bpf_tc_hook_destroy: { parameters: ["buffer"], result: "i32" },
  // int bpf_tc_attach(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts)
  bpf_tc_attach: { parameters: ["buffer", "buffer"], result: "i32" },
  // int bpf_tc_detach(const struct bpf_tc_hook *hook, const struct bpf_tc_opts *opts)
  bpf_tc_detach: { parameters: ["buffer", "buffer"], result: "i32" },
  // int bpf_tc_query(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts)
  bpf_tc_query: { parameters: ["buffer", "buffer"], result: "i32" },
  // int bpf_link_create(int prog_fd, int target_fd, enum bpf_attach_type attach_type, const
  //   struct bpf_link_create_opts *opts)
  bpf_link_create: { parameters: ["i32", "i32", "u32", "buffer"], result: "i32" },
  // int bpf_link_update(int link_fd, int new_prog_fd, const struct bpf_link_update_opts *opts)
  bpf_link_update: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  // int bpf_link_detach(int link_fd)
  bpf_link_detach: { parameters: ["i32"], result: "i32" },
  // int bpf_prog_attach(int prog_fd, int attachable_fd, enum bpf_attach_type type,
  //   unsigned int flags)
  bpf_prog_attach: { parameters: ["i32", "i32", "u32", "u32"], result: "i32" },
  // int bpf_prog_detach2(int prog_fd, int attachable_fd, enum bpf_attach_type type)
  bpf_prog_detach2: { parameters: ["i32", "i32", "u32"], result: "i32" },

  // ---- map contents ----

  // int bpf_map_create(enum bpf_map_type map_type, const char *map_name, __u32 key_size, __u32
  //   value_size, __u32 max_entries, const struct bpf_map_create_opts *opts)
  bpf_map_create: { parameters: ["u32", "buffer", "u32", "u32", "u32", "buffer"], result: "i32" },
  // int bpf_map_lookup_elem(int fd, const void *key, void *value)
  bpf_map_lookup_elem: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
  bpf_map_update_elem: { parameters: ["i32", "buffer", "buffer", "u64"], result: "i32" },
  // int bpf_map_delete_elem(int fd, const void *key)
  bpf_map_delete_elem: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_map_get_next_key(int fd, const void *key, void *next_key)
  bpf_map_get_next_key: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values,
  //   __u32 *count, const struct bpf_map_batch_opts *opts)
  bpf_map_lookup_batch: {
    parameters: ["i32", "buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  // int bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *count, const
  //   struct bpf_map_batch_opts *opts)
  bpf_map_update_batch: {
    parameters: ["i32", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  // int bpf_map_delete_batch(int fd, const void *keys, __u32 *count, const struct
  //   bpf_map_batch_opts *opts)
  bpf_map_delete_batch: { parameters: ["i32", "buffer", "buffer", "buffer"], result: "i32" },
  // int bpf_map_lookup_and_delete_batch(int fd, void *in_batch, void *out_batch, void *keys, void
  //   *values, __u32 *count, const struct bpf_map_batch_opts *opts)
  bpf_map_lookup_and_delete_batch: {
    parameters: ["i32", "buffer", "buffer", "buffer", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  // ---- pins, ids, information ----

  // int bpf_obj_pin(int fd, const char *pathname)
  bpf_obj_pin: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_obj_get(const char *pathname)
  bpf_obj_get: { parameters: ["buffer"], result: "i32" },
  // int bpf_obj_get_info_by_fd(int bpf_fd, void *info, __u32 *info_len)
  bpf_obj_get_info_by_fd: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int bpf_prog_get_next_id(__u32 start_id, __u32 *next_id)
  bpf_prog_get_next_id: { parameters: ["u32", "buffer"], result: "i32" },
  // int bpf_map_get_next_id(__u32 start_id, __u32 *next_id)
  bpf_map_get_next_id: { parameters: ["u32", "buffer"], result: "i32" },
  // int bpf_link_get_next_id(__u32 start_id, __u32 *next_id)
  bpf_link_get_next_id: { parameters: ["u32", "buffer"], result: "i32" },
  // int bpf_prog_get_fd_by_id(__u32 id)
  bpf_prog_get_fd_by_id: { parameters: ["u32"], result: "i32" },
  // int bpf_map_get_fd_by_id(__u32 id)
  bpf_map_get_fd_by_id: { parameters: ["u32"], result: "i32" },
  // int bpf_link_get_fd_by_id(__u32 id)
  bpf_link_get_fd_by_id: { parameters: ["u32"], result: "i32" },
  // ---- running and probing ----

  // int bpf_prog_load(enum bpf_prog_type prog_type, const char *prog_name, const char *license,
  //   const struct bpf_insn *insns, size_t insn_cnt, const struct bpf_prog_load_opts *opts)
  bpf_prog_load: {
    parameters: ["u32", "buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
  },
  // int bpf_prog_test_run_opts(int prog_fd, struct bpf_test_run_opts *opts)
  bpf_prog_test_run_opts: { parameters: ["i32", "buffer"], result: "i32" },
  // int bpf_enable_stats(int type)
  bpf_enable_stats: { parameters: ["i32"], result: "i32" },
  // int libbpf_probe_bpf_prog_type(enum bpf_prog_type prog_type, const void *opts)
  libbpf_probe_bpf_prog_type: { parameters: ["u32", "buffer"], result: "i32" },
  // int libbpf_probe_bpf_map_type(enum bpf_map_type map_type, const void *opts)
  libbpf_probe_bpf_map_type: { parameters: ["u32", "buffer"], result: "i32" },
  // int libbpf_num_possible_cpus(void)
  libbpf_num_possible_cpus: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type Libbpf = SymbolsOf<typeof libbpfSymbols>;

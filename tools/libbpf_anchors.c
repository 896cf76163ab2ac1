/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The structs and enums of libbpf and the kernel that user space fills or reads. Compiled only
 * for its BTF, out of which ffi/bpf/libbpf.gen.ts is made (see tools/layout.ts). A type must be the
 * type of a global variable, or the compiler leaves it out.
 */
#include <stddef.h>

#include <bpf/libbpf.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define ANCHOR(type) type JOIN(anchor_, __COUNTER__)

ANCHOR(struct bpf_object_open_opts);
ANCHOR(struct bpf_map_create_opts);
ANCHOR(struct bpf_prog_load_opts);
ANCHOR(struct bpf_test_run_opts);
ANCHOR(struct bpf_map_batch_opts);
ANCHOR(struct bpf_link_create_opts);
ANCHOR(struct bpf_link_update_opts);
ANCHOR(struct bpf_xdp_attach_opts);
ANCHOR(struct bpf_xdp_query_opts);
ANCHOR(struct bpf_tc_hook);
ANCHOR(struct bpf_tc_opts);

ANCHOR(struct bpf_map_info);
ANCHOR(struct bpf_prog_info);
ANCHOR(struct bpf_link_info);

/*
 * Links of kind TCX (Linux 6.6) in struct bpf_link_info, which the headers of older systems do
 * not know. The kernel's interface does not change, so it can be written down here.
 */
struct bpf_link_info_tcx {
	__u32 type;
	__u32 id;
	__u32 prog_id;
	__u32 pad;
	__u32 tcx_ifindex;
	__u32 tcx_attach_type;
};
_Static_assert(offsetof(struct bpf_link_info_tcx, tcx_ifindex) ==
		       offsetof(struct bpf_link_info, xdp.ifindex),
	       "the union of struct bpf_link_info");
ANCHOR(struct bpf_link_info_tcx);

ANCHOR(enum bpf_map_type);
ANCHOR(enum bpf_prog_type);
ANCHOR(enum bpf_attach_type);
ANCHOR(enum bpf_link_type);
ANCHOR(enum bpf_tc_attach_point);

// SPDX-License-Identifier: MIT
/* libbpf's log, and a call whose errno would be lost on the way back to JavaScript. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ph.h"

/* Enough for libbpf's own text; a whole verifier log goes to a buffer that the caller gives. */
#define LOG_CAP (256 * 1024)

static _Thread_local char log_text[LOG_CAP];
static _Thread_local size_t log_used;

static int print(int level, const char *format, va_list args)
{
	size_t room = LOG_CAP - log_used;
	int n;

	/* LIBBPF_DEBUG (2) tells each step of a load and is of no use in an error. */
	if (level >= 2 || room <= 1)
		return 0;
	n = vsnprintf(log_text + log_used, room, format, args);
	if (n > 0)
		log_used += (size_t)n < room ? (size_t)n : room - 1;
	return n;
}

void *ph_log_printer(void)
{
	/* Through a union: ISO C has no cast from a function pointer to an object pointer. */
	union {
		int (*function)(int, const char *, va_list);
		void *pointer;
	} printer = { .function = print };

	return printer.pointer;
}

int32_t ph_log_take(void *out, uint32_t cap)
{
	size_t n = log_used < cap ? log_used : cap;

	memcpy(out, log_text, n);
	log_used = 0;
	return (int32_t)n;
}

void *ph_call_pointer(void *fn, uint64_t a, uint64_t b, uint64_t c, uint64_t d, int32_t *err)
{
	union {
		void *pointer;
		void *(*function)(uint64_t, uint64_t, uint64_t, uint64_t);
	} callee = { .pointer = fn };
	void *result;

	errno = 0;
	result = callee.function(a, b, c, d);
	*err = result ? 0 : -errno;
	return result;
}

int32_t ph_object_load(void *fn, void *object, uint8_t *log, uint32_t cap, uint32_t *used)
{
	union {
		void *pointer;
		int (*function)(void *);
	} callee = { .pointer = fn };
	int result;

	log_used = 0;
	result = callee.function(object);
	*used = (uint32_t)ph_log_take(log, cap);
	return result;
}

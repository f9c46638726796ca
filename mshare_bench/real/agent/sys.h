/*
 * System calls without a C library: an idle agent then is a few pages, and any compiler can build it, also where no
 * static libc is installed.
 */
#ifndef MSHARE_SYS_H
#define MSHARE_SYS_H

#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>

#include "protocol.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define PAGE 4096ul

enum { E_SRCH = 3, E_INTR = 4, E_CHILD = 10, E_AGAIN = 11, E_EXIST = 17, E_INVAL = 22, E_TIMEDOUT = 110 };
enum { SIG_BUS = 7, SIG_KILL = 9, SIG_SEGV = 11, SIG_CHLD = 17 };

struct timespan {
	i64 seconds, nanoseconds;
};

#if defined(__x86_64__)

static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#elif defined(__aarch64__)

static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
	return x0;
}

#else
#error "the agent is written for x86-64 and arm64"
#endif

#define call0(n) call6(n, 0, 0, 0, 0, 0, 0)
#define call1(n, a) call6(n, (long)(a), 0, 0, 0, 0, 0)
#define call2(n, a, b) call6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define call3(n, a, b, c) call6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define call4(n, a, b, c, d) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define call5(n, a, b, c, d, e) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

static inline i64 now_ns(void)
{
	struct timespan t;

	call2(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &t);
	return t.seconds * 1000000000ll + t.nanoseconds;
}

static inline void read_faults(i64 *minor, i64 *major)
{
	struct rusage usage;

	call2(__NR_getrusage, 1 /* RUSAGE_THREAD */, &usage);
	*minor = usage.ru_minflt;
	*major = usage.ru_majflt;
}

/* Sleeps until *word is no longer `value`; returns -E_TIMEDOUT after `seconds`. */
static inline long futex_wait(u32 *word, u32 value, u32 seconds)
{
	struct timespan limit = { seconds, 0 };

	return call4(__NR_futex, word, FUTEX_WAIT, value, &limit);
}

static inline void futex_wake(u32 *word)
{
	call3(__NR_futex, word, FUTEX_WAKE, 1);
}

static inline i32 own_pid(void)
{
	return (i32)call0(__NR_getpid);
}

static inline i32 own_tid(void)
{
	return (i32)call0(__NR_gettid);
}

__attribute__((noreturn)) static inline void leave(int code)
{
	for (;;)
		call1(__NR_exit_group, code);
}

/* clone(2) with fork's semantics: the child returns 0 on the same stack. */
static inline long clone_process(unsigned long flags)
{
	return call5(__NR_clone, flags, 0, 0, 0, 0);
}

/* entry.c: clone(2) whose child runs body(argument) on a stack of its own and never returns. */
long clone_on_stack(unsigned long flags, void *stack_top, i32 *child_tid, void (*body)(long), long argument);
/* entry.c: one load or store; 0, or the signal (SIGSEGV, SIGBUS) that the access raised. */
int probe_load(const volatile u8 *from, u8 *into);
int probe_store(volatile u8 *to, u8 value);
/* entry.c: catches the faults of the two probes; any other fault ends the process as ever. */
long catch_faults(void);

#endif

/* What an agent can be told to do: map, touch, protect, fork, ... One function per op, each returning 0 or -errno. */
#include "sys.h"
#include "tree.h"

enum { SHM_RDONLY_FLAG = 010000, SHM_EXEC_FLAG = 0100000 };
enum { FNV_BASIS_LOW = 0x84222325, FNV_PRIME = 0x1b3 };

static long map(const struct op *op, struct op_result *result)
{
	long address;

	if (op->kind == OP_SHMAT) {
		int flags = (op->prot & PROT_WRITE ? 0 : SHM_RDONLY_FLAG) | (op->prot & PROT_EXEC ? SHM_EXEC_FLAG : 0);

		address = call3(__NR_shmat, op->number, op->address, flags);
	} else {
		address = call6(__NR_mmap, (long)op->address, (long)op->length, op->prot, op->mmap_flags, op->fd,
				(long)op->offset);
	}
	if (address < 0 && address > -(long)PAGE)
		return address;
	result->address = (u64)address;
	/* A kernel that does not know MAP_FIXED_NOREPLACE takes the address as a hint. */
	if (op->address && (u64)address != op->address) {
		call2(__NR_munmap, address, op->length);
		return -E_EXIST;
	}
	return 0;
}

/* Contents that differ from page to page and are the same in every process: what KSM merges. */
static void touch_numbered(const struct op *op)
{
	const u32 *list = tree.lists + op->offset;

	for (u64 i = 0; i < op->count; i++) {
		u64 page = op->flags & FLAG_LIST ? list[i] : op->first + i * op->step;

		*(volatile u64 *)(op->address + page * op->stride) = op->address + page * op->stride;
	}
}

/* The loops that are timed: nothing in them but the index and the access. */
static void touch(const struct op *op, u8 value)
{
	volatile u8 *base = (volatile u8 *)op->address;
	const u64 stride = op->stride, count = op->count, step = op->step * stride;
	const u32 *list = tree.lists + op->offset;

	if (op->flags & FLAG_LIST) {
		if (op->flags & FLAG_WRITE)
			for (u64 i = 0; i < count; i++)
				base[list[i] * stride] = value;
		else
			for (u64 i = 0; i < count; i++)
				(void)base[list[i] * stride];
		return;
	}
	base += op->first * stride;
	if (op->flags & FLAG_WRITE)
		for (u64 i = 0; i < count; i++, base += step)
			*base = value;
	else
		for (u64 i = 0; i < count; i++, base += step)
			(void)*base;
}

static volatile u8 *page_of(const struct op *op, u64 i)
{
	u64 page = op->flags & FLAG_LIST ? tree.lists[op->offset + i] : op->first + i * op->step;

	return (volatile u8 *)(op->address + page * op->stride);
}

/* Touches page by page and counts those that fault; notes the first. */
static void touch_guarded(const struct op *op, u8 value, struct op_result *result)
{
	for (u64 i = 0; i < op->count; i++) {
		volatile u8 *at = page_of(op, i);
		u8 byte;
		int signal = op->flags & FLAG_WRITE ? probe_store(at, value) : probe_load(at, &byte);

		if (!signal)
			continue;
		if (!result->signal) {
			result->signal = signal;
			result->address = (u64)at;
		}
		result->value++;
	}
}

/* FNV-1a over the first byte of each page, 256 + signal standing for a byte that can't be read. */
static void checksum(const struct op *op, struct op_result *result)
{
	u64 hash = 0xcbf29ce400000000ull + FNV_BASIS_LOW;

	for (u64 i = 0; i < op->count; i++) {
		volatile u8 *at = page_of(op, i);
		u8 byte = 0;
		int signal = 0;

		if (op->flags & FLAG_GUARDED)
			signal = probe_load(at, &byte);
		else
			byte = *at;
		if (signal && !result->signal) {
			result->signal = signal;
			result->address = (u64)at;
		}
		hash = (hash ^ (signal ? 256u + (u32)signal : byte)) * (0x10000000000ull + FNV_PRIME);
	}
	result->value = (i64)hash;
}

/* MADV_* over one range, or over `count` ranges that lie `stride` bytes apart. */
static long advise(const struct op *op)
{
	for (u64 i = 0; i < op->count; i++) {
		long failed = call3(__NR_madvise, op->address + i * op->stride, op->length, op->number);

		if (failed)
			return failed;
	}
	return 0;
}

__attribute__((noreturn)) static void be_child(struct record *record, const struct op *op, i32 parent, u32 sequence)
{
	die_with(parent);
	settle(record);
	run_phase(record, (u32)op->number, sequence);
	__atomic_store_n(&record->child_done, 1, __ATOMIC_RELEASE);
	futex_wake(&record->child_done);
	if (op->flags & FLAG_STAY)
		while (!__atomic_load_n(&record->child_turn, __ATOMIC_ACQUIRE))
			futex_wait(&record->child_turn, 0, tree.header->idle_seconds);
	leave(0);
}

static long reap(i32 pid, i32 options, i32 *status)
{
	long reaped;

	do
		reaped = call4(__NR_wait4, pid, status, options, 0);
	while (reaped == -E_INTR);
	return reaped;
}

/* Ends a staying child and reaps it; the signal that ended it, if any, goes to the result. */
static long join(struct record *record, struct op_result *result)
{
	i32 pid = record->child_pid, status = 0;
	long reaped;

	if (!pid)
		return -E_CHILD;
	__atomic_store_n(&record->child_turn, 1, __ATOMIC_RELEASE);
	futex_wake(&record->child_turn);
	reaped = reap(pid, 0, &status);
	record->child_pid = 0;
	result->value = pid;
	result->signal = status & 127;
	return reaped < 0 ? reaped : 0;
}

/*
 * Forks; result->value is the child's pid, the duration that of clone alone. A staying child is waited for until its
 * phase is done, another one until it is gone.
 */
static long fork_child(struct record *record, const struct op *op, u32 sequence, struct op_result *result)
{
	i32 parent = own_pid(), status = 0;
	i64 before;
	long pid;

	if (record->child_pid)
		return -E_EXIST;
	record->child_turn = record->child_done = 0;
	before = now_ns();
	pid = clone_process(SIG_CHLD);
	if (pid == 0)
		be_child(record, op, parent, sequence);
	result->duration_ns = now_ns() - before;
	if (pid < 0)
		return pid;
	result->value = pid;
	if (op->flags & FLAG_STAY) {
		record->child_pid = (i32)pid;
		/* One second at a time: a child that died never sets the word. */
		while (!__atomic_load_n(&record->child_done, __ATOMIC_ACQUIRE)) {
			futex_wait(&record->child_done, 0, 1);
			if (reap((i32)pid, 1 /* WNOHANG */, &status) == pid) {
				record->child_pid = 0;
				break;
			}
		}
	} else {
		reap((i32)pid, 0, &status);
	}
	result->signal = status & 127;
	return result->signal ? -E_CHILD : 0;
}

static long replace_by_exec(void)
{
	static const char *const arguments[] = { "mshare-agent", "exit", 0 };
	static const char *const environment[] = { 0 };

	return call3(__NR_execve, "/proc/self/exe", arguments, environment);
}

static long run_op(struct record *record, const struct op *op, u32 sequence, struct op_result *result)
{
	u8 value = (u8)(op->value + (op->flags & FLAG_ADD_AGENT ? record->index : 0));

	switch (op->kind) {
	case OP_MAP:
	case OP_SHMAT:
		return map(op, result);
	case OP_TOUCH:
		if (op->flags & FLAG_GUARDED)
			touch_guarded(op, value, result);
		else if (op->flags & FLAG_NUMBER)
			touch_numbered(op);
		else
			touch(op, value);
		return 0;
	case OP_CHECKSUM:
		checksum(op, result);
		return 0;
	case OP_PROTECT:
		return call3(__NR_mprotect, op->address, op->length, op->prot);
	case OP_ADVISE:
		return advise(op);
	case OP_UNMAP:
		return call2(__NR_munmap, op->address, op->length);
	case OP_FORK:
		return fork_child(record, op, sequence, result);
	case OP_JOIN:
		return join(record, result);
	case OP_EXEC:
		return replace_by_exec();
	case OP_EXIT:
		leave(op->number);
	default:
		return -E_INVAL;
	}
}

void run_phase(struct record *record, u32 phase, u32 sequence)
{
	const struct span *span = span_of(record->program, phase);
	struct op_result *slots = op_result_of(record, tree.bases[phase]);
	struct phase_result *out = phase_result_of(record, phase);
	i64 minor, major, minor_after, major_after, started, op_started, now;
	i64 error = 0, failed_op = -1, signal = 0;

	read_faults(&minor, &major);
	started = now = now_ns();
	for (u32 i = 0; i < span->count; i++) {
		const struct op *op = tree.ops + span->first + i;
		struct op_result result = { 0, 0, 0, 0, 0 };
		long failed;

		op_started = now;
		failed = run_op(record, op, sequence, &result);
		now = now_ns();
		result.error = (i32)-failed;
		if (!result.duration_ns)
			result.duration_ns = now - op_started;
		slots[i] = result;
		if (result.signal && !signal)
			signal = result.signal;
		if (failed && !(op->flags & FLAG_GUARDED)) {
			error = -failed;
			failed_op = i;
			break;
		}
	}
	read_faults(&minor_after, &major_after);
	out->start_ns = started;
	out->duration_ns = now - started;
	out->minor_faults = minor_after - minor;
	out->major_faults = major_after - major;
	out->error = error;
	out->failed_op = failed_op;
	out->signal = signal;
	out->sequence = sequence;
}

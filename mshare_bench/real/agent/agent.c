/* An agent's life: bound, settled, ready; then a phase per turn, handing the turn on, until it is told to exit. */
#include "sys.h"
#include "tree.h"

#define LEADER 0

struct tree tree;

extern const u8 __executable_start[], etext[];
/* Stands for the constants of the binary, which some linkers place behind the code. */
static const u8 constants[] = "constants";

void die_with(i32 parent)
{
	call2(__NR_prctl, PR_SET_PDEATHSIG, SIG_KILL);
	if ((i32)call0(__NR_getppid) != parent)
		leave(1);
}

/* Of the process that forks; neighbours mostly share a placement, so that few calls are needed. */
static i32 placement_now = -1;
static struct placement placement_before = { .mode = -1 };

void remember_binding(void)
{
	struct placement *p = &placement_before;

	p->set_cpus = call3(__NR_sched_getaffinity, 0, sizeof(p->cpus), p->cpus) > 0;
	if (call5(__NR_get_mempolicy, &p->mode, p->nodes, MASK_WORDS * 64 + 1, 0, 0))
		p->mode = -1;
}

long bind_to(i32 placement, u32 *step)
{
	const struct placement *wanted = placement < 0 ? &placement_before : tree.placements + placement;
	const struct placement *cpus = wanted->set_cpus ? wanted : &placement_before;
	const struct placement *policy = wanted->mode >= 0 ? wanted : &placement_before;
	long failed = 0;

	if (placement == placement_now)
		return 0;
	*step = STEP_AFFINITY;
	if (cpus->set_cpus)
		failed = call3(__NR_sched_setaffinity, 0, sizeof(cpus->cpus), cpus->cpus);
	if (failed)
		return failed;
	*step = STEP_MEMPOLICY;
	if (policy->mode >= 0)
		failed = call3(__NR_set_mempolicy, policy->mode, policy->nodes, MASK_WORDS * 64 + 1);
	if (!failed)
		placement_now = placement;
	return failed;
}

static void read_pages(const void *from, u64 bytes)
{
	const volatile u8 *p = from;

	for (u64 at = 0; at < bytes; at += PAGE)
		(void)p[at];
	if (bytes)
		(void)p[bytes - 1];
}

static void write_pages(void *from, u64 bytes)
{
	volatile u8 *p = from;

	for (u64 at = 0; at < bytes; at += PAGE)
		p[at] = p[at];
}

/* A page below the frame for the calls to come; where faults are caught, more for signal frames (AMX: 11 KiB). */
static __attribute__((noinline)) void write_stack(u32 pages)
{
	volatile u8 below[5 * PAGE];

	for (u32 i = 1; i <= pages; i++)
		below[sizeof(below) - i * PAGE] = 0;
}

void settle(struct record *record)
{
	const struct header *header = tree.header;
	const struct span *spans = span_of(record->program, 0);
	int guarded = 0;

	read_pages(__executable_start, (u64)(etext - __executable_start));
	read_pages(constants, sizeof(constants));
	/* The turns are written by neighbours' hand-over; on a shared mapping of memory a read fault maps them writable. */
	read_pages(header, sizeof(*header));
	write_pages(tree.turns + record->index, sizeof(u32));
	read_pages(tree.turns, header->agents * sizeof(u32));
	read_pages(spans, header->phases * sizeof(*spans));
	read_pages(tree.bases, header->phases * sizeof(u32));
	for (u32 phase = 0; phase < header->phases; phase++) {
		const struct op *ops = tree.ops + spans[phase].first;

		read_pages(ops, spans[phase].count * sizeof(*ops));
		for (u32 i = 0; i < spans[phase].count; i++) {
			if (ops[i].flags & FLAG_LIST)
				read_pages(tree.lists + ops[i].offset, ops[i].count * sizeof(u32));
			guarded |= ops[i].flags & FLAG_GUARDED;
		}
	}
	write_pages(record, header->record_bytes);
	write_stack(guarded ? 5 : 1);
}

void give_turn(u32 index)
{
	__atomic_store_n(&tree.turns[index], tree.header->sequence, __ATOMIC_RELEASE);
	futex_wake(&tree.turns[index]);
}

void count_done(void)
{
	struct header *header = tree.header;
	u32 expected = header->hi - header->lo; /* read first: after the last of us has counted, the next command may come */
	u64 one = 1;

	if (__atomic_add_fetch(&header->done, 1, __ATOMIC_ACQ_REL) == expected)
		call3(__NR_write, tree.event_fd, &one, sizeof(one));
}

static void note_launch(struct record *record, i64 started, i64 cloned)
{
	struct phase_result *launch = phase_result_of(record, 0);

	launch->start_ns = started;
	launch->duration_ns = cloned - started;
	launch->failed_op = -1;
	launch->sequence = tree.header->sequence;
}

static __attribute__((noreturn)) void live(struct record *record)
{
	struct header *header = tree.header;
	u32 *turn = &tree.turns[record->index];
	u32 seen = __atomic_load_n(turn, __ATOMIC_ACQUIRE);
	struct phase_result *launch = phase_result_of(record, 0);

	settle(record);
	read_faults(&launch->minor_faults, &launch->major_faults);
	count_done();
	for (;;) {
		u32 now = __atomic_load_n(turn, __ATOMIC_ACQUIRE);
		u32 phase, next;

		if (now == seen) {
			if (futex_wait(turn, seen, header->idle_seconds) == -E_TIMEDOUT &&
			    (i32)call0(__NR_getppid) != tree.zygote_pid)
				leave(1);
			continue;
		}
		seen = now;
		phase = header->phase;
		if (phase == header->phases - 1) {
			phase_result_of(record, phase)->start_ns = now_ns();
			if (header->spawn == SPAWN_THREAD && record->index != LEADER)
				call1(__NR_exit, 0);
			leave(0);
		}
		next = record->index + header->parallel;
		run_phase(record, phase, seen);
		if (next < header->hi)
			give_turn(next);
		count_done();
	}
}

static void begin(long index)
{
	struct record *record = record_of((u32)index);

	if (tree.header->spawn != SPAWN_THREAD || index == LEADER)
		die_with(tree.zygote_pid);
	record->pid = own_tid();
	live(record);
}

static long tell_failure(u32 step, u32 index, long failed)
{
	tree.header->failed_step = step;
	tree.header->failed_agent = index;
	tree.header->failed_errno = (u32)-failed;
	return failed;
}

/* In the leader, on the mm that all will share: clones the others with the zygote as their parent. */
static long clone_others(void)
{
	const struct header *header = tree.header;
	unsigned long flags = header->spawn == SPAWN_THREAD ?
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID :
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_PARENT | SIG_CHLD;
	u64 bytes = STACK_BYTES * header->agents;
	u32 step = STEP_STACKS;
	long stacks = call6(__NR_mmap, STACKS_ADDRESS, (long)bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (stacks < 0)
		return tell_failure(step, 1, stacks);
	call3(__NR_madvise, stacks, bytes, MADV_NOHUGEPAGE);
	for (u32 i = LEADER + 1; i < header->agents; i++) {
		struct record *record = record_of(i);
		i64 started;
		long failed = bind_to(record->placement, &step);

		if (!failed) {
			step = STEP_CLONE;
			record->tid_word = 1;
			started = now_ns();
			failed = clone_on_stack(flags, (char *)stacks + STACK_BYTES * (i + 1), &record->tid_word, begin, i);
			note_launch(record, started, now_ns());
		}
		if (failed < 0)
			return tell_failure(step, i, failed);
	}
	/* Back to its own place, after it has been in everyone's. */
	long failed = bind_to(record_of(LEADER)->placement, &step);

	return failed ? tell_failure(step, LEADER, failed) : 0;
}

static __attribute__((noreturn)) void begin_leader(void)
{
	struct record *record = record_of(LEADER);
	u64 one = 1;

	die_with(tree.zygote_pid);
	record->pid = own_tid();
	if (clone_others() < 0) {
		call3(__NR_write, tree.event_fd, &one, sizeof(one));
		for (;;)
			call4(__NR_ppoll, 0, 0, 0, 0);
	}
	live(record);
}

long launch_agents(void)
{
	struct header *header = tree.header;
	u32 count = header->spawn == SPAWN_FORK ? header->agents : 1;
	u32 step = 0;

	for (u32 i = 0; i < count; i++) {
		struct record *record = record_of(i);
		i64 started;
		long pid, failed = bind_to(record->placement, &step);

		if (failed)
			return tell_failure(step, i, failed);
		started = now_ns();
		pid = clone_process(SIG_CHLD);
		if (pid == 0) {
			if (header->spawn == SPAWN_FORK)
				begin(i);
			begin_leader();
		}
		note_launch(record, started, now_ns());
		if (pid < 0)
			return tell_failure(STEP_CLONE, i, pid);
		record->pid = (i32)pid;
	}
	return 0;
}

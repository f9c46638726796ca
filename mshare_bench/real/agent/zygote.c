/*
 * The zygote: a tiny process that forks the agents, passes on the controller's commands, takes the time of their exits
 * and names those that die. It lives as long as its controller does and takes every agent with it.
 */
#include "sys.h"
#include "tree.h"

#ifndef SFD_CLOEXEC
#define SFD_CLOEXEC 02000000
#define SFD_NONBLOCK 00004000
#endif
enum { AT_CWD = -100, WRITE_ONLY = 1, NO_HANG = 1, ALL_CHILDREN = 0x40000000, NO_RANDOMIZE = 0x0040000 };
enum { SECONDS = 5, WINDOW = 64, DIED_TOLD = 64 };

static i32 control_socket, signal_fd, parent_fd, parent_pid;
static u32 died_told;

static long number(const char *text)
{
	long value = 0;

	while (*text >= '0' && *text <= '9')
		value = value * 10 + (*text++ - '0');
	return value;
}

/* Never blocks: a controller that does not read has other troubles. */
static void tell(u32 kind, i32 a, i32 b, i32 c)
{
	struct message message = { kind, a, b, c, 0 };

	call6(__NR_sendto, control_socket, (long)&message, sizeof(message), 0x4040 /* DONTWAIT | NOSIGNAL */, 0, 0);
}

__attribute__((noreturn)) static void fail(u32 step, long failed)
{
	tell(MSG_FAILED, (i32)step, (i32)-failed, -1);
	leave(1);
}

static void write_text(u32 step, const char *path, const char *text, u64 bytes)
{
	long fd = call4(__NR_openat, AT_CWD, path, WRITE_ONLY, 0), written;

	if (fd < 0)
		fail(step, fd);
	written = call3(__NR_write, fd, text, bytes);
	if (written < 0)
		fail(step, written);
	call1(__NR_close, fd);
}

/* Where the agents are to run: the cgroup first, so that all that is charged from now on is charged there. */
static void move_in(const struct header *header)
{
	char digits[16];
	u32 at = sizeof(digits), rest;

	if (header->cgroup_path[0])
		write_text(STEP_CGROUP, header->cgroup_path, "0", 1);
	if (header->set_nice) {
		long failed = call3(__NR_setpriority, 0, 0, header->nice);

		if (failed)
			fail(STEP_NICE, failed);
	}
	if (header->set_oom_score) {
		rest = (u32)(header->oom_score < 0 ? -header->oom_score : header->oom_score);
		do
			digits[--at] = (char)('0' + rest % 10);
		while (rest /= 10);
		if (header->oom_score < 0)
			digits[--at] = '-';
		write_text(STEP_OOM_SCORE, "/proc/self/oom_score_adj", digits + at, sizeof(digits) - at);
	}
}

static void open_control(i32 fd, u64 bytes)
{
	long at = call6(__NR_mmap, CONTROL_ADDRESS, (long)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			0);
	struct header *header = (struct header *)at;
	char *base = (char *)at;

	if (at < 0 || at != (long)CONTROL_ADDRESS)
		fail(STEP_PROTOCOL, at < 0 ? at : -E_EXIST);
	/* Where shared memory gets huge pages unasked, the agents' own tables would depend on it. */
	call3(__NR_madvise, at, bytes, MADV_NOHUGEPAGE);
	if (header->magic != PROTOCOL_MAGIC || header->version != PROTOCOL_VERSION || header->total_bytes != bytes ||
	    header->header_bytes != sizeof(struct header) || header->op_bytes != sizeof(struct op) ||
	    header->record_head_bytes != sizeof(struct record) ||
	    header->phase_result_bytes != sizeof(struct phase_result) ||
	    header->op_result_bytes != sizeof(struct op_result) || header->placement_bytes != sizeof(struct placement))
		fail(STEP_PROTOCOL, -E_INVAL);
	tree.header = header;
	tree.turns = (u32 *)(base + header->turns_offset);
	tree.spans = (struct span *)(base + header->spans_offset);
	tree.bases = (u32 *)(base + header->bases_offset);
	tree.ops = (struct op *)(base + header->ops_offset);
	tree.placements = (struct placement *)(base + header->placements_offset);
	tree.lists = (u32 *)(base + header->lists_offset);
	tree.records = base + header->records_offset;
	tree.zygote_pid = own_pid();
}

static i32 agent_of(i32 pid)
{
	for (u32 i = 0; i < tree.header->agents; i++)
		if (record_of(i)->pid == pid)
			return (i32)i;
	return -1;
}

/* Reaps whoever died uncalled and says so; the first few in full, since one is enough to void the cell. */
static void reap_dead(void)
{
	char drained[128 * 4];
	i32 status, pid;

	while (call3(__NR_read, signal_fd, drained, sizeof(drained)) > 0)
		;
	while ((pid = (i32)call4(__NR_wait4, -1, &status, NO_HANG | ALL_CHILDREN, 0)) > 0)
		if (died_told++ < DIED_TOLD)
			tell(MSG_DIED, agent_of(pid), pid, status);
}

/* The kernel writes the time that is left back into the limit: with one limit for all waits, no wait would be one soon. */
static void wait_for(struct pollfd *polls, u32 count)
{
	struct timespan limit = { SECONDS, 0 };

	call4(__NR_ppoll, polls, count, &limit, 0);
}

static int controller_gone(const struct pollfd *socket, const struct pollfd *parent)
{
	return (socket->revents & (POLLHUP | POLLERR)) || (parent->revents & POLLIN) ||
	       (i32)call0(__NR_getppid) != parent_pid;
}

static void kill_all(void)
{
	u32 count = tree.header->spawn == SPAWN_THREAD ? 1 : tree.header->agents;
	i32 status;

	for (u32 i = 0; i < count; i++)
		if (record_of(i)->pid > 0)
			call2(__NR_kill, record_of(i)->pid, SIG_KILL);
	/* By pid: waiting for any child walks the list of all of them each time. */
	for (u32 i = 0; i < count; i++)
		if (record_of(i)->pid > 0)
			call4(__NR_wait4, record_of(i)->pid, &status, ALL_CHILDREN, 0);
	while (call4(__NR_wait4, -1, &status, ALL_CHILDREN, 0) > 0)
		;
}

static void note_exit(u32 index, i32 status)
{
	struct record *record = record_of(index);
	struct phase_result *result = phase_result_of(record, tree.header->phases - 1);

	result->duration_ns = now_ns() - result->start_ns;
	result->signal = status & 127;
	result->error = 0;
	result->failed_op = -1;
	result->sequence = tree.header->sequence;
	record->pid = -1;
}

/* Threads leave no corpse: the kernel clears their word instead. The leader takes the mm with it, so it is last. */
static void exit_threads(void)
{
	for (u32 i = 1; i < tree.header->agents; i++) {
		i32 *word = &record_of(i)->tid_word;
		u32 waited = 0;

		give_turn(i);
		for (i32 value; (value = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != 0;)
			if (futex_wait((u32 *)word, (u32)value, 1) == -E_TIMEDOUT && ++waited == SECONDS)
				return;
		note_exit(i, 0);
	}
}

/* Lets `parallel` processes exit at a time and takes the time at which the kernel has done with each. */
static void exit_processes(u32 count, u32 parallel)
{
	struct pollfd polls[WINDOW + 2];
	u32 agents[WINDOW], next = 0, live = 0, finished = 0;
	i32 status;

	polls[0] = (struct pollfd){ control_socket, 0, 0 };
	polls[1] = (struct pollfd){ parent_fd, POLLIN, 0 };
	while (finished < count) {
		while (live < parallel && next < count) {
			i32 pid = record_of(next)->pid;

			agents[live] = next;
			polls[2 + live] = (struct pollfd){ (i32)call2(__NR_pidfd_open, pid, 0), POLLIN, 0 };
			live++;
			give_turn(next++);
		}
		wait_for(polls, 2 + live);
		if (controller_gone(&polls[0], &polls[1]))
			leave(1);
		for (u32 k = 0; k < live;) {
			struct pollfd *slot = &polls[2 + k];

			if (slot->fd >= 0 && !(slot->revents & POLLIN)) {
				k++;
				continue;
			}
			status = 0;
			call4(__NR_wait4, record_of(agents[k])->pid, &status, ALL_CHILDREN, 0);
			note_exit(agents[k], status);
			if (slot->fd >= 0)
				call1(__NR_close, slot->fd);
			live--;
			finished++;
			polls[2 + k] = polls[2 + live];
			agents[k] = agents[live];
		}
	}
}

static void exit_agents(u32 parallel)
{
	struct header *header = tree.header;

	header->phase = header->phases - 1;
	header->lo = 0;
	header->hi = header->agents;
	header->parallel = parallel;
	header->sequence++;
	parallel = parallel > WINDOW ? WINDOW : parallel;
	if (header->spawn == SPAWN_THREAD)
		exit_threads();
	exit_processes(header->spawn == SPAWN_THREAD ? 1 : header->agents, parallel);
}

static void obey(const struct message *message)
{
	struct header *header = tree.header;
	struct record *own;

	switch (message->kind) {
	case MSG_LAUNCH:
		header->sequence++;
		header->done = 0;
		header->lo = 0;
		header->hi = header->agents;
		if (launch_agents() < 0)
			tell(MSG_FAILED, (i32)header->failed_step, (i32)header->failed_errno, (i32)header->failed_agent);
		break;
	case MSG_RUN:
		header->phase = (u32)message->a;
		header->lo = (u32)message->b;
		header->hi = (u32)message->c;
		header->parallel = (u32)message->d;
		header->done = 0;
		header->sequence++;
		for (u32 i = 0; i < header->parallel && header->lo + i < header->hi; i++)
			give_turn(header->lo + i);
		break;
	case MSG_PREFORK:
		own = record_of(header->agents);
		header->sequence++;
		run_phase(own, (u32)message->a, header->sequence);
		tell(MSG_DONE, MSG_PREFORK, 0, 0);
		break;
	case MSG_EXIT:
		exit_agents((u32)message->a);
		tell(MSG_DONE, MSG_EXIT, 0, 0);
		break;
	case MSG_PING:
		reap_dead();
		tell(MSG_DONE, MSG_PING, 0, 0);
		break;
	default:
		kill_all();
		leave(0);
	}
}

/* mshare-agent <control fd> <control bytes> <socket fd> <event fd> <parent pid> <die with the parent's thread> */
__attribute__((noreturn, used)) void start_c(long *stack)
{
	long count = stack[0], mode;
	const char **arguments = (const char **)(stack + 1);
	u64 child_signal = 1ull << (SIG_CHLD - 1);
	struct pollfd polls[3];

	if (count != 7)
		leave(count == 2 ? 0 : 2); /* one argument: what OP_EXEC runs */
	parent_pid = (i32)number(arguments[5]);
	control_socket = (i32)number(arguments[3]);
	if (number(arguments[6]))
		call2(__NR_prctl, PR_SET_PDEATHSIG, SIG_KILL);
	/* The same addresses in every run: a randomised layout would make the base of VmPTE differ from run to run. */
	mode = call1(__NR_personality, 0xffffffff);
	if (mode >= 0 && !(mode & NO_RANDOMIZE) && call1(__NR_personality, mode | NO_RANDOMIZE) >= 0)
		call3(__NR_execve, "/proc/self/exe", arguments, arguments + count + 1);
	call2(__NR_prctl, PR_SET_NAME, "mshare-agent");
	tree.event_fd = (i32)number(arguments[4]);
	parent_fd = (i32)call2(__NR_pidfd_open, parent_pid, 0);
	open_control((i32)number(arguments[1]), (u64)number(arguments[2]));
	move_in(tree.header);
	remember_binding();
	call4(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, &child_signal, 0, sizeof(child_signal));
	signal_fd = (i32)call4(__NR_signalfd4, -1, &child_signal, sizeof(child_signal), SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0 || catch_faults())
		fail(STEP_SIGNALS, signal_fd);
	settle(record_of(tree.header->agents));
	tell(MSG_READY, own_pid(), 0, 0);

	polls[0] = (struct pollfd){ control_socket, POLLIN, 0 };
	polls[1] = (struct pollfd){ parent_fd, POLLIN, 0 };
	polls[2] = (struct pollfd){ signal_fd, POLLIN, 0 };
	for (;;) {
		struct message message;

		wait_for(polls, 3);
		if (controller_gone(&polls[0], &polls[1]))
			leave(1); /* the agents die with us */
		if (polls[2].revents & POLLIN)
			reap_dead();
		if (polls[0].revents & POLLIN &&
		    call3(__NR_read, control_socket, &message, sizeof(message)) == sizeof(message))
			obey(&message);
	}
}

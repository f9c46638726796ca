/*
 * What the controller (Python) and the zygote and its agents share: the layout of the control memory.
 *
 * mshare_bench/real/agent/protocol.py says the same for Python; tests/real/agent/test_protocol.py compares the two, and
 * the zygote refuses a controller whose sizes are not its own.
 *
 *   header | turns | spans | result bases | ops | placements | page lists | (2 MiB boundary) records
 *
 * Everything an agent reads besides its own record lies before the boundary, so that every agent of a tree needs the
 * same page-table pages for it: the base of VmPTE is one number per tree.
 */
#ifndef MSHARE_PROTOCOL_H
#define MSHARE_PROTOCOL_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;

#define PROTOCOL_MAGIC 0x6d736861u
#define PROTOCOL_VERSION 1u

/* Low enough to share the upper page tables of the static binary, which lies at 4 MiB. */
#define CONTROL_ADDRESS 0x10000000ul
/* Stacks of agents on one mm; an agent's own mappings start at 512 GiB. */
#define STACKS_ADDRESS 0x100000000ul
#define STACK_BYTES 0x8000ul

#define PATH_BYTES 1024
#define MASK_WORDS 16

enum spawn { SPAWN_FORK = 0, SPAWN_CLONE_VM = 1, SPAWN_THREAD = 2 };

enum op_kind {
	OP_MAP = 1,
	OP_SHMAT = 2,
	OP_TOUCH = 3,
	OP_CHECKSUM = 4,
	OP_PROTECT = 5,
	OP_ADVISE = 6,
	OP_UNMAP = 7,
	OP_FORK = 8,
	OP_JOIN = 9,
	OP_EXEC = 10,
	OP_EXIT = 11,
};

enum op_flag {
	FLAG_GUARDED = 1,     /* record an error and go on; a touch that faults is counted instead of fatal */
	FLAG_WRITE = 2,       /* the touch stores a byte instead of loading one */
	FLAG_LIST = 4,        /* pages come from the page lists, not from first/step */
	FLAG_ADD_AGENT = 8,   /* the byte stored is value + index of the agent */
	FLAG_NUMBER = 32,     /* the touch stores the address of its page, in eight bytes */
	FLAG_STAY = 16,       /* the forked child waits for OP_JOIN */
};

/* Commands from the controller, replies from the zygote: one struct per packet. */
enum message_kind {
	MSG_LAUNCH = 1,
	MSG_RUN = 2,
	MSG_EXIT = 3,
	MSG_PREFORK = 4,
	MSG_PING = 5,
	MSG_QUIT = 6,
	MSG_READY = 16,
	MSG_FAILED = 17,
	MSG_DIED = 18,
	MSG_DONE = 19,
};

/* What the zygote was doing when it sent MSG_FAILED. */
enum step {
	STEP_PROTOCOL = 1,
	STEP_CGROUP = 2,
	STEP_NICE = 3,
	STEP_OOM_SCORE = 4,
	STEP_SIGNALS = 5,
	STEP_AFFINITY = 6,
	STEP_MEMPOLICY = 7,
	STEP_CLONE = 8,
	STEP_STACKS = 9,
};

struct message {
	u32 kind;
	i32 a, b, c;
	i64 d;
};

struct header {
	u32 magic, version;
	u32 header_bytes, op_bytes, record_head_bytes, phase_result_bytes, op_result_bytes, placement_bytes;
	u32 agents, phases, spawn, record_bytes;
	u32 op_slots;         /* op results per record */
	u32 set_nice;         /* 1: set `nice`; 0: leave it */
	i32 nice;
	u32 set_oom_score;
	i32 oom_score;
	u32 idle_seconds;     /* how long an idle agent sleeps before it looks for its parent */
	u64 turns_offset, spans_offset, bases_offset, ops_offset, placements_offset, lists_offset, records_offset;
	u64 total_bytes;
	/* the command in force; written by the zygote before it wakes an agent */
	u32 sequence, phase, lo, hi, parallel;
	u32 done;             /* agents that finished the command */
	u32 failed_step, failed_errno, failed_agent; /* why a launch stopped */
	u32 pad;
	char cgroup_path[PATH_BYTES];
};

struct span {
	u32 first, count;
};

struct op {
	u32 kind, flags;
	u64 address, length;
	u32 prot, mmap_flags;
	i32 fd;
	i32 number;           /* shmid, advice, phase of a forked child, exit code */
	u64 offset;           /* in the file, or of the first index in the page lists */
	u64 first, step, count;
	u64 stride;           /* bytes from page to page; from range to range for OP_ADVISE */
	i64 value;            /* byte to store */
};

struct placement {
	u64 cpus[MASK_WORDS];
	u64 nodes[MASK_WORDS];
	i32 set_cpus;
	i32 mode;             /* of set_mempolicy; -1 leaves the policy alone */
};

struct phase_result {
	i64 start_ns, duration_ns, minor_faults, major_faults;
	i64 error;            /* errno of the unguarded op that ended the phase */
	i64 failed_op;        /* its place in the phase, or -1 */
	i64 signal;           /* first signal a guarded op met; of exit: the signal that ended the process */
	i64 sequence;         /* of the command that wrote this; 0: never run */
};

struct op_result {
	i32 error, signal;
	i64 value;
	i64 duration_ns;
	u64 address;
};

/* Head of a record; the phase results and then the op results follow it. Record `agents` is the zygote's own. */
struct record {
	u32 index;
	i32 pid;
	u32 program;
	i32 placement;        /* -1: none */
	i32 child_pid;
	u32 child_turn;       /* futex: 1 lets a staying child go */
	u32 child_done;       /* futex: 1 when the child has run its phase */
	i32 tid_word;         /* futex: cleared by the kernel when a thread has gone */
	i64 unused[4];
};

#endif

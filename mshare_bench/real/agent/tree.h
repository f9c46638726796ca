/* One zygote and its agents: where the parts of the control memory lie, and what the three C files ask of each other. */
#ifndef MSHARE_TREE_H
#define MSHARE_TREE_H

#include "protocol.h"

struct tree {
	struct header *header;
	u32 *turns;                   /* one futex word per agent: the sequence of the last command given to it */
	struct span *spans;           /* [program][phase] -> ops */
	u32 *bases;                   /* [phase] -> first op result */
	struct op *ops;
	struct placement *placements;
	u32 *lists;
	char *records;
	int event_fd;                 /* one tick per finished command */
	i32 zygote_pid;
};

/* Set by the zygote before it forks, only read afterwards. */
extern struct tree tree;

static inline struct record *record_of(u32 index)
{
	return (struct record *)(tree.records + (u64)index * tree.header->record_bytes);
}

static inline struct phase_result *phase_result_of(struct record *record, u32 phase)
{
	return (struct phase_result *)(record + 1) + phase;
}

static inline struct op_result *op_result_of(struct record *record, u32 slot)
{
	return (struct op_result *)(phase_result_of(record, tree.header->phases)) + slot;
}

static inline struct span *span_of(u32 program, u32 phase)
{
	return tree.spans + (u64)program * tree.header->phases + phase;
}

/* ops.c: runs one phase of the record's program and writes the timing, the faults and the result of each op. */
void run_phase(struct record *record, u32 phase, u32 sequence);

/* agent.c */
/* Makes all agents (fork) or the first one, which then clones the others (one mm). 0 or -errno, told in the header. */
long launch_agents(void);
/* Gives agent `index` the command of the header. */
void give_turn(u32 index);
/* Marks one more agent as done with the command; the last one tells the controller. */
void count_done(void);
/* Notes the CPUs and the policy that agents without a placement run with. */
void remember_binding(void);
/* Binds the caller to a placement: CPUs, then memory policy. 0, or -errno with the step in *step. */
long bind_to(i32 placement, u32 *step);
/* Touches all of its own that a process will use later, so that no later fault or table is its own doing. */
void settle(struct record *record);
/* Asks to be killed when the parent goes; leaves at once if it has gone already. */
void die_with(i32 parent);

#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * What a program says to /dev/mshare_pte.
 *
 * An open file is a region: SETUP gives it its size, once; whoever has the file open, by inheritance or SCM_RIGHTS, maps it with
 * MAP_SHARED, PROT_READ and PROT_WRITE, at any address that is a multiple of MSHARE_PTE_UNIT, and may map a part of it.
 */
#ifndef MSHARE_PTE_H
#define MSHARE_PTE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MSHARE_PTE_UNIT (2UL << 20) /* what one PTE page maps: regions, offsets and addresses are multiples of it */

#define MSHARE_PTE_PRIVATE_TABLES 1u /* the control: the same region and the same faults, tables of their own for everybody */

struct mshare_pte_setup {
	__u64 size;  /* bytes */
	__u32 flags; /* MSHARE_PTE_PRIVATE_TABLES or 0 */
	__u32 pad;   /* 0 */
};

struct mshare_pte_usage {
	__u64 data_bytes;  /* pages that the region holds */
	__u64 table_bytes; /* PTE pages that it holds; with private tables 0, they are the processes' */
};

#define MSHARE_PTE_SETUP _IOW('M', 0x70, struct mshare_pte_setup)
#define MSHARE_PTE_USAGE _IOR('M', 0x71, struct mshare_pte_usage)

#endif

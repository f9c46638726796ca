// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/mshare_pte: memory whose PTE pages are shared by all who map it, on a stock kernel. For guests that are thrown away.
 *
 * Leaf tables exist once per region; PMD and PUD pages are each process's own. A process takes one fault per 2 MiB. What it can't do:
 * page cache, reclaim, swap, huge pages, NUMA migration, mprotect, pinning (GUP); RSS reads 0.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <asm/cpufeature.h>

#include "internal.h"

struct counts counts;

static bool force;
module_param(force, bool, 0400);
MODULE_PARM_DESC(force, "load where there is no hypervisor as well: a mistake here takes the whole machine down");

bool detach_enabled = true;
module_param_named(detach, detach_enabled, bool, 0400);
MODULE_PARM_DESC(detach, "N leaves tables attached when a mapping goes away: corrupts memory, and shows that tests notice");

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static void flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#else
#define flags_set vm_flags_set
#endif

static const struct vm_operations_struct vm_ops;

static struct region *region_of(struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

/*
 * A child's address space has no notifier yet, and one can't be had while fork() holds both locks: the first fault sees to it. A
 * mapping that was split or moved within its address space keeps its sharer.
 */
static void vma_open(struct vm_area_struct *vma)
{
	struct sharer *sharer = vma->vm_private_data;

	if (!sharer)
		return;
	if (sharer->notifier.mm == vma->vm_mm)
		sharer_hold(sharer);
	else
		vma->vm_private_data = NULL;
}

static void vma_close(struct vm_area_struct *vma)
{
	if (vma->vm_private_data)
		sharer_drop(vma->vm_private_data);
}

/* A table is attached whole: no border of a mapping may cut through one. */
static int vma_may_split(struct vm_area_struct *vma, unsigned long address)
{
	return address % MSHARE_PTE_UNIT ? -EINVAL : 0;
}

static int vma_moved(struct vm_area_struct *vma)
{
	return vma->vm_start % MSHARE_PTE_UNIT ? -EINVAL : 0;
}

/* The entries are everybody's: one process can't have others. */
static int vma_protect(struct vm_area_struct *vma, unsigned long start, unsigned long end, unsigned long flags)
{
	return -EACCES;
}

/*
 * Give all mappings of ours in a forked child their sharer. The read lock that a fault holds has to be given up for the write lock, so
 * the fault is tried again; the kernel counts a fault that was retried as a major one. Where memory is short the second time too, it
 * is a SIGBUS: VM_FAULT_OOM would only have it tried for ever.
 */
static vm_fault_t register_child(struct vm_fault *fault)
{
	struct vm_area_struct *vma = fault->vma;
	struct mm_struct *mm = vma->vm_mm;
	struct file *file = vma->vm_file;
	struct sharer *sharer;
	bool lacking = false;

	if (!(fault->flags & FAULT_FLAG_ALLOW_RETRY) || fault->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_SIGBUS;
	get_file(file); /* keeps this module while no lock keeps the mapping */
	mmap_read_unlock(mm);
	if (!mmap_write_lock_killable(mm)) {
		VMA_ITERATOR(iterator, mm, 0);

		for_each_vma(iterator, vma) {
			if (vma->vm_ops != &vm_ops || vma->vm_private_data)
				continue;
			sharer = sharer_of(mm);
			if (IS_ERR(sharer)) { /* a signal, or no memory: the fault is taken again after it */
				lacking = PTR_ERR(sharer) == -ENOMEM;
				break;
			}
			vma->vm_private_data = sharer;
		}
		if (lacking && fault->flags & FAULT_FLAG_TRIED) {
			mmap_write_downgrade(mm); /* an error is given back under the read lock */
			fput(file);
			return VM_FAULT_SIGBUS;
		}
		mmap_write_unlock(mm);
	}
	fput(file);
	return VM_FAULT_RETRY;
}

/* The control: the same pages by tables that are this process's own. */
static vm_fault_t insert_pages(struct vm_fault *fault, struct slot *slot)
{
	unsigned long address = ALIGN_DOWN(fault->address, MSHARE_PTE_UNIT);
	pgprot_t prot = vm_get_page_prot(VM_READ | VM_WRITE | VM_SHARED);
	vm_fault_t result = VM_FAULT_NOPAGE;
	int i;

	for (i = 0; i < PTRS_PER_PTE && result == VM_FAULT_NOPAGE; i++)
		result = vmf_insert_pfn_prot(fault->vma, address + i * PAGE_SIZE, page_to_pfn(slot->pages[i]), prot);
	return result;
}

static vm_fault_t vma_fault(struct vm_fault *fault)
{
	struct region *region = region_of(fault->vma);
	struct sharer *sharer = fault->vma->vm_private_data;
	struct slot *slot;

	if (!region->private_tables && !sharer)
		return register_child(fault);
	slot = region_fill(region, fault->pgoff / PTRS_PER_PTE);
	if (!slot)
		return VM_FAULT_OOM;
	return region->private_tables ? insert_pages(fault, slot) : sharer_attach(sharer, fault, slot);
}

/* No map_pages: with it a fault could be handled without the mmap lock, and without us. */
static const struct vm_operations_struct vm_ops = {
	.open = vma_open,
	.close = vma_close,
	.may_split = vma_may_split,
	.mremap = vma_moved,
	.mprotect = vma_protect,
	.fault = vma_fault,
};

static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct region *region = file->private_data;
	size_t slots = smp_load_acquire(&region->slots);
	unsigned long first = vma->vm_pgoff / PTRS_PER_PTE, length = vma->vm_end - vma->vm_start;
	struct sharer *sharer = NULL;

	if (!slots || vma->vm_start % MSHARE_PTE_UNIT || length % MSHARE_PTE_UNIT || vma->vm_pgoff % PTRS_PER_PTE)
		return -EINVAL;
	if (first >= slots || length / MSHARE_PTE_UNIT > slots - first)
		return -EINVAL;
	/* The entries are readable and writable for all who attach them. */
	if (!(vma->vm_flags & VM_SHARED) || !(vma->vm_flags & VM_READ) || !(vma->vm_flags & VM_WRITE))
		return -EACCES;
	if (!region->private_tables) {
		sharer = sharer_of(vma->vm_mm);
		if (IS_ERR(sharer) && PTR_ERR(sharer) != -EINTR)
			return PTR_ERR(sharer);
		if (IS_ERR(sharer)) /* a signal came in between: the first fault does it, as in a child */
			sharer = NULL;
	}
	/*
	 * PFNMAP: walkers leave it alone. IO: no pinning. DONTEXPAND: no merging with neighbours and no growing. WIPEONFORK: fork copies
	 * the mapping and no table; the child attaches by its own faults.
	 */
	flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP | VM_WIPEONFORK);
	vma->vm_private_data = sharer;
	vma->vm_ops = &vm_ops;
	return 0;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct region *region = file->private_data;
	struct mshare_pte_setup setup;
	struct mshare_pte_usage usage = {};

	switch (command) {
	case MSHARE_PTE_SETUP:
		if (copy_from_user(&setup, (void __user *)argument, sizeof(setup)))
			return -EFAULT;
		return region_setup(region, &setup);
	case MSHARE_PTE_USAGE:
		mutex_lock(&region->lock);
		usage.data_bytes = region->filled * MSHARE_PTE_UNIT;
		usage.table_bytes = region->private_tables ? 0 : region->filled * PAGE_SIZE;
		mutex_unlock(&region->lock);
		return copy_to_user((void __user *)argument, &usage, sizeof(usage)) ? -EFAULT : 0;
	default:
		return -ENOTTY;
	}
}

static int device_open(struct inode *inode, struct file *file)
{
	file->private_data = region_new();
	return file->private_data ? 0 : -ENOMEM;
}

static int device_release(struct inode *inode, struct file *file)
{
	region_free(file->private_data);
	return 0;
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.mmap = device_mmap,
	.get_unmapped_area = thp_get_unmapped_area, /* 2 MiB borders */
	.unlocked_ioctl = device_ioctl,
};

#define COUNT(name)                                                                                  \
	static ssize_t name##_show(struct device *device, struct device_attribute *attribute, char *text) \
	{                                                                                            \
		return sysfs_emit(text, "%lld\n", atomic64_read(&counts.name));                      \
	}                                                                                            \
	static DEVICE_ATTR_RO(name)

COUNT(attaches);
COUNT(detaches);
COUNT(tables);
COUNT(pages);
COUNT(sharers);

static struct attribute *count_attrs[] = {
	&dev_attr_attaches.attr, &dev_attr_detaches.attr, &dev_attr_tables.attr, &dev_attr_pages.attr, &dev_attr_sharers.attr, NULL,
};
ATTRIBUTE_GROUPS(count);

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mshare_pte",
	.fops = &file_ops,
	.groups = count_groups,
	.mode = 0600,
};

static int __init device_init(void)
{
	/* Every path that frees page tables was followed in these versions, and only in these. */
	bool known = LINUX_VERSION_MAJOR == 6 && (LINUX_VERSION_PATCHLEVEL == 1 || LINUX_VERSION_PATCHLEVEL == 12);

	if (!known) {
		pr_err("mshare_pte: not tried on Linux %d.%d; 6.1 and 6.12 were\n", LINUX_VERSION_MAJOR, LINUX_VERSION_PATCHLEVEL);
		return -ENODEV;
	}
	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR) && !force) {
		pr_err("mshare_pte: no hypervisor: this module is for guests that are thrown away (force=1 loads it)\n");
		return -EPERM;
	}
	return misc_register(&device);
}

static void __exit device_exit(void)
{
	misc_deregister(&device);
	mmu_notifier_synchronize(); /* the last sharers are freed behind our back */
}

module_init(device_init);
module_exit(device_exit);

MODULE_DESCRIPTION("Memory whose PTE pages are shared by all who map it; for throw-away guests");
MODULE_AUTHOR("the mshare-bench maintainers");
MODULE_LICENSE("GPL");

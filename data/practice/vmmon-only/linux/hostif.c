// SPDX-License-Identifier: GPL-2.0-or-later

/* What the common code asks for, from Linux. */

#include "driver-config.h"

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <asm/msr.h>

#include "vm_assert.h"
#include "hostif.h"
#include "pagehash.h"
#include "phystrack.h"
#include "vmx86.h"
#include "x86msr.h"

#include "pgtbl.h"


/* The clock of HostIF_ReadUptime, and how often it went backwards. */
static struct {
   struct timer_list timer;
   uint64 base;
   uint64 last;
   unsigned long backwards;
} uptimeState;


/* Zeroed memory, or NULL. */
void *
HostIF_AllocKernelMem(size_t size)  // IN
{
   return kvzalloc(size, GFP_KERNEL);
}


void
HostIF_FreeKernelMem(void *ptr)  // IN: may be NULL
{
   kvfree(ptr);
}


uint32
HostIF_NumCPUs(void)
{
   return nr_cpu_ids;
}


uint32
HostIF_GetCurrentPCPU(void)
{
   return smp_processor_id();
}


void
HostIF_CallOnEachCPU(void (*func)(void *),  // IN
                     void *data)            // IN/OUT: for func
{
   on_each_cpu(func, data, 1);
}


/* 0 and the value, or an error and 0: the CPU faults on an MSR it does not have. */
int
HostIF_SafeRDMSR(unsigned int msr,   // IN
                 uint64 *val)        // OUT
{
   int err;
   u64 v;

   err = rdmsrl_safe(msr, &v);
   *val = (err == 0) ? v : 0;

   return err;
}


static void
HostIFUptimeCheck(struct timer_list *timer)  // IN
{
   uint64 now = HostIF_ReadUptime();

   if (now < uptimeState.last) {
      uptimeState.backwards++;
   }
   uptimeState.last = now;
   mod_timer(timer, jiffies + HZ);
}


/* Begins to look at the clock once a second. */
int
HostIFStartTimer(void)
{
   timer_setup(&uptimeState.timer, HostIFUptimeCheck, 0);
   return mod_timer(&uptimeState.timer, jiffies + HZ);
}


void
HostIF_InitUptime(void)
{
   uptimeState.base = ktime_get_ns();
   HostIFStartTimer();
}


void
HostIF_CleanupUptime(void)
{
   del_timer_sync(&uptimeState.timer);
   if (uptimeState.backwards != 0) {
      Warning("the clock went backwards %lu times\n", uptimeState.backwards);
   }
}


/* Microseconds since HostIF_InitUptime. */
uint64
HostIF_ReadUptime(void)
{
   return (ktime_get_ns() - uptimeState.base) / 1000;
}


/* The frame behind an address of the calling process, which is read first so that it is there. */
int
HostIF_LookupUserMPN(VA uvAddr,  // IN
                     MPN *mpn)   // OUT
{
   uint8 c;

   *mpn = INVALID_MPN;
   if (get_user(c, (uint8 __user *)uvAddr) != 0) {
      return -EFAULT;
   }
   *mpn = PgtblVa2MPN((VA)uvAddr);
   return *mpn == INVALID_MPN ? -EAGAIN : 0;
}


/* Hashes pages of the calling process, and remembers their frames. */
int
HostIF_HashUserPages(struct VMDriver *vm,  // IN/OUT
                     VA uvAddr,            // IN: at the beginning of a page
                     uint32 numPages,      // IN
                     uint64 *digest)       // OUT
{
   uint32 i;

   *digest = 0;
   for (i = 0; i < numPages; i++) {
      struct page *page;
      int got;

      if (fatal_signal_pending(current)) {
         return -EINTR;
      }
      got = get_user_pages_fast(uvAddr + (VA)i * PAGE_SIZE, 1, 0, &page);
      if (got != 1) {
         return got < 0 ? got : -EFAULT;
      }
      *digest = PageHash_Page(*digest, page_address(page), PAGE_SIZE / sizeof (uint64));
      if (!PhysTrack_Add(vm->tracker, page_to_pfn(page))) {
         put_page(page);
         return -ENOMEM;
      }
      put_page(page);
      cond_resched();
   }
   return 0;
}

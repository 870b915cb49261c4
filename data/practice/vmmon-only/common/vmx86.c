// SPDX-License-Identifier: GPL-2.0-or-later

/* What this module does that is the same on every system. */

#include "driver-config.h"

#include <linux/string.h>
#include <linux/sched.h>

#include "vm_assert.h"
#include "vm_basic_defs.h"
#include "vmx86.h"
#include "iocontrols.h"
#include "hostif.h"
#include "phystrack.h"
#include <asm/timex.h>


static uint32 lastID;


void
Vmx86FreeVMDriver(VMDriver *vm)
{
   PhysTrack_Free(vm->tracker);
   HostIF_FreeKernelMem(vm);
}


VMDriver *
Vmx86AllocVMDriver(void)
{
   VMDriver *vm = HostIF_AllocKernelMem(sizeof *vm);

   if (vm != NULL) {
      vm->tracker = PhysTrack_Alloc();
      if (vm->tracker == NULL) {
         Vmx86FreeVMDriver(vm);
         vm = NULL;
      }
   }
   return vm;
}


/* The state of a file that was just opened, or NULL without memory. */
VMDriver *
Vmx86_CreateVM(void)
{
   VMDriver *vm = Vmx86AllocVMDriver();

   if (vm != NULL) {
      vm->id = __sync_add_and_fetch(&lastID, 1);
   }
   return vm;
}


void
Vmx86_ReleaseVM(VMDriver *vm)  // IN
{
   Vmx86FreeVMDriver(vm);
}


void
Vmx86_Now(VmTimeStart *now)  // OUT
{
   now->tsc = get_cycles();
   now->uptime = HostIF_ReadUptime();
}


/* How fast the TSC counted since then; 0 before there is anything to tell. */
uint32
Vmx86_TSCkHzSince(const VmTimeStart *start)  // IN
{
   VmTimeStart now;

   Vmx86_Now(&now);
   if (now.uptime <= start->uptime) {
      return 0;
   }
   return (uint32)((now.tsc - start->tsc) * 1000 / (now.uptime - start->uptime));
}


/* Runs on each CPU and answers in this CPU's place. */
static void
Vmx86GetMSR(void *data)  // IN/OUT: the query
{
   MSRQuery *query = data;
   uint32 index = HostIF_GetCurrentPCPU();

   if (index < query->numLogicalCPUs) {
      query->logicalCPUs[index].tag = index;
      HostIF_SafeRDMSR(query->msrNum, &query->logicalCPUs[index].msrVal);
   }
}


/* Fills in as many replies as the query has room for. */
void
Vmx86_GetAllMSRs(MSRQuery *query)  // IN/OUT
{
   uint32 i;

   if (query->numLogicalCPUs > HostIF_NumCPUs()) {
      query->numLogicalCPUs = HostIF_NumCPUs();
   }
   for (i = 0; i < query->numLogicalCPUs; i++) {
      query->logicalCPUs[i].tag = i;
      query->logicalCPUs[i].msrVal = 0;
   }
   HostIF_CallOnEachCPU(Vmx86GetMSR, query);
}

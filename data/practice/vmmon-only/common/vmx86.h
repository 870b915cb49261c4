/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef _VMX86_H_
#define _VMX86_H_

#include "vm_basic_types.h"
#include "x86msr.h"

/* What one open file of /dev/vmmon owns. */
typedef struct VMDriver {
   uint32 id;
   struct PhysTracker *tracker;
} VMDriver;

/* A moment, by both clocks. */
typedef struct VmTimeStart {
   uint64 tsc;
   uint64 uptime;
} VmTimeStart;

VMDriver *Vmx86_CreateVM(void);
void Vmx86_ReleaseVM(VMDriver *vm);
void Vmx86_Now(VmTimeStart *now);
uint32 Vmx86_TSCkHzSince(const VmTimeStart *start);
void Vmx86_GetAllMSRs(MSRQuery *query);

#endif

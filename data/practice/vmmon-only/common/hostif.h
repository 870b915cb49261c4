/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the common code asks of the system it runs on. */

#ifndef _HOSTIF_H_
#define _HOSTIF_H_

#include "vm_basic_types.h"

struct VMDriver;

void *HostIF_AllocKernelMem(size_t size);
void HostIF_FreeKernelMem(void *ptr);

uint32 HostIF_NumCPUs(void);
uint32 HostIF_GetCurrentPCPU(void);
void HostIF_CallOnEachCPU(void (*func)(void *), void *data);
int HostIF_SafeRDMSR(unsigned int msr, uint64 *val);

void HostIF_InitUptime(void);
void HostIF_CleanupUptime(void);
uint64 HostIF_ReadUptime(void);

int HostIF_LookupUserMPN(VA uvAddr, MPN *mpn);
int HostIF_HashUserPages(struct VMDriver *vm, VA uvAddr, uint32 numPages, uint64 *digest);

#endif

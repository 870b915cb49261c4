/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a program can ask of /dev/vmmon. */

#ifndef _IOCONTROLS_H_
#define _IOCONTROLS_H_

#include <linux/ioctl.h>

#include "vm_basic_types.h"

/*
 * The version of this interface, as the product's programs compare it.
 */
#define VMMON_VERSION           (410 << 16 | 0)
#define VMMON_VERSION_MAJOR(v)  ((uint32) (v) >> 16)
#define VMMON_VERSION_MINOR(v)  ((uint16) (v))

/* A page of the calling process. */
typedef struct VMPageLookup {
   uint64 va;               // IN
   uint64 mpn;              // OUT
} VMPageLookup;

/* A run of pages of the calling process. */
typedef struct VMPageHash {
   uint64 va;               // IN: at the beginning of a page
   uint32 numPages;         // IN
   uint32 numTracked;       // OUT: how many distinct frames this file has met
   uint64 digest;           // OUT
} VMPageHash;

#define VMMON_MAX_HASH_PAGES 65536

/* These have the numbers and arguments of the product's own calls, so that one program can use both. */
#define IOCTL_VMX86_VERSION           2001                    /* returns VMMON_VERSION */
#define IOCTL_VMX86_GET_KHZ_ESTIMATE  2019                    /* returns how fast the TSC counts */
#define IOCTL_VMX86_GET_ALL_MSRS      2028                    /* takes the address of an MSRQuery's address */

#define IOCTL_VMMON_UPTIME     _IOR('v', 0x02, uint64)        /* microseconds since loading */
#define IOCTL_VMMON_LOOKUP     _IOWR('v', 0x04, VMPageLookup)
#define IOCTL_VMMON_HASH       _IOWR('v', 0x05, VMPageHash)

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef _X86MSR_H_
#define _X86MSR_H_

#include "vm_basic_types.h"

/* What one CPU answered. */
typedef struct MSRReply {
   uint64 tag;              // OUT: which CPU
   uint64 msrVal;           // OUT: 0 where the MSR cannot be read
} MSRReply;

/* One MSR, asked of every CPU. */
typedef struct MSRQuery {
   uint32 msrNum;           // IN
   uint32 numLogicalCPUs;   // IN: room for so many replies; OUT: so many came
   MSRReply logicalCPUs[1]; // OUT: as many as numLogicalCPUs says
} MSRQuery;

#define MSR_QUERY_SIZE(_num) (offsetof(MSRQuery, logicalCPUs) + (_num) * sizeof (MSRReply))

#endif

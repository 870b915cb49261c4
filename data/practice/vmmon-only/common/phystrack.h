/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef _PHYSTRACK_H_
#define _PHYSTRACK_H_

#include "vm_basic_types.h"

struct PhysTracker;

struct PhysTracker *PhysTrack_Alloc(void);
void PhysTrack_Free(struct PhysTracker *tracker);
Bool PhysTrack_Add(struct PhysTracker *tracker, MPN mpn);
uint32 PhysTrack_Count(const struct PhysTracker *tracker);

#endif

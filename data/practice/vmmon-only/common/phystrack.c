// SPDX-License-Identifier: GPL-2.0-or-later

/*
 * A set of page frames: a table of bitmaps, one for each run of frames that was met. Adding is quick
 * and a set of neighbours is small.
 */

#include "driver-config.h"

#include <linux/string.h>

#include "vm_assert.h"
#include "vm_basic_defs.h"
#include "hostif.h"
#include "phystrack.h"

#define FRAMES_PER_RUN  32768
#define NUM_SLOTS       512

typedef struct FrameRun {
   struct FrameRun *next;
   uint64 first;                       // number of the run, counted in FRAMES_PER_RUN
   uint64 bits[FRAMES_PER_RUN / 64];
} FrameRun;

struct PhysTracker {
   uint32 count;
   FrameRun *slots[NUM_SLOTS];
};


/* An empty set, or NULL without memory. */
struct PhysTracker *
PhysTrack_Alloc(void)
{
   return HostIF_AllocKernelMem(sizeof (struct PhysTracker));
}


void
PhysTrack_Free(struct PhysTracker *tracker)  // IN: may be NULL
{
   unsigned slot;

   if (tracker == NULL) {
      return;
   }
   for (slot = 0; slot < ARRAYSIZE(tracker->slots); slot++) {
      while (tracker->slots[slot] != NULL) {
         FrameRun *run = tracker->slots[slot];

         tracker->slots[slot] = run->next;
         HostIF_FreeKernelMem(run);
      }
   }
   HostIF_FreeKernelMem(tracker);
}


/* FALSE without memory. A frame that is in the set stays there once. */
Bool
PhysTrack_Add(struct PhysTracker *tracker,  // IN/OUT
              MPN mpn)                      // IN
{
   uint64 first = mpn / FRAMES_PER_RUN;
   uint64 bit = 1ULL << (mpn % 64);
   FrameRun **slot = &tracker->slots[first % NUM_SLOTS];
   FrameRun *run;
   uint64 *word;

   ASSERT(mpn != INVALID_MPN);
   for (run = *slot; run != NULL && run->first != first; run = run->next) {
   }
   if (run == NULL) {
      run = HostIF_AllocKernelMem(sizeof *run);
      if (run == NULL) {
         return FALSE;
      }
      run->first = first;
      run->next = *slot;
      *slot = run;
   }
   word = &run->bits[mpn % FRAMES_PER_RUN / 64];
   if ((*word & bit) == 0) {
      *word |= bit;
      tracker->count++;
   }
   return TRUE;
}


uint32
PhysTrack_Count(const struct PhysTracker *tracker)  // IN
{
   return tracker->count;
}

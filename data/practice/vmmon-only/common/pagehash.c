// SPDX-License-Identifier: GPL-2.0-or-later

/*
 * The hot path of this module: a digest of a page's contents, as a monitor takes it to find equal
 * pages. Integer work only. What tuning can win here is the choice of instructions (rotates and
 * multiplies) and fetching ahead; the digest is the same in every build.
 */

#include "driver-config.h"

#include <linux/prefetch.h>

#include "pagehash.h"

#define LANES 4

static const uint64 laneKey[LANES] = {
   0x9ddfea08eb382d69ULL, 0xc6a4a7935bd1e995ULL, 0xd6e8feb86659fd93ULL, 0xa0761d6478bd642fULL,
};

static INLINE uint64
RotateLeft(uint64 value,   // IN
           unsigned bits)  // IN: 1 to 63
{
   return value << bits | value >> (64 - bits);
}


/*
 * Four lanes, so that a multiplication need not wait for the one before it. numWords is a multiple
 * of four.
 */
uint64
PageHash_Page(uint64 seed,          // IN: the digest of what came before
              const uint64 *words,  // IN
              uint32 numWords)      // IN
{
   uint64 lane[LANES];
   uint64 digest = seed ^ numWords;
   uint32 i;
   unsigned l;

   for (l = 0; l < LANES; l++) {
      lane[l] = seed + laneKey[l];
   }
#ifdef VMWARE_OPTIMIZE
#pragma GCC unroll 4
#endif
   for (i = 0; i < numWords; i += LANES) {
#ifdef VMWARE_OPTIMIZE
      /* Prefetching past the end of the page is harmless. */
      if (i % 8 == 0) {
         prefetch(words + i + 64);
      }
#endif
      for (l = 0; l < LANES; l++) {
         lane[l] = RotateLeft(lane[l] ^ words[i + l], 29) * laneKey[l];
      }
   }
   for (l = 0; l < LANES; l++) {
      digest = RotateLeft(digest ^ lane[l], 37) * laneKey[l];
   }
   return digest ^ digest >> 32;
}

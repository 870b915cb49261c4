/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef _PAGEHASH_H_
#define _PAGEHASH_H_

#include "vm_basic_types.h"

uint64 PageHash_Page(uint64 seed, const uint64 *words, uint32 numWords);

#endif

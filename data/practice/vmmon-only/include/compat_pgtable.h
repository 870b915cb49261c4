/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef __COMPAT_PGTABLE_H__
#define __COMPAT_PGTABLE_H__

#include <asm/pgtable.h>

/* The fourth level, under names of our own. */
#define compat_p4d_offset(pgd, address)  p4d_offset(pgd, address)
#define compat_p4d_present(p4d)          p4d_present(p4d)
#define compat_p4d_large(p4d)            p4d_large(p4d)
#define compat_p4d_pfn(p4d)              p4d_pfn(p4d)
#define COMPAT_P4D_MASK                  P4D_MASK
typedef p4d_t compat_p4d_t;

#endif

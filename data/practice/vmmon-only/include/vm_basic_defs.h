/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef VM_BASIC_DEFS_H
#define VM_BASIC_DEFS_H

/* For NULL and offsetof, in code that must not know which system it runs on. */
#if !defined(VMKERNEL)
#  include <stddef.h>
#endif

#define ARRAYSIZE(_a) (sizeof (_a) / sizeof *(_a))

#endif

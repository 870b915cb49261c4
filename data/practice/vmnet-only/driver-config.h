/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Comes before any header of the kernel in each source file: what must be known about the kernel
 * before its headers are read. Only this folder's own include path finds it.
 */

#ifndef __VMX_CONFIG_H__
#define __VMX_CONFIG_H__

#include "compat_version.h"

#ifndef CONFIG_MODULES
#error This kernel has no loadable modules
#endif

#ifndef CONFIG_X86_64
#error These modules are for 64-bit x86 only
#endif

#include <linux/types.h>

#endif

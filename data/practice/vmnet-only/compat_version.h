/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef __COMPAT_VERSION_H__
#define __COMPAT_VERSION_H__

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error Linux kernels before 5.10 are not supported
#endif

#endif

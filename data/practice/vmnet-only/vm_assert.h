/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Assertions of code that must not know which system it runs on. */

#ifndef _VM_ASSERT_H_
#define _VM_ASSERT_H_

#include "vm_basic_types.h"
#include <stdarg.h>

#define ASSERT(_cond)                                                                   \
   do {                                                                                 \
      if (!(_cond)) {                                                                   \
         printk(KERN_WARNING "vmnet: assertion failed at %s:%d: %s\n", __FILE__, __LINE__, \
                #_cond);                                                                \
      }                                                                                 \
   } while (0)

#endif

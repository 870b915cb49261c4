// SPDX-License-Identifier: GPL-2.0-or-later

/* Messages to the kernel's log, each with the module's name. */

#include "driver-config.h"

#include <linux/kernel.h>
#include <linux/printk.h>

#include "vm_assert.h"


void
LogV(const char *level,  // IN: a level of the kernel
     const char *fmt,    // IN
     va_list args)       // IN
{
   struct va_format message = { .fmt = fmt, .va = (va_list *)args };

   printk("%svmmon: %pV", level, &message);
}


void
Log(const char *fmt, ...)  // IN
{
   va_list args;

   va_start(args, fmt);
   LogV(KERN_INFO, fmt, args);
   va_end(args);
}


void
Warning(const char *fmt, ...)  // IN
{
   va_list args;

   va_start(args, fmt);
   LogV(KERN_WARNING, fmt, args);
   va_end(args);
}

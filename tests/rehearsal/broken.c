// SPDX-License-Identifier: GPL-2.0-or-later

/*
 * A module that is broken on purpose, each time in another way: what a rehearsal must find. Compiled
 * by tests/rehearsal.rs with BREAK set to one of these.
 */

#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>

#define NOTHING 0
#define OOPS 1      /* writes where nothing is */
#define UNKNOWN 2   /* calls what no kernel has */
#define WARNING 3   /* WARN() */
#define REFUSES 4   /* its start fails */
#define HANGS 5     /* its start never ends */
#define PANICS 6
#define SPANS 7     /* copies over the end of a field */
#define LATE 8      /* oopses when it is removed */

extern void hostwright_no_such_function(void);

struct fields {
   char first[8];
   char second[8];
};
static struct fields fields;
static volatile unsigned length = 12;

static int __init broken_init(void)
{
   switch (BREAK) {
   case OOPS:
      *(volatile int *)8 = 1;
      break;
#if BREAK == UNKNOWN
   case UNKNOWN:
      hostwright_no_such_function();
      break;
#endif
   case WARNING:
      WARN(1, "broken on purpose\n");
      break;
   case REFUSES:
      return -ENODEV;
   case HANGS:
      while (length != 0) {
         msleep(100);
      }
      break;
   case PANICS:
      panic("broken on purpose");
   case SPANS:
      memcpy(fields.first, &broken_init, length);
      break;
   }
   return 0;
}

static void __exit broken_exit(void)
{
   if (BREAK == LATE) {
      *(volatile int *)8 = 1;
   }
}

module_init(broken_init);
module_exit(broken_exit);
MODULE_DESCRIPTION("Broken on purpose");
MODULE_LICENSE("GPL");

/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Messages and assertions of code that must not know which system it runs on. */

#ifndef _VM_ASSERT_H_
#define _VM_ASSERT_H_

#include "vm_basic_types.h"
#include <stdarg.h>

void Log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void Warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void LogV(const char *level, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

#define ASSERT(_cond)                                                          \
   do {                                                                        \
      if (!(_cond)) {                                                          \
         Warning("assertion failed at %s:%d: %s\n", __FILE__, __LINE__, #_cond); \
      }                                                                        \
   } while (0)

#endif

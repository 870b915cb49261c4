/* SPDX-License-Identifier: GPL-2.0-or-later */

#ifndef VM_BASIC_TYPES_H
#define VM_BASIC_TYPES_H

#include <linux/types.h>

typedef __u8 uint8;
typedef __u16 uint16;
typedef __u32 uint32;
typedef __u64 uint64;

typedef char Bool;
#define FALSE 0
#define TRUE  1

#define INLINE inline

typedef unsigned long VA;  // a virtual address
typedef uint64 MPN;     // the number of a page frame of the machine

#define INVALID_MPN ((MPN)0x003fffffffffffffULL)

#endif
